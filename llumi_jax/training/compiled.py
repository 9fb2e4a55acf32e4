"""The compiled step: made once, its time and memory told at the start, and whatever is compiled later counted."""

import contextlib
import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from llumi_jax.cli import RunFailure
from llumi_jax.storage import files
from llumi_jax.training.hosts import agreement
from llumi_jax.training.report_text import size

FILE = "compiled.json"


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on one device while a compiled step runs."""

    arguments: int  # weights, optimiser state, rows
    temporaries: int  # activations, gradients
    outputs: int  # new state that no argument's memory is used again for

    @property
    def total(self) -> int:
        return self.arguments + self.temporaries + self.outputs


def memory_of(compiled: Any) -> Memory | None:
    """What the compiler counted for a `jax.stages.Compiled`; None where the platform does not tell."""
    found = compiled.memory_analysis()
    if found is None:
        return None
    fresh = max(0, found.output_size_in_bytes - found.alias_size_in_bytes)
    return Memory(found.argument_size_in_bytes, found.temp_size_in_bytes, fresh)


def bytes_on_a_device(tree: Any) -> int:
    """What one device holds of a tree of arrays (or of their shapes with shardings)."""
    shard = lambda x: x.sharding.shard_shape(x.shape) if getattr(x, "sharding", None) else x.shape
    return sum(math.prod(shard(leaf)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


class CompiledStep:
    """step(state, frozen, rows), compiled ahead of its first call, and never again.

    Args:
      step: the jitted step.
      name: of the stage, for what is said.
      folder: of the stage, where `compiled.json` is left; None = nowhere.
      say: prints a line.
      around: gives a context to compile in.
    """

    def __init__(
        self,
        step: Any,
        name: str,
        folder: Path | None = None,
        say: Callable[[str], None] = lambda line: print(line),
        around: Callable[[], Any] = contextlib.nullcontext,
    ) -> None:
        self._step, self._name, self._folder, self._say, self._around = step, name, folder, say, around
        self._compiled: Any = None
        self._shapes: dict[str, str] = {}

    def __call__(self, state: Any, frozen: Any, rows: Mapping[str, jax.Array]) -> Any:
        """Runs the step.

        Raises:
          RunFailure: the rows have other shapes than those that it was compiled for.
        """
        shapes = {name: f"{array.dtype}{list(array.shape)}" for name, array in rows.items()}
        if self._compiled is None:
            self._compiled, self._shapes = self._compile(state, frozen, rows), shapes
        elif shapes != self._shapes:
            raise RunFailure(f"{self._name}: {_difference(self._shapes, shapes)}")
        # A number that slipped in from the host would wait for the device in every step.
        with jax.transfer_guard("disallow"):
            return self._compiled(state, frozen, rows)

    def _compile(self, state: Any, frozen: Any, rows: Mapping[str, jax.Array]) -> Any:
        began = time.monotonic()
        with self._around():
            compiled = self._step.lower(state, frozen, rows).compile()
            agreement.meet()
        seconds = time.monotonic() - began
        memory = memory_of(compiled)
        found = {
            "seconds": round(seconds, 2),
            "weights_bytes": bytes_on_a_device((state.params, frozen)),
            "optimizer_bytes": bytes_on_a_device(state.opt_state),
            "rows_bytes": bytes_on_a_device(rows),
            "temporary_bytes": memory.temporaries + memory.outputs if memory else None,
            "total_bytes": memory.total if memory else None,
        }
        if self._folder is not None and jax.process_index() == 0:
            files.write_json(self._folder / FILE, found)
        self._say(f"{self._name}: {_in_words(found)}")
        return compiled


def _in_words(found: Mapping[str, Any]) -> str:
    names = {"weights_bytes": "weights", "optimizer_bytes": "optimiser", "rows_bytes": "rows"}
    names |= {"temporary_bytes": "temporary", "total_bytes": "in all"}
    parts = [f"{name} {size(found[key])}" for key, name in names.items() if found[key] is not None]
    return f"step compiled in {found['seconds']:.1f} s; on each device {', '.join(parts)}"


def _difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    parts = [
        f"{name} {now.get(name, 'nothing')} instead of {before.get(name, 'nothing')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    return f"the rows changed their shape: {', '.join(parts)}. All rows of a stage need one shape; look at its input."


class Recompiles:
    """Counts what XLA compiles in this thread after the first step. Used as a context manager around a loop.

    `count` is how many programs there were, `take()` the names of those that nobody has asked for yet. What is
    compiled within `expected()` does not count.
    """

    def __init__(self) -> None:
        self.count = 0
        self._names: list[str] = []
        self._thread = threading.get_ident()
        self._counting = False

    def start(self) -> None:
        """From now on nothing should be compiled."""
        self._counting = True

    def take(self) -> list[str]:
        names, self._names = self._names, []
        return names

    @contextlib.contextmanager
    def expected(self) -> Iterator[None]:
        """Within it, what is compiled is known to be new: a first save, a first evaluation."""
        before, self._counting = self._counting, False
        try:
            yield
        finally:
            self._counting = before

    def __enter__(self) -> "Recompiles":
        _register()
        _counters.append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        _counters.remove(self)

    def heard(self, name: str) -> None:
        if self._counting and threading.get_ident() == self._thread:
            self.count += 1
            self._names.append(name)


_EVENT = "/jax/core/compile/backend_compile_duration"  # also where the program came from the cache on disk
_counters: list[Recompiles] = []
_registered: list[bool] = []


def _register() -> None:
    """JAX keeps its listeners for good: one for all counters of the process."""
    if not _registered:
        _registered.append(True)
        jax.monitoring.register_event_duration_secs_listener(_listen)


def _listen(event: str, duration_secs: float, **about: Any) -> None:
    if event == _EVENT:
        for counter in _counters:
            counter.heard(str(about.get("fun_name", "a program")))
