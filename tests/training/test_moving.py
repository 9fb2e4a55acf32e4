"""An average of the weights and a reference that moves: their recursions by hand, and a resume that is exact."""

import dataclasses
import functools

import jax
import numpy as np
import optax
import pytest

from llumi_jax.cli import UserError
from llumi_jax.models.config import DecoderConfig
from llumi_jax.storage.checkpoints import Checkpoints, restore_params
from llumi_jax.training import build, moving, sharding, step
from llumi_jax.training.moving import Moving
from llumi_jax.training.recipe import from_config
from llumi_jax.training.state import TrainState
from tests.training.bigram import ADAPTER, BASE, DPO, MODEL, ROWS, START, batch, close, value

OPTIMIZER = optax.adam(0.05)
BOTH = Moving(ema_decay=0.9, reference_sync_steps=3, reference_mixup_alpha=0.6)
FROZEN = {"base": BASE, "reference": None}


def create(following: Moving, params=START) -> TrainState:
    return jax.jit(functools.partial(TrainState.create, optimizer=OPTIMIZER, seed=0, moving=following))(params)


@functools.cache
def stepping(following: Moving):
    objective = step.objective_of(DPO, MODEL, ROWS.shape.slots)
    made = step.make_step(objective, OPTIMIZER, optax.constant_schedule(0.05), 1, following)
    return jax.jit(made, donate_argnums=0)


def steps(state: TrainState, count: int, following: Moving = BOTH):
    """The state after some steps, and copies of all states before it."""
    seen, metrics = [jax.device_get(state)], []
    for _ in range(count):
        state, found = stepping(following)(state, FROZEN, batch())
        seen.append(jax.device_get(state))
        metrics.append(found)
    return state, seen, metrics


def abstract(make):
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), jax.eval_shape(make))


def test_recursions_are_those_of_the_papers():
    _, seen, _ = steps(create(BOTH), 7)
    average, reference = START, START
    for number, after in enumerate(seen[1:], start=1):
        average = jax.tree.map(lambda a, p: 0.9 * np.float64(a) + 0.1 * np.float64(p), average, after.params)
        if number % 3 == 0:
            reference = jax.tree.map(lambda r, p: 0.6 * np.float64(p) + 0.4 * np.float64(r), reference, after.params)
        close(after.average, average, 1e-5)
        close(after.reference, reference, 1e-6)


def test_the_loss_compares_with_the_reference_that_moved():
    """A hard update makes policy and reference equal: the next step's loss is that of the first, log 2."""
    following = Moving(reference_sync_steps=2)
    _, seen, metrics = steps(create(following), 5, following)
    losses = [value(found, "loss") for found in metrics]
    for number, loss in enumerate(losses):
        assert (loss == pytest.approx(np.log(2), abs=1e-6)) == (number % 2 == 0), losses
    jax.tree.map(np.testing.assert_array_equal, seen[4].reference, seen[4].params)


def test_a_reference_that_stands_still_is_the_frozen_one():
    following = Moving(reference_sync_steps=100)
    state, *_ = steps(create(following, ADAPTER), 2, following)
    plain = create(Moving(), ADAPTER)
    for _ in range(2):
        plain, _ = stepping(Moving())(plain, {"base": BASE, "reference": ADAPTER}, batch())
    jax.tree.map(np.testing.assert_array_equal, state.params, plain.params)


def test_without_them_the_state_is_as_before():
    state = create(Moving())
    assert state.average is None and state.reference is None and state.result is state.params
    assert set(state.trees()) == {"params", "opt_state", "progress"}


def test_a_resume_from_disk_is_bit_equal(tmp_path):
    last, *_ = steps(create(BOTH), 8)
    saved = Checkpoints(tmp_path / "checkpoints")
    halfway, *_ = steps(create(BOTH), 4)  # between two moves of the reference
    saved.save(4, halfway.trees())
    saved.wait()
    state = TrainState.from_trees(saved.restore(abstract(lambda: create(BOTH).trees())))
    saved.close()
    resumed, *_ = steps(state, 4)
    assert jax.tree.structure(resumed) == jax.tree.structure(last)
    jax.tree.map(np.testing.assert_array_equal, resumed, last)


