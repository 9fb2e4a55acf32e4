"""From log-probabilities of predictions [B, M] to numbers of replies [B, S] and of pairs of replies [B, P]."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from llumi_jax.objectives.logprobs import reply_lengths, reply_logps

Rows = Mapping[str, Array]


def of_pair(values: Float[Array, "B S"], rows: Rows, side: str) -> Float[Array, "B P"]:
    """The values of the replies that stand on one side, "chosen" or "rejected"."""
    return jnp.take_along_axis(values, rows[side], axis=1)


def reply_means(values: Float[Array, "B M"], rows: Rows, slots: int) -> Float[Array, "B S"]:
    """Mean over the predictions of each reply; an empty slot has 0."""
    return reply_logps(values, rows, slots) / jnp.maximum(reply_lengths(rows, slots), 1.0)


def wpo_multiplier(
    logps: Float[Array, "B M"], collision: Float[Array, "B M"], rows: Rows, slots: int
) -> Float[Array, "B P"]:
    """WPO's weight of each pair (arXiv:2406.11827, eq. 2), sampled alignment: how likely the policy wrote both replies.

    Args:
      logps: log-probability of every prediction. collision: log of the sum of the squared probabilities beside it.
    """
    aligned = reply_means(logps - collision, rows, slots)
    return jnp.exp(of_pair(aligned, rows, "chosen") + of_pair(aligned, rows, "rejected"))


def desensitised(
    logps: Float[Array, "B M"], rows: Rows, slots: int, alpha: float
) -> tuple[Float[Array, "B P"], Float[Array, "B P"]]:
    """LD-DPO's log-probabilities (arXiv:2409.06411) of the chosen and of the rejected replies.

    Tokens up to the length of the shorter reply of the pair count whole, the rest of the longer one times `alpha`.
    """
    lengths = reply_lengths(rows, slots)
    chosen, rejected = (of_pair(lengths, rows, side) for side in ("chosen", "rejected"))
    common = jnp.minimum(chosen, rejected)
    kept = jnp.where(rows["weight"] > 0, logps, 0.0)
    index = _index_in_reply(rows, slots)

    def side(name):
        own = rows["slot"][:, None, :] == rows[name][:, :, None]  # [B, P, M]
        weight = jnp.where(index[:, None, :] < common[:, :, None], 1.0, alpha)
        return jnp.sum(jnp.where(own, weight * kept[:, None, :], 0.0), axis=-1)

    return side("chosen"), side("rejected")


def _index_in_reply(rows: Rows, slots: int) -> Float[Array, "B M"]:
    """0 for a reply's first prediction, 1 for its second, …: predictions of a reply stand together and in order."""
    at = jnp.broadcast_to(jnp.arange(rows["slot"].shape[1]), rows["slot"].shape)
    real = jnp.where(rows["weight"] > 0, at, at.shape[1])
    first = jax.vmap(lambda position, slot: jax.ops.segment_min(position, slot, slots))(real, rows["slot"])
    return at - jnp.take_along_axis(first, rows["slot"], axis=1)


def mismatched_slots(rows: Rows, slots: int) -> Bool[Array, "B S"]:
    """Replies that stand in no pair of their row: those that `data.mismatched` added for KTO's KL estimate."""
    real = (rows["pair_weight"] > 0) | (rows["chosen"] != rows["rejected"])  # padding compares slot 0 with itself

    def in_pair(chosen, rejected, real):
        return jnp.zeros(slots, bool).at[chosen].max(real).at[rejected].max(real)

    used = jax.vmap(in_pair)(rows["chosen"], rows["rejected"], real)
    return (reply_lengths(rows, slots) > 0) & ~used
