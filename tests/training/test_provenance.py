"""Each thing that numbers depend on is a part of its own, and a difference is told by its name."""

import dataclasses

import numpy as np
import pytest

from llumi_jax import prompts
from llumi_jax.data import packing
from llumi_jax.data.dataset import Pair
from llumi_jax.data.tokenization import TokenThread
from llumi_jax.training import provenance
from tests.tiny import tokenizer  # noqa: F401


def some_rows(seed: int = 0, row_length: int = 64) -> packing.PackedRows:
    rng = np.random.default_rng(seed)

    def ids(size):
        return rng.integers(1, 100, size).astype(np.int32)

    threads = [
        TokenThread(f"t{i}", "", ids(10), (ids(12), ids(15)), (0.0, 0.0), (Pair(f"p{i}", 0, 1, 1.0, 1.0),))
        for i in range(7)
    ]
    return packing.pack(threads, row_length)


ROWS = some_rows()


def parts(rows=ROWS, **about) -> dict:
    return provenance.of_rows(rows, **{"base": "b", "start": "s", "max_prompt_tokens": 200, **about})


def changed(**changes) -> packing.PackedRows:
    first, *others = ROWS.threads
    return dataclasses.replace(ROWS, threads=(dataclasses.replace(first, **changes), *others))


FIRST = ROWS.threads[0]
LABEL = (dataclasses.replace(FIRST.pairs[0], probability=0.9),)


def test_parts_repeat():
    assert provenance.difference(parts(), parts(some_rows())) is None


@pytest.mark.parametrize(
    ("other", "names"),
    [
        (lambda: parts(base="c"), ["base (its weights): there b, here c"]),
        (lambda: parts(start="t"), ["start (the weights that the stage begins with): there s, here t"]),
        (lambda: parts(max_prompt_tokens=9), ["length, config.max_prompt_tokens: there 200, here 9"]),
        (lambda: parts(some_rows(0, 96)), ["length, config.row_length: there 64, here 96"]),
        (lambda: parts(chat_template="x"), ["chat template: there nothing, here x"]),
        (lambda: parts(changed(thread_id="other")), ["data (its posts, replies or labels)"]),
        (lambda: parts(changed(pairs=LABEL)), ["data (its posts, replies or labels)"]),
        (lambda: parts(changed(prefix=FIRST.prefix + 1)), ["wording of the data (its tokens)"]),
        (lambda: parts(changed(replies=FIRST.replies[::-1])), ["wording of the data (its tokens)"]),
        (lambda: parts(dataclasses.replace(ROWS, plan=ROWS.plan[::-1])), ["packing of rows"]),
        # Another template brings other tokens: it alone is named. Two causes are both named.
        (lambda: parts(some_rows(1), chat_template="x"), ["chat template"]),
        (lambda: parts(some_rows(1), base="c", dtype="x"), ["base", "config.dtype"]),
    ],
)
def test_a_difference_has_its_name_and_no_other(other, names):
    said = provenance.difference(parts(), other()).split("; ")
    assert len(said) == len(names)
    for text, name in zip(said, names, strict=True):
        assert text.startswith(name), said


def test_another_wording_of_the_prompt_is_a_difference(monkeypatch):
    before = parts()
    monkeypatch.setattr(prompts, "VERSION", "other")
    assert provenance.difference(before, parts()).startswith("prompt wording (its version)")


def test_digests_are_told_by_their_first_figures():
    assert provenance.difference({"base": "a" * 64}, {"base": "b" * 64}).endswith(
        "there aaaaaaaaaaaa, here bbbbbbbbbbbb"
    )


def test_a_tokenizer_and_its_template(tokenizer):  # noqa: F811
    before = provenance.of_tokenizer(tokenizer)
    template = tokenizer.chat_template
    try:
        tokenizer.chat_template = template + " "
        after = provenance.of_tokenizer(tokenizer)
    finally:
        tokenizer.chat_template = template
    assert before["tokenizer"] == after["tokenizer"] and before["chat_template"] != after["chat_template"]
    assert provenance.of_tokenizer(tokenizer) == before
