"""A run split over eight devices learns what a run on one device learns."""

import pytest

from tests import tiny_run
from tests.tiny_run import STEPS, losses

train, uninterrupted = tiny_run.train, tiny_run.uninterrupted  # fixtures
MESH = [f"--config.mesh.{axis}=2" for axis in ("data", "fsdp", "tensor")]
TOLERANCE = 1e-5


@pytest.mark.parametrize("what", ["lora", "all weights"])
def test_losses_on_2x2x2_devices_equal_those_on_one(what, train, uninterrupted, tmp_path):
    flags = ["--config.roles=gm"]
    if what == "all weights":
        # The other attention backend, and nothing but training.
        flags += ["--config.lora=None", "--config.attention=dense", "--config.stage.gm_dpo.evaluate=False"]
        alone = train.finish(tmp_path / "alone", *flags)
    else:
        alone = uninterrupted
    split = train.finish(tmp_path / "split", "--virtual_devices", "8", *MESH, *flags)
    for stage in ("gm_sft", "gm_dpo"):
        expected, found = losses(alone, stage), losses(split, stage)
        worst = max(abs(found[step] / loss - 1) for step, loss in expected.items())
        print(f"{what}, {stage}: largest relative difference {worst:.1e}")
        assert len(found) == STEPS and worst < TOLERANCE
