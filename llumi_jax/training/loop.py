"""The loop of one stage. All side effects of training are here: input, logs, checkpoints, signals."""

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from llumi_jax.cli import RunFailure
from llumi_jax.data import loader
from llumi_jax.storage.checkpoints import Checkpoints
from llumi_jax.training.metrics import MetricWriter
from llumi_jax.training.pace import Pace
from llumi_jax.training.progress import Progress
from llumi_jax.training.sharding import to_device
from llumi_jax.training.signals import StopRequest
from llumi_jax.training.state import TrainState


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


class _WrongStart(RunFailure):
    """The first loss is not what theory gives."""


@dataclasses.dataclass
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
    waiting: deque[_Pending] = deque()
    pace = Pace()
    writer = MetricWriter(job.folder, start) if jax.process_index() == 0 else None
    bar = Progress(job.name, job.total_steps, start)
    stream = loader.batches(job.rows, B, job.seed, int(state.position), job.total_steps * B, share)
    try:
        with bar:
            for number, batch in enumerate(pace.timed(stream), start=start + 1):
                began = pace()
                state, metrics = job.step(state, job.frozen, to_device(batch, mesh))
                waiting.append(_Pending(number, batch["row"], metrics, began))
                stopping = stop.requested  # asked once: a signal that comes later stops the next step
                saving = number % job.checkpoint_every == 0 or number == job.total_steps or stopping
                # The first step is looked at at once: it proves the setup. Before a save, too: a run that goes on from
                # it does not come back to this step's line of the log.
                while len(waiting) > (0 if saving or number == start + 1 else 1):
                    _report(job, waiting.popleft(), pace, writer, bar)
                if saving:
                    checkpoints.save(number, state.trees())
                    pace.skip()
                if stopping:
                    checkpoints.wait()
                    stop.check()
    except _WrongStart:
        raise  # a step taken from a wrong start must not be gone on from
    except RunFailure:
        for late in waiting:
            _write(job, late, pace, writer, bar)
        checkpoints.save(int(state.step), state.trees())
        checkpoints.wait()
        raise
    finally:
        if writer:
            writer.close()
    checkpoints.wait()
    return state


def _report(job: Job, pending: _Pending, pace: Pace, writer: MetricWriter | None, bar: Progress) -> None:
    """Waits for a step's metrics, writes them down and checks them."""
    _check(job, pending, _write(job, pending, pace, writer, bar))


def _write(job: Job, pending: _Pending, pace: Pace, writer: MetricWriter | None, bar: Progress) -> Mapping[str, float]:
    sums = jax.device_get(pending.metrics)
    seconds, data_wait = pace.lap(pending.started)
    values = {name: float(total) / float(weight) if weight else float(total) for name, (total, weight) in sums.items()}
    values["data_wait"] = data_wait
    values["tokens_per_second"] = job.tokens_per_row * job.batch_rows / seconds
    if "pairs" in values:
        values["pairs_per_second"] = values["pairs"] / seconds
    if writer:
        writer.write(pending.step, values)
    bar.update(pending.step, values)
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
