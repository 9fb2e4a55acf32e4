"""Shares the tiny model with the tests of this room."""

from tests.tiny import config, engine, hf_model, lora_tree, params, tokenizer  # noqa: F401
