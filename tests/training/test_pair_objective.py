"""The preference objective on packed rows: what losses are given, and batches in which pairs see each other."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from llumi_jax.objectives import logprobs
from llumi_jax.objectives.preference import LOSSES
from llumi_jax.training import gradients as gradient_module
from llumi_jax.training import step
from llumi_jax.training.recipe import Stage
from tests.objectives import papers
from tests.training.bigram import (
    ADAPTER_SHAPES,
    BASE,
    MODEL,
    OPTIMIZER,
    ROWS,
    WITH_ADAPTER,
    Bigram,
    batch,
    begin,
    cached,
    close,
    filled,
    gradients,
    jitted,
    value,
)

# The reference is far from the base, so that replies to other posts are likelier under the policy: a KL above 0.
POLICY, REFERENCE = filled(ADAPTER_SHAPES, 1, 0.3), filled(ADAPTER_SHAPES, 2, 0.8)
ROW = np.arange(4)[:, None]
COUPLED = [name for name, loss in LOSSES.items() if loss.coupled]


@functools.cache
def stage(loss: str, **changes) -> Stage:
    return Stage("s", "gm", "dpo", steps=1, beta=0.2, loss=loss, soft_labels=False, **changes)


def token_facts(params=POLICY):
    """By plain softmax over everything: log-probability, entropy and log of summed squares of every prediction."""
    rows = batch()
    variables = {"params": BASE, "lora": params}
    hidden = np.asarray(MODEL.apply(variables, *(rows[n] for n in ("tokens", "positions", "segment", "branch"))))
    logits = np.take_along_axis(hidden, rows["source"][..., None], 1).astype(np.float64) @ np.asarray(
        BASE["lm_head"]["kernel"], np.float64
    )
    logps = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    picked = np.take_along_axis(logps, rows["target"][..., None], -1)[..., 0]
    return picked, -(np.exp(logps) * logps).sum(-1), np.log(np.exp(2 * logps).sum(-1))


def of_slots(values, reduce=np.sum) -> np.ndarray:
    """[rows, slots]: `reduce` of the values of each reply's predictions, in a loop."""
    rows, found = batch(), np.zeros((4, ROWS.shape.slots))
    for b in range(4):
        for s in range(ROWS.shape.slots):
            own = (rows["slot"][b] == s) & (rows["weight"][b] > 0)
            found[b, s] = reduce(values[b, own]) if own.any() else 0.0
    return found


def as_batch(**more) -> papers.Batch:
    """The rows' real pairs under POLICY, against REFERENCE."""
    rows = batch()
    policy, reference = of_slots(token_facts()[0]), of_slots(token_facts(REFERENCE)[0])
    lengths = of_slots(np.ones(rows["slot"].shape))
    real = rows["pair_weight"] > 0
    pick = lambda values, side: values[ROW, rows[side]][real]
    return papers.Batch(
        pick(policy, "chosen"), pick(policy, "rejected"), pick(reference, "chosen"), pick(reference, "rejected"),
        pick(lengths, "chosen"), pick(lengths, "rejected"), rows["probability"][real], rows["pair_weight"][real], **more
    )  # fmt: skip


# --- coupled losses ------------------------------------------------------------------------------------------------


@functools.cache
def every_coupled(accumulate: int):
    """One step with all coupled losses: each has its own metric and its share of the gradient."""
    mixed = dataclasses.replace(stage("aot"), loss={name: 1.0 + i for i, name in enumerate(COUPLED)})
    objective = step.objective_of(mixed, MODEL, ROWS.shape.slots)
    return objective, jax.jit(step.make_step(objective, OPTIMIZER, optax.constant_schedule(0.1), accumulate))


@pytest.mark.parametrize("accumulate", [2, 4])
def test_micro_batches_of_coupled_losses_are_the_whole_batch(accumulate):
    rows = cached(batch(), REFERENCE)
    whole, metrics = every_coupled(1)[1](begin(POLICY), WITH_ADAPTER, rows)
    parts, part_metrics = every_coupled(accumulate)[1](begin(POLICY), WITH_ADAPTER, rows)
    close(gradients(parts), gradients(whole), 1e-5)
    assert set(part_metrics) == set(metrics)
    for name in metrics:
        assert value(part_metrics, name) == pytest.approx(value(metrics, name), rel=1e-5, abs=1e-6), name


def test_the_plain_sum_over_micro_batches_would_be_another_loss():
    """Or the test above would show nothing."""
    rows, objective = cached(batch(), REFERENCE), every_coupled(1)[0]
    _, whole = every_coupled(1)[1](begin(POLICY), WITH_ADAPTER, rows)
    summed = functools.partial(gradient_module._summed, objective)
    _, parts = jax.jit(summed)(POLICY, WITH_ADAPTER, gradient_module.split(rows, 4))
    for name in COUPLED:
        assert value(whole, f"loss_{name}") != pytest.approx(value(parts, f"loss_{name}"), rel=1e-4), name


