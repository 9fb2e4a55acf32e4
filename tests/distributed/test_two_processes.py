"""Two processes of four devices each train what one process trains, stop together, and go on exactly."""

import contextlib
import json
import signal
import time
from pathlib import Path

import pytest

from llumi_jax import train as command
from tests import tiny_run
from tests.distributed.two_processes import finish, started
from tests.tiny_run import Train, digests, losses, metrics

STAGES, STEPS = ("gm_sft", "gm_dpo"), 6
# Weights lie across both processes: what is read, gathered and saved of them is never all in one.
QUICK = ("--config.stage.gm_dpo.evaluate=False",)  # changes no weight
FULL = ("--config.lora=None", "--config.mesh.data=1", "--config.mesh.fsdp=-1", *QUICK)
TOLERANCE = 1e-5

base = tiny_run.train  # a fixture


@pytest.fixture(scope="module")
def train(base, tmp_path_factory):
    short = [
        f'stage("gm", "{what}", steps={STEPS}, learning_rate=1e-3, evaluate={what == "dpo"})' for what in ("sft", "dpo")
    ]
    made = base.with_stages(tmp_path_factory.mktemp("two") / "two.py", *short)
    made.config.write_text(made.config.read_text().replace("batch_rows=4", "batch_rows=8"))
    return made


def alone(train: Train, workdir: Path, *flags: str) -> Path:
    """The run in this process, on its eight devices."""
    with contextlib.redirect_stdout(None):
        assert command.main(train.arguments(workdir, *flags)) == 0
    return workdir


def assert_same_losses(there: Path, here: Path) -> None:
    for stage in STAGES:
        expected, found = losses(there, stage), losses(here, stage)
        worst = max(abs(found[step] / loss - 1) for step, loss in expected.items())
        print(f"{stage}: largest relative difference {worst:.1e}")
        assert len(found) == STEPS and worst < TOLERANCE


@pytest.fixture(scope="module")
def together(train, tmp_path_factory):
    """Two processes with LoRA that nobody disturbed."""
    return finish(train, tmp_path_factory.mktemp("together") / "work")


def test_lora_of_two_processes_is_that_of_one(train, together, tmp_path):
    one = alone(train, tmp_path / "one")
    assert_same_losses(one, together)
    scores = [json.loads((work / "gm_dpo" / "evaluation.json").read_text()) for work in (one, together)]
    assert scores[1]["sigmoid_loss"] == pytest.approx(scores[0]["sigmoid_loss"], rel=TOLERANCE)


def test_a_killed_process_stops_the_other_and_both_go_on_to_the_same_last_bit(train, together, tmp_path):
    work = tmp_path / "work"
    for killed, stage in ((1, "gm_sft"), (0, "gm_dpo")):
        with started(train, work, *QUICK) as pair:
            pair.at(work, stage, 3)
            pair.processes[killed].send_signal(signal.SIGKILL)
            struck = time.monotonic()
            codes = pair.codes(60)
            print(f"process {killed} killed: the other ended after {time.monotonic() - struck:.1f} s")
            assert codes[killed] == -signal.SIGKILL and codes[1 - killed] == 1
            said = pair.said(1 - killed)
            # Of a lost process 0 the others hear from JAX as well, which may be quicker to end them.
            known = f"error: process {killed} of 2" in said and "is gone" in said
            assert known or (killed == 0 and "another task died" in said), said
            assert not (work / stage / "done.json").exists()
    finish(train, work, *QUICK)
    assert digests(work, STAGES) == digests(together, STAGES)
    for stage in STAGES:
        assert losses(work, stage) == losses(together, stage)


def test_hosts_two_one_two(train, tmp_path):
    """All weights trained: stopped on two hosts, gone on with on one of four devices, stopped, and ended on two."""
    work, rows = tmp_path / "work", []
    with started(train, work, *FULL) as pair:
        pair.at(work, "gm_sft", 2)
        pair.processes[1].send_signal(signal.SIGTERM)  # one is told, both stop
        assert pair.codes(120) == [0, 0], pair.said(0) + pair.said(1)
        assert "same command again goes on" in pair.said(0)
    rows.append(len(metrics(work, "gm_sft")))
    with train.watched(work, lambda: len(metrics(work, "gm_dpo")) >= 2, "--virtual_devices", "4", *FULL) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    rows.append(len(metrics(work, "gm_dpo")))
    finish(train, work, *FULL)
    assert rows[0] < STEPS and rows[1] < STEPS, "each leg must be one that was stopped within its stage"
    assert_same_losses(alone(train, tmp_path / "one", *FULL), work)
