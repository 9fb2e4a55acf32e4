"""What is written down of a stage's steps: one late, so that the device never waits."""

import contextlib
import dataclasses
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from llumi_jax.training.compiled import Recompiles
from llumi_jax.training.hosts.votes import STOP
from llumi_jax.training.looks import Look
from llumi_jax.training.metrics import MetricWriter
from llumi_jax.training.pace import Pace
from llumi_jax.training.progress import Progress
from llumi_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class Pending:
    """A step that the device may still be computing."""

    step: int
    metrics: Any  # name -> (sum, weight), on the device
    started: float


class StepLog:
    """The log of a stage: metrics.jsonl, TensorBoard, the line in the terminal. Used as a context manager.

    Args:
      name, folder, total_steps: of the stage.
      start: step of the state that it begins with.
      tokens: of a step, without padding.
      heard: is called with the votes to stop that a step carried.
      check: is called with every step and its numbers after they are written; raises if the run must not go on.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        total_steps: int,
        start: int,
        tokens: float,
        heard: Callable[[float], None],
        check: Callable[[Pending, Mapping[str, float]], None],
    ) -> None:
        self._name, self._tokens, self._heard, self._check = name, tokens, heard, check
        self.pace, self._recompiles = Pace(), Recompiles()
        self.bar = Progress(name, total_steps, start)
        self._writer = MetricWriter(folder, start) if jax.process_index() == 0 else None
        self._waiting: deque[Pending] = deque()
        self._shown: dict[str, float] = {}  # what stands on the line beside the newest step's numbers

    def __enter__(self) -> "StepLog":
        self.bar.__enter__()
        self._recompiles.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._recompiles.__exit__(*raised)
        self.bar.__exit__(*raised)

    def close(self) -> None:
        if self._writer:
            self._writer.close()

    @contextlib.contextmanager
    def outside(self) -> Iterator[None]:
        """What happens within belongs to no step: not its time, not its programs."""
        with self._recompiles.expected():
            yield
        self.pace.skip()

    def sent_off(self, step: int, metrics: Any, started: float) -> None:
        self._waiting.append(Pending(step, metrics, started))

    def catch_up(self, left: int, due: Sequence[Look] = (), state: TrainState | None = None) -> None:
        """Waits for the steps that were sent off, all but the newest `left`, writes them down and checks them.

        Looks that are due are taken at the newest step, whose state is given.
        """
        while len(self._waiting) > left:
            pending = self._waiting.popleft()
            values = self._values(pending)
            if not self._waiting and due and state is not None and finite(values):
                values |= self._look(due, pending.step, state)
            self._write(pending.step, values)
            self._check(pending, values)

    def write_rest(self) -> None:
        """Writes down what was sent off, unchecked: the run ends."""
        while self._waiting:
            pending = self._waiting.popleft()
            self._write(pending.step, self._values(pending))

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        if self._writer:
            self._writer.write(step, values)
        self.bar.update(step, {**self._shown, **values})

    def _values(self, pending: Pending) -> dict[str, float]:
        sums = jax.device_get(pending.metrics)
        if votes := sums.pop(STOP, None):
            self._heard(float(votes[0]))
        seconds, data_wait = self.pace.lap(pending.started)
        of = lambda total, weight: float(total) / float(weight) if weight else float(total)
        values = {name: of(total, weight) for name, (total, weight) in sums.items()}
        values["data_wait"] = data_wait
        values["tokens_per_second"] = self._tokens / seconds
        if "pairs" in values:
            values["pairs_per_second"] = values["pairs"] / seconds
        if again := self._recompiles.take():
            self.bar.log(
                f"{self._name}: compiled again by step {pending.step}: {', '.join(again)}. After its first step a "
                "stage should compile nothing; shapes that change from step to step cost more than the steps."
            )
        self._recompiles.start()
        values["recompiles"] = self._recompiles.count
        return values

    def _look(self, due: Sequence[Look], step: int, state: TrainState) -> dict[str, float]:
        numbers: dict[str, float] = {}
        with self.outside():
            for look in due:
                found = look(step, state.result)
                numbers |= {name: value for name, value in found.items() if not isinstance(value, str)}
                texts = {name: value for name, value in found.items() if isinstance(value, str)}
                if self._writer and texts:
                    self._writer.write_texts(step, texts)
        self._shown |= numbers
        return numbers


def finite(values: Mapping[str, float]) -> bool:
    return math.isfinite(values["loss"]) and math.isfinite(values["grad_norm"])
