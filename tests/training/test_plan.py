"""The plan of a run: what a device holds, what a step computes, and nothing loaded for it."""

import math
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from rich.console import Console

from configs.common import config, stage
from llumi_jax.cli import UserError
from llumi_jax.models.config import DecoderConfig
from llumi_jax.training import build, plan, recipe, sharding

ROOT = Path(__file__).parents[2]
SIZES = DecoderConfig("llama", 512, 64, 128, 2, 4, 2, 16)


def make(*stages, **settings):
    stages = stages or (stage("gm", "sft", steps=2), stage("gm", "dpo", steps=2), stage("im", "dpo", steps=2))
    mesh = settings.pop("mesh", dict(data=2, fsdp=2, tensor=2, context=1))
    settings = {"row_length": 256, "max_prompt_tokens": 128, "batch_rows": 8, **settings}
    return recipe.from_config(config(*stages, mesh=mesh, **settings).to_dict())


def shown(settings, capsys) -> str:
    plan.show(settings, SIZES, sharding.make_mesh(settings.mesh), Console(width=80))
    return capsys.readouterr().out


def test_every_weight_is_shown_with_its_place_and_everything_fits_80_columns(capsys):
    text = shown(make(), capsys)
    assert max(map(len, text.splitlines())) <= 80
    for tree in (build.abstract_base(make(), SIZES), build.abstract_trained(make(), SIZES)):
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            name = ".".join(key.key for key in path)
            (line,) = [line for line in text.splitlines() if line.split()[:1] == [name]]
            assert "x".join(map(str, leaf.shape)) in line
    assert re.search(r"layers\.mlp\.gate\.kernel +2x64x128 +- fsdp tensor +16\.0 KiB", text)
    assert re.search(r"final_norm\.scale +64 +fsdp +128 B", text)
    assert "T/2" in text and "T/64" in text and "2 x matmul" in text
    assert re.search(r"gm_dpo, im_dpo +", text)  # equal steps are compiled once


def test_bytes_of_a_device_are_those_of_real_arrays():
    settings = make()
    mesh = sharding.make_mesh(settings.mesh)
    tree = build.abstract_base(settings, SIZES)
    places = sharding.tree_shardings(tree, mesh)
    arrays = jax.tree.map(lambda x, s: jax.device_put(jnp.zeros(x.shape, x.dtype), s), tree, places)
    real = [leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(arrays)]
    assert [weight.bytes_per_device for weight in plan.describe(tree, mesh)] == real


@pytest.mark.parametrize("adapter", [True, False])
def test_memory_counts_weights_moments_and_rows_of_one_device(adapter):
    settings = make(**({} if adapter else {"lora": None}))
    mesh = sharding.make_mesh(settings.mesh)
    shape = plan.assumed_shape(settings.row_length)
    memory = plan.step_memory(settings, settings.stage["gm_sft"], SIZES, mesh, shape)
    held = lambda tree: sum(weight.bytes_per_device for weight in plan.describe(tree, mesh))
    trained = held(build.abstract_trained(settings, SIZES))
    weights = (held(build.abstract_base(settings, SIZES)) if adapter else 0) + 3 * trained  # Adam keeps two moments
    rows = plan.abstract_rows(settings, settings.stage["gm_sft"], shape, mesh)
    ways = mesh.shape["data"] * mesh.shape["fsdp"]
    used = ("tokens", "positions", "segment", "branch", "source", "target", "weight")  # what SFT does not read is cut
    batch = sum(math.prod(rows[name].shape) * rows[name].dtype.itemsize for name in used) // ways
    assert weights + batch <= memory.arguments <= 1.02 * (weights + batch) + 256
    assert memory.total >= memory.arguments and memory.temporaries > 0


def test_flops_of_all_weights_are_six_times_weights_times_tokens():
    settings = make(lora=None)
    shape = plan.assumed_shape(256)
    assert (shape.predictions, shape.slots, shape.pairs) == (128, 4, 4)
    layer = 64 * 16 * (4 + 2 + 2 + 4) + 3 * 64 * 128
    forward = 2 * 8 * (256 * 2 * layer + 128 * 64 * 512)
    assert plan.step_flops(settings, settings.stage["gm_sft"], SIZES, shape) == (forward, 3 * forward)


def test_flops_of_an_adapter_leave_out_the_gradient_of_the_frozen_weights():
    settings = make(stage("gm", "dpo", steps=1, reference="frozen"))
    shape = plan.assumed_shape(256)
    forward, total = plan.step_flops(settings, settings.stage["gm_dpo"], SIZES, shape)
    factors = sum(math.prod(x.shape) for x in jax.tree.leaves(build.abstract_trained(settings, SIZES)))
    assert total == 2 * forward + 6 * factors * 8 * 256 + forward  # the last one is the live reference's


def test_the_compiler_agrees_on_the_matrix_products_of_a_forward_pass():
    """XLA counts the body of a scan once: with one layer and one chunk it counts as we do, and adds attention."""
    sizes = DecoderConfig("llama", 512, 64, 128, 1, 4, 2, 16)
    settings = make(lora=None, attention="dense", mesh=dict(data=8, fsdp=1, tensor=1, context=1))
    shape = plan.assumed_shape(256)
    model = build.decoder(settings, sizes)
    rows = {n: jax.ShapeDtypeStruct((8, *x.shape), x.dtype) for n, x in plan.build_row([], shape).items()}
    from llumi_jax.training import step

    forward = jax.jit(lambda params, rows: step.forward(model, params, None, rows))
    counted = forward.lower(build.abstract_base(settings, sizes), rows).compile().cost_analysis()["flops"]
    scores = 2 * 2 * 8 * 4 * 16 * 256 * 256
    ours = plan.forward_flops(sizes, 8, shape)
    assert ours + scores < counted < 1.15 * (ours + scores)


def test_a_batch_that_does_not_split_is_refused():
    settings = make(batch_rows=6)
    with pytest.raises(UserError, match="config.batch_rows"):
        plan.show(settings, SIZES, sharding.make_mesh(settings.mesh))


def test_the_paper_s_base_is_planned_offline_without_a_work_directory(tmp_path):
    flags = ["--config", "configs/gm_mistral_7b.py", "--workdir", str(tmp_path / "work"), "--dry_run"]
    flags += ["--virtual_devices", "8", "--config.mesh.fsdp=8", "--config.only=gm_sft"]
    command = [sys.executable, "-m", "llumi_jax.train", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "parameters 7,241,732,096 in bfloat16" in done.stdout and "8 cpu device(s)" in done.stdout
    assert re.search(r"layers\.mlp\.up\.kernel +32x4096x14336 +- fsdp - +448\.0 MiB", done.stdout)
    assert not (tmp_path / "work").exists()
