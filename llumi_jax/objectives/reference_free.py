"""Losses of one pair that need no reference: (pairs, options) -> one loss a pair.

They hold the policy by the likelihood of the chosen reply, a mean over its tokens as the field's code has it.
"""

import jax.numpy as jnp
from jax.nn import softplus
from jaxtyping import Array, Float

from llumi_jax.objectives.options import PreferenceOptions
from llumi_jax.objectives.pairs import Pairs
from llumi_jax.objectives.pairwise import logistic


def sft(pairs: Pairs, options: PreferenceOptions) -> Float[Array, "*P"]:
    """Negative log-likelihood a token of the chosen reply, whatever the label, as in iterative RPO (arXiv:2404.19733).

    Every pair counts by its weight. TRL takes the mean over all tokens of a batch, so that long replies count more.
    """
    return -pairs.chosen_mean


def simpo(pairs: Pairs, options: PreferenceOptions) -> Float[Array, "*P"]:
    """SimPO (arXiv:2405.14734, eq. 6): log-probabilities a token, and a margin gamma between them."""
    return softplus(options.simpo_gamma - options.beta * (pairs.chosen_mean - pairs.rejected_mean))


def orpo(pairs: Pairs, options: PreferenceOptions) -> Float[Array, "*P"]:
    """ORPO (arXiv:2403.07691, eq. 6 and 7): likelihood of the chosen reply, and beta (the paper's lambda) times the
    loss of the log odds ratio of the probabilities a token. TRL's likelihood covers the prompt as well."""
    chosen, rejected = pairs.chosen_mean, pairs.rejected_mean
    log_odds_ratio = (chosen - rejected) - (_log1mexp(chosen) - _log1mexp(rejected))
    return -chosen + options.beta * softplus(-log_odds_ratio)


def cpo(pairs: Pairs, options: PreferenceOptions) -> Float[Array, "*P"]:
    """CPO (arXiv:2401.08417, eq. 3): DPO with a uniform reference, and cpo_alpha times the likelihood of chosen.

    The paper's likelihood is a sum over tokens; the authors' code, like TRL's, takes the mean.
    """
    difference = options.beta * (pairs.chosen - pairs.rejected)
    return logistic(difference, pairs.probability) - options.cpo_alpha * pairs.chosen_mean


def _log1mexp(x: Float[Array, "*P"]) -> Float[Array, "*P"]:
    """log(1 - e^x) for x <= 0; a reply that is certain to the last bit counts as almost certain."""
    x = jnp.minimum(x, -jnp.finfo(x.dtype).eps)
    near = jnp.maximum(x, -1.0)  # each branch sees only what it can bear: where() lets the other's NaN into gradients
    far = jnp.minimum(x, -0.5)
    return jnp.where(x > -0.6931472, jnp.log(-jnp.expm1(near)), jnp.log1p(-jnp.exp(far)))
