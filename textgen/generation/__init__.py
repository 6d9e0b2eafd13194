"""From logits to text: samplers, one text streamed, many in a batch."""
