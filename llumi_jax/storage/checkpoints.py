"""Orbax (its v1 API) behind one module: trees to disk and back onto any sharding."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from llumi_jax.cli import UserError
from llumi_jax.storage import files

BEST_FILE = "best.json"  # beside `checkpoints`, where a stage's result is not its last step


def _orbax():
    import absl.logging
    from orbax.checkpoint import v1  # slow to import, and of no use to `--help`

    # What fails in the background is raised by `wait`; logged as well, tracebacks would bury the line that says so.
    absl.logging.set_verbosity(absl.logging.FATAL)
    return v1


class Checkpoints:
    """The checkpoints of one stage, `folder/<step>/{params,opt_state,progress}`, written in the background.

    A checkpoint appears under its name only when it is complete, so a kill at any moment leaves the last whole one.
    """

    def __init__(self, folder: str | os.PathLike, keep: int = 2) -> None:
        ocp = _orbax()
        self._kept = _Kept(keep)
        self._checkpointer = ocp.training.Checkpointer(
            Path(folder).absolute(),
            save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
            preservation_policy=self._kept,
            cleanup_tmp_directories=True,
        )
        self._writing: Any = None  # Orbax's answer to the last save, which holds a thread until its result is asked for

    @property
    def latest(self) -> int | None:
        """The step of the newest whole checkpoint."""
        found = self._checkpointer.latest
        return None if found is None else found.step

    def hold(self, step: int | None) -> None:
        """Keeps the checkpoint of this step beside the newest ones, until another is named."""
        self._kept.held = step

    def save(self, step: int, trees: dict[str, Any]) -> None:
        """Starts to write the trees under `step` and returns; they may be donated at once. A known step is kept."""
        if self.latest == step:
            return
        self.wait()
        self._writing = self._checkpointer.save_checkpointables_async(step, _detached(trees))

    def restore(self, abstract: dict[str, Any], step: int | None = None) -> dict[str, Any]:
        """Reads the trees of `step` (default: the newest) onto the shardings of `abstract`."""
        return self._checkpointer.load_checkpointables(step, abstract)

    def wait(self) -> None:
        """Returns when nothing is being written any more; raises what the writing raised."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()
        self._checkpointer.wait()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Closing waits for all processes, and where one of several has failed, the others will not come.
        if kind is None or jax.process_count() == 1:
            self.close()

    def close(self) -> None:
        try:
            self.wait()
        finally:
            self._checkpointer.close()


class _Kept:
    """Which checkpoints stay when a new one is whole: the newest ones, and one that is held."""

    def __init__(self, newest: int) -> None:
        self.newest = newest
        self.held: int | None = None

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        first = len(checkpoints) - self.newest
        return [index >= first or found.step == self.held for index, found in enumerate(checkpoints)]


def _detached(trees: dict[str, Any]) -> dict[str, Any]:
    """On CPU a host copy is the device buffer itself, and a donated step would write into what is being saved."""
    copy = lambda x: x.copy() if isinstance(x, jax.Array) else x
    return jax.tree.map(copy, trees) if jax.default_backend() == "cpu" else trees


def restore_params(folder: str | os.PathLike, abstract: Any, step: int | None = None) -> Any:
    """Reads what was trained (all weights, or the LoRA tree) from a stage's `checkpoints` folder.

    Args:
      folder: W/<stage>/checkpoints.
      abstract: tree of jax.ShapeDtypeStruct, with shardings where wanted.
      step: a step, or None for the stage's result: the step that W/<stage>/best.json names, else the newest.

    Raises:
      UserError: there is no whole checkpoint yet, or none of that step.
    """
    checkpointer = _orbax().training.Checkpointer(Path(folder).absolute()) if Path(folder).is_dir() else None
    if checkpointer is None or checkpointer.latest is None:
        raise UserError(f"{folder} holds no checkpoint yet. Train that stage first, or wait for its first save.")
    best = Path(folder).parent / BEST_FILE
    if step is None and best.exists():
        step = files.read_json(best)["step"]
    try:
        if step is not None and step not in [found.step for found in checkpointer.checkpoints]:
            raise UserError(f"{folder} holds no checkpoint of step {step}; the newest is {checkpointer.latest.step}.")
        return checkpointer.load_checkpointables(step, {"params": abstract})["params"]
    finally:
        checkpointer.close()


def save_tree(path: str | os.PathLike, tree: Any) -> None:
    """Writes one tree to `path`, replacing what was there."""
    _orbax().save(Path(path).absolute(), tree, overwrite=True)


def restore_tree(path: str | os.PathLike, abstract: Any) -> Any:
    """Reads a tree of `save_tree` onto the shapes and shardings of `abstract`.

    Raises:
      UserError: the folder is missing.
    """
    if not Path(path).is_dir():
        raise UserError(f"{path} is missing. Check the path of the checkpoint.")
    return _orbax().load(Path(path).absolute(), abstract)


def tree_sha256(tree: Any) -> str:
    """A digest of every leaf's path, dtype, shape and bytes: equal if and only if the trees are, bit by bit."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        leaf = leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape or (1,)}\n".encode())
        for array in _pieces(leaf):
            digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


_GATHERED_BYTES = 1 << 28  # of a leaf that lies on several hosts, at most so much is brought together at once


def _pieces(leaf: Any) -> Iterator[np.ndarray]:
    """The values of a leaf in order. All processes that hold a part of it must ask for them."""
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated:
        yield np.ascontiguousarray(jax.device_get(leaf))
        return
    everywhere = NamedSharding(leaf.sharding.mesh, PartitionSpec())  # type: ignore[attr-defined]
    if leaf.nbytes <= _GATHERED_BYTES or leaf.ndim == 0:
        yield np.ascontiguousarray(jax.device_get(jax.jit(lambda x: x, out_shardings=everywhere)(leaf)))
        return
    rows = max(1, _GATHERED_BYTES * leaf.shape[0] // leaf.nbytes)
    part = jax.jit(jax.lax.dynamic_slice_in_dim, static_argnums=(2, 3), out_shardings=everywhere)
    for first in range(0, leaf.shape[0], rows):
        yield np.ascontiguousarray(jax.device_get(part(leaf, first, min(rows, leaf.shape[0] - first), 0)))
