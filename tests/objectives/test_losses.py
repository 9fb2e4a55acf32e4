"""What must hold of losses whatever the numbers: identities, extremes, padding, and the loss before training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llumi_jax.objectives import preference, sft
from llumi_jax.objectives.coupled import quantiles
from llumi_jax.objectives.options import PreferenceOptions
from llumi_jax.objectives.pairs import Pairs
from llumi_jax.objectives.preference import LOSSES

N = 6  # pairs of every example, so that each loss is compiled once
SMOOTHING = {"exo_pair": 0.1, "robust": 0.2}


def options(loss, **changes) -> PreferenceOptions:
    """Of a loss that can be trained with; soft labels where it takes them."""
    name = loss if isinstance(loss, str) else next(iter(loss))
    chosen = {"soft_labels": LOSSES[name].soft_labels, "label_smoothing": SMOOTHING.get(name, 0.0)}
    return PreferenceOptions(**{"loss": loss, **chosen, **changes})


def make_pairs(logps, probability=None, weight=None, lengths=None) -> Pairs:
    """logps [P, 4]: chosen, rejected, reference chosen, reference rejected."""
    logps = jnp.asarray(logps)
    one = jnp.ones_like(logps[:, 0])
    lengths = jnp.stack([5 * one, 7 * one], 1) if lengths is None else jnp.asarray(lengths)
    given_or_one = lambda values: one if values is None else jnp.asarray(values, logps.dtype)
    return Pairs(
        *logps.T,
        logps[:, 0],
        *lengths.T,
        given_or_one(probability),
        given_or_one(weight),
        one,
        jnp.zeros((), one.dtype),
    )


@functools.cache
def compiled(settings: tuple):
    chosen = options(**{name: dict(value) if name == "loss" and not isinstance(value, str) else value
                        for name, value in settings})  # fmt: skip

    def total(pairs):
        sums = preference.loss_sums(pairs, chosen)
        return sum(factor * sums[name] for name, factor in chosen.losses.items())

    return jax.jit(jax.value_and_grad(total))


def run(pairs: Pairs, loss, **changes):
    """(weighted sum of losses, gradient by every number of the pairs)."""
    key = loss if isinstance(loss, str) else tuple(loss.items())
    return compiled((("loss", key), *changes.items()))(pairs)


def mean(pairs: Pairs, loss, **changes) -> float:
    return float(run(pairs, loss, **changes)[0]) / float(pairs.weight.sum())


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


logp = st.floats(-60, -1 / 64, width=32)
rows = st.lists(st.tuples(logp, logp, logp, logp), min_size=N, max_size=N).map(np.array)
chances = st.lists(st.floats(0.0, 1.0, width=16), min_size=N, max_size=N).map(np.array)
weights = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.5]), min_size=N, max_size=N).map(np.array)
some = settings(max_examples=25, deadline=None)

# --- labels --------------------------------------------------------------------------------------------------------

FLIPPING = ("sigmoid", "ipo", "nca_pair", "sigmoid_norm")  # EXO's label is a target, not a chance to have been flipped


@pytest.mark.parametrize("loss", FLIPPING)
@some
@given(logps=rows, p=chances)
def test_a_soft_label_is_the_expectation_over_flips(loss, logps, p):
    flipped = logps[:, [1, 0, 3, 2]]
    lengths = np.tile([5.0, 7.0], (N, 1))
    right = make_pairs(logps, np.ones(N), p, lengths)
    wrong = make_pairs(flipped, np.ones(N), 1 - p, lengths[:, ::-1])
    expected = float(run(right, loss)[0]) + float(run(wrong, loss)[0])
    assert float(run(make_pairs(logps, p, lengths=lengths), loss)[0]) == pytest.approx(expected, rel=1e-9)


@some
@given(logps=rows, flip=st.sampled_from([0.1, 0.4]))
def test_robust_is_unbiased_under_flips(logps, flip):
    settings = dict(label_smoothing=flip)
    flipped = make_pairs(logps[:, [1, 0, 3, 2]])
    expectation = (1 - flip) * mean(make_pairs(logps), "robust", **settings) + flip * mean(
        flipped, "robust", **settings
    )
    assert expectation == pytest.approx(mean(make_pairs(logps), "sigmoid", soft_labels=False), rel=1e-7, abs=1e-9)


@some
@given(logps=rows)
def test_label_smoothing_is_a_constant_soft_label(logps):
    for loss in FLIPPING:
        smoothed = mean(make_pairs(logps), loss, soft_labels=False, label_smoothing=0.25)
        assert smoothed == pytest.approx(mean(make_pairs(logps, np.full(N, 0.75)), loss), rel=1e-12)


def test_soft_labels_rest_at_the_labels_own_log_odds():
    label, beta = 0.8, 0.1
    rest = np.log(label / (1 - label)) / beta
    at_rest = make_pairs([[rest - 5.0, -5.0, -5.0, -5.0]], [label])
    assert float(run(at_rest, "sigmoid")[1].chosen[0]) == pytest.approx(0, abs=1e-12)
    assert mean(at_rest, "exo_pair", label_smoothing=1e-9) == pytest.approx(0, abs=1e-7)


def test_hard_labels_ignore_the_pairs_probabilities():
    logps = np.random.default_rng(0).uniform(-9, -1, (N, 4))
    pair = lambda p: make_pairs(logps, np.full(N, p))
    assert mean(pair(0.6), "sigmoid", soft_labels=False) == mean(pair(1.0), "sigmoid")


# --- policy = reference --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", sorted(LOSSES))
@some
@given(logps=rows, p=chances, w=weights)
def test_the_first_loss_is_what_theory_says(loss, logps, p, w):
    logps[:, 2:] = logps[:, :2]
    w[0] = 1.0
    found = mean(make_pairs(logps, p, w), loss)
    expected = preference.first_loss(options(loss))
    if expected is None:
        assert loss in ("exo_pair", "sft", "simpo", "orpo", "cpo")
    else:
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("changes", [
    dict(f_divergence="js"), dict(f_divergence="forward_kl"), dict(f_divergence="alpha", f_alpha=0.7),
    dict(loss={"sigmoid": 2.0, "ipo": 0.1}),
    dict(loss={"hinge": 1.0, "apo_zero": 0.5, "discopop": 2.0, "sppo_hard": 0.1}, soft_labels=False),
    dict(loss="exo_pair", soft_labels=False, label_smoothing=0.01),
    dict(loss="kto", desirable_weight=1.5),
])  # fmt: skip
def test_the_first_loss_under_options(changes):
    logps = np.random.default_rng(1).uniform(-30, -1, (N, 2))
    same = make_pairs(np.concatenate([logps, logps], 1), np.linspace(0.5, 1, N), np.linspace(0, 2, N))
    changes = {"loss": "sigmoid", **changes}
    assert mean(same, **changes) == pytest.approx(preference.first_loss(options(**changes)), rel=1e-9)


@pytest.mark.parametrize("changes", [dict(wpo=True), dict(rdpo_alpha=0.1), dict(loss={"sigmoid": 1.0, "sft": 0.1})])
def test_where_the_first_loss_depends_on_the_data_nothing_is_claimed(changes):
    assert preference.first_loss(options(**{"loss": "sigmoid", **changes})) is None


# --- shapes of losses ----------------------------------------------------------------------------------------------


@some
@given(logps=rows)
def test_hinge_is_zero_beyond_its_margin(logps):
    m = (logps[:, 0] - logps[:, 2]) - (logps[:, 1] - logps[:, 3])
    beta = 0.5
    value, slopes = run(make_pairs(logps), "hinge", beta=beta)
    beyond = beta * m > 1 + 1e-9
    assert (np.asarray(slopes.chosen)[beyond] == 0).all()
    assert float(value) == pytest.approx(np.maximum(0, 1 - beta * m).sum(), rel=1e-9)


@some
@given(logps=rows, p=chances, w=weights)
def test_sums_of_losses_are_linear(logps, p, w):
    pairs = make_pairs(logps, p, w)
    parts = {"sigmoid": 0.5, "ipo": 0.01, "sft": 2.0, "nca_pair": 1.0}
    expected = sum(factor * float(run(pairs, name)[0]) for name, factor in parts.items())
    assert float(run(pairs, parts)[0]) == pytest.approx(expected, rel=1e-9)


@some
@given(logps=rows)
def test_f_divergences_meet_at_the_ends_of_alpha(logps):
    near = logps.copy()
    near[:, 2:] = near[:, :2] + np.clip(near[:, 2:] - near[:, :2], -3, 3)
    pairs = make_pairs(near)
    of = lambda **changes: mean(pairs, "sigmoid", **changes)
    assert of(f_divergence="alpha", f_alpha=1e-7) == pytest.approx(of(), rel=1e-5)
    assert of(f_divergence="alpha", f_alpha=1 - 1e-7) == pytest.approx(of(f_divergence="forward_kl"), rel=1e-5)


@some
@given(logps=rows, w=weights)
def test_dominance_does_not_care_which_pairs_belong_together(logps, w):
    pairs = make_pairs(logps, weight=w)
    shuffled = [3, 1, 5, 0, 4, 2]
    swapped = make_pairs(logps[shuffled], weight=w[shuffled])
    assert float(run(pairs, "aot")[0]) == pytest.approx(float(run(swapped, "aot")[0]), rel=1e-9, abs=1e-12)
    # With one weight for all even rejected replies may change places among themselves: they are not paired.
    mixed = logps.copy()
    mixed[:, [1, 3]] = logps[shuffled][:, [1, 3]]
    one, other = (mean(make_pairs(x), "aot_unpaired") for x in (logps, mixed))
    assert one == pytest.approx(other, rel=1e-9)


@some
@given(logps=rows, w=weights)
def test_quantiles_couple_whole_samples(logps, w):
    upper, lower, mass = map(np.asarray, quantiles(jnp.asarray(logps[:, 0]), jnp.asarray(logps[:, 1]), jnp.asarray(w)))
    assert (mass >= 0).all() and mass.sum() == pytest.approx(w.sum())
    seen = mass > 0
    assert (np.diff(upper[seen]) >= 0).all() and (np.diff(lower[seen]) >= 0).all()
    for found, values in ((upper, logps[:, 0]), (lower, logps[:, 1])):
        for value in np.unique(values):
            assert mass[found == value].sum() == pytest.approx(w[values == value].sum(), abs=1e-9)


def test_equal_weights_sort():
    logps = np.random.default_rng(2).uniform(-20, -1, (N, 4))
    d = 0.1 * (np.sort(logps[:, 0] - logps[:, 1]) - np.sort(logps[:, 2] - logps[:, 3]))
    assert mean(make_pairs(logps), "aot") == pytest.approx(np.mean(np.logaddexp(0, -d)), rel=1e-12)


# --- padding and extremes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_pairs_of_weight_0_count_nothing_and_weights_are_amounts(loss):
    """Three pairs and three of padding are the same three pairs twice, each with half its weight."""
    rng = np.random.default_rng(3)
    half = N // 2
    logps, p, w = rng.uniform(-20, -1, (half, 4)), rng.uniform(0.5, 1, half), rng.uniform(0.1, 2, half)
    twice = make_pairs(np.tile(logps, (2, 1)), np.tile(p, 2), np.tile(w, 2) / 2)
    expected, slopes = run(twice, loss)
    for filler in (0.0, np.nan, np.inf):
        real = np.arange(N) < half
        padded = Pairs(*(x if x.ndim == 0 else jnp.where(real, x, filler) for x in twice))
        value, found = run(padded._replace(weight=jnp.where(real, 2 * twice.weight, 0.0)), loss)
        assert float(value) == pytest.approx(float(expected), rel=1e-12)
        for name in ("chosen", "rejected", "chosen_whole"):
            once = np.asarray(getattr(slopes, name)).reshape(2, half).sum(0)
            np.testing.assert_allclose(getattr(found, name)[:half], once, rtol=1e-9, atol=1e-12)
            assert (np.asarray(getattr(found, name))[half:] == 0).all()


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_a_batch_of_padding_alone_is_0(loss):
    value, slopes = run(make_pairs(np.zeros((N, 4)), np.zeros(N), np.zeros(N), np.zeros((N, 2))), loss)
    assert float(value) == 0
    assert all((np.asarray(x) == 0).all() for x in (slopes.chosen, slopes.rejected, slopes.chosen_whole))


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_losses_and_gradients_stay_finite_at_extreme_numbers(loss):
    extreme = np.array([
        [-3000.0, -10.0, -10.0, -10.0], [-10.0, -3000.0, -10.0, -10.0], [-10.0, -10.0, -3000.0, -10.0],
        [-1e-30, -1e-9, -4.0, -4.0], [0.0, -700.0, -1.0, -1.0], [-2.0, 0.0, -2.0, -2.0],
    ])  # fmt: skip
    with jax.enable_x64(False):
        value, slopes = run(make_pairs(extreme.astype(np.float32)), loss, beta=1.0)
        assert value.dtype == jnp.float32 and np.isfinite(value)
        assert all(np.isfinite(x).all() for x in (slopes.chosen, slopes.rejected, slopes.chosen_whole))


@pytest.mark.parametrize(
    "changes", [dict(f_divergence="forward_kl"), dict(f_divergence="alpha"), dict(f_divergence="js")]
)
def test_divergences_stay_finite_far_from_the_reference(changes):
    far = np.array([[-3000.0, -10.0, -10.0, -10.0], [-10.0, -3000.0, -10.0, -10.0]], np.float32)
    with jax.enable_x64(False):
        value, slopes = run(make_pairs(far), "sigmoid", **changes)
        assert np.isfinite(value) and np.isfinite(slopes.chosen).all() and np.isfinite(slopes.rejected).all()


# --- rewards -------------------------------------------------------------------------------------------------------

LOGPS = np.array([[-12.5, -14.0, -13.0, -13.5], [-40.0, -22.0, -38.5, -25.0], [-7.0, -9.0, -7.0, -9.0]])


def test_rewards_and_their_accuracy():
    values = preference.rewards(make_pairs(LOGPS), PreferenceOptions())
    c, r, rc, rr = LOGPS.T
    np.testing.assert_allclose(values["reward_chosen"], 0.1 * (c - rc))
    np.testing.assert_allclose(values["reward_rejected"], 0.1 * (r - rr))
    np.testing.assert_allclose(values["reward_margin"], 0.1 * (c - rc - r + rr), atol=1e-12)
    # A tie counts a half: the first pair is won, the second lost, the third equal.
    np.testing.assert_array_equal(values["reward_accuracy"], [1, 0, 0.5])


@pytest.mark.parametrize(("loss", "divided"), [("simpo", True), ("orpo", True), ("cpo", False)])
def test_rewards_without_a_reference(loss, divided):
    values = preference.rewards(make_pairs(LOGPS), options(loss, beta=2.0))
    over = np.array([5.0, 7.0]) if divided else 1.0
    expected = 2.0 * LOGPS[:, :2] / over
    np.testing.assert_allclose(values["reward_chosen"], expected[:, 0])
    np.testing.assert_allclose(values["reward_rejected"], expected[:, 1])


# --- SFT stages ----------------------------------------------------------------------------------------------------


def test_sft_loss_is_the_weighted_mean_and_ignores_padding():
    logps = np.array([[-1.0, -2.0, -3.0, np.nan], [-4.0, -5.0, np.inf, -6.0]], np.float32)
    weight = np.array([[1.0, 0.5, 2.0, 0.0], [1.0, 1.0, 0.0, 0.25]], np.float32)
    total, weights = sft.sft_loss(jnp.asarray(logps), {"weight": jnp.asarray(weight)})
    assert float(total) == pytest.approx(1 + 1 + 6 + 4 + 5 + 1.5)
    assert float(weights) == pytest.approx(weight.sum())
