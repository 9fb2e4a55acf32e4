"""A run over a mixture of datasets goes on after a kill as if nothing had happened: the position is all it needs."""

import os
import random
import signal

import pytest

from llumi_jax.data import dataset
from tests import tiny_run
from tests.invariants.test_resume import in_step, strike

train = tiny_run.train  # a fixture
TINY, OTHER = f"{tiny_run.DATASET}_replies", f"{tiny_run.DATASET.replace('tiny', 'other')}_replies"
STEPS = 8


@pytest.fixture(scope="module")
def mixed(train, tmp_path_factory):
    tiny_run.save_dataset(train.data, "other", threads=20, words=30)
    data = f"(({TINY!r}, 0.7), ({OTHER!r}, 0.3))"
    stage = f'stage("gm", "sft", steps={STEPS}, learning_rate=1e-3, evaluate=False, data={data})'
    return train.with_stages(tmp_path_factory.mktemp("config") / "mixed.py", stage)


@pytest.fixture(scope="module")
def whole(mixed, tmp_path_factory):
    return mixed.finish(tmp_path_factory.mktemp("whole") / "work")


def test_a_kill_changes_nothing(mixed, whole, tmp_path):
    seed = int.from_bytes(os.urandom(4), "big")
    step = random.Random(seed).randint(1, STEPS - 2)
    work = tmp_path / "work"
    code, _ = strike(mixed, work, lambda: in_step(work, "gm_sft", step), signal.SIGKILL)
    assert code == -signal.SIGKILL
    mixed.finish(work)
    assert tiny_run.digests(work, ["gm_sft"]) == tiny_run.digests(whole, ["gm_sft"]), f"seed {seed}"
    assert tiny_run.losses(work, "gm_sft") == tiny_run.losses(whole, "gm_sft")


def test_other_shares_are_another_run(mixed, whole, capsys):
    text = mixed.config.read_text()
    other = mixed.with_stages(mixed.config.with_name("other.py"))
    other.config.write_text(text.replace("0.7)", "0.8)"))
    line = other.mistake(capsys, *other.arguments(whole))
    assert "config.stage.gm_sft.data" in line and "0.7" in line and "0.8" in line


def test_a_dataset_misspelt_and_a_mixture_that_is_none(mixed, tmp_path, capsys):
    text = mixed.config.read_text()
    for old, new, said in (("other_replies", "othr_replies", "'othr_replies'"), ("0.7)", "0)", "a mixture [")):
        other = mixed.with_stages(tmp_path / "other.py")
        other.config.write_text(text.replace(old, new))
        line = other.mistake(capsys, *other.arguments(tmp_path / "work", "--config.batch_rows=8"))
        assert said in line


def test_all_threads_of_a_mixture_are_read_for_evaluation(mixed):
    spec = [(TINY, 0.7), (OTHER, 0.3)]
    both = dataset.read_threads(spec, "test", "gm", mixed.data, "replies")
    assert len(both) == len(dataset.read_threads(f"{TINY},{OTHER}", "test", "gm", mixed.data, "replies")) > 0
