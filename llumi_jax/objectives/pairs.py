"""What a loss may know of pairs of replies, and what several losses make of it: scores, margins, rewards."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from llumi_jax.objectives.options import PreferenceOptions

_LARGEST_EXPONENT = 80.0  # e^80 is a float32; a log ratio beyond it has no gradient left, and no Inf either


class Pairs(NamedTuple):
    """Pairs of replies as numbers; all [*P] but `kl`. Log-probabilities are sums over a reply's tokens (nats).

    chosen, rejected: under the policy. With LD-DPO the tokens past the shorter reply's length weigh less in them.
    reference_chosen, reference_rejected: the same under the reference; unused where a loss needs none.
    chosen_whole: as `chosen`, every token with weight 1.
    chosen_length, rejected_length: predicted tokens, the end-of-turn token included.
    probability: the label, the chance that chosen is truly preferred.
    weight: what the pair counts; 0 = padding. multiplier: WPO's factor, which does not enter the sum of weights.
    kl: one number for all pairs, KTO's estimate z0 of the KL divergence of policy and reference, at least 0.
    """

    chosen: Float[Array, "*P"]
    rejected: Float[Array, "*P"]
    reference_chosen: Float[Array, "*P"]
    reference_rejected: Float[Array, "*P"]
    chosen_whole: Float[Array, "*P"]
    chosen_length: Float[Array, "*P"]
    rejected_length: Float[Array, "*P"]
    probability: Float[Array, "*P"]
    weight: Float[Array, "*P"]
    multiplier: Float[Array, "*P"]
    kl: Float[Array, ""]

    @property
    def chosen_log_ratio(self) -> Float[Array, "*P"]:
        return self.chosen - self.reference_chosen

    @property
    def rejected_log_ratio(self) -> Float[Array, "*P"]:
        return self.rejected - self.reference_rejected

    @property
    def chosen_mean(self) -> Float[Array, "*P"]:
        """Log-probability a token of the chosen reply."""
        return self.chosen_whole / self.chosen_length

    @property
    def rejected_mean(self) -> Float[Array, "*P"]:
        return self.rejected / self.rejected_length


def prepared(pairs: Pairs, options: PreferenceOptions) -> Pairs:
    """The pairs as losses take them: labels as the options want them, padding replaced by numbers that do no harm.

    A loss of padding is multiplied by 0, and 0 times the Inf or NaN of an empty reply, or of its gradient, is no 0.
    """
    label = pairs.probability if options.soft_labels else jnp.ones_like(pairs.probability)
    smoothing = options.label_smoothing
    label = (1 - smoothing) * label + smoothing * (1 - label)
    real = pairs.weight > 0
    fill = lambda values, filler: jnp.where(real, values, filler)
    logps = {
        name: fill(getattr(pairs, name), -1.0)
        for name in ("chosen", "rejected", "reference_chosen", "reference_rejected", "chosen_whole")
    }
    others = {name: fill(getattr(pairs, name), 1.0) for name in ("chosen_length", "rejected_length", "multiplier")}
    return pairs._replace(**logps, **others, probability=fill(label, 0.5))


def score(log_ratio: Float[Array, "*P"], options: PreferenceOptions) -> Float[Array, "*P"]:
    """f'(policy / reference) - f'(1) of the chosen f-divergence (f-DPO, arXiv:2309.16240, table 1); reverse KL is DPO.

    `alpha` is the paper's: f'(u) = (1 - u^-alpha) / alpha, reverse KL at 0, forward KL at 1.
    """
    if options.f_divergence == "reverse_kl":
        return log_ratio
    if options.f_divergence == "js":
        return math.log(2) + jax.nn.log_sigmoid(log_ratio)
    alpha = 1.0 if options.f_divergence == "forward_kl" else options.f_alpha
    return -jnp.expm1(jnp.minimum(-alpha * log_ratio, _LARGEST_EXPONENT)) / alpha


def margin(pairs: Pairs, options: PreferenceOptions) -> Float[Array, "*P"]:
    """Reward of chosen over rejected: beta times the difference of scores, R-DPO's length term added.

    R-DPO (arXiv:2403.19159): a penalty of alpha a token in the objective puts alpha * (|chosen| - |rejected|) here.
    """
    reward = options.beta * (score(pairs.chosen_log_ratio, options) - score(pairs.rejected_log_ratio, options))
    if options.rdpo_alpha:
        reward += options.rdpo_alpha * (pairs.chosen_length - pairs.rejected_length)
    return reward
