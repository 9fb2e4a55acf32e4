"""Losses of one pair that compare the policy with a reference: (pairs, options) -> one loss a pair.

`p` is the pair's label, the chance that chosen is truly preferred, smoothed by `label_smoothing`; `m` the margin of
rewards, `pairs.margin`. Losses that take soft labels give their own expectation over which reply is preferred, unless
their docstring says otherwise.
"""

import jax
import jax.numpy as jnp
from jax.nn import softplus
from jaxtyping import Array, Float

from llumi_jax.objectives.options import PreferenceOptions
from llumi_jax.objectives.pairs import Pairs, margin, score


def logistic(difference: Float[Array, "*P"], label: Float[Array, "*P"]) -> Float[Array, "*P"]:
    """-p log sigmoid(d) - (1 - p) log sigmoid(-d)."""
    return label * softplus(-difference) + (1 - label) * softplus(difference)


def sigmoid(pairs: Pairs, options: PreferenceOptions) -> Float[Array, "*P"]:
    """DPO (arXiv:2305.18290, eq. 7); with labels below 1 it is cDPO (Mitchell, "A note on DPO with noisy
    preferences", 2023).

    At policy = reference the loss is log 2, whatever the labels.
    """
    return logistic(margin(pairs, options), pairs.probability)


def hinge(pairs: Pairs, options: PreferenceOptions) -> Float[Array, "*P"]:
    """max(0, 1 - m): SLiC-HF's margin (arXiv:2305.10425) on DPO's rewards, as in RSO (arXiv:2309.06657)."""
    return jax.nn.relu(1 - margin(pairs, options))


def ipo(pairs: Pairs, options: PreferenceOptions) -> Float[Array, "*P"]:
    """IPO (arXiv:2310.12036, eq. 17): (h - 1 / (2 beta))^2, beta being the paper's tau.

    h holds summed log-probabilities, as the equation does. TRL divides each by its reply's length.
    """
    gap = score(pairs.chosen_log_ratio, options) - score(pairs.rejected_log_ratio, options)
    target = 1 / (2 * options.beta)
    return pairs.probability * (gap - target) ** 2 + (1 - pairs.probability) * (gap + target) ** 2


def robust(pairs: Pairs, options: PreferenceOptions) -> Float[Array, "*P"]:
    """rDPO (arXiv:2403.00409): unbiased where labels are flipped with the constant chance `label_smoothing`."""
    flipped, m = options.label_smoothing, margin(pairs, options)
    return ((1 - flipped) * softplus(-m) - flipped * softplus(m)) / (1 - 2 * flipped)


def exo_pair(pairs: Pairs, options: PreferenceOptions) -> Float[Array, "*P"]:
    """EXO-pref (arXiv:2402.00856, eq. 16): KL(sigmoid(m) || p), the reverse of DPO's direction.

    The label is the target distribution itself, so it must not be 0 or 1: `label_smoothing` keeps it away from them.
    """
    m = margin(pairs, options)
    q, p = jax.nn.sigmoid(m), pairs.probability
    return q * (jax.nn.log_sigmoid(m) - jnp.log(p)) + (1 - q) * (jax.nn.log_sigmoid(-m) - jnp.log1p(-p))


def nca_pair(pairs: Pairs, options: PreferenceOptions) -> Float[Array, "*P"]:
    """NCA for two replies (arXiv:2402.05369), p and 1 - p in place of the softmax of given rewards."""
    chosen, rejected = options.beta * pairs.chosen_log_ratio, options.beta * pairs.rejected_log_ratio
    p = pairs.probability
    return p * softplus(-chosen) + (1 - p) * softplus(-rejected) + 0.5 * (softplus(chosen) + softplus(rejected))


def sppo_hard(pairs: Pairs, options: PreferenceOptions) -> Float[Array, "*P"]:
    """SPPO (arXiv:2405.00675, eq. 4.7) with winning probabilities 1 and 0; beta is 1 / eta."""
    target = 0.5 / options.beta
    return (pairs.chosen_log_ratio - target) ** 2 + (pairs.rejected_log_ratio + target) ** 2


def apo_zero(pairs: Pairs, options: PreferenceOptions) -> Float[Array, "*P"]:
    """APO-zero (arXiv:2408.06266, eq. 7): chosen up, rejected down. For replies better than the model's own."""
    chosen, rejected = options.beta * pairs.chosen_log_ratio, options.beta * pairs.rejected_log_ratio
    return jax.nn.sigmoid(-chosen) + jax.nn.sigmoid(rejected)


def apo_down(pairs: Pairs, options: PreferenceOptions) -> Float[Array, "*P"]:
    """APO-down (arXiv:2408.06266, eq. 8): chosen down, rejected further. For replies worse than the model's own."""
    chosen, rejected = options.beta * pairs.chosen_log_ratio, options.beta * pairs.rejected_log_ratio
    return jax.nn.sigmoid(chosen) + jax.nn.sigmoid(rejected - chosen)


def discopop(pairs: Pairs, options: PreferenceOptions) -> Float[Array, "*P"]:
    """DiscoPOP, log-ratio modulated (arXiv:2406.08414, eq. 5): logistic and exponential loss, mixed by the margin."""
    m = margin(pairs, options)
    mixed = jax.nn.sigmoid(m / options.discopop_tau)
    # exp(-m) grows without bound where its share is 0; held at a share that is no longer seen, neither becomes NaN.
    return (1 - mixed) * softplus(-m) + mixed * jnp.exp(-jnp.maximum(m, -40.0))


def sigmoid_norm(pairs: Pairs, options: PreferenceOptions) -> Float[Array, "*P"]:
    """Length-normalised DPO (Tulu 3, arXiv:2411.15124): log ratios a token, so beta is larger, about 5."""
    chosen = score(pairs.chosen_log_ratio, options) / pairs.chosen_length
    rejected = score(pairs.rejected_log_ratio, options) / pairs.rejected_length
    return logistic(options.beta * (chosen - rejected), pairs.probability)
