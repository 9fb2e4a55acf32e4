"""The reckoning against arrays that exist, the compiler's counts, and programs that were compiled."""

import math
import re

import jax
import jax.numpy as jnp
import pytest

from configs.common import config, stage
from llumi_jax.models.config import DecoderConfig
from llumi_jax.training import build, plan, recipe, sharding
from llumi_jax.training.compiled import bytes_on_a_device
from llumi_jax.training.planner import advice, estimate, traffic
from llumi_jax.training.planner.accelerators import ACCELERATORS

pytestmark = pytest.mark.optimized

SIZES = DecoderConfig("llama", 2048, 128, 256, 3, 8, 4, 16)
SPLIT = dict(data=1, fsdp=8, tensor=1, context=1)
MIXED = dict(data=2, fsdp=2, tensor=2, context=1)


def make(*stages, **settings):
    settings = {"row_length": 256, "max_prompt_tokens": 128, "batch_rows": 16, "mesh": SPLIT, **settings}
    return recipe.from_config(config(*(stages or (stage("gm", "sft", steps=2),)), **settings).to_dict())


def reckoned(settings, sizes=SIZES):
    return plan.needed(settings, sizes, settings.mesh)[1]


@pytest.mark.parametrize("mesh", [SPLIT, MIXED], ids=["fsdp", "mixed"])
@pytest.mark.parametrize("adapter", [True, False], ids=["lora", "all weights"])
def test_weights_and_moments_are_the_bytes_of_real_arrays(mesh, adapter):
    other = {} if adapter else {"lora": None}
    settings = make(stage("gm", "dpo", steps=2, reference="frozen", ema_decay=0.9), mesh=mesh, **other)
    real = sharding.make_mesh(settings.mesh)
    zeros = lambda tree: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), tree)
    whole = zeros(build.abstract_trained(settings, SIZES))
    made = build.trainer(settings, settings.selected()[0], whole, real, 10, 10)
    state = jax.jit(made.create, out_shardings=made.places)(sharding.place(whole, real))
    base = sharding.place(zeros(build.abstract_base(settings, SIZES)), real) if adapter else {}
    first = jax.devices()[0]
    held = lambda tree: sum(
        part.data.nbytes for leaf in jax.tree.leaves(tree) for part in leaf.addressable_shards if part.device == first
    )
    parts = reckoned(settings)
    assert (parts.base, parts.trained, parts.moments) == (held(base), held(state.params), held(state.opt_state))
    assert parts.copies == held(state.average) + held(state.params)  # the average, and the reference's own weights


@pytest.mark.parametrize(
    "settings",
    [dict(remat="none"), dict(remat="full", lora=None), dict(remat="products", mesh=MIXED, micro_batch_rows=8)],
    ids=["none", "full, all weights", "products, mixed, accumulated"],
)
def test_the_compiler_counts_about_the_same(settings):
    settings = make(**settings)
    mesh, shape = sharding.make_mesh(settings.mesh), plan.assumed_shape(settings.row_length)
    counted = plan.step_memory(settings, settings.selected()[0], SIZES, mesh, shape)
    parts = reckoned(settings)
    assert parts.state + parts.rows == pytest.approx(counted.arguments, rel=0.02)
    within = parts.total - parts.state - parts.rows
    assert within == pytest.approx(counted.temporaries + counted.outputs, rel=0.3)


def test_more_is_kept_by_every_policy_before():
    totals = [reckoned(make(remat=name)).total for name in ("none", "products", "attention", "full")]
    assert totals == sorted(totals, reverse=True) and len(set(totals)) == 4


def test_weights_travel_as_often_as_xla_gathers_them():
    """Layers compiled one behind the other: every gather stands in the program once for each time it is done."""
    settings = make(lora=None, remat="full", scan_layers=False, attention="dense", batch_rows=8)
    mesh, shape = sharding.make_mesh(settings.mesh), plan.assumed_shape(settings.row_length)
    stage_ = settings.selected()[0]
    text = plan.compile_step(settings, stage_, SIZES, mesh, shape).as_text()
    gathered = sum(
        math.prod(map(int, sizes.split(","))) * 4 for sizes in re.findall(r"f32\[([\d,]+)\][^=\n]* all-gather\(", text)
    )
    sent = traffic.reckon(settings, stage_, SIZES, settings.mesh, shape)
    assert sent.weights == pytest.approx(gathered * 7 / 8, rel=0.02)
    assert sent.tensor == sent.context == 0


def test_traffic_by_hand():
    tokens, width = 2 * 256, 4
    shape = plan.assumed_shape(256)
    many = make(lora=None, mesh=dict(data=1, fsdp=1, tensor=1, context=8), batch_rows=2)
    sent = traffic.reckon(many, many.selected()[0], SIZES, many.mesh, shape)
    keys, hidden = 2 * tokens * 4 * 16 * width, tokens * 128 * width
    assert sent.context == round(7 / 8 * (3 * 3 * keys + 2 * hidden))
    weights = bytes_on_a_device(build.abstract_trained(many, SIZES))
    assert (sent.weights, sent.gradients) == (0, round(2 * 7 / 8 * weights))
    split = make(mesh=dict(data=1, fsdp=1, tensor=2, context=1), batch_rows=2, remat="full")
    sent = traffic.reckon(split, split.selected()[0], SIZES, split.mesh, shape)
    assert sent.tensor == 3 * 5 * 2 * hidden // 2


def test_seconds_are_those_of_the_published_peak():
    kind = ACCELERATORS["H100"]
    found = estimate.seconds(kind, 8, 8 * 989 * 10**12, 315 * 10**9)
    assert found.compute == pytest.approx(2) and found.traffic == pytest.approx(1)  # half of the peak; 70 % of 450 GB/s
    assert (found.best, found.worst) == (found.compute, pytest.approx(3))
    assert kind.bandwidth(16) < kind.bandwidth(8) / 5


def test_advice_makes_it_fit():
    settings = make(batch_rows=64, mesh=dict(data=8, fsdp=1, tensor=1, context=1))
    needs = lambda recipe, sizes: plan.needed(recipe, SIZES, sizes)[1].total
    before = needs(settings, settings.mesh)
    found = advice.advise(settings, settings.mesh, needs, before / 10)
    assert found.fits and [change.bytes for change in found.changes] == sorted(
        (change.bytes for change in found.changes), reverse=True
    )
    changed = _with_flags(settings, found.flags)
    assert plan.needed(changed, SIZES, changed.mesh)[1].total <= before / 10


def _with_flags(settings, flags):
    values = recipe.to_config(settings)
    for flag in flags:
        key, value = flag.removeprefix("--config.").split("=")
        *path, last = key.split(".")
        place = values
        for name in path:
            place = place[name]
        place[last] = type(place[last])(value)
    return recipe.from_config(values)


def test_what_cannot_be_made_to_fit_is_told_how_many_devices_would():
    settings = make(lora=None, remat="full", batch_rows=8)
    needs = lambda recipe, sizes: plan.needed(recipe, SIZES, sizes)[1].state
    now = needs(settings, settings.mesh)
    assert not advice.advise(settings, settings.mesh, needs, now / 3).fits
    assert advice.devices_that_fit(settings, settings.mesh, needs, now / 3) == 32
    assert advice.devices_that_fit(settings, settings.mesh, needs, 1) is None
