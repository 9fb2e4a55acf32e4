"""A run that is killed or stopped at any moment ends, after the same command again, as if nothing had happened."""

import contextlib
import json
import os
import random
import shutil
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
    evidence: Callable[[], object]


def lines(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def in_step(work: Path, stage: str, step: int) -> Moment:
    """The step's line is written; the next step is under way."""
    folder = work / stage
    return Moment(f"{stage}, step {step}", lambda: lines(folder) >= step, lambda: not (folder / "done.json").exists())


def in_save(work: Path, stage: str) -> Moment:
    """A checkpoint is being written in the background: it has its temporary name."""
    folder = work / stage / "checkpoints"

    def unfinished() -> set[tuple[str, int]]:
        found = set()
        for path in folder.glob("*tmp*"):
            with contextlib.suppress(FileNotFoundError):  # it was finished meanwhile
                found.add((path.name, path.stat().st_ctime_ns))
        return found

    older = unfinished()  # what an earlier kill left
    return Moment(f"{stage}, while a checkpoint is being saved", lambda: bool(unfinished() - older), unfinished)


def in_sweep(work: Path, stage: str) -> Moment:
    """Some batches of the cached reference are on disk, and the stage has not begun to train."""
    folder = work / stage
    seen = lambda: (folder / "reference" / "reference.json").exists()
    return Moment(f"{stage}, in the sweep of the reference", seen, lambda: not (folder / "checkpoints").exists())


def between(work: Path, stage: str, following: str) -> Moment:
    seen = lambda: (work / stage / "done.json").exists()
    return Moment(f"between {stage} and {following}", seen, lambda: not (work / following).exists())


def strike(train, work: Path, aim: Callable[[], Moment], number: int, *flags: str) -> tuple[int, str]:
    """Starts the command, sends the signal at the moment; returns the exit code and what was printed.

    On a busy machine the signal can come too late: then everything is put back, and it is tried again.
    """
    before = work.with_name("before")
    for _ in range(5):
        shutil.rmtree(before, ignore_errors=True)
        shutil.copytree(work, before) if work.exists() else before.mkdir()
        moment = aim()
        with train.watched(work, moment.seen, *flags) as process:
            process.send_signal(number)
            out, err = process.communicate(timeout=900)
        if moment.evidence():
            print(f"signal {number}: {moment.name}")
            return process.returncode, out + err
        shutil.rmtree(work)
        before.rename(work)
    raise AssertionError(f"always too late: {moment.name}")


def test_kill_at_random_moments_changes_nothing(train, uninterrupted, tmp_path):
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"steps drawn from seed {seed}")
    draw = random.Random(seed)
    work = tmp_path / "work"
    steps = {stage: draw.randint(1, STEPS - 2) for stage in STAGES}
    steps["gm_sft"] = draw.randint(1, STEPS - 5)  # leaves a save to be killed in
    moments = [
        lambda: in_step(work, "gm_sft", steps["gm_sft"]),
        lambda: in_save(work, "gm_sft"),
        lambda: between(work, "gm_sft", "gm_dpo"),
        lambda: in_sweep(work, "gm_dpo"),
        lambda: in_step(work, "gm_dpo", steps["gm_dpo"]),
        lambda: in_step(work, "im_sft", steps["im_sft"]),
        lambda: in_step(work, "im_dpo", steps["im_dpo"]),
    ]
    for aim in moments:
        code, _ = strike(train, work, aim, signal.SIGKILL)
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
    for _ in range(5):
        shutil.rmtree(work, ignore_errors=True)
        with train.watched(work, in_step(work, "gm_sft", 3).seen, role) as process:
            process.send_signal(signal.SIGSTOP)  # held still, so that the second run surely meets it
            seen = lines(work / "gm_sft")
            if seen > STEPS - 4:
                continue  # too late on a busy machine: there must be steps left to stop before
            line = train.mistake(capsys, *train.arguments(work, role))
            assert str(process.pid) in line and str(work) in line and "--workdir" in line
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
            out, err = process.communicate(timeout=900)
            break
    assert process.returncode == 0, err
    assert "saved" in out and "same command again" in out
    logged = lines(work / "gm_sft")
    saved = max(int(name) for name in os.listdir(work / "gm_sft" / "checkpoints") if name.isdigit())
    # At most: two steps that were under way or not yet in the log, and the one in which the signal was seen.
    assert saved == logged <= seen + 3

    code, said = strike(train, work, lambda: in_sweep(work, "gm_dpo"), signal.SIGTERM, role)
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
