"""Log-probabilities of replies, made from the predicted tokens alone: [B, T, V] never exists.

On a mesh every device works on the predictions of its own rows (and where `context` splits a row, on its own part of
them) against its own part of the vocabulary, which `tensor` splits.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int, Shaped

from llumi_jax.models import contraction, partitioning
from llumi_jax.models.partitioning import BATCH_AXES, TOKEN_AXIS

CHUNK = 128  # predictions of a row whose logits exist at one time; rows hold a multiple of it


def token_logps(
    hidden: Float[Array, "B M D"], matrix: Float[Array, "V D"], target: Int[Array, "B M"]
) -> Float[Array, "B M"]:
    """log softmax(hidden @ matrix.T)[target] in float32, chunked over M and rematerialised in the backward pass."""

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def chunk(_, x):
        h, label = x
        logits = _logits(h, matrix)
        picked = jnp.take_along_axis(logits, label[..., None], axis=-1)[..., 0]
        return None, picked - jax.nn.logsumexp(logits, axis=-1)

    _, logps = jax.lax.scan(chunk, None, (_chunks(hidden), _chunks(target)))
    return _joined(logps)


def _chunks(x: Shaped[Array, "B M *D"]) -> Shaped[Array, "chunks B C *D"]:
    """What a scan goes over; C is CHUNK, or the largest divisor of M below it."""
    B, M = x.shape[:2]
    size = CHUNK if M % CHUNK == 0 else max(size for size in range(1, CHUNK + 1) if M % size == 0)
    return x.reshape(B, M // size, size, *x.shape[2:]).swapaxes(0, 1)


def _joined(x: Float[Array, "chunks B C"]) -> Float[Array, "B M"]:
    """The inverse of `_chunks`."""
    return x.swapaxes(0, 1).reshape(x.shape[1], -1)


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
    return _on_each_device(token_logps, hidden, matrix, rows["source"], rows["target"])


def prediction_statistics(
    hidden: Float[Array, "B T D"], matrix: Float[Array, "V D"], rows: Mapping[str, Array]
) -> tuple[Float[Array, "B M"], Float[Array, "B M"]]:
    """Entropy (nats) of every prediction, and log of the sum of its squared probabilities; both without gradient.

    A product with the output matrix of its own, made only where somebody asks.
    """
    return _on_each_device(_statistics, *jax.lax.stop_gradient((hidden, matrix)), rows["source"])


def _statistics(gathered: Float[Array, "B M D"], matrix: Float[Array, "V D"]):
    def chunk(_, h):
        logps = jax.nn.log_softmax(_logits(h, matrix), axis=-1)
        entropy = -jnp.sum(jnp.exp(logps) * logps, axis=-1)
        return None, (entropy, jax.nn.logsumexp(2 * logps, axis=-1))

    _, (entropy, collision) = jax.lax.scan(chunk, None, _chunks(gathered))
    return _joined(entropy), _joined(collision)


def _on_each_device(compute: Callable[..., Any], hidden, matrix, source, *more: Int[Array, "B M"]) -> Any:
    """compute(hidden states that predict [B, M, D], matrix, *more), by each device for its own predictions.

    Left to itself, XLA would fetch the output matrix and sum its gradient over all devices once for every chunk; here
    that is done once for all of them. Where a row's tokens are split, a prediction's hidden state may lie on any device
    of the row: the row is whole on each for a moment, and each keeps what its own predictions need.
    """
    take = lambda hidden, source: jnp.take_along_axis(hidden, source[..., None], axis=1)
    mesh = partitioning.current_mesh()
    # XLA fails on a sum over axes of one device each, as there would be on a mesh of `tensor` alone.
    split = () if mesh is None else tuple(axis for axis in (*BATCH_AXES, TOKEN_AXIS) if mesh.shape[axis] > 1)
    if mesh is None or not split:
        return compute(take(hidden, source), matrix, *more)
    ways = mesh.shape[TOKEN_AXIS]
    rows, tokens = tuple(a for a in BATCH_AXES if a in split), TOKEN_AXIS if ways > 1 else None
    own = PartitionSpec(rows, tokens if source.shape[1] % ways == 0 else None)

    def local(hidden, matrix, source, *more):
        if ways > 1:
            hidden = jax.lax.all_gather(hidden, TOKEN_AXIS, axis=1, tiled=True)
        return compute(take(hidden, source), matrix, *more)

    return jax.shard_map(
        local, mesh=mesh, axis_names={*split}, check_vma=False,
        in_specs=(PartitionSpec(rows, tokens), PartitionSpec(), own, *(own for _ in more)), out_specs=own,
    )(hidden, matrix, source, *more)  # fmt: skip


def reply_logps(logps: Float[Array, "B M"], rows: Mapping[str, Array], slots: int) -> Float[Array, "B S"]:
    """Sums the predictions of each reply; entries of weight 0 count nothing."""
    kept = jnp.where(rows["weight"] > 0, logps, 0.0)
    return jax.vmap(lambda x, slot: jax.ops.segment_sum(x, slot, slots))(kept, rows["slot"])


def reply_lengths(rows: Mapping[str, Array], slots: int) -> Float[Array, "B S"]:
    """Predicted tokens of each reply, the end-of-turn token included."""
    kept = (rows["weight"] > 0).astype(jnp.float32)
    return jax.vmap(lambda x, slot: jax.ops.segment_sum(x, slot, slots))(kept, rows["slot"])
