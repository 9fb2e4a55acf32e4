"""Log-probabilities of replies, made from the predicted tokens alone: [B, T, V] never exists.

On a mesh whose axis `context` is larger than 1, the M predictions of a row are split over it, and the vocabulary over
`tensor`: every device multiplies with its part of the output matrix for its part of the predictions.
"""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int, Shaped

from llumi_jax.models import contraction, partitioning
from llumi_jax.models.partitioning import BATCH_AXES, TOKEN_AXIS, constrain

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
    """What a scan goes over: a chunk is up to CHUNK predictions of each device's own."""
    B, M = x.shape[:2]
    ways = _ways(M)
    if ways == 1:
        size = CHUNK if M % CHUNK == 0 else M
        return x.reshape(B, M // size, size, *x.shape[2:]).swapaxes(0, 1)
    size = max(size for size in range(1, CHUNK + 1) if M // ways % size == 0)
    x = jnp.moveaxis(x.reshape(B, ways, -1, size, *x.shape[2:]), 2, 0)
    return constrain(x.reshape(-1, B, ways * size, *x.shape[4:]), None, BATCH_AXES, TOKEN_AXIS)


def _joined(x: Float[Array, "chunks B C"]) -> Float[Array, "B M"]:
    """The inverse of `_chunks`. What is left are some numbers a row: every device of a row gets all of them."""
    B, M = x.shape[1], x.shape[0] * x.shape[2]
    ways = _ways(M)
    if ways == 1:
        return x.swapaxes(0, 1).reshape(B, M)
    x = jnp.moveaxis(x.reshape(x.shape[0], B, ways, -1), 0, 2)
    return constrain(x.reshape(B, M), BATCH_AXES, None)


def _ways(M: int) -> int:
    """Devices that share the predictions of a row; all of them do all where their number does not divide M."""
    ways = partitioning.ways(TOKEN_AXIS)
    return ways if M % ways == 0 else 1


def _at_sources(hidden: Float[Array, "B T D"], source: Int[Array, "B M"]) -> Float[Array, "B M D"]:
    """The hidden states that predict.

    Where tokens are split over `context`, a prediction's may lie on any device of its row. They are gathered whole for
    a moment, once for all layers, and each device takes those of its own predictions, which is all that it keeps; the
    gradient goes back as a sum that is split again. Written out, because XLA would sum whole rows on every device.
    """
    take = lambda hidden, source: jnp.take_along_axis(hidden, source[..., None], axis=1)
    mesh = partitioning.current_mesh()
    if mesh is None or mesh.shape[TOKEN_AXIS] == 1:
        return take(hidden, source)
    whole = lambda x: jax.lax.all_gather(x, TOKEN_AXIS, axis=1, tiled=True)
    tokens = PartitionSpec(BATCH_AXES, TOKEN_AXIS, None)
    split = TOKEN_AXIS if _ways(source.shape[1]) > 1 else None
    predictions = PartitionSpec(BATCH_AXES, split)
    local = lambda hidden, source: take(whole(hidden), source)
    return jax.shard_map(
        local, mesh=mesh, in_specs=(tokens, predictions), out_specs=PartitionSpec(BATCH_AXES, split, None),
        check_vma=split is not None,
    )(hidden, source)  # fmt: skip


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
    return token_logps(_at_sources(hidden, rows["source"]), matrix, rows["target"])


def prediction_statistics(
    hidden: Float[Array, "B T D"], matrix: Float[Array, "V D"], rows: Mapping[str, Array]
) -> tuple[Float[Array, "B M"], Float[Array, "B M"]]:
    """Entropy (nats) of every prediction, and log of the sum of its squared probabilities; both without gradient.

    A product with the output matrix of its own, made only where somebody asks.
    """
    hidden, matrix = jax.lax.stop_gradient((hidden, matrix))
    gathered = _at_sources(hidden, rows["source"])

    def chunk(_, h):
        logps = jax.nn.log_softmax(_logits(h, matrix), axis=-1)
        entropy = -jnp.sum(jnp.exp(logps) * logps, axis=-1)
        return None, (entropy, jax.nn.logsumexp(2 * logps, axis=-1))

    _, (entropy, collision) = jax.lax.scan(chunk, None, _chunks(gathered))
    return _joined(entropy), _joined(collision)


def reply_logps(logps: Float[Array, "B M"], rows: Mapping[str, Array], slots: int) -> Float[Array, "B S"]:
    """Sums the predictions of each reply; entries of weight 0 count nothing."""
    kept = jnp.where(rows["weight"] > 0, logps, 0.0)
    return jax.vmap(lambda x, slot: jax.ops.segment_sum(x, slot, slots))(kept, rows["slot"])


def reply_lengths(rows: Mapping[str, Array], slots: int) -> Float[Array, "B S"]:
    """Predicted tokens of each reply, the end-of-turn token included."""
    kept = (rows["weight"] > 0).astype(jnp.float32)
    return jax.vmap(lambda x, slot: jax.ops.segment_sum(x, slot, slots))(kept, rows["slot"])
