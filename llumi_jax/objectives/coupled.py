"""Losses in which the pairs of a batch see each other.

Their batch is that of the optimiser step: all pairs of all its rows, over all devices and all micro-batches. The step
makes it so (`llumi_jax.training.gradients`), these functions only see one long list of pairs. Padding counts nothing.
"""

import jax
import jax.numpy as jnp
from jax.nn import sigmoid, softplus
from jaxtyping import Array, Bool, Float

from llumi_jax.objectives.options import PreferenceOptions
from llumi_jax.objectives.pairs import Pairs
from llumi_jax.objectives.pairwise import logistic


def bco_pair(pairs: Pairs, options: PreferenceOptions) -> Float[Array, "*P"]:
    """BCO (arXiv:2404.04656): a classifier of chosen against rejected, its threshold delta the mean reward.

    delta is the weighted mean over the batch and has no gradient. TRL 1.16 has delta = 0.
    """
    chosen, rejected = options.beta * pairs.chosen_log_ratio, options.beta * pairs.rejected_log_ratio
    both = jnp.sum(pairs.weight * (chosen + rejected) / 2)
    delta = jax.lax.stop_gradient(both / jnp.maximum(jnp.sum(pairs.weight), 1e-9))
    return softplus(-(chosen - delta)) + softplus(rejected - delta)


def kto(pairs: Pairs, options: PreferenceOptions) -> Float[Array, "*P"]:
    """KTO (arXiv:2402.01306, eq. 7): chosen replies are desirable, rejected ones are not, and neither sees the other.

    A pair's loss is the mean of its two replies' lambda - v. `pairs.kl` is z0.
    """
    desirable = options.desirable_weight * sigmoid(options.beta * (pairs.kl - pairs.chosen_log_ratio))
    undesirable = options.undesirable_weight * sigmoid(options.beta * (pairs.rejected_log_ratio - pairs.kl))
    return (desirable + undesirable) / 2


def kl_estimate(log_ratio: Float[Array, "*S"], mismatched: Bool[Array, "*S"]) -> Float[Array, ""]:
    """KTO's z0 (arXiv:2402.01306): the mean log ratio of replies to other posts, at least 0, without gradient.

    Without any such reply it is 0.
    """
    total = jnp.sum(jnp.where(mismatched, log_ratio, 0.0))
    return jax.lax.stop_gradient(jnp.maximum(total / jnp.maximum(jnp.sum(mismatched), 1), 0.0))


def aot(pairs: Pairs, options: PreferenceOptions) -> Float[Array, ""]:
    """AOT, paired (arXiv:2406.05882): the policy's log ratios of chosen to rejected dominate the reference's.

    Returns the weighted sum of the losses.
    """
    policy = pairs.chosen - pairs.rejected
    reference = pairs.reference_chosen - pairs.reference_rejected
    return _dominance(policy, reference, pairs.weight, options)


def aot_unpaired(pairs: Pairs, options: PreferenceOptions) -> Float[Array, ""]:
    """AOT, unpaired (arXiv:2406.05882): rewards of chosen replies dominate those of rejected ones.

    Returns the weighted sum of the losses.
    """
    return _dominance(pairs.chosen_log_ratio, pairs.rejected_log_ratio, pairs.weight, options)


def _dominance(
    upper: Float[Array, "*P"], lower: Float[Array, "*P"], weight: Float[Array, "*P"], options: PreferenceOptions
) -> Float[Array, ""]:
    """Integral of the logistic loss of beta * (upper quantile - lower quantile); equal weights: sorted differences."""
    upper, lower, mass = quantiles(upper.ravel(), lower.ravel(), weight.ravel())
    label = jnp.full_like(upper, 1 - options.label_smoothing)
    return jnp.sum(mass * logistic(options.beta * (upper - lower), label))


def quantiles(
    upper: Float[Array, "*P"], lower: Float[Array, "*P"], weight: Float[Array, "*P"]
) -> tuple[Float[Array, "*Q"], Float[Array, "*Q"], Float[Array, "*Q"]]:
    """The monotone coupling of two weighted samples: (upper, lower, mass) of its Q = 2 P pieces.

    Both quantile functions are steps, as wide as the weights. Between two steps of either, both are constant.
    """

    def steps(values):
        order = jnp.argsort(values)
        return values[order], jnp.cumsum(weight[order])

    (upper, upper_ends), (lower, lower_ends) = steps(upper), steps(lower)
    ends = jnp.sort(jnp.concatenate([upper_ends, lower_ends]))
    starts = jnp.concatenate([jnp.zeros_like(ends[:1]), ends[:-1]])
    middle = (starts + ends) / 2
    at = lambda values, edges: values[jnp.minimum(jnp.searchsorted(edges, middle, side="right"), values.size - 1)]
    return at(upper, upper_ends), at(lower, lower_ends), ends - starts
