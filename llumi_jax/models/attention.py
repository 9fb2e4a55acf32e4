"""Attention over thread-shared rows.

A row of T tokens holds several threads (segments); a thread is a shared prefix (branch 0) and its replies
(branches 1…n), and a reply sees its own prefix and itself:

    may_attend(q, k) = segment[q] == segment[k] and branch[k] in (0, branch[q]) and index[k] <= index[q]
                       and position[q] - position[k] < window

Backends, all held to one equivalence test:
  dense   the whole [T, T] square with a mask; any device, any length.
  block   blocked over queries; each block reads only the keys from the start of its segment on. Flash-like: the
          softmax is recomputed in the backward pass, so memory grows with T and not with T^2.
  pallas  kernels for GPU and TPU (`models.flash`); memory as block. On a CPU they are interpreted, for tests.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from llumi_jax.models import contraction, partitioning

BACKENDS = ("dense", "block", "pallas")
QUERY_BLOCK = 128
_KEY_WIDTHS = (128, 256, 384, 512, 640, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
MASKED = -1e30  # finite, so that no row of an empty mask can become NaN


class RowLayout(NamedTuple):
    """Where each token of a row stands. All int32 [B, T]; segment 0 is padding."""

    segment: Int[Array, "B T"]
    branch: Int[Array, "B T"]
    position: Int[Array, "B T"]


class Tokens(NamedTuple):
    """Where some tokens of a row stand, `index` being their place in it; int32, of shapes that fit each other."""

    segment: Any
    branch: Any
    index: Any
    position: Any


def resolve_backend(name: str, row_length: int, platform: str | None = None) -> str:
    """Returns the backend that `name` ("auto" or one of BACKENDS) stands for at this row length.

    Under "auto" an accelerator gets its kernels if they work there, which is tried; that of another machine (`platform`
    is not the one at hand) is trusted to run them.

    Raises:
      ValueError: the name is unknown, or the backend cannot hold rows of this length.
    """
    platform = platform or jax.default_backend()
    if name == "auto":
        return "dense" if row_length % QUERY_BLOCK else "block" if platform == "cpu" else _kernels_or_dense(platform)
    if name not in BACKENDS:
        raise ValueError(f"attention backend {name!r} is not one of {', '.join(('auto', *BACKENDS))}")
    if name != "dense" and row_length % QUERY_BLOCK:
        raise ValueError(
            f"attention backend {name!r} needs a row length that is a multiple of {QUERY_BLOCK}, got {row_length}"
        )
    return name


def _kernels_or_dense(platform: str) -> str:
    if platform != jax.default_backend():
        return "pallas"
    from llumi_jax.models import flash

    if why := flash.trouble():
        _say_once(f"Attention kernels do not work on this {platform}, 'dense' is used: {why}")
    return "dense" if why else "pallas"


@functools.cache
def _say_once(line: str) -> None:
    print(line, flush=True)


def may_attend(queries: RowLayout, keys: RowLayout, query_index, key_index, window: int | None) -> Bool[Array, "B Q S"]:
    """The one definition of who sees whom; `queries` and `keys` are slices [B, Q] and [B, S] of a row's layout."""

    def across(layout: RowLayout, index: Any, cut: Any) -> Tokens:
        return Tokens(*(x[cut] for x in (layout.segment, layout.branch, index[None], layout.position)))

    rows, columns = (slice(None), slice(None), None), (slice(None), None, slice(None))
    return sees(across(queries, query_index, rows), across(keys, key_index, columns), window)


def sees(query: Tokens, key: Tokens, window: int | None):
    """`may_attend` of numbers that broadcast against each other."""
    same_reply = (key.branch == 0) | (key.branch == query.branch)
    allowed = (query.segment == key.segment) & same_reply & (key.index <= query.index)
    return allowed if window is None else allowed & (query.position - key.position < window)


