"""What held-out pairs decide while a stage trains (its best step, its end) survives kills, and is its result."""

import copy
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
_CONFIG = """
from tests.tiny_run import DATASET
from configs.common import config, stage

def get_config():
    return config(
        stage("gm", "dpo", steps={steps}, learning_rate=0.03, reference="frozen", evaluate_every=2,
              best_by="held_out_loss", patience=2, sample_every=3),
        base={base!r}, pairs=DATASET + "_pairs", row_length=256, batch_rows=4, max_prompt_tokens=200,
        checkpoint_every=3, samples=2, sample_tokens=8,
        lora=dict(rank=4, alpha=8.0, rslora=False, targets=("q", "k", "v", "o", "gate", "up", "down")),
    )
"""


@pytest.fixture
def one_stage(train, tmp_path):
    found = copy.copy(train)
    found.config = tmp_path / "one.py"
    found.config.write_text(_CONFIG.format(base=str(train.base), steps=STEPS))
    return found


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


def test_kills_change_neither_the_best_step_nor_the_end(one_stage, tmp_path):
    whole = one_stage.finish(tmp_path / "whole")
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
        code, _ = strike(one_stage, work, lambda aim=aim, step=step: aim(work, step), signal.SIGKILL)
        assert code == -signal.SIGKILL
    one_stage.finish(work)
    assert told(work) == expected
