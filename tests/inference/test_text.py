"""Pieces of text join to the text, never end inside a character, and sentences come whole."""

import numpy as np
import pytest

from llumi_jax.inference.text import LONGEST_HELD, Sentences, TextStream, decode, sentences

TEXTS = (
    "I hear you. That sounds hard!",
    "Ça va aller — vraiment… 😊👩‍👩‍👧 ünïcødé",
    "我在听。你不是一个人！真的？好的",
    "한국어 텍스트입니다. привет, мир! नमस्ते",
    "a\ufffdb",
    "",
)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pieces_join_to_the_text(tokenizer, text, size):
    tokens = tokenizer.encode(text, add_special_tokens=False)
    stream = TextStream(tokenizer)
    pieces = [stream.push(tokens[i : i + size]) for i in range(0, len(tokens), size)]
    assert all("\ufffd" not in p for p in pieces) or "\ufffd" in text
    assert "".join(pieces) + stream.flush() == text == decode(tokenizer, tokens)


def test_random_bytes_join_to_their_decoding(tokenizer):
    r = np.random.default_rng(0)
    for _ in range(50):
        tokens = r.integers(0, 256, 40).tolist()
        stream = TextStream(tokenizer)
        assert "".join(stream.push([t]) for t in tokens) + stream.flush() == decode(tokenizer, tokens)


def test_special_tokens_are_not_text(tokenizer):
    tokens = [*tokenizer.encode("hello", add_special_tokens=False), tokenizer.eos_token_id]
    assert decode(tokenizer, tokens) == "hello"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three", ["One. ", "Two! ", "Three"]),
        ('He said "stop." Then left', ['He said "stop." ', "Then left"]),
        ("你好。再见", ["你好。", "再见"]),
        ("- first\n- second\n", ["- first\n", "- second\n"]),
        ("Version 2.5 is out. Ok", ["Version 2.5 is out. ", "Ok"]),
        ("", []),
    ],
)
def test_sentences(text, expected):
    assert sentences(text) == expected


def test_streamed_sentences_join_and_are_never_held_for_ever():
    text = "word " * 500 + "end. " + "x" * 1000
    buffer, out = Sentences(), []
    for character in text:
        out += buffer.push(character)
    assert "".join(out + buffer.flush()) == text
    assert max(map(len, out)) <= LONGEST_HELD + 1
