"""A run that is killed or stopped at any moment ends, after the same command again, as if nothing had happened."""

import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests import tiny_run
from tests.tiny_run import STAGES, STEPS, losses

train, uninterrupted = tiny_run.train, tiny_run.uninterrupted  # fixtures


class Moment(NamedTuple):
    """When to strike, seen from outside, and what must be found afterwards if it was the right moment."""

    name: str
    seen: Callable[[], bool]
    evidence: Callable[[], bool]


def lines(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def in_step(work: Path, stage: str, step: int) -> Moment:
    """The step's line is written; the next step is under way."""
    folder = work / stage
    return Moment(
        f"{stage}, step {step}", lambda: lines(folder) >= step, lambda: not (folder / "done.json").exists()
    )


def in_save(work: Path, stage: str) -> Moment:
    """A checkpoint is being written in the background: it has its temporary name."""
    folder = work / stage / "checkpoints"
    seen = lambda: folder.is_dir() and any("tmp" in name for name in os.listdir(folder))
    return Moment(f"{stage}, while a checkpoint is being saved", seen, seen)


def in_sweep(work: Path, stage: str) -> Moment:
    """Some batches of the cached reference are on disk, and the stage has not begun to train."""
    folder = work / stage
    seen = lambda: (folder / "reference" / "reference.json").exists()
    return Moment(f"{stage}, in the sweep of the reference", seen, lambda: not (folder / "checkpoints").exists())


def between(work: Path, stage: str, following: str) -> Moment:
    seen = lambda: (work / stage / "done.json").exists()
    return Moment(f"between {stage} and {following}", seen, lambda: not (work / following).exists())


def strike(train, work: Path, moment: Moment, number: int, *flags: str) -> tuple[int, str]:
    """Starts the command, sends the signal at the moment; returns the exit code and what was printed."""
    with train.watched(work, moment.seen, *flags) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=900)
    print(f"signal {number}: {moment.name}")
    assert moment.evidence(), f"too late: {moment.name}"
    return process.returncode, out + err


def test_kill_at_random_moments_changes_nothing(train, uninterrupted, tmp_path):
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"steps drawn from seed {seed}")
    draw = random.Random(seed)
    work = tmp_path / "work"
    steps = {stage: draw.randint(1, STEPS - 2) for stage in STAGES}
    moments = [
        in_step(work, "gm_sft", steps["gm_sft"]),
        in_save(work, "gm_sft"),
        between(work, "gm_sft", "gm_dpo"),
        in_sweep(work, "gm_dpo"),
        in_step(work, "gm_dpo", steps["gm_dpo"]),
        in_step(work, "im_sft", steps["im_sft"]),
        in_step(work, "im_dpo", steps["im_dpo"]),
    ]
    for moment in moments:
        code, _ = strike(train, work, moment, signal.SIGKILL)
        assert code == -signal.SIGKILL
    train.finish(work)
    assert tiny_run.digests(work) == tiny_run.digests(uninterrupted)
    for stage in STAGES:
        assert losses(work, stage) == losses(uninterrupted, stage)
        assert len(losses(work, stage)) == STEPS


def sweep_state(work: Path) -> int:
    return json.loads((work / "gm_dpo" / "reference" / "reference.json").read_text())["done"]


def test_a_stop_is_saved_within_the_step_and_within_the_sweep(train, uninterrupted, tmp_path, capsys):
    work, role = tmp_path / "work", "--config.roles=gm"
    moment = in_step(work, "gm_sft", 3)
    with train.watched(work, moment.seen, role) as process:
        process.send_signal(signal.SIGSTOP)  # held still, so that the second run surely meets it
        line = train.mistake(capsys, *train.arguments(work, role))
        assert str(process.pid) in line and str(work) in line and "--workdir" in line
        seen = lines(work / "gm_sft")
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    assert "saved" in out and "same command again" in out
    logged = lines(work / "gm_sft")
    saved = max(int(name) for name in os.listdir(work / "gm_sft" / "checkpoints") if name.isdigit())
    assert saved == logged <= seen + 2 < STEPS  # the step under way when the signal came, and no further

    code, said = strike(train, work, in_sweep(work, "gm_dpo"), signal.SIGTERM, role)
    assert code == 0 and "same command again" in said, said
    done = sweep_state(work)

    train.finish(work, role)
    assert 0 < done < sweep_state(work)
    expected, found = tiny_run.digests(uninterrupted), tiny_run.digests(work, ("gm_sft", "gm_dpo"))
    assert found == {stage: expected[stage] for stage in found}
    for stage in found:
        assert losses(work, stage) == losses(uninterrupted, stage)


def times(work: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for s in STAGES for p in (work / s).rglob("*") if p.is_file()}


def test_a_finished_run_computes_nothing_again_and_prints_its_summary_again(train, uninterrupted):
    before = times(uninterrupted)
    done = train.run(uninterrupted, "--config.samples=1")
    assert done.returncode == 0, done.stderr
    assert times(uninterrupted) == before
    for stage in STAGES:
        assert f"{stage}: finished before, {STEPS} steps" in done.stdout
    for part in ("Training", "Held-out pairs", "Sample, gm", "Sample, im", "report.html", "llumi_jax.generate"):
        assert part in done.stdout
