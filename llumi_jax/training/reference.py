"""One sweep of log-probabilities over packed rows, kept on disk: the cached reference and the held-out scores.

A sweep can be killed at any moment and goes on from its last whole batch. It is bound to what it was made from by a
key; numbers made from other weights or other data are an error, never silently used.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from llumi_jax import prompts
from llumi_jax.cli import UserError
from llumi_jax.data import loader
from llumi_jax.data.packing import PackedRows
from llumi_jax.storage import files


class RowsWithReference:
    """Packed rows that carry the reference's log-probability of each reply as `reference_logps` [S]."""

    def __init__(self, rows: PackedRows, logps: np.ndarray) -> None:
        self._rows, self._logps = rows, logps

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        return {**self._rows[index], "reference_logps": self._logps[index]}


def sweep_key(weights: Mapping[str, Any], rows: PackedRows) -> str:
    """A digest of all that the numbers depend on.

    Args:
      weights: identities of the base and of what is trained over it, e.g. digests.
      rows: the packed rows; their tokens, order and layout count.
    """
    digest = hashlib.sha256(json.dumps([prompts.VERSION, dict(weights), rows.plan, rows.shape.tokens]).encode())
    for thread in rows.threads:
        facts = (thread.thread_id, thread.reply_weights, [dataclasses.astuple(pair) for pair in thread.pairs])
        digest.update(json.dumps(facts).encode())
        for piece in (thread.prefix, *thread.replies):
            digest.update(np.ascontiguousarray(piece).data)
            digest.update(b"|")
    return digest.hexdigest()


def sweep(
    path: Path,
    key: str,
    rows: PackedRows,
    compute: Callable[[Mapping[str, np.ndarray]], np.ndarray],
    batch_rows: int,
    *,
    writer: bool = True,
    after_batch: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """Returns float32 log-probabilities [rows, S], read from `path` as far as they are there already.

    Args:
      path: an .npy file; a .json beside it says what it was made from and how far it got.
      key: see `sweep_key`.
      rows: what to sweep over.
      compute: batch -> log-probabilities [batch, S].
      batch_rows: rows of a batch.
      writer: whether this process writes (the first of several does).
      after_batch: called with the number of rows done, when they are on disk.

    Raises:
      UserError: the file was made from other weights or data.
    """
    progress_file = path.with_suffix(".json")
    done = _done(progress_file, key)
    shape = (len(rows), rows.shape.slots)
    if writer:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = "r+" if done else "w+"
        values: Any = np.lib.format.open_memmap(path, mode=mode, dtype=np.float32, shape=None if done else shape)
        with open(path, "r+b") as file:  # a full disk is an error here, and would be a crash inside the mapped file
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    else:
        values = np.load(path) if done else np.zeros(shape, np.float32)
    for indices, batch in loader.sweep(rows, batch_rows, start=done):
        values[indices] = compute(batch)[: len(indices)]
        if writer:
            values.flush()
            files.write_json(progress_file, {"key": key, "done": int(indices[-1]) + 1})
        after_batch(int(indices[-1]) + 1)
    return np.array(values)


def _done(progress_file: Path, key: str) -> int:
    if not progress_file.exists():
        return 0
    found = files.read_json(progress_file)
    if found["key"] != key:
        folder = progress_file.parent
        raise UserError(
            f"{folder} holds log-probabilities of other weights or data. Remove that folder, or use a new --workdir."
        )
    return found["done"]