def test_a_checkpoint_hands_on_the_average(tmp_path):
    state, *_ = steps(create(BOTH), 2)
    saved = Checkpoints(tmp_path / "checkpoints")
    saved.save(2, state.trees())
    saved.wait()
    saved.close()
    found = restore_params(tmp_path / "checkpoints", abstract(lambda: START))
    jax.tree.map(np.testing.assert_array_equal, found, state.average)
    assert state.result is state.average
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (found, state.params)), strict=True))


def test_what_follows_is_split_over_devices_like_the_weights():
    recipe = from_config(config(dict(reference_sync_steps=2, ema_decay=0.9), lora=None))
    sizes = DecoderConfig("llama", 64, 16, 32, 2, 4, 2, 4)
    mesh = sharding.make_mesh(dict(data=1, fsdp=4, tensor=2, context=1))
    weights = build.abstract_base(recipe, sizes)
    places = build.trainer(recipe, recipe.stage["s"], weights, mesh, 10, 1.0).places
    split = [place for place in jax.tree.leaves(places.params) if not place.is_fully_replicated]
    assert split and places.average == places.params == places.reference


# --- config --------------------------------------------------------------------------------------------------------


def config(changes: dict, **recipe) -> dict:
    stage = {"role": "gm", "objective": "dpo", "steps": 3, "reference": "frozen", **changes}
    return {"stage": {"s": stage}, **recipe}


@pytest.mark.parametrize("fine", [
    config(dict(ema_decay=0.99)), config(dict(objective="sft", ema_decay=0.99)),
    config(dict(reference_sync_steps=5)),
    config(dict(reference_sync_steps=5, reference_mixup_alpha=0.6), lora=None),
    config(dict(reference_sync_steps=1, ema_decay=0.5), param_dtype="bfloat16"),
])  # fmt: skip
def test_what_can_follow_is_a_recipe(fine):
    made = from_config(fine).stage["s"]
    assert (
        moving.of(made)._asdict().items()
        >= {k: v for k, v in fine["stage"]["s"].items() if k in Moving._fields}.items()
    )


@pytest.mark.parametrize(("wrong", "message"), [
    (config(dict(ema_decay=1.0)), "config.stage.s.ema_decay=1.0 must be at least 0 and below 1"),
    (config(dict(ema_decay=0.9), lora=None, param_dtype="bfloat16"), "in bfloat16 an average stands still"),
    (config(dict(reference_sync_steps=-1)), "s.reference_sync_steps=-1 must be at least 0"),
    (config(dict(reference_sync_steps=2, reference_mixup_alpha=0.0)), "s.reference_mixup_alpha=0.0 must be above 0"),
    (config(dict(reference_mixup_alpha=0.6)), "s.reference_mixup_alpha=0.6 is read with reference_sync_steps alone"),
    (config(dict(reference_sync_steps=2, reference="cached")), "a reference that moves cannot be 'cached'"),
    (config(dict(reference_sync_steps=2, reference="adapter_off")), "a reference that moves cannot be 'adapter_off'"),
    (config(dict(reference_sync_steps=2, reference_mixup_alpha=0.6)), "a mixture of LoRA factors is no mixture"),
    (config(dict(reference_sync_steps=2, objective="sft")), "only stages with objective='dpo' have a reference"),
    (config(dict(ema_dekay=0.9)), "unknown key config.stage.s.ema_dekay. Did you mean 'ema_decay'"),
    (config(dict(reference_sync_steps=2, loss="simpo", soft_labels=False)), "none of its losses compares"),
])  # fmt: skip
def test_what_cannot_follow_is_refused(wrong, message):
    with pytest.raises(UserError, match=message) as error:
        from_config(wrong)
    assert "\n" not in str(error.value)


def test_fields_of_the_stage_are_those_of_moving():
    assert set(Moving._fields) <= {field.name for field in dataclasses.fields(DPO)}
