"""The loop of one stage. All side effects of training are here: input, logs, checkpoints, signals."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from llumi_jax.cli import RunFailure
from llumi_jax.data import loader
from llumi_jax.storage.checkpoints import Checkpoints
from llumi_jax.training import heap
from llumi_jax.training.goodput import Goodput
from llumi_jax.training.hosts import votes
from llumi_jax.training.looks import HeldOutLook, Look, ReplyLook
from llumi_jax.training.options import Options
from llumi_jax.training.sharding import own_rows, to_device
from llumi_jax.training.signals import Stopped, StopRequest
from llumi_jax.training.state import TrainState
from llumi_jax.training.step_log import Pending, StepLog, finite
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
    draw: loader.Draw  # in which order they come
    ids_of: Callable[[int], list[str]]  # row index -> thread ids, for error messages
    tokens_per_row: float  # that are not padding
    batch_rows: int
    total_steps: int
    seed: int
    checkpoint_every: int
    first_loss: float | None  # what theory gives for the very first step, or None
    first_loss_tolerance: float
    options: Options = Options()
    held_out: HeldOutLook | None = None
    replies: ReplyLook | None = None
    goodput: Goodput = dataclasses.field(default_factory=Goodput)

    def saved(self) -> None:
        """Steps up to here are not lost any more."""
        if jax.process_index() == 0:
            self.goodput.write()

    def due(self, step: int) -> list[Look]:
        """What is to be looked at after this step."""
        looks: tuple[Look | None, ...] = (self.held_out, self.replies)
        return [look for look in looks if look and look.due(step)]


class _WrongStart(RunFailure):
    """The first loss is not what theory gives."""


def train(job: Job, state: TrainState, mesh: Mesh, checkpoints: Checkpoints, stop: StopRequest) -> TrainState:
    """Runs a stage from the state's step to its end, which held-out pairs may call earlier.

    Raises:
      Stopped: a stop was asked for; the state is saved.
      RunFailure: the loss is no number (the state is saved), or contradicts theory at the first step (nothing is).
    """
    start, B, held_out = int(state.step), job.batch_rows, job.held_out
    _keep_best(held_out, checkpoints)
    if start >= job.total_steps or (held_out and held_out.exhausted):
        return state
    own = own_rows(mesh, B)
    stream = loader.batches(job.rows, B, job.seed, int(state.position), job.total_steps * B, own, job.draw)
    check = lambda *of: _check(job, *of)
    log = StepLog(job.name, job.folder, job.total_steps, start, job.tokens_per_row * B, stop.heard, check)
    trace, dog = Trace(job.folder, job.options.profile_steps), Watchdog(job.name, job.options.hang_seconds)
    try:
        with log, dog, trace, job.goodput.part("steps"):
            for number, batch in enumerate(log.pace.timed(job.goodput.waiting(stream)), start=start + 1):
                began = log.pace()
                with trace.before(number):
                    rows = votes.cast(to_device(batch, mesh, B), stop.requested, mesh)
                    state, metrics = job.step(state, job.frozen, rows)
                log.sent_off(number, metrics, began)
                stopping = stop.due  # asked once: a signal that comes later stops the next step
                due = job.due(number)
                saving = number % job.checkpoint_every == 0 or number == job.total_steps or stopping
                # The first step is looked at at once: it proves the setup. Before a save, too: a run that goes on from
                # it does not come back to this step's line of the log.
                log.catch_up(0 if due or saving or number == start + 1 or trace.edge(number) else 1, due, state)
                if traced := trace.after(number):
                    log.bar.log(f"{job.name}: profile written to {traced}")
                best = held_out is not None and held_out.is_best(number)
                ended = held_out is not None and held_out.exhausted
                if saving or best or ended:
                    with log.outside(), job.goodput.part("saving"):
                        checkpoints.save(number, state.trees())
                        if best:
                            checkpoints.wait()
                            _keep_best(held_out, checkpoints)
                        heap.give_back()
                        job.saved()
                dog.beat(number)
                if number > start + 1:  # which waited for the compiler
                    stop.takes(log.pace() - began)
                if stopping:
                    checkpoints.wait()
                    raise Stopped
                if ended:
                    log.bar.end_here()
                    break
            _say_how_it_ended(job, int(state.step), trace, log)
    except _WrongStart:
        raise  # a step taken from a wrong start must not be gone on from
    except RunFailure:
        log.write_rest()
        checkpoints.save(int(state.step), state.trees())
        checkpoints.wait()
        raise
    finally:
        log.close()
    with job.goodput.part("saving"):
        checkpoints.wait()
    return state


def _keep_best(held_out: HeldOutLook | None, checkpoints: Checkpoints) -> None:
    """Names the best checkpoint, which is whole by now; from then on it is held."""
    if held_out is None or held_out.best is None:
        return
    if jax.process_index() == 0:
        held_out.write_best()
    checkpoints.hold(held_out.best.step)


def _say_how_it_ended(job: Job, step: int, trace: Trace, log: StepLog) -> None:
    if job.held_out and job.held_out.best:
        early = f"ended early at step {step}: " if step < job.total_steps else ""
        best = job.held_out.best
        log.bar.log(f"{job.name}: {early}{job.held_out.best_by} was best at step {best.step}, {best.value:.4g}")
    if trace.missed:
        log.bar.log(f"{job.name}: no profile: none of the steps that it was asked for was run")


def _check(job: Job, pending: Pending, values: Mapping[str, float]) -> None:
    if not finite(values):
        last = pending.step * job.batch_rows
        rows = loader.row_order(job.draw, job.seed, np.arange(last - job.batch_rows, last))
        ids = sorted({i for row in rows for i in job.ids_of(int(row))})
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
