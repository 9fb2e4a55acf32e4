"""The train step on packed rows: exact accumulation, broken batches, and three references that agree."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from llumi_jax.models import decoder, lora
from llumi_jax.models.config import DecoderConfig
from llumi_jax.training import step
from llumi_jax.training.recipe import Stage
from llumi_jax.training.state import TrainState
from tests.training.bigram import (
    ADAPTER,
    ADAPTER_SHAPES,
    BASE,
    DPO,
    MODEL,
    RATE,
    ROWS,
    SFT,
    START,
    WITH_ADAPTER,
    D,
    V,
    batch,
    begin,
    cached,
    close,
    filled,
    gradients,
    jitted,
    reply_logps,
    value,
)

# --- accumulation --------------------------------------------------------------------------------------------------


def test_accumulation_equals_the_big_batch_through_the_decoder():
    """In float64, where what remains is the difference of the sums and not of the decoder's own rounding."""
    config = DecoderConfig("llama", V, D, 24, 2, 4, 2, 4, tie_embeddings=True)
    with jax.enable_x64(True):

        def double(tree):
            return jax.tree.map(lambda x: x.astype(jnp.float64), tree)

        model, low = decoder.Decoder(config, dtype=jnp.float64), lora.abstract(lora.LoraConfig(rank=3), config)
        low = double(filled(low, 1, 0.2))
        frozen = {"base": double(filled(decoder.abstract_params(config))), "reference": None}
        rows = batch(reference_logps=np.random.default_rng(0).uniform(-50, -40, (4, ROWS.shape.slots)))
        whole, metrics = jitted(DPO, 1, model)(begin(low), frozen, rows)
        parts, part_metrics = jitted(DPO, 4, model)(begin(low), frozen, rows)
        assert all(np.any(g) for g in jax.tree.leaves(gradients(whole)))
        close(gradients(parts), gradients(whole), 1e-6)
        assert value(part_metrics, "loss") == pytest.approx(value(metrics, "loss"), rel=1e-6)


@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulation_counts_weights_not_micro_batches(accumulate):
    # Rows of very different weight, one of them nothing but padding: a mean of means would be far off.
    rows = batch()
    rows["weight"] = rows["weight"] * np.array([[0.0], [0.1], [1.0], [5.0]], np.float32)
    whole, metrics = jitted(SFT)(begin(), WITH_ADAPTER, rows)
    parts, part_metrics = jitted(SFT, accumulate)(begin(), WITH_ADAPTER, rows)
    close(gradients(parts), gradients(whole), 1e-6)
    for name in metrics:
        assert value(part_metrics, name) == pytest.approx(value(metrics, name), rel=1e-5), name


def test_micro_batches_are_the_rows_of_a_stride():
    seen = []

    def objective(params, frozen, rows):
        jax.debug.callback(lambda x: seen.append(x.tolist()), rows["tokens"][:, 0], ordered=True)
        return params["w"] * 1.0, {"loss": (params["w"], jnp.float32(1))}

    run = jax.jit(step.make_step(objective, optax.sgd(0.0), optax.constant_schedule(0.0), 3))
    state = TrainState.create({"w": jnp.float32(1)}, optax.sgd(0.0), 0)
    run(state, None, {"tokens": jnp.arange(6)[:, None]})
    jax.effects_barrier()
    assert seen == [[0, 3], [1, 4], [2, 5]]


# --- DPO -----------------------------------------------------------------------------------------------------------


def test_three_references_agree():
    rows = batch()
    frozen = {"base": BASE, "reference": START}
    expected, metrics = jitted(DPO)(begin(), WITH_ADAPTER, cached(rows))
    for state, found in (jitted(DPO)(begin(), WITH_ADAPTER, rows), jitted(DPO)(begin(), frozen, rows)):
        close(gradients(state), gradients(expected), 1e-5)
        for name in metrics:
            assert value(found, name) == pytest.approx(value(metrics, name), rel=1e-4, abs=1e-5), name
    assert abs(value(metrics, "reward_margin")) > 1e-2, "policy and reference must differ for this to mean anything"


def test_the_frozen_reference_is_not_the_base_alone():
    rows, other = batch(), filled(ADAPTER_SHAPES, 9)
    _, metrics = jitted(DPO)(begin(), {"base": BASE, "reference": other}, rows)
    _, expected = jitted(DPO)(begin(), WITH_ADAPTER, cached(rows, other))
    assert value(metrics, "loss") == pytest.approx(value(expected, "loss"), rel=1e-4)
    assert value(metrics, "reward_margin") == pytest.approx(value(expected, "reward_margin"), rel=1e-3)


def test_the_first_loss_is_log_2_whatever_the_labels_and_weights():
    rows = batch()
    assert len(set(rows["probability"].ravel())) > 3 and len(set(rows["pair_weight"].ravel())) > 3
    _, metrics = jitted(DPO)(begin(START), WITH_ADAPTER, cached(rows))
    assert value(metrics, "loss") == pytest.approx(np.log(2), abs=1e-6)
    assert value(metrics, "reward_accuracy") == 0.5 and value(metrics, "reward_margin") == 0


