"""What numbers on disk were made from, part by part: a difference must have a name."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from llumi_jax import prompts
from llumi_jax.data.packing import PackedRows

# How a part is called, in the order in which one explains the next: another template changes the tokens, too.
_NAMES = {
    "base": "base (its weights)",
    "start": "start (the weights that the stage begins with)",
    "end": "result (the weights that are scored)",
    "lora": "config.lora",
    "dtype": "config.dtype",
    "param_dtype": "config.param_dtype",
    "base_quantization": "config.base_quantization",
    "prompt_version": "prompt wording (its version)",
    "chat_template": "chat template",
    "tokenizer": "tokenizer",
    "max_prompt_tokens": "length, config.max_prompt_tokens",
    "row_length": "length, config.row_length",
    "data": "data (its posts, replies or labels)",
    "tokens": "wording of the data (its tokens)",
    "layout": "packing of rows",
    "mixture": "mixture (rows of its datasets, and their shares of the stream)",
}
_FOLLOW = ("tokens", "layout")  # are named only where nothing before explains them


def of_rows(rows: PackedRows, **about: Any) -> dict[str, Any]:
    """The parts that numbers of these rows depend on: JSON-ready.

    Args:
      rows: the packed rows; their threads, labels, tokens, order and layout count.
      about: further parts, named as in the table above: weights by their digests, settings by their values.
    """
    data, tokens = hashlib.sha256(), hashlib.sha256()
    for thread in rows.threads:
        facts = (thread.thread_id, thread.reply_weights, [dataclasses.astuple(pair) for pair in thread.pairs])
        data.update(json.dumps(facts).encode())
        for piece in (thread.prefix, *thread.replies):
            tokens.update(np.ascontiguousarray(piece).data)
            tokens.update(b"|")
    return {
        **about,
        "prompt_version": prompts.VERSION,
        "row_length": rows.shape.tokens,
        "data": data.hexdigest(),
        "tokens": tokens.hexdigest(),
        "layout": digest_of([rows.plan, dataclasses.astuple(rows.shape)]),
    }


def of_tokenizer(tokenizer: Any) -> dict[str, str]:
    """The parts that a tokenizer (of transformers) adds."""
    return {
        "chat_template": digest_of(tokenizer.chat_template or ""),
        "tokenizer": digest_of(tokenizer.backend_tokenizer.to_str()),
    }


def digest_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """Names the parts that differ, with both values, or returns None where all are equal."""
    names = [*_NAMES, *sorted({*there, *here} - {*_NAMES})]
    changed = [name for name in names if there.get(name) != here.get(name)]
    named = [name for name in changed if name not in _FOLLOW] or changed
    told = [
        f"{_NAMES.get(name, name)}: there {_short(there.get(name))}, here {_short(here.get(name))}" for name in named
    ]
    return "; ".join(told) or None


def _short(value: Any) -> str:
    """Digests are recognised by their first figures."""
    return value[:12] if isinstance(value, str) and len(value) == 64 else "nothing" if value is None else f"{value}"
