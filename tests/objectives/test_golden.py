"""Every loss and option against two witnesses, value and gradient, float64: papers by hand, and TRL's own numbers."""

import dataclasses
import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llumi_jax.objectives import coupled, preference, replies
from llumi_jax.objectives.options import PreferenceOptions
from llumi_jax.objectives.pairs import Pairs
from llumi_jax.training.pair_objective import PairObjective
from tests.objectives import papers

TRL = json.loads((Path(__file__).parent / "golden_trl.json").read_text())
BATCH = papers.Batch(
    c=np.array([-12.5, -40.0, -7.0, -21.3, -9.75, -30.2]),
    r=np.array([-14.0, -22.0, -9.0, -20.1, -33.0, -28.4]),
    rc=np.array([-13.0, -38.5, -7.2, -19.0, -10.5, -31.9]),
    rr=np.array([-13.5, -25.0, -8.7, -20.9, -30.5, -28.0]),
    nc=np.array([8.0, 21.0, 5.0, 14.0, 3.0, 17.0]),
    nr=np.array([7.0, 12.0, 9.0, 14.0, 25.0, 11.0]),
    p=np.array([1.0, 0.5, 0.73, 0.9, 0.6, 0.85]),
    w=np.array([1.0, 0.35, 2.0, 0.6, 1.25, 0.05]),
    z0=0.7,
)
BATCH = dataclasses.replace(
    BATCH,
    delta=0.2 * BATCH.mean((BATCH.c - BATCH.rc + BATCH.r - BATCH.rr) / 2),  # beta of bco_pair below
)

HARD = dict(soft_labels=False)
JS, FORWARD, ALPHA = dict(f_divergence="js"), dict(f_divergence="forward_kl"), dict(f_divergence="alpha", f_alpha=0.3)
# Our options -> the paper's formula.
PAPERS = [
    (dict(loss="sigmoid", beta=0.1), lambda b: papers.sigmoid(b, 0.1)),
    (dict(loss="sigmoid", beta=0.4, **HARD), lambda b: papers.sigmoid(b, 0.4, soft=False)),
    (dict(loss="sigmoid", label_smoothing=0.2, **HARD), lambda b: papers.sigmoid(b, 0.1, 0.2, soft=False)),
    (dict(loss="sigmoid", rdpo_alpha=0.03), lambda b: papers.sigmoid(b, 0.1, rdpo=0.03)),
    (dict(loss="sigmoid", **JS), lambda b: papers.sigmoid(b, 0.1, divergence="js")),
    (dict(loss="sigmoid", **FORWARD), lambda b: papers.sigmoid(b, 0.1, divergence="forward_kl")),
    (dict(loss="sigmoid", **ALPHA), lambda b: papers.sigmoid(b, 0.1, divergence="alpha", alpha=0.3)),
    (dict(loss="hinge", beta=0.6, **HARD), lambda b: papers.hinge(b, 0.6)),
    (dict(loss="hinge", rdpo_alpha=0.1, **JS, **HARD), lambda b: papers.hinge(b, 0.1, rdpo=0.1, divergence="js")),
    (dict(loss="ipo", beta=0.25), lambda b: papers.ipo(b, 0.25)),
    (dict(loss="ipo", label_smoothing=0.1, **HARD), lambda b: papers.ipo(b, 0.1, 0.1, soft=False)),
    (dict(loss="ipo", **ALPHA), lambda b: papers.ipo(b, 0.1, divergence="alpha", alpha=0.3)),
    (dict(loss="robust", label_smoothing=0.15, **HARD), lambda b: papers.robust(b, 0.1, 0.15)),
    (dict(loss="exo_pair", label_smoothing=1e-3, **HARD), lambda b: papers.exo_pair(b, 0.1, 1e-3, soft=False)),
    (dict(loss="exo_pair", label_smoothing=1e-2), lambda b: papers.exo_pair(b, 0.1, 1e-2)),
    (dict(loss="nca_pair", **HARD), lambda b: papers.nca_pair(b, 0.1, soft=False)),
    (dict(loss="nca_pair", beta=0.3), lambda b: papers.nca_pair(b, 0.3)),
    (dict(loss="bco_pair", beta=0.2, **HARD), lambda b: papers.bco_pair(b, 0.2)),
    (dict(loss="sppo_hard", beta=0.3, **HARD), lambda b: papers.sppo_hard(b, 0.3)),
    (dict(loss="aot", **HARD), lambda b: papers.aot(b, 0.1)),
    (dict(loss="aot", label_smoothing=0.2, **HARD), lambda b: papers.aot(b, 0.1, 0.2)),
    (dict(loss="aot_unpaired", beta=0.3, **HARD), lambda b: papers.aot_unpaired(b, 0.3)),
    (dict(loss="apo_zero", beta=0.3, **HARD), lambda b: papers.apo_zero(b, 0.3)),
    (dict(loss="apo_down", beta=0.3, **HARD), lambda b: papers.apo_down(b, 0.3)),
    (dict(loss="discopop", beta=0.05, **HARD), lambda b: papers.discopop(b, 0.05)),
    (dict(loss="discopop", discopop_tau=0.5, **JS, **HARD), lambda b: papers.discopop(b, 0.1, 0.5, divergence="js")),
    (dict(loss="sigmoid_norm", beta=5.0), lambda b: papers.sigmoid_norm(b, 5.0)),
    (dict(loss="sigmoid_norm", beta=5.0, **FORWARD), lambda b: papers.sigmoid_norm(b, 5.0, divergence="forward_kl")),
    (dict(loss="kto", beta=0.2, **HARD), lambda b: papers.kto(b, 0.2)),
    (
        dict(loss="kto", desirable_weight=1.33, undesirable_weight=0.7, **HARD),
        lambda b: papers.kto(b, 0.1, 1.33, 0.7),
    ),
    (dict(loss="sft"), papers.sft),
    (dict(loss="simpo", beta=2.0, simpo_gamma=1.6, **HARD), lambda b: papers.simpo(b, 2.0, 1.6)),
    (dict(loss="orpo", beta=0.3, **HARD), lambda b: papers.orpo(b, 0.3)),
    (dict(loss="cpo"), lambda b: papers.cpo(b, 0.1)),
    (dict(loss="cpo", cpo_alpha=0.2, label_smoothing=0.1, **HARD), lambda b: papers.cpo(b, 0.1, 0.2, 0.1, soft=False)),
    (dict(loss={"sigmoid": 0.7, "sft": 0.2}), lambda b: 0.7 * papers.sigmoid(b, 0.1) + 0.2 * papers.sft(b)),
    (
        dict(loss={"apo_zero": 0.5, "aot": 1.5, "kto": 2}, **HARD),
        lambda b: 0.5 * papers.apo_zero(b, 0.1) + 1.5 * papers.aot(b, 0.1) + 2 * papers.kto(b, 0.1),
    ),
]


