"""From a text to batches: vocabulary, windows, batches."""
