"""Log-probabilities of replies, made from the predicted tokens alone: [B, T, V] never exists."""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from llumi_jax.models import contraction

CHUNK = 128  # predictions of a row whose logits exist at one time; rows hold a multiple of it


def token_logps(
    hidden: Float[Array, "B M D"], matrix: Float[Array, "V D"], target: Int[Array, "B M"]
) -> Float[Array, "B M"]:
    """log softmax(hidden @ matrix.T)[target] in float32, chunked over M and rematerialised in the backward pass."""
    B, M, D = hidden.shape

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def chunk(_, x):
        h, label = x
        logits = _logits(h, matrix)
        picked = jnp.take_along_axis(logits, label[..., None], axis=-1)[..., 0]
        return None, picked - jax.nn.logsumexp(logits, axis=-1)

    size = CHUNK if M % CHUNK == 0 else M
    chunked = lambda x: x.reshape(B, M // size, size, *x.shape[2:]).swapaxes(0, 1)
    _, logps = jax.lax.scan(chunk, None, (chunked(hidden), chunked(target)))
    return logps.swapaxes(0, 1).reshape(B, M)


@jax.custom_vjp
def _logits(hidden: Float[Array, "B C D"], matrix: Float[Array, "V D"]) -> Float[Array, "B C V"]:
    """In float32 at least. The backward pass multiplies in the dtype of `hidden`, as the forward pass does, and gives
    the matrix a gradient of its own dtype: chunks are summed in that."""
    wide = jnp.promote_types(jnp.float32, hidden.dtype)
    return contraction.dot(hidden, matrix.astype(hidden.dtype), ((2,), (1,)), wide)


def _logits_forward(hidden: Array, matrix: Array) -> tuple[Array, tuple[Array, Array]]:
    return _logits(hidden, matrix), (hidden, matrix)


def _logits_backward(kept: tuple[Array, Array], d_logits: Array) -> tuple[Array, Array]:
    hidden, matrix = kept
    d_logits = d_logits.astype(hidden.dtype)
    d_hidden = contraction.dot(d_logits, matrix.astype(hidden.dtype), ((2,), (0,)))
    return d_hidden, contraction.gradient_of_kernel(d_logits, hidden, 2, matrix.dtype)


_logits.defvjp(_logits_forward, _logits_backward)


def prediction_logps(
    hidden: Float[Array, "B T D"], matrix: Float[Array, "V D"], rows: Mapping[str, Array]
) -> Float[Array, "B M"]:
    """Log-probability of every entry of the rows' prediction list; padding gives some finite number."""
    gathered = jnp.take_along_axis(hidden, rows["source"][..., None], axis=1)
    return token_logps(gathered, matrix, rows["target"])


def prediction_statistics(
    hidden: Float[Array, "B T D"], matrix: Float[Array, "V D"], rows: Mapping[str, Array]
) -> tuple[Float[Array, "B M"], Float[Array, "B M"]]:
    """Entropy (nats) of every prediction, and log of the sum of its squared probabilities; both without gradient.

    A product with the output matrix of its own, made only where somebody asks.
    """
    hidden, matrix = jax.lax.stop_gradient((hidden, matrix))
    gathered = jnp.take_along_axis(hidden, rows["source"][..., None], axis=1)
    B, M, D = gathered.shape

    def chunk(_, h):
        logps = jax.nn.log_softmax(_logits(h, matrix), axis=-1)
        entropy = -jnp.sum(jnp.exp(logps) * logps, axis=-1)
        return None, (entropy, jax.nn.logsumexp(2 * logps, axis=-1))

    size = CHUNK if M % CHUNK == 0 else M
    _, found = jax.lax.scan(chunk, None, gathered.reshape(B, M // size, size, D).swapaxes(0, 1))
    entropy, collision = (x.swapaxes(0, 1).reshape(B, M) for x in found)
    return entropy, collision


def reply_logps(logps: Float[Array, "B M"], rows: Mapping[str, Array], slots: int) -> Float[Array, "B S"]:
    """Sums the predictions of each reply; entries of weight 0 count nothing."""
    kept = jnp.where(rows["weight"] > 0, logps, 0.0)
    return jax.vmap(lambda x, slot: jax.ops.segment_sum(x, slot, slots))(kept, rows["slot"])


def reply_lengths(rows: Mapping[str, Array], slots: int) -> Float[Array, "B S"]:
    """Predicted tokens of each reply, the end-of-turn token included."""
    kept = (rows["weight"] > 0).astype(jnp.float32)
    return jax.vmap(lambda x, slot: jax.ops.segment_sum(x, slot, slots))(kept, rows["slot"])
