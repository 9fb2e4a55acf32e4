"""Preference losses as pure functions of log-probabilities: each can be checked with four numbers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class PairLogps(NamedTuple):
    """Summed log-probabilities of the two replies of each pair, under the policy and under the reference."""

    chosen: Float[Array, "*P"]
    rejected: Float[Array, "*P"]
    reference_chosen: Float[Array, "*P"]
    reference_rejected: Float[Array, "*P"]

    @property
    def chosen_log_ratio(self) -> Float[Array, "*P"]:
        return self.chosen - self.reference_chosen

    @property
    def rejected_log_ratio(self) -> Float[Array, "*P"]:
        return self.rejected - self.reference_rejected


def sigmoid(pairs: PairLogps, beta: float, probability: Float[Array, "*P"]) -> Float[Array, "*P"]:
    """DPO (arXiv:2305.18290, eq. 7), with soft labels as in cDPO: `probability` that the label is right, 1 = plain DPO.

    At policy = reference the loss is log 2, whatever the labels.
    """
    margin = beta * (pairs.chosen_log_ratio - pairs.rejected_log_ratio)
    return -(probability * jax.nn.log_sigmoid(margin) + (1 - probability) * jax.nn.log_sigmoid(-margin))


def ipo(pairs: PairLogps, beta: float, probability: Float[Array, "*P"]) -> Float[Array, "*P"]:
    """IPO (arXiv:2310.12036, eq. 17); with soft labels the expectation over which of the two is preferred."""
    gap = pairs.chosen_log_ratio - pairs.rejected_log_ratio
    target = 1 / (2 * beta)
    return probability * (gap - target) ** 2 + (1 - probability) * (gap + target) ** 2


LOSSES = {"sigmoid": sigmoid, "ipo": ipo}


def rewards(pairs: PairLogps, beta: float) -> dict[str, Float[Array, "*P"]]:
    """Implicit rewards beta * log ratio (arXiv:2305.18290, eq. 5), their margin, and whether chosen is higher."""
    chosen, rejected = beta * pairs.chosen_log_ratio, beta * pairs.rejected_log_ratio
    accuracy = jnp.where(chosen == rejected, 0.5, (chosen > rejected).astype(jnp.float32))
    return {
        "reward_chosen": chosen,
        "reward_rejected": rejected,
        "reward_margin": chosen - rejected,
        "reward_accuracy": accuracy,
    }