def attend(
    q: Float[Array, "B T H N"],
    k: Float[Array, "B T K N"],
    v: Float[Array, "B T K N"],
    layout: RowLayout,
    *,
    window: int | None = None,
    backend: str = "dense",
) -> Float[Array, "B T H N"]:
    """Grouped-query attention under `may_attend`, scores and sums in float32. `backend` must be resolved.

    On a mesh whose axis `context` splits the tokens of a row, each device answers for its own queries and sees the keys
    and values of the whole row; T must divide (`training.sharding.check_rows`).
    """
    here = functools.partial(local(backend), window=window)
    mesh = partitioning.current_mesh()
    if mesh is None or (backend == "dense" and mesh.shape["context"] == 1):
        return here(q, k, v, *layout)
    # The scan over blocks is sequential: every device must run it over its own rows and heads only.
    heads = "tensor" if k.shape[2] % mesh.shape["tensor"] == 0 else None
    rows, tokens = partitioning.BATCH_AXES, partitioning.TOKEN_AXIS
    arrays, layouts = PartitionSpec(rows, tokens, heads, None), PartitionSpec(rows, None)
    sharded = jax.shard_map(
        here if mesh.shape[tokens] == 1 else _over_context(here),
        mesh=mesh, in_specs=(arrays,) * 3 + (layouts,) * 3, out_specs=arrays, check_vma=False,
    )  # fmt: skip
    return sharded(q, k, v, *layout)


def local(backend: str) -> Callable[..., Array]:
    """The backend as a function (q, k, v, segment, branch, position, first=None, *, window) on one device."""
    if backend == "pallas":
        from llumi_jax.models import flash  # Pallas takes its time to import

        return flash.attend
    return _block if backend == "block" else _dense


def _over_context(local: Callable[..., Array]) -> Callable[..., Array]:
    """`local` where a device holds T / context tokens of q, k and v: its queries against the whole row's keys.

    Keys and values are few (K heads, not H) and are gathered whole; their gradients are summed and split again. They
    are gathered once more in the backward pass, so that no remat policy keeps the whole row's on every device.
    """

    def gathered(q, k, v, *layout):
        first = jax.lax.axis_index(partitioning.TOKEN_AXIS) * q.shape[1]
        keys, values = (jax.lax.all_gather(x, partitioning.TOKEN_AXIS, axis=1, tiled=True) for x in (k, v))
        return local(q, keys, values, *layout, first=first)

    return jax.checkpoint(gathered, policy=lambda primitive, *_, **__: primitive.name != "all_gather")


def _dense(q, k, v, segment, branch, position, first=None, *, window):
    layout, index = RowLayout(segment, branch, position), jnp.arange(k.shape[1])
    if first is None:
        mask = may_attend(layout, layout, index, index, window)
    else:
        queries = RowLayout(*(_slice(a, first, q.shape[1]) for a in layout))
        mask = may_attend(queries, layout, first + jnp.arange(q.shape[1]), index, window)
    return masked_attention(q, k, v, mask)


def _slice(x: Int[Array, "B T"], first, size: int) -> Int[Array, "B Q"]:
    """The columns from `first` on; None = all."""
    return x if first is None else jax.lax.dynamic_slice_in_dim(x, first, size, axis=1)


def wide(*arrays: Array) -> jnp.dtype:
    """The dtype in which scores, norms and sums are kept: float32, or float64 where that is what comes in."""
    return jnp.promote_types(jnp.float32, jnp.result_type(*arrays))


