"""What held-out pairs decide while a stage trains (its best step, its end) survives kills, and is its result."""

import json
import os
import random
import signal
from pathlib import Path

import pytest

from tests import tiny_run
from tests.invariants.test_resume import Moment, in_step, lines, strike

train = tiny_run.train  # a fixture
STAGE, STEPS = "gm_dpo", 20
# A learning rate that is far too high: the held-out loss soon gets worse.
_STAGE = f"""stage("gm", "dpo", steps={STEPS}, learning_rate=0.03, reference="frozen", evaluate_every=2,
    best_by="held_out_loss", patience=2, sample_every=3)"""
FLAGS = ("--config.samples=2", "--config.checkpoint_every=3")


def read(work: Path, name: str):
    return json.loads((work / STAGE / name).read_text())


def told(work: Path) -> dict:
    """All that the looks left behind."""
    logged = tiny_run.metrics(work, STAGE)
    return {
        "lines": [{k: v for k, v in line.items() if k in ("step", "loss") or "held_out" in k} for line in logged],
        "replies": (work / STAGE / "replies_by_step.jsonl").read_text(),
        "best": read(work, "best.json"),
        "evaluation": read(work, "evaluation.json"),
        "done": {key: value for key, value in read(work, "done.json").items() if key != "seconds"},
    }


def in_look(work: Path, step: int) -> Moment:
    """The step's line is written, its checkpoint or the word about the best one is on its way."""
    folder = work / STAGE
    return Moment(
        f"{STAGE}, look after {step}", lambda: lines(folder) >= step, lambda: not (folder / "done.json").exists()
    )


def test_kills_change_neither_the_best_step_nor_the_end(train, tmp_path):
    one = train.with_stages(tmp_path / "one.py", _STAGE)
    whole = one.finish(tmp_path / "whole", *FLAGS)
    expected = told(whole)
    best, done = expected["best"], expected["done"]
    assert done["steps"] < STEPS and done["best"] == best and best["step"] == done["steps"] - 4
    values = {line["step"]: line["held_out_loss"] for line in expected["lines"] if "held_out_loss" in line}
    assert best["value"] == min(values.values()) == values[best["step"]]
    # The evaluation is of the best step: all held-out posts were looked at.
    assert expected["evaluation"]["sigmoid_loss"] == pytest.approx(best["value"], rel=1e-5)
    assert expected["evaluation"]["sigmoid_loss"] < 0.99 * values[done["steps"]]
    assert {json.loads(line)["step"] for line in expected["replies"].splitlines()} == {*range(3, done["steps"] + 1, 3)}

    seed = int.from_bytes(os.urandom(4), "big")
    print(f"moments drawn from seed {seed}")
    draw, work = random.Random(seed), tmp_path / "work"
    for step in sorted({best["step"], draw.randint(1, done["steps"] - 1)}):
        aim = in_look if step % 2 == 0 else lambda work, step: in_step(work, STAGE, step)
        code, _ = strike(one, work, lambda aim=aim, step=step: aim(work, step), signal.SIGKILL, *FLAGS)
        assert code == -signal.SIGKILL
    one.finish(work, *FLAGS)
    assert told(work) == expected
