"""Optimisers and schedules by name: what a line of a config becomes, and what it says when it is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from llumi_jax.cli import UserError
from llumi_jax.models import decoder, lora
from llumi_jax.models.config import DecoderConfig
from llumi_jax.training.optimizer import (
    check_lengths,
    frozen_leaves,
    keep_finite,
    keep_frozen,
    make_optimizer,
    make_schedule,
)
from llumi_jax.training.state import TrainState
from llumi_jax.training.step import make_step

CONFIG = DecoderConfig("llama", 24, 16, 24, 2, 4, 2, 4)
COSINE = {"name": "warmup_cosine_decay_schedule", "peak_value": 1e-3, "warmup_steps": 0.1}
CONSTANT = {"name": "constant_schedule", "value": 0.1}


def filled(shapes, seed: int):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.standard_normal(x.shape).astype(np.float32), shapes)


ALL = filled(decoder.abstract_params(CONFIG), 0)
# Matrices of every shape, [D, H, N], [H, N, D] and [D, F], and what is none.
WEIGHTS = {
    "embed": ALL["embed"],
    "layers": {
        "attention": {name: ALL["layers"]["attention"][name] for name in ("q", "o")},
        "mlp": {"up": ALL["layers"]["mlp"]["up"]},
        "input_norm": ALL["layers"]["input_norm"],
    },
}
ADAPTER = filled(lora.abstract(lora.LoraConfig(rank=3, targets=("q", "o")), CONFIG), 0)


def after(optimizer, params, steps: int = 2):
    """The weights after some steps along fixed random gradients."""

    @jax.jit
    def step(params, state, grads):
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    state = jax.jit(optimizer.init)(params)
    for i in range(steps):
        params, state = step(params, state, filled(params, 1 + i))
    return params


def same(a, b, **tolerance) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **(tolerance or {"rtol": 1e-6, "atol": 1e-7})), a, b)


def by_path(tree) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(key.key for key in path): np.asarray(leaf) for path, leaf in leaves}


def lr_at(schedule, steps) -> np.ndarray:
    return np.array([float(schedule(step)) for step in steps])


# --- schedules -----------------------------------------------------------------------------------------------------


def test_warmup_and_cosine_take_the_whole_stage():
    schedule = make_schedule(COSINE, 200, 10.0)
    np.testing.assert_allclose(lr_at(schedule, [0, 10, 20, 110, 200]), [0, 5e-4, 1e-3, 5e-4, 0], atol=1e-9)


@pytest.mark.parametrize("warmup", [20, 0.1, "2 epochs", "2.0 epoch"])
def test_lengths_in_steps_fractions_and_epochs(warmup):
    schedule = make_schedule({**COSINE, "warmup_steps": warmup}, 200, 10.0)
    np.testing.assert_allclose(lr_at(schedule, [10, 20]), [5e-4, 1e-3], atol=1e-9)


def test_joined_schedules_follow_each_other():
    spec = [
        {"name": "linear_schedule", "init_value": 0.0, "end_value": 1e-3, "steps": 0.1},
        {"name": "constant_schedule", "value": 1e-3, "steps": "6 epochs"},
        {"name": "linear_schedule", "init_value": 1e-3, "end_value": 0.0},
    ]
    schedule = make_schedule(spec, 100, 10.0)
    expected = [0, 5e-4, 1e-3, 1e-3, 1e-3, 5e-4, 0, 0]
    np.testing.assert_allclose(lr_at(schedule, [0, 5, 10, 40, 70, 85, 100, 120]), expected, atol=1e-9)


WSD = [{"name": "warmup_constant_schedule", "peak_value": 1.0, "warmup_steps": 10, "steps": 80}]
DECAY = {"name": "linear_schedule", "init_value": 1.0, "end_value": 0.0}


@pytest.mark.parametrize(
    ("spec", "total", "fits"),
    [
        (COSINE, 3, True),
        ([*WSD, DECAY], 100, True),
        ([*WSD, DECAY], 81, True),
        ([*WSD, DECAY], 80, False),  # the decay would have no step
        ([*WSD, {**DECAY, "steps": 20}], 100, True),
        ([*WSD, {**DECAY, "steps": 20}], 99, False),
        ([{**WSD[0], "steps": 0.8}, DECAY], 10, True),
        ([{**WSD[0], "steps": "3 epochs"}, DECAY], 29, False),
    ],
)
def test_parts_of_a_schedule_that_would_never_come(spec, total, fits):
    if fits:
        return check_lengths(spec, total, 10.0)
    with pytest.raises(UserError, match=f"config.schedule: its parts take .* steps.*, the stage has {total}. Shorten"):
        check_lengths(spec, total, 10.0)


@pytest.mark.parametrize(
    ("spec", "at", "expected"),
    [
        (COSINE, [0, 10, 100], [0, 0.5, 0]),
        ({"name": "constant_schedule", "value": 1e-3}, [0, 10, 100], [0.5, 0.5, 0.5]),
        ({"name": "cosine_decay_schedule", "init_value": 1e-3}, [0, 50, 100], [0.5, 0.25, 0]),
        (
            [
                {"name": "linear_schedule", "init_value": 0.0, "end_value": 1e-3, "steps": 10},
                {"name": "constant_schedule", "value": 1e-3, "steps": 70},
                {"name": "linear_schedule", "init_value": 1e-3, "end_value": 0.0},
            ],
            [0, 5, 10, 50, 90, 100],
            [0, 0.25, 0.5, 0.5, 0.25, 0],
        ),
    ],
    ids=["warmup", "constant", "decay", "joined"],
)
def test_a_stages_learning_rate_replaces_the_peak(spec, at, expected):
    np.testing.assert_allclose(lr_at(make_schedule(spec, 100, 10.0, 0.5), at), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": ""}, "config.schedule.name='' is not in optax"),
        ({"name": "cosine_decay"}, "config.schedule.name='cosine_decay' .* Did you mean 'cosine_decay_schedule'"),
        ({**COSINE, "peek_value": 1.0}, "config.schedule.peek_value is no argument .*Did you mean 'peak_value'"),
        ({"name": "constant_schedule"}, "config.schedule: constant_schedule missing a required argument: 'value'"),
        ({**COSINE, "warmup_steps": "2 weeks"}, "config.schedule.warmup_steps='2 weeks': give steps"),
        ({**COSINE, "warmup_steps": None}, "config.schedule.warmup_steps=None: give steps"),
        ({**COSINE, "warmup_steps": -5}, "config.schedule.warmup_steps=-5: give steps"),
        ({**COSINE, "warmup_steps": 300}, "config.schedule: warmup_cosine_decay_schedule refuses its arguments"),
        ([{**CONSTANT, "steps": "soon"}, CONSTANT], "config.schedule.steps='soon'"),
    ],
)
def test_a_wrong_schedule_says_what_is_wrong(spec, message):
    with pytest.raises(UserError, match=message) as error:
        make_schedule(spec, 200, 10.0)
    assert "\n" not in str(error.value)


def test_a_schedule_without_a_peak_cannot_take_a_stages_learning_rate():
    with pytest.raises(UserError, match="no peak"):
        make_schedule({"name": "linear_schedule", "init_value": 0.0, "end_value": 0.0}, 10, 1.0, 0.5)


# --- optimisers ----------------------------------------------------------------------------------------------------


def test_a_named_optimizer_is_optaxs_own():
    made = make_optimizer({"name": "adamw", "weight_decay": 0.1, "b2": 0.9}, make_schedule(CONSTANT, 9, 1), (), ADAPTER)
    same(after(made, ADAPTER), after(optax.adamw(0.1, weight_decay=0.1, b2=0.9), ADAPTER))


def test_gradients_are_clipped_first():
    made = make_optimizer({"name": "sgd", "clip_norm": 0.01}, make_schedule(CONSTANT, 9, 1), (), ADAPTER)
    moved = jax.tree.map(np.subtract, after(made, ADAPTER, 1), ADAPTER)
    assert np.sqrt(sum((x**2).sum() for x in jax.tree.leaves(moved))) == pytest.approx(0.1 * 0.01, rel=1e-3)


def test_the_learning_rate_follows_the_schedule():
    schedule = make_schedule({"name": "linear_schedule", "init_value": 1.0, "end_value": 0.0}, 2, 1)
    moved = after(make_optimizer({"name": "sgd"}, schedule, (), ADAPTER), ADAPTER, 3)
    expected = jax.tree.map(lambda p, a, b: p - a - 0.5 * b, ADAPTER, filled(ADAPTER, 1), filled(ADAPTER, 2))
    same(moved, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "adamv"}, "config.optimizer.name='adamv' is not in optax. Did you mean 'adam"),
        ({"name": "contrib.moun"}, "config.optimizer.name='contrib.moun' is not in optax.contrib. Did you mean 'muon'"),
        ({"name": "contrib"}, "'contrib' is a module of optax"),
        ({}, "config.optimizer.name='' is not in optax"),
        ({"name": "adamw", "weight_deacy": 0.1}, "weight_deacy is no argument of adamw.*Did you mean 'weight_decay'"),
        ({"name": "apply_if_finite"}, "config.optimizer.learning_rate is no argument of apply_if_finite"),
        (
            {"name": "adamw", "b3": 0.1},
            r"b3 is no argument of adamw\(learning_rate, b1=0.9, b2=0.999, eps=1e-08, eps_root",
        ),
        (
            {"name": "contrib.dpsgd"},
            r"dpsgd missing a required argument: 'l2_norm_clip': dpsgd\(learning_rate, l2_norm",
        ),
        ({"name": "adamw", "learning_rate": 1.0}, "config.optimizer.learning_rate: it is the schedule's"),
        ({"name": "lbfgs"}, "config.optimizer.name='lbfgs' asks for more than gradients and a schedule .*value_fn"),
        ({"name": "contrib.momo"}, "config.optimizer.name='contrib.momo' asks for more than gradients"),
        ({"name": "rprop"}, "config.optimizer.name='rprop' asks for more than gradients"),
    ],
)
def test_a_wrong_optimizer_says_what_is_wrong(spec, message):
    with pytest.raises(UserError, match=message):
        make_optimizer(spec, optax.constant_schedule(0.1), (), ADAPTER)


# --- Muon ----------------------------------------------------------------------------------------------------------


def test_muon_and_wsd_are_a_change_of_two_lines():
    before = make_optimizer({"name": "adamw", "weight_decay": 0.01}, make_schedule(COSINE, 9, 1), (), ADAPTER)
    wsd = [{"name": "warmup_constant_schedule", "peak_value": 0.02, "warmup_steps": 2, "steps": 6},
           {"name": "linear_schedule", "init_value": 0.02, "end_value": 0.0}]  # fmt: skip
    swapped = make_optimizer({"name": "contrib.muon", "weight_decay": 0.01}, make_schedule(wsd, 9, 1), (), ADAPTER)
    for optimizer in (before, swapped):
        moved = by_path(after(optimizer, ADAPTER, 3))
        assert all(np.isfinite(x).all() and (x != by_path(ADAPTER)[name]).any() for name, x in moved.items())


@pytest.mark.parametrize("tree", [WEIGHTS, ADAPTER], ids=["weights", "adapter"])
def test_muon_makes_each_layers_matrix_orthogonal_on_its_own(tree):
    """The update's singular values are about equal, which Adam's are not. Embedding, head and norms stay with Adam."""
    optimizer = make_optimizer({"name": "contrib.muon"}, make_schedule(CONSTANT, 9, 1), (), tree)
    before, moved = by_path(tree), by_path(after(optimizer, tree, 1))
    adam = by_path(after(optax.adam(0.1, nesterov=True), tree, 1))
    for name, now in moved.items():
        owner, leaf = name.split("/")[-2:]
        if "layers" not in name or leaf == "scale":
            np.testing.assert_allclose(now, adam[name], rtol=1e-4, atol=1e-5)
            continue
        inputs = 2 if owner == "o" and leaf != "lora_b" else 1
        for layer in range(CONFIG.num_layers):
            update = (now - before[name])[layer]
            matrix = update.reshape(int(np.prod(update.shape[:inputs])), -1)
            values = np.linalg.svd(matrix, compute_uv=False)
            assert values.max() / values.min() < 2.2, name


def test_muon_works_with_patterns():
    patterns = (("norm", None), (".*", {"scale": 0.5}))
    optimizer = make_optimizer({"name": "contrib.muon"}, make_schedule(CONSTANT, 9, 1), patterns, WEIGHTS)
    half = make_optimizer({"name": "contrib.muon"}, make_schedule({**CONSTANT, "value": 0.05}, 9, 1), (), WEIGHTS)
    ours, expected = by_path(after(optimizer, WEIGHTS, 1)), by_path(after(half, WEIGHTS, 1))
    for name, old in by_path(WEIGHTS).items():
        np.testing.assert_allclose(ours[name], old if "norm" in name else expected[name], rtol=1e-5, atol=1e-6)


# --- patterns ------------------------------------------------------------------------------------------------------


def test_patterns_freeze_and_scale_and_the_first_match_wins():
    spec = {"name": "adamw", "weight_decay": 0.5}
    patterns = (("attention/q/lora_b", None), ("lora_b", {"scale": 4.0}), (".*", {}))
    moved = by_path(after(make_optimizer(spec, make_schedule(CONSTANT, 9, 1), patterns, ADAPTER), ADAPTER))
    plain, fast = (by_path(after(optax.adamw(lr, weight_decay=0.5), ADAPTER)) for lr in (0.1, 0.4))
    for name, old in by_path(ADAPTER).items():
        if name.endswith("q/lora_b"):
            np.testing.assert_array_equal(moved[name], old)
        else:
            np.testing.assert_allclose(moved[name], (fast if "lora_b" in name else plain)[name], rtol=1e-5, atol=1e-6)


def test_patterns_have_arguments_of_their_own():
    """No weight decay on B, and another one on A."""
    spec = {"name": "adamw", "weight_decay": 0.5}
    patterns = (("lora_b", {"weight_decay": 0.0, "scale": 2.0}), (".*", {"weight_decay": 0.25}))
    moved = by_path(after(make_optimizer(spec, make_schedule(CONSTANT, 9, 1), patterns, ADAPTER), ADAPTER))
    b, a = (by_path(after(optax.adamw(lr, weight_decay=decay), ADAPTER)) for lr, decay in ((0.2, 0.0), (0.1, 0.25)))
    for name in moved:
        np.testing.assert_allclose(moved[name], (b if "lora_b" in name else a)[name], rtol=1e-5, atol=1e-6)


def test_a_frozen_weight_keeps_its_bits():
    """Also those of -0 and of numbers so small that an addition washes them out."""
    small = np.float32([-0.0, 0.0, 1e-45, -1e-39, 1.1, -3e38])
    tree = {"still": jnp.asarray(small), "half": jnp.asarray(small, jnp.bfloat16), "moved": jnp.ones(3)}
    patterns = (("still|half", None), (".*", {}))
    assert frozen_leaves(patterns, tree) == {"still": True, "half": True, "moved": False}
    optimizer = make_optimizer(
        {"name": "adamw", "weight_decay": 0.5, "clip_norm": 1.0}, make_schedule(CONSTANT, 9, 1), patterns, tree
    )

    def objective(params, frozen, rows):
        total = sum(jnp.vdot(x.astype(jnp.float32), rows["x"][0]) for x in params.values() if x.shape == (3,))
        return total, {"loss": (total, jnp.float32(1))}

    run = make_step(objective, optimizer, optax.constant_schedule(0.1), 1)
    run = jax.jit(keep_frozen(run, frozen_leaves(patterns, tree)), donate_argnums=0)
    before = {name: np.asarray(array).tobytes() for name, array in tree.items()}
    state = TrainState.create(tree, optimizer, 0)
    for _ in range(3):
        state, _ = run(state, None, {"tokens": jnp.ones((1, 1)), "x": jnp.ones((1, 3))})
    after = {name: np.asarray(array).tobytes() for name, array in state.params.items()}
    assert after["still"] == before["still"] and after["half"] == before["half"] and after["moved"] != before["moved"]


def test_frozen_parameters_have_no_moments():
    made = make_optimizer({"name": "adamw"}, make_schedule(CONSTANT, 9, 1), (("lora_a", None), (".*", {})), ADAPTER)
    moments = [name for name in by_state_path(made.init(ADAPTER)) if "mu" in name]
    assert moments and not any("lora_a" in name for name in moments)


def by_state_path(state) -> list[str]:
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state)]


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        ((("lora_b", {}),), r"covers no parameter 'layers/attention/o/lora_a'. Add \('.\*', dict\(scale=1.0\)\)"),
        ((("lora_b", {"sclae": 2.0}), (".*", {})), "unknown setting 'sclae' of 'lora_b'. Did you mean 'scale'"),
        ((("lora_b", {"weight_deacy": 2.0}), (".*", {})), "'weight_deacy' of 'lora_b'. .*'weight_decay'.* of adamw.l"),
        ((("lora_(", {}), (".*", {})), r"'lora_\(' is no regular expression"),
    ],
)
def test_a_wrong_pattern_says_what_is_wrong(patterns, message):
    with pytest.raises(UserError, match=message):
        make_optimizer({"name": "adamw"}, optax.constant_schedule(0.1), patterns, ADAPTER)


def test_keep_finite_chooses_whole_trees():
    new, old = {"a": jnp.array([1.0, jnp.nan]), "b": jnp.array(2)}, {"a": jnp.array([3.0, 4.0]), "b": jnp.array(5)}
    assert keep_finite(jnp.array(False), new, old)["a"].tolist() == [3, 4]
    assert int(keep_finite(jnp.array(False), new, old)["b"]) == 5
    assert int(keep_finite(jnp.array(True), new, old)["b"]) == 2