def masked_attention(
    q: Float[Array, "B Q H N"], k: Float[Array, "B S K N"], v: Float[Array, "B S K N"], mask: Bool[Array, "B Q S"]
) -> Float[Array, "B Q H N"]:
    """Softmax attention with a boolean mask shared by all heads."""
    B, Q, H, N = q.shape
    K = k.shape[2]
    grouped = q.reshape(B, Q, K, H // K, N) * N**-0.5
    scores = jnp.einsum("BQKGN,BSKN->BKGQS", grouped, k, preferred_element_type=wide(q))
    weights = jax.nn.softmax(jnp.where(mask[:, None, None], scores, MASKED), axis=-1)
    out = jnp.einsum("BKGQS,BSKN->BQKGN", weights.astype(v.dtype), v, preferred_element_type=wide(v))
    return out.reshape(B, Q, H, N).astype(q.dtype)


# --- block backend -----------------------------------------------------------------------------------------------
#
# Queries may be those of the whole row (`first` is None) or Q of them from place `first` of the row on; keys, values
# and the layout are always the whole row's.


class _Plan(NamedTuple):
    """The query blocks of all rows, numbered row by row, ordered by the static width of their key window.

    start: where the window of each block begins in its row.  order: blocks, the narrowest window first.
    bounds: where in `order` each width begins and, last, ends.
    """

    start: Int[Array, " BC"]
    order: Int[Array, " BC"]
    bounds: Int[Array, " widths+1"]


def _widths(T: int) -> tuple[int, ...]:
    return (*(w for w in _KEY_WIDTHS if w < T), T)


def _plan(segment: Int[Array, "B T"], Q: int | None = None, first=None) -> _Plan:
    T = segment.shape[1]
    Q = Q or T
    opening = _slice(segment, first, Q)[:, ::QUERY_BLOCK]
    segment_start = jnp.argmax(segment[:, None, :] == opening[:, :, None], axis=-1)
    end = _after(first, (jnp.arange(Q // QUERY_BLOCK) + 1) * QUERY_BLOCK)
    widths = jnp.array(_widths(T))
    width = jnp.searchsorted(widths, end[None] - segment_start)
    start = jnp.maximum(end[None] - widths[width], 0).astype(jnp.int32).ravel()
    order = jnp.argsort(width.ravel()).astype(jnp.int32)
    bounds = jnp.searchsorted(width.ravel()[order], jnp.arange(len(widths) + 1)).astype(jnp.int32)
    return _Plan(start, order, bounds)


def _after(first, place):
    """Places counted from the row's first token."""
    return place if first is None else first + place


def _for_each_block(step: Callable[..., Any], segment: Int[Array, "B T"], Q: int, first, state: Any) -> Any:
    """Folds state = step(width, row, block, start, state) over all query blocks.

    One loop for each width that windows come in, so that a block is computed at its own: under one loop over all, the
    width would be a branch, and XLA copies what is written into before and after every branch.
    """
    plan, C = _plan(segment, Q, first), Q // QUERY_BLOCK

    def loop(i: int, W: int, state: Any) -> Any:
        def body(numbered):
            number, state = numbered
            index = plan.order[number]
            return number + 1, step(W, index // C, index % C, plan.start[index], state)

        return jax.lax.while_loop(lambda numbered: numbered[0] < plan.bounds[i + 1], body, (plan.bounds[i], state))[1]

    for i, W in enumerate(_widths(segment.shape[1])):
        state = loop(i, W, state)
    return state


def _fold(x, K):
    """[B, T, H, N] -> [B, C, K, G*block, N]: query heads that share a key head become rows of one matrix."""
    B, T, H, N = x.shape
    C = T // QUERY_BLOCK
    return x.reshape(B, C, QUERY_BLOCK, K, H // K, N).transpose(0, 1, 3, 4, 2, 5).reshape(B, C, K, -1, N)


def _unfold(x, H):
    """The inverse of `_fold`."""
    B, C, K, _, N = x.shape
    x = x.reshape(B, C, K, H // K, QUERY_BLOCK, N).transpose(0, 1, 4, 2, 3, 5)
    return x.reshape(B, C * QUERY_BLOCK, H, N)


def _window_mask(layout: RowLayout, first, row, block, start, W: int, groups: int, window: int | None):
    """Mask [1, G*block, W] of one query block against the W keys from `start` on."""
    take = lambda at, size: RowLayout(*(jax.lax.dynamic_slice(a, (row, at), (1, size)) for a in layout))
    at = _after(first, block * QUERY_BLOCK)
    mask = may_attend(
        take(at, QUERY_BLOCK), take(start, W), at + jnp.arange(QUERY_BLOCK), start + jnp.arange(W), window
    )
    return jnp.tile(mask, (1, groups, 1))


def _window_of(x: Float[Array, "B K T N"], row, start, W: int):
    return jax.lax.dynamic_slice(x, _at(row, 0, start, 0), (1, x.shape[1], W, x.shape[3]))[0]


def _at(*indices) -> tuple[jax.Array, ...]:
    """Indices of one type, also where a bare 0 would be of 64 bits."""
    return tuple(jnp.asarray(index, jnp.int32) for index in indices)


def _read(x: Float[Array, "B C K R N"], row, block) -> Float[Array, "K R N"]:
    return jax.lax.dynamic_slice(x, _at(row, block, 0, 0, 0), (1, 1, *x.shape[2:]))[0, 0]


def _write(x: Float[Array, "B C K R N"], part: Float[Array, "K R N"], row, block) -> Float[Array, "B C K R N"]:
    return jax.lax.dynamic_update_slice(x, part[None, None].astype(x.dtype), _at(row, block, 0, 0, 0))


def _block_forward(q, k, v, layout: RowLayout, first, window):
    """Returns the folded output [B, C, K, G*block, N] and the log-sum-exp of its scores [B, C, K, G*block, 1]."""
    H, N, K = q.shape[2], q.shape[3], k.shape[2]
    queries = _fold(q, K) * N**-0.5
    keys, values = k.swapaxes(1, 2), v.swapaxes(1, 2)
    dot = functools.partial(jnp.einsum, preferred_element_type=wide(q))

    def step(W, row, block, start, state):
        out, lse = state
        mask = _window_mask(layout, first, row, block, start, W, H // K, window)
        scores = dot("KQN,KWN->KQW", _read(queries, row, block), _window_of(keys, row, start, W))
        scores = jnp.where(mask, scores, MASKED)
        top = scores.max(-1, keepdims=True)
        p = jnp.exp(scores - top)
        total = p.sum(-1, keepdims=True)
        part = dot("KQW,KWN->KQN", p.astype(v.dtype), _window_of(values, row, start, W)) / total
        return _write(out, part, row, block), _write(lse, top + jnp.log(total), row, block)

    empty = jnp.zeros_like(queries), jnp.zeros((*queries.shape[:-1], 1), wide(q))
    return _for_each_block(step, layout.segment, q.shape[1], first, empty)


def _block_backward(q, k, v, layout: RowLayout, first, window, out, lse, d_out):
    """Gradients of `_block_forward` with respect to q, k and v; the probabilities are recomputed from `lse`."""
    H, N, K = q.shape[2], q.shape[3], k.shape[2]
    queries, d_folded = _fold(q, K) * N**-0.5, _fold(d_out, K)
    keys, values = k.swapaxes(1, 2), v.swapaxes(1, 2)
    delta = jnp.sum(d_folded.astype(wide(q)) * out.astype(wide(q)), -1, keepdims=True)
    dot = functools.partial(jnp.einsum, preferred_element_type=wide(q))

    def step(W, row, block, start, state):
        d_q, d_k, d_v = state
        mask = _window_mask(layout, first, row, block, start, W, H // K, window)
        keys_, values_ = _window_of(keys, row, start, W), _window_of(values, row, start, W)
        queries_, d_out_ = _read(queries, row, block), _read(d_folded, row, block)
        scores = dot("KQN,KWN->KQW", queries_, keys_)
        p = jnp.where(mask, jnp.exp(scores - _read(lse, row, block)), 0.0)
        d_scores = p * (dot("KQN,KWN->KQW", d_out_, values_) - _read(delta, row, block))
        d_scores = d_scores.astype(q.dtype)
        d_q = _write(d_q, dot("KQW,KWN->KQN", d_scores, keys_) * N**-0.5, row, block)
        d_k = _add(d_k, _over_queries(d_scores, queries_), row, start)
        d_v = _add(d_v, _over_queries(p.astype(q.dtype), d_out_), row, start)
        return d_q, d_k, d_v

    sums = jnp.zeros(keys.shape, wide(q))
    nothing = jnp.zeros_like(queries), sums, sums
    d_q, d_k, d_v = _for_each_block(step, layout.segment, q.shape[1], first, nothing)
    return _unfold(d_q, H), d_k.swapaxes(1, 2).astype(k.dtype), d_v.swapaxes(1, 2).astype(v.dtype)


def _over_queries(weights: Float[Array, "K Q W"], of: Float[Array, "K Q N"]) -> Float[Array, "K W N"]:
    weights = contraction.lay_out(weights.swapaxes(1, 2))
    return jnp.einsum("KWQ,KQN->KWN", weights, of, preferred_element_type=wide(of))


def _add(x: Float[Array, "B K T N"], part: Float[Array, "K W N"], row, start) -> Float[Array, "B K T N"]:
    total = _window_of(x, row, start, part.shape[1]) + part
    return jax.lax.dynamic_update_slice(x, total[None], _at(row, 0, start, 0))


@functools.partial(jax.custom_vjp, nondiff_argnames=("window",))
def _block(q, k, v, segment, branch, position, first=None, window=None):
    out, _ = _block_forward(q, k, v, RowLayout(segment, branch, position), first, window)
    return _unfold(out, q.shape[2])


def _block_vjp_forward(q, k, v, segment, branch, position, first=None, window=None):
    layout = RowLayout(segment, branch, position)
    out, lse = _block_forward(q, k, v, layout, first, window)
    # Named, so that a remat policy can keep them: recomputing attention costs far more than storing its output.
    out, lse = checkpoint_name(out, "attention"), checkpoint_name(lse, "attention")
    return _unfold(out, q.shape[2]), (q, k, v, layout, first, out, lse)


def _block_vjp_backward(window, residuals, d_out):
    q, k, v, layout, first, out, lse = residuals
    return *_block_backward(q, k, v, layout, first, window, out, lse, d_out), None, None, None, None


_block.defvjp(_block_vjp_forward, _block_vjp_backward)
