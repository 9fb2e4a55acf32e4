"""Weights in and out: Hugging Face folders, GGUF files, packages, adapters and our own checkpoints."""