def named(options: dict) -> str:
    return ", ".join(f"{key} {value}" for key, value in options.items())


def pairs(chosen, rejected, b: papers.Batch = BATCH) -> Pairs:
    """The batch, and behind it one pair of padding that is not even a number."""
    padded = lambda values, filler=np.nan: jnp.append(jnp.asarray(values), filler)
    return Pairs(
        chosen=padded(chosen),
        rejected=padded(rejected),
        reference_chosen=padded(b.rc),
        reference_rejected=padded(b.rr),
        chosen_whole=padded(chosen),
        chosen_length=padded(b.nc, 0.0),
        rejected_length=padded(b.nr, 0.0),
        probability=padded(b.p, 0.0),
        weight=padded(b.w, 0.0),
        multiplier=padded(np.ones_like(b.c)),
        kl=jnp.asarray(b.z0),
    )


def mean_loss(options: PreferenceOptions, given: Pairs) -> jax.Array:
    sums = preference.loss_sums(given, options)
    return sum(weight * sums[name] for name, weight in options.losses.items()) / given.weight.sum()


@functools.cache
def ours() -> list:
    """(value, gradients by chosen and rejected) of every entry of PAPERS, compiled as one program."""

    def everything(chosen, rejected):
        def one(options):
            return lambda c, r: mean_loss(PreferenceOptions(**options), pairs(c, r))

        return [jax.value_and_grad(one(options), (0, 1))(chosen, rejected) for options, _ in PAPERS]

    with jax.enable_x64(True):
        return jax.device_get(jax.jit(everything)(jnp.asarray(BATCH.c), jnp.asarray(BATCH.r)))


def test_every_loss_is_here():
    seen = {name for options, _ in PAPERS for name in PreferenceOptions(**options).losses}
    assert seen == set(preference.LOSSES)


@pytest.mark.parametrize("index", range(len(PAPERS)), ids=[named(options) for options, _ in PAPERS])
def test_value_and_gradient_are_the_papers(index):
    value, gradients = ours()[index]
    formula, step = PAPERS[index][1], 1e-5
    assert float(value) == pytest.approx(formula(BATCH), rel=1e-6)
    for side, gradient in zip("cr", gradients, strict=True):
        slopes = [
            (formula(BATCH.moved(side, i, step)) - formula(BATCH.moved(side, i, -step))) / (2 * step)
            for i in range(len(BATCH.c))
        ]
        np.testing.assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-8)


# --- TRL -----------------------------------------------------------------------------------------------------------


