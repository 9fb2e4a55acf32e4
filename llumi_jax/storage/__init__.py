"""What is written to disk and read back: checkpoints, locks and small files that are whole or absent."""
