"""Shares the tiny byte-level tokenizer with the tests of this room."""

from tests.tiny import tokenizer  # noqa: F401
