"""One decoder for all families, its configuration, attention and LoRA."""
