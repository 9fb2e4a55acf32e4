"""From a TFDS dataset to packed rows: threads, tokens, rows, batches."""
