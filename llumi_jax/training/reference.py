"""One sweep of log-probabilities over packed rows, kept on disk: the cached reference and the held-out scores.

A sweep can be killed at any moment and goes on from its last whole batch. It is bound to what it was made from, part by
part; numbers made from other weights, another template or other data are an error that names the part, never silently
used. A sweep that is through is also put where other runs find it.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from llumi_jax.cli import UserError
from llumi_jax.data import loader
from llumi_jax.data.packing import PackedRows
from llumi_jax.storage import files
from llumi_jax.training.hosts.agreement import from_first
from llumi_jax.training.provenance import difference, digest_of

Parts = Mapping[str, Any]  # of `provenance.of_rows`


class RowsWithReference:
    """Packed rows that carry the reference's log-probability of each reply as `reference_logps` [S]."""

    def __init__(self, rows: PackedRows, logps: np.ndarray) -> None:
        self._rows, self._logps = rows, logps

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]:
        return {**self._rows[index], "reference_logps": self._logps[index]}


def sweep(
    path: Path,
    made_from: Parts,
    rows: PackedRows,
    compute: Callable[[Mapping[str, np.ndarray]], np.ndarray],
    batch_rows: int,
    *,
    writer: bool = True,
    mine: np.ndarray | None = None,
    shared: "Shared | None" = None,
    after_batch: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """Returns float32 log-probabilities [rows, S], read from `path` as far as they are there already.

    Args:
      path: an .npy file; a .json beside it says what it was made from and how far it got.
      made_from: see `provenance.of_rows`.
      rows: what to sweep over.
      compute: batch -> log-probabilities [batch, S] of the whole batch.
      batch_rows: rows of a batch.
      writer: whether this process writes (the first of several does).
      mine: which rows of a batch this process loads; None = all.
      shared: where other runs keep theirs: read before anything is computed, added to at the end.
      after_batch: called with the number of rows done, when they are on disk.

    Raises:
      UserError: the file was made from something else; it says from what.
    """
    progress_file, parts = path.with_suffix(".json"), dict(made_from)
    done = from_first(lambda: _done(progress_file, parts))
    shape = (len(rows), rows.shape.slots)
    if not done and shared and (found := shared.find(parts, shape)) is not None:
        if writer:
            _write_array(path, found)
            files.write_json(progress_file, {"made_from": parts, "done": len(rows)})
        return found
    if writer:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = "r+" if done else "w+"
        values: Any = np.lib.format.open_memmap(path, mode=mode, dtype=np.float32, shape=None if done else shape)
        with open(path, "r+b") as file:  # a full disk is an error here, and would be a crash inside the mapped file
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    else:
        values = np.load(path) if done else np.zeros(shape, np.float32)
    for indices, batch in loader.sweep(rows, batch_rows, done, mine):
        values[indices] = compute(batch)[: len(indices)]
        if writer:
            values.flush()
            files.write_json(progress_file, {"made_from": parts, "done": int(indices[-1]) + 1})
        after_batch(int(indices[-1]) + 1)
    result = np.array(values)
    if shared and writer and done < len(rows):
        shared.add(parts, result)
    return result


def _done(progress_file: Path, parts: Parts) -> int:
    if not progress_file.exists():
        return 0
    found = files.read_json(progress_file)
    if other := difference(found.get("made_from", {}), parts):
        raise UserError(
            f"{progress_file.parent} holds log-probabilities of another {other}. "
            "Remove that folder, or use a new --workdir."
        )
    return found["done"]


class Shared:
    """Finished sweeps of all runs, each under a digest of what it was made from.

    Args:
      folder: of the sweeps; made when the first one is added.
      where: what beside the parts shapes the last bits of the numbers, e.g. the platform.
      on_found: called with the file that was found.
    """

    def __init__(self, folder: Path, where: str = "", on_found: Callable[[Path], None] = lambda path: None) -> None:
        self.folder, self._where, self._on_found = folder, where, on_found

    def path(self, parts: Parts) -> Path:
        return self.folder / f"{digest_of([self._where, dict(parts)])[:32]}.npy"

    def find(self, parts: Parts, shape: tuple[int, int]) -> np.ndarray | None:
        """The numbers made from the same parts, or None. What a disk gave back damaged is as good as absent."""
        path = self.path(parts)
        try:
            about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        whole = values.shape == shape and values.dtype == np.float32 and about.get("sha256") == _sha256(values)
        if not whole or difference(about.get("made_from", {}), parts):
            return None
        self._on_found(path)
        return values

    def add(self, parts: Parts, values: np.ndarray) -> None:
        """Keeps the numbers; a folder that cannot be written to keeps nothing, and harms nobody."""
        path = self.path(parts)
        try:
            _write_array(path, values)
            files.write_json(path.with_suffix(".json"), {"made_from": dict(parts), "sha256": _sha256(values)})
        except OSError:
            return


def numbers_of(folder: Path, made_from: Parts, shape: tuple[int, int]) -> np.ndarray:
    """The reference that another run left in its W/<stage>/reference.

    Raises:
      UserError: there is none, it is not through, or it was made from something else.
    """
    path, parts = folder / "reference.npy", dict(made_from)
    if not path.exists():
        raise UserError(f"{folder} holds no reference.npy. Name the folder W/<stage>/reference of another run.")
    about = files.read_json(path.with_suffix(".json"))
    if other := difference(about.get("made_from", {}), parts):
        raise UserError(f"{folder} holds log-probabilities of another {other}. Leave reference_from empty.")
    if about["done"] < shape[0]:
        raise UserError(f"{folder} holds {about['done']} of {shape[0]} rows. Let that run get through its sweep first.")
    return np.load(path, allow_pickle=False)


def _write_array(path: Path, values: np.ndarray) -> None:
    """Replaces an array in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.npy")
    try:
        with open(partial, "wb") as file:
            np.save(file, values)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _sha256(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()
