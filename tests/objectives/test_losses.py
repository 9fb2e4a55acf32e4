"""Losses of log-probabilities against the papers' formulas, written out in float64 numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llumi_jax.objectives import preference, sft
from llumi_jax.objectives.preference import PairLogps

# chosen, rejected, reference chosen, reference rejected: ordinary pairs, a tie, and margins that would overflow exp.
LOGPS = np.array(
    [
        [-12.5, -14.0, -13.0, -13.5],
        [-40.0, -22.0, -38.5, -25.0],
        [-7.0, -9.0, -7.0, -9.0],
        [-3000.0, -10.0, -10.0, -10.0],
        [-10.0, -3000.0, -10.0, -10.0],
    ]
)
LABELS = np.array([1.0, 0.5, 0.73, 0.9, 0.6])


def pairs(logps: np.ndarray = LOGPS) -> PairLogps:
    return PairLogps(*jnp.asarray(logps, jnp.float32).T)


def numpy_sigmoid_loss(logps: np.ndarray, beta: float, p: np.ndarray) -> np.ndarray:
    """-p log s(m) - (1 - p) log s(-m) in float64, with m the margin of implicit rewards."""
    c, r, rc, rr = logps.T
    m = beta * ((c - rc) - (r - rr))
    return p * np.logaddexp(0, -m) + (1 - p) * np.logaddexp(0, m)


def numpy_ipo_loss(logps: np.ndarray, beta: float, p: np.ndarray) -> np.ndarray:
    """The expectation over labels of (h - 1 / (2 beta))^2, with h the log-ratio gap of the preferred over the other."""
    c, r, rc, rr = logps.T
    h = np.log(np.exp(np.longdouble(c - rc)) / np.exp(np.longdouble(r - rr)))
    return (p * (h - 0.5 / beta) ** 2 + (1 - p) * (-h - 0.5 / beta) ** 2).astype(float)


@pytest.mark.parametrize("beta", [0.05, 0.1, 1.0])
@pytest.mark.parametrize("labels", [np.ones(5), LABELS], ids=["hard", "soft"])
def test_sigmoid_is_the_papers_formula(beta, labels):
    ours = preference.sigmoid(pairs(), beta, jnp.asarray(labels))
    np.testing.assert_allclose(ours, numpy_sigmoid_loss(LOGPS, beta, labels), rtol=1e-5, atol=1e-30)


def test_sigmoid_by_hand():
    # margin = 0.5 * ((-1 + 2) - (-3 + 2)) = 1
    one = preference.sigmoid(PairLogps(*map(jnp.float32, (-1, -3, -2, -2))), 0.5, jnp.float32(0.75))
    assert float(one) == pytest.approx(0.75 * 0.3132616875 + 0.25 * 1.3132616875, rel=1e-6)


@pytest.mark.parametrize("beta", [0.05, 0.1, 1.0])
@pytest.mark.parametrize("labels", [np.ones(5), LABELS], ids=["hard", "soft"])
def test_ipo_is_the_papers_formula(beta, labels):
    ordinary = slice(0, 3)
    ours = preference.ipo(pairs(LOGPS[ordinary]), beta, jnp.asarray(labels[ordinary]))
    np.testing.assert_allclose(ours, numpy_ipo_loss(LOGPS[ordinary], beta, labels[ordinary]), rtol=1e-5)


def test_ipo_by_hand():
    # gap = (-1 + 2) - (-3 + 2) = 2, target = 1 / (2 * 0.25) = 2
    one = PairLogps(*map(jnp.float32, (-1, -3, -2, -2)))
    assert float(preference.ipo(one, 0.25, jnp.float32(1.0))) == 0
    assert float(preference.ipo(one, 0.25, jnp.float32(0.75))) == pytest.approx(0.25 * 16)


@pytest.mark.parametrize("label", [0.5, 0.6, 0.99, 1.0])
def test_loss_is_log_2_where_policy_equals_reference(label):
    same = LOGPS[:, [0, 1, 0, 1]]
    losses = preference.sigmoid(pairs(same), 0.1, jnp.full(len(same), label))
    np.testing.assert_allclose(losses, np.log(2), rtol=1e-6)


@pytest.mark.parametrize("name", sorted(preference.LOSSES))
def test_gradients_are_finite_differences(name):
    loss, beta, step = preference.LOSSES[name], 0.1, 1e-5
    ordinary, labels = LOGPS[:3], LABELS[:3]
    with jax.enable_x64(True):

        def total(logps):
            return jnp.sum(loss(PairLogps(*logps.T), beta, jnp.asarray(labels)))

        ours = np.asarray(jax.grad(total)(jnp.asarray(ordinary)))
        for index in np.ndindex(*ordinary.shape):
            up, down = ordinary.copy(), ordinary.copy()
            up[index] += step
            down[index] -= step
            slope = (float(total(jnp.asarray(up))) - float(total(jnp.asarray(down)))) / (2 * step)
            assert ours[index] == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_gradients_stay_finite_at_extreme_margins():
    gradient = jax.grad(lambda p: preference.sigmoid(p, 1.0, jnp.asarray(LABELS, jnp.float32)).sum())(pairs())
    assert all(np.isfinite(leaf).all() for leaf in gradient)


def test_soft_labels_rest_at_the_labels_own_log_odds():
    label, beta = 0.8, 0.2
    rest = np.log(label / (1 - label)) / beta
    others = [jnp.float32(0)] * 3
    slope = jax.grad(lambda x: preference.sigmoid(PairLogps(x, *others), beta, jnp.float32(label)))(jnp.float32(rest))
    assert float(slope) == pytest.approx(0, abs=1e-6)


def test_rewards_and_their_accuracy():
    values = preference.rewards(pairs(), 0.1)
    c, r, rc, rr = LOGPS.T
    np.testing.assert_allclose(values["reward_chosen"], 0.1 * (c - rc), rtol=1e-5)
    np.testing.assert_allclose(values["reward_rejected"], 0.1 * (r - rr), rtol=1e-5)
    np.testing.assert_allclose(values["reward_margin"], 0.1 * (c - rc - r + rr), rtol=1e-4, atol=1e-6)
    # A tie counts a half: the first pair is won, the second lost, the third equal.
    np.testing.assert_array_equal(values["reward_accuracy"], [1, 0, 0.5, 0, 1])


def test_sft_loss_is_the_weighted_mean_and_ignores_padding():
    logps = np.array([[-1.0, -2.0, -3.0, np.nan], [-4.0, -5.0, np.inf, -6.0]], np.float32)
    weight = np.array([[1.0, 0.5, 2.0, 0.0], [1.0, 1.0, 0.0, 0.25]], np.float32)
    total, weights = sft.sft_loss(jnp.asarray(logps), {"weight": jnp.asarray(weight)})
    assert float(total) == pytest.approx(1 + 1 + 6 + 4 + 5 + 1.5)
    assert float(weights) == pytest.approx(weight.sum())
