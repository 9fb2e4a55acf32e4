"""A run split over eight devices learns what a run on one device learns."""

import pytest

from llumi_jax.models.partitioning import MESH_AXES
from tests import tiny_run
from tests.tiny_run import STEPS, losses

train, uninterrupted = tiny_run.train, tiny_run.uninterrupted  # fixtures
MESHES = {"lora": ("data", "fsdp", "tensor"), "all weights": ("fsdp", "tensor", "context")}  # two devices along each
TOLERANCE = 1e-5


@pytest.mark.parametrize("what", ["lora", "all weights"])
def test_losses_on_eight_devices_equal_those_on_one(what, train, uninterrupted, tmp_path):
    flags, sizes = ["--config.roles=gm"], {axis: 2 if axis in MESHES[what] else 1 for axis in MESH_AXES}
    mesh = [f"--config.mesh.{axis}={size}" for axis, size in sizes.items()]
    if what == "all weights":
        # The other attention backend, and nothing but training.
        flags += ["--config.lora=None", "--config.attention=dense", "--config.stage.gm_dpo.evaluate=False"]
        alone = train.finish(tmp_path / "alone", *flags)
    else:
        alone = uninterrupted
    split = train.finish(tmp_path / "split", "--virtual_devices", "8", *mesh, *flags)
    for stage in ("gm_sft", "gm_dpo"):
        expected, found = losses(alone, stage), losses(split, stage)
        worst = max(abs(found[step] / loss - 1) for step, loss in expected.items())
        print(f"{what}, {stage}: largest relative difference {worst:.1e}")
        assert len(found) == STEPS and worst < TOLERANCE
