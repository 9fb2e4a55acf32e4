"""The loop of one stage. All side effects of training are here: input, logs, checkpoints, signals."""

import contextlib
import dataclasses
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from llumi_jax.cli import RunFailure
from llumi_jax.data import loader
from llumi_jax.storage.checkpoints import Checkpoints
from llumi_jax.training.compiled import Recompiles
from llumi_jax.training.metrics import MetricWriter
from llumi_jax.training.options import Options
from llumi_jax.training.pace import Pace
from llumi_jax.training.progress import Progress
from llumi_jax.training.sharding import to_device
from llumi_jax.training.signals import StopRequest
from llumi_jax.training.state import TrainState
from llumi_jax.training.tracing import Trace
from llumi_jax.training.watchdog import Watchdog


@dataclasses.dataclass(frozen=True)
class Job:
    """All that the loop of one stage needs, nothing of it changing while it runs."""

    name: str
    folder: Path
    step: Callable[[TrainState, Any, Mapping[str, jax.Array]], tuple[TrainState, Any]]
    frozen: Any
    rows: loader.Rows
    ids_of: Callable[[int], list[str]]  # row index -> thread ids, for error messages
    tokens_per_row: float  # that are not padding
    batch_rows: int
    total_steps: int
    seed: int
    checkpoint_every: int
    first_loss: float | None  # what theory gives for the very first step, or None
    first_loss_tolerance: float
    options: Options = Options()


class _WrongStart(RunFailure):
    """The first loss is not what theory gives."""


@dataclasses.dataclass(frozen=True)
class _Pending:
    """A step that the device may still be computing; it is looked at one step later, so that the device never waits."""

    step: int
    row_indices: np.ndarray
    metrics: Any
    started: float


def train(job: Job, state: TrainState, mesh: Mesh, checkpoints: Checkpoints, stop: StopRequest) -> TrainState:
    """Runs a stage from the state's step to its end.

    Raises:
      Stopped: a stop was asked for; the state is saved.
      RunFailure: the loss is no number (the state is saved), or contradicts theory at the first step (nothing is).
    """
    start, B = int(state.step), job.batch_rows
    share = (jax.process_index(), jax.process_count())
    log = _Log(job, start)
    trace, dog = Trace(job.folder, job.options.profile_steps), Watchdog(job.name, job.options.hang_seconds)
    stream = loader.batches(job.rows, B, job.seed, int(state.position), job.total_steps * B, share)
    try:
        with log, dog, trace:
            for number, batch in enumerate(log.pace.timed(stream), start=start + 1):
                began = log.pace()
                with trace.before(number):
                    state, metrics = job.step(state, job.frozen, to_device(batch, mesh))
                log.waiting.append(_Pending(number, batch["row"], metrics, began))
                stopping = stop.requested  # asked once: a signal that comes later stops the next step
                saving = number % job.checkpoint_every == 0 or number == job.total_steps or stopping
                # The first step is looked at at once: it proves the setup. Before a save, too: a run that goes on from
                # it does not come back to this step's line of the log.
                log.catch_up(0 if saving or number == start + 1 or trace.edge(number) else 1)
                if traced := trace.after(number):
                    log.bar.log(f"{job.name}: profile written to {traced}")
                dog.beat(number)
                if saving:
                    with log.outside():
                        checkpoints.save(number, state.trees())
                if stopping:
                    checkpoints.wait()
                    stop.check()
            if trace.missed:
                log.bar.log(
                    f"{job.name}: no profile, steps {start + 1} to {job.total_steps} hold none of those asked for"
                )
    except _WrongStart:
        raise  # a step taken from a wrong start must not be gone on from
    except RunFailure:
        log.catch_up(0, check=False)
        checkpoints.save(int(state.step), state.trees())
        checkpoints.wait()
        raise
    finally:
        log.close()
    checkpoints.wait()
    return state


class _Log:
    """What is written down of the steps: one late, so that the device never waits."""

    def __init__(self, job: Job, start: int) -> None:
        self.job = job
        self.waiting: deque[_Pending] = deque()
        self.pace, self.recompiles = Pace(), Recompiles()
        self.bar = Progress(job.name, job.total_steps, start)
        self._writer = MetricWriter(job.folder, start) if jax.process_index() == 0 else None

    def __enter__(self) -> "_Log":
        self.bar.__enter__()
        self.recompiles.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self.recompiles.__exit__(*raised)
        self.bar.__exit__(*raised)

    def close(self) -> None:
        if self._writer:
            self._writer.close()

    @contextlib.contextmanager
    def outside(self) -> Iterator[None]:
        """What happens within belongs to no step: not its time, not its programs."""
        with self.recompiles.expected():
            yield
        self.pace.skip()

    def catch_up(self, left: int, check: bool = True) -> None:
        """Waits for the steps that were sent off, all but the newest `left`, writes them down and checks them."""
        while len(self.waiting) > left:
            pending = self.waiting.popleft()
            values = self._values(pending)
            if self._writer:
                self._writer.write(pending.step, values)
            self.bar.update(pending.step, values)
            if check:
                _check(self.job, pending, values)

    def _values(self, pending: _Pending) -> Mapping[str, float]:
        job, sums = self.job, jax.device_get(pending.metrics)
        seconds, data_wait = self.pace.lap(pending.started)
        of = lambda total, weight: float(total) / float(weight) if weight else float(total)
        values = {name: of(total, weight) for name, (total, weight) in sums.items()}
        values["data_wait"] = data_wait
        values["tokens_per_second"] = job.tokens_per_row * job.batch_rows / seconds
        if "pairs" in values:
            values["pairs_per_second"] = values["pairs"] / seconds
        if again := self.recompiles.take():
            self.bar.log(
                f"{job.name}: compiled again by step {pending.step}: {', '.join(again)}. After its first step a stage "
                "should compile nothing; shapes that change from step to step cost more than the steps."
            )
        self.recompiles.start()
        values["recompiles"] = self.recompiles.count
        return values


def _check(job: Job, pending: _Pending, values: Mapping[str, float]) -> None:
    if not (math.isfinite(values["loss"]) and math.isfinite(values["grad_norm"])):
        ids = sorted({i for row in pending.row_indices for i in job.ids_of(int(row))})
        raise RunFailure(
            f"{job.name}: loss {values['loss']} with gradient norm {values['grad_norm']} at step {pending.step}; the "
            f"weights were left as they were and saved. Threads of that batch: {', '.join(ids[:20])}"
            f"{' …' if len(ids) > 20 else ''}. Lower the learning rate in a new --workdir, or look at those threads."
        )
    if pending.step == 1 and job.first_loss is not None:
        if abs(values["loss"] - job.first_loss) > job.first_loss_tolerance:
            raise _WrongStart(
                f"{job.name}: the first loss is {values['loss']:.6f} and must be {job.first_loss:.6f}: policy "
                f"and reference differ before training. Remove {job.folder / 'reference'} and run again."
            )