def test_the_loss_is_the_weighted_mean_over_pairs():
    rows = cached(batch())
    _, metrics = jitted(DPO)(begin(), WITH_ADAPTER, rows)
    policy = np.asarray(reply_logps()(ADAPTER, WITH_ADAPTER, rows), np.float64)
    ratio = policy - rows["reference_logps"]
    row = np.arange(4)[:, None]
    margin = DPO.beta * (ratio[row, rows["chosen"]] - ratio[row, rows["rejected"]])
    p, w = rows["probability"], rows["pair_weight"]
    losses = p * np.logaddexp(0, -margin) + (1 - p) * np.logaddexp(0, margin)
    assert value(metrics, "loss") == pytest.approx((w * losses).sum() / w.sum(), rel=1e-5)
    counted = w > 0
    assert value(metrics, "pairs") == counted.sum() == sum(len(t.pairs) for i in range(4) for t in ROWS.threads_of(i))
    assert value(metrics, "reward_margin") == pytest.approx(margin[counted].mean(), rel=1e-4)
    assert value(metrics, "reward_accuracy") == pytest.approx((margin[counted] > 0).mean())
    chosen = policy[row, rows["chosen"]][counted].mean()
    assert value(metrics, "logp_chosen") == pytest.approx(chosen, rel=1e-4)


def test_hard_labels_ignore_the_pairs_probabilities():
    hard = Stage("s", "gm", "dpo", steps=1, beta=0.2, soft_labels=False)
    rows = cached(batch())
    total, _ = jax.jit(step.objective_of(hard, MODEL, ROWS.shape.slots))(ADAPTER, WITH_ADAPTER, rows)
    sure = {**rows, "probability": np.ones_like(rows["probability"])}
    _, metrics = jitted(DPO)(begin(), WITH_ADAPTER, sure)
    assert float(total) == pytest.approx(float(metrics["loss"][0]), rel=1e-5)


# --- SFT -----------------------------------------------------------------------------------------------------------


def test_all_weights_can_be_trained():
    rows = batch()
    state, metrics = jitted(SFT)(begin(BASE), {"base": None, "reference": None}, rows)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), state.params, BASE)
    assert all(jax.tree.leaves(moved))
    _, through_adapter = jitted(SFT)(begin(START), WITH_ADAPTER, rows)
    assert value(metrics, "loss") == pytest.approx(value(through_adapter, "loss"), rel=1e-5)
    assert 0.5 * np.log(V) < value(metrics, "loss") < 3 * np.log(V)


# --- the state -----------------------------------------------------------------------------------------------------


def test_step_and_position_advance_and_the_log_is_true():
    state = begin().replace(step=jnp.int32(4), position=jnp.int32(16))
    after, metrics = jitted(SFT)(state, WITH_ADAPTER, batch())
    assert (int(after.step), int(after.position)) == (5, 20)
    assert value(metrics, "learning_rate") == pytest.approx(RATE * 0.6)
    norm = np.sqrt(sum(float((x**2).sum()) for x in jax.tree.leaves(gradients(after))))
    assert value(metrics, "grad_norm") == pytest.approx(norm, rel=1e-4)
    np.testing.assert_array_equal(after.rng, state.rng)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_broken_batch_leaves_the_weights(poison):
    rows = cached(batch())
    rows["reference_logps"] = np.where(np.arange(4)[:, None] == 2, np.float32(poison), rows["reference_logps"])
    state, metrics = jitted(DPO)(begin(), WITH_ADAPTER, rows)
    assert not np.isfinite(value(metrics, "loss"))
    jax.tree.map(np.testing.assert_array_equal, state.params, ADAPTER)
    assert (int(state.step), int(state.position)) == (1, 4)


def test_a_broken_batch_leaves_the_moments():
    def objective(params, frozen, rows):
        return (rows["x"][0] * params["w"].sum(), {"loss": (rows["x"][0], 1.0)})

    optimizer = optax.adam(0.1)
    run = jax.jit(step.make_step(objective, optimizer, optax.constant_schedule(0.1), 1))
    state = TrainState.create({"w": jnp.ones(3)}, optimizer, 0)

    def rows(x):
        return {"tokens": jnp.zeros((1, 1)), "x": jnp.float32([x])}

    good, _ = run(state, None, rows(2.0))
    bad, _ = run(good, None, rows(np.nan))
    jax.tree.map(np.testing.assert_array_equal, bad.opt_state, good.opt_state)
    recovered, _ = run(bad, None, rows(2.0))
    assert np.isfinite(recovered.params["w"]).all() and (recovered.params["w"] < good.params["w"]).all()


def test_rows_of_padding_alone_move_nothing():
    rows = cached({name: np.zeros_like(array) for name, array in batch().items()})
    state, metrics = jitted(DPO)(begin(), WITH_ADAPTER, rows)
    jax.tree.map(np.testing.assert_array_equal, state.params, ADAPTER)
    assert float(metrics["loss"][1]) == 0 and float(metrics["grad_norm"][0]) == 0


def test_a_state_survives_its_trees():
    state = begin()
    again = TrainState.from_trees(state.trees())
    assert jax.tree.structure(again) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, again, state)