@pytest.mark.parametrize("accumulate", [1, 2])
def test_coupled_losses_over_devices_are_those_of_one(accumulate):
    rows, run = cached(batch(), REFERENCE), every_coupled(accumulate)[1]
    expected, metrics = run(begin(POLICY), WITH_ADAPTER, rows)
    mesh = jax.make_mesh((2,), ("data",), devices=jax.devices()[:2], axis_types=(AxisType.Auto,))
    split = {name: jax.device_put(x, NamedSharding(mesh, PartitionSpec("data"))) for name, x in rows.items()}
    state, frozen = jax.device_put((begin(POLICY), WITH_ADAPTER), NamedSharding(mesh, PartitionSpec()))
    found, sharded = run(state, frozen, split)
    close(gradients(found), gradients(expected), 1e-5)
    for name in metrics:
        assert value(sharded, name) == pytest.approx(value(metrics, name), rel=1e-5, abs=1e-6), name


@pytest.mark.parametrize("loss", ["aot", "aot_unpaired", "bco_pair"])
def test_coupled_losses_are_brute_force_over_the_rows(loss):
    rounded = np.ceil(batch()["pair_weight"] * 20).astype(np.float32) / 20  # amounts that brute force can count out
    rows = cached(batch(pair_weight=rounded), REFERENCE)
    _, metrics = jitted(stage(loss))(begin(POLICY), WITH_ADAPTER, rows)
    b = dataclasses.replace(as_batch(), w=rounded[rounded > 0].astype(float))
    b = dataclasses.replace(b, delta=0.2 * b.mean((b.c - b.rc + b.r - b.rr) / 2))
    assert value(metrics, "loss") == pytest.approx(getattr(papers, loss)(b, 0.2), rel=1e-5)


def test_kto_takes_its_kl_from_replies_of_no_pair():
    rows = cached(batch(), REFERENCE)
    _, metrics = jitted(stage("kto"))(begin(POLICY), WITH_ADAPTER, rows)
    # Every other thread of these rows has a third reply that stands in no pair.
    policy, reference = of_slots(token_facts()[0]), of_slots(token_facts(REFERENCE)[0])
    ratios, slot = [], 0
    for b in range(4):
        slot = 0
        for thread in ROWS.threads_of(b):
            used = {i for pair in thread.pairs for i in (pair.chosen, pair.rejected)}
            ratios += [policy[b, slot + i] - reference[b, slot + i] for i in range(3) if i not in used]
            slot += 3
    z0 = papers.kl_estimate(np.array(ratios))
    assert len(ratios) > 3 and z0 > 1 and value(metrics, "kl_mismatched") == pytest.approx(z0, rel=1e-4)
    assert value(metrics, "loss") == pytest.approx(papers.kto(as_batch(z0=z0), 0.2), rel=1e-5)


# --- what losses are given -----------------------------------------------------------------------------------------


class Counting(Bigram):
    """Counts how often it is traced."""

    def __init__(self) -> None:
        self.calls = 0

    def apply(self, *arguments):
        self.calls += 1
        return super().apply(*arguments)


@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        ("simpo", lambda b: papers.simpo(b, 0.2, 0.5)),
        ("orpo", lambda b: papers.orpo(b, 0.2)),
        ("cpo", lambda b: papers.cpo(b, 0.2, soft=False)),
        ("sft", papers.sft),
    ],
)
def test_losses_without_a_reference_compute_none(loss, formula):
    model = Counting()
    total, metrics = step.objective_of(stage(loss), model, ROWS.shape.slots)(POLICY, WITH_ADAPTER, batch())
    assert model.calls == 1 and "kl" not in metrics
    assert value(metrics, "loss") == pytest.approx(formula(as_batch()), rel=1e-5)


def test_ld_dpo_discounts_what_is_longer_than_the_other_reply():
    rows, alpha = batch(), 0.3
    both = dataclasses.replace(stage("sigmoid"), loss={"sigmoid": 1.0, "sft": 1.0}, ld_alpha=alpha)
    objective = jax.jit(step.objective_of(both, MODEL, ROWS.shape.slots))
    _, metrics = objective(POLICY, {"base": BASE, "reference": REFERENCE}, rows)
    sums = {}
    for name, params in (("policy", POLICY), ("reference", REFERENCE)):
        logps = token_facts(params)[0]
        for b, p in zip(*np.nonzero(rows["pair_weight"]), strict=True):
            sides = [
                logps[b, (rows["slot"][b] == rows[s][b, p]) & (rows["weight"][b] > 0)] for s in ("chosen", "rejected")
            ]
            common = min(map(len, sides))
            sums.setdefault(name, []).append([x[:common].sum() + alpha * x[common:].sum() for x in sides])
    (c, r), (rc, rr) = (np.array(sums[name]).T for name in ("policy", "reference"))
    b = dataclasses.replace(as_batch(), c=c, r=r, rc=rc, rr=rr)
    assert value(metrics, "loss_sigmoid") == pytest.approx(papers.sigmoid(b, 0.2, soft=False), rel=1e-5)
    assert value(metrics, "loss_sft") == pytest.approx(papers.sft(as_batch()), rel=1e-5)  # of whole replies
    assert value(metrics, "reward_chosen") == pytest.approx(0.2 * (c - rc).mean(), rel=1e-4)