def rows_of(case: dict, extra: int = 0) -> dict[str, jax.Array]:
    """The case's pairs as one packed row without its tokens: reply 2 i is chosen, 2 i + 1 rejected."""
    lengths = [len(side) for pair in case["policy"] for side in pair]
    count, slots = len(case["policy"]), np.repeat(np.arange(len(lengths)), lengths)
    row = {
        "slot": np.append(slots, np.zeros(extra, int)),
        "weight": np.append(np.ones(len(slots)), np.zeros(extra)),
        "chosen": np.append(2 * np.arange(count), 0),
        "rejected": np.append(2 * np.arange(count) + 1, 0),
        "probability": np.append(np.ones(count), 0.0),
        "pair_weight": np.append(np.ones(count), 0.0),
    }
    return {name: jnp.asarray(values)[None] for name, values in row.items()}


def tokens_of(values: list, extra: int = 0) -> jax.Array:
    flat = [x for pair in values for side in pair for x in side]
    return jnp.asarray(flat + [np.nan] * extra)[None]


def sums_of(values: list) -> np.ndarray:
    return np.array([sum(side) for pair in values for side in pair])


def trl_objective(result: dict) -> PairObjective:
    settings = dict(result["options"])
    if settings.get("label_smoothing") or settings["loss"] != "sft":
        settings["soft_labels"] = False
    return PairObjective(PreferenceOptions(**settings), slots=2 * 5, model=None)


def trl_loss(result: dict, logps: jax.Array) -> jax.Array:
    """Our loss of the case, from log-probabilities of tokens through everything behind the model."""
    case, objective, extra = TRL["cases"][result["case"]], trl_objective(result), 3
    rows = rows_of(case, extra)
    policy = objective.of_replies(jnp.append(logps, jnp.full((1, extra), jnp.nan), axis=1), rows)
    reference = objective.of_replies(tokens_of(case["reference"], extra), rows)
    fixed = {f"reference_{name}": value for name, value in reference.items()}
    fixed |= {name: rows[name] for name in ("probability", "pair_weight")}
    lengths = np.array([[len(side) for side in pair] for pair in case["policy"]], float)
    fixed |= {"chosen_length": jnp.append(lengths[:, 0], 0.0), "rejected_length": jnp.append(lengths[:, 1], 0.0)}
    if result["options"]["loss"] == "sft":  # TRL's mean is over tokens: as if longer replies weighed more
        fixed["pair_weight"] = fixed["chosen_length"]
    if result["options"].get("wpo"):
        still = jax.lax.stop_gradient(jnp.append(logps, jnp.full((1, extra), jnp.nan), axis=1))
        collision = tokens_of(case["collision"], extra)
        fixed["multiplier"] = replies.wpo_multiplier(still, collision, rows, objective.slots)
    if "mismatched" in result:
        other = TRL["mismatched"][result["mismatched"]]
        policy["slots"], fixed["reference_slots"] = (jnp.asarray(sums_of(other[n])) for n in ("policy", "reference"))
        fixed["mismatched"] = jnp.ones(len(policy["slots"]), bool)
    total, metrics = objective.score(policy, fixed)
    return total / metrics["loss"][1]


@functools.cache
def against_trl() -> list:
    def everything(logps):
        of = lambda result: jax.value_and_grad(functools.partial(trl_loss, result))(logps[result["case"]])
        return [of(result) for result in TRL["results"]]

    with jax.enable_x64(True):
        return jax.device_get(jax.jit(everything)({n: tokens_of(case["policy"]) for n, case in TRL["cases"].items()}))


@pytest.mark.parametrize("index", range(len(TRL["results"])), ids=[named(r["options"]) for r in TRL["results"]])
def test_value_and_gradient_are_trls(index):
    result = TRL["results"][index]
    value, gradient = against_trl()[index]
    # Where TRL itself computes in float32, so many digits are all there are.
    tolerance = 1e-6 if result["dtype"] == "float64" else 5e-6
    assert float(value) == pytest.approx(result["loss"], rel=tolerance)
    expected = [x for pair in result["gradient"] for side in pair for x in side]
    np.testing.assert_allclose(gradient[0], expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


def test_kl_estimate_is_the_clipped_mean_of_mismatched_replies():
    ratios, chosen = np.array([1.5, -0.25, 3.0, np.nan, -9.0]), np.array([True, True, True, False, False])
    with jax.enable_x64(True):
        assert float(coupled.kl_estimate(ratios, chosen)) == pytest.approx(papers.kl_estimate(ratios[:3]), rel=1e-12)
        assert float(coupled.kl_estimate(-ratios, chosen)) == papers.kl_estimate(-ratios[:3]) == 0
        assert float(coupled.kl_estimate(ratios, np.zeros(5, bool))) == 0
