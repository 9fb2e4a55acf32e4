"""A run over an int8 base, from the command to its replies, on one device and on eight."""

import json

import pytest

from tests import tiny_run

train = tiny_run.train  # a fixture
_STAGE = 'stage("gm", "dpo", steps=4, learning_rate=1e-3, reference="adapter_off")'
FLAGS = ("--config.base_quantization=int8", "--config.samples=1")
MESH = [f"--config.mesh.{axis}=2" for axis in ("data", "fsdp", "tensor")]


@pytest.fixture(scope="module")
def one(train, tmp_path_factory):
    return train.with_stages(tmp_path_factory.mktemp("config") / "one.py", _STAGE)


@pytest.fixture(scope="module")
def alone(one, tmp_path_factory):
    return one.finish(tmp_path_factory.mktemp("alone") / "work", *FLAGS)


def test_it_learns_and_answers_over_fewer_bytes(one, alone):
    losses = tiny_run.losses(alone, "gm_dpo")
    assert losses[1] == pytest.approx(0.693147, abs=1e-5) and len(losses) == 4
    assert (alone / "gm_dpo" / "samples.jsonl").read_text()
    shown = json.loads((alone / "gm_dpo" / "compiled.json").read_text())
    # By hand, for 2 layers with D 32, F 64, 4 and 2 heads of 8: bytes of a projection, its scales in float32, and what
    # is left in float32 (embedding, output matrix, norms, adapter of rank 4).
    matrices = [(32, 32), (32, 16), (32, 16), (32, 32), (32, 64), (32, 64), (64, 32)]
    vocabulary = json.loads((one.base / "config.json").read_text())["vocab_size"]
    base = 2 * sum(i * o + 4 * o for i, o in matrices) + 4 * (2 * vocabulary * 32 + 32 * 5)
    adapter = 4 * 2 * sum(4 * (i + o) for i, o in matrices)
    assert shown["weights_bytes"] == base + adapter


def test_eight_devices_learn_the_same(one, alone, tmp_path):
    split = one.finish(tmp_path / "split", "--virtual_devices", "8", *MESH, *FLAGS, "--config.samples=0")
    expected, found = (tiny_run.losses(work, "gm_dpo") for work in (alone, split))
    assert found == pytest.approx(expected, rel=1e-5)
