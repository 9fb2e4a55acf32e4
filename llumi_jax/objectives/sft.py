"""Supervised fine-tuning: the negative log-likelihood of replies worth learning."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float


def sft_loss(logps: Float[Array, "B M"], rows: Mapping[str, Array]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Returns (sum of weighted token losses, sum of weights): their ratio is the loss."""
    weight = rows["weight"]
    return -jnp.sum(jnp.where(weight > 0, weight * logps, 0.0)), jnp.sum(weight)