def test_wpo_weighs_pairs_by_the_policys_own_probability():
    rows = cached(batch(), REFERENCE)
    state, metrics = jitted(stage("sigmoid", wpo=True))(begin(POLICY), WITH_ADAPTER, rows)
    logps, _, collision = token_facts()
    aligned = of_slots(logps - collision, np.mean)
    real, b = rows["pair_weight"] > 0, as_batch()
    weights = np.exp(aligned[ROW, rows["chosen"]] + aligned[ROW, rows["rejected"]])[real]
    losses = np.logaddexp(0, -0.2 * papers.h(b))
    assert value(metrics, "loss") == pytest.approx(b.mean(weights * losses), rel=1e-5)
    assert value(metrics, "wpo_weight") == pytest.approx(weights.mean(), rel=1e-5)
    mixed = dataclasses.replace(stage("sigmoid"), loss={"sigmoid": 1.0, "sft": 1.0}, wpo=True)
    _, parts = jax.jit(step.objective_of(mixed, MODEL, ROWS.shape.slots))(POLICY, WITH_ADAPTER, rows)
    assert value(parts, "loss_sigmoid") == pytest.approx(value(metrics, "loss"), rel=1e-5)
    assert value(parts, "loss_sft") == pytest.approx(papers.sft(b), rel=1e-5)  # the chosen reply is learned in any case
    # The weights have no gradient: it is that of pairs of these weights.
    weighted = {**rows, "pair_weight": np.zeros_like(rows["pair_weight"])}
    weighted["pair_weight"][real] = weights * b.w
    plain, _ = jitted(stage("sigmoid"))(begin(POLICY), WITH_ADAPTER, weighted)
    scale = (weights * b.w).sum() / b.w.sum()
    close(gradients(state), jax.tree.map(lambda g: scale * g, gradients(plain)), 1e-5)


def test_logged_numbers():
    rows = cached(batch(), REFERENCE)
    mixed = dataclasses.replace(stage("sigmoid"), loss={"sigmoid": 0.5, "sft": 2.0}, entropy=True)
    _, metrics = step.objective_of(mixed, MODEL, ROWS.shape.slots)(POLICY, WITH_ADAPTER, rows)
    b, (_, entropy, _) = as_batch(), token_facts()
    assert value(metrics, "loss_sigmoid") == pytest.approx(papers.sigmoid(b, 0.2, soft=False), rel=1e-5)
    assert value(metrics, "loss_sft") == pytest.approx(papers.sft(b), rel=1e-5)
    assert value(metrics, "loss") == pytest.approx(
        0.5 * value(metrics, "loss_sigmoid") + 2 * value(metrics, "loss_sft"), rel=1e-6
    )
    assert value(metrics, "kl") == pytest.approx(((b.c - b.rc + b.r - b.rr) / 2).mean(), rel=1e-4)
    assert value(metrics, "length_chosen") == pytest.approx(b.nc.mean())
    assert value(metrics, "length_rejected") == pytest.approx(b.nr.mean())
    assert value(metrics, "logp_rejected") == pytest.approx(b.r.mean(), rel=1e-5)
    assert value(metrics, "entropy") == pytest.approx(entropy[batch()["weight"] > 0].mean(), rel=1e-5)


def test_statistics_of_predictions_have_no_gradient():
    hidden = jnp.ones((1, 4, 3))
    rows = {"source": jnp.zeros((1, 4), int)}
    of = lambda h: sum(x.sum() for x in logprobs.prediction_statistics(h, jnp.eye(5, 3), rows))
    assert not jax.grad(of)(hidden).any() and np.isfinite(of(hidden))


def test_ktos_kl_has_no_gradient():
    objective = step.objective_of(stage("kto"), MODEL, ROWS.shape.slots)
    policy, fixed = objective.measure(POLICY, WITH_ADAPTER, cached(batch(), REFERENCE))
    slopes, metrics = jax.grad(objective.score, has_aux=True)(policy, fixed)
    assert value(metrics, "kl_mismatched") > 1  # not held at 0, where it would have none anyhow
    assert slopes["chosen"].any() and slopes["rejected"].any() and not slopes["slots"].any()
