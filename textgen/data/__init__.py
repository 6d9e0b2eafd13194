"""From a text to batches: vocabulary, windows, batching."""
