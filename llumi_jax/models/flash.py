"""Attention over thread-shared rows as Pallas kernels, for GPUs (Triton) and TPUs (Mosaic); interpreted on CPUs.

Flash attention (arXiv:2205.14135, backward as in arXiv:2307.08691): a block of queries goes over blocks of keys with a
running softmax, and no [T, T] square exists. Blocks of keys before the first thread of the queries, and after the
queries themselves, are not read. The mask is `attention.sees`, inside of the kernel.

The three kernels: forward; gradient of queries (over keys, as forward); gradients of keys and values (over queries,
with scores transposed, so that nothing is turned round within a kernel). Scores, sums and gradients are float32.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl
from jaxtyping import Array, Float, Int

from llumi_jax.models import attention
from llumi_jax.models.attention import MASKED, QUERY_BLOCK, RowLayout, Tokens, wide

_BLOCK = QUERY_BLOCK


class _Places(NamedTuple):
    """Queries and keys as columns [., 1] and as rows [1, .] of numbers, and which blocks see which.

    For block i of queries, blocks first_key[i] … end_key[i]-1 of keys, and the other way round.
    """

    queries: tuple[Tokens, Tokens]  # columns [B, Q, 1], rows [B, 1, Q]
    keys: tuple[Tokens, Tokens]
    first_key: Int[Array, "B C"]
    end_key: Int[Array, "B C"]
    first_query: Int[Array, "B S"]
    end_query: Int[Array, "B S"]


def _places(layout: RowLayout, Q: int, first) -> _Places:
    B, T = layout.segment.shape
    index = jnp.broadcast_to(jnp.arange(T, dtype=jnp.int32), (B, T))
    whole = Tokens(layout.segment, layout.branch, index, layout.position)
    own = whole if first is None else Tokens(*(jax.lax.dynamic_slice_in_dim(x, first, Q, axis=1) for x in whole))
    columns = lambda info: Tokens(*(x[:, :, None] for x in info))
    rows = lambda info: Tokens(*(x[:, None, :] for x in info))
    opening = own.segment[:, ::_BLOCK]
    first_key = jnp.argmax(whole.segment[:, None, :] == opening[:, :, None], axis=-1) // _BLOCK
    end_key = own.index[:, _BLOCK - 1 :: _BLOCK] // _BLOCK + 1
    block = jnp.arange(T // _BLOCK)[None, None]
    sees = (first_key[:, :, None] <= block) & (block < end_key[:, :, None])  # [B, blocks of queries, blocks of keys]
    some, C = sees.any(axis=1), Q // _BLOCK
    first_query = jnp.where(some, jnp.argmax(sees, axis=1), 0)
    end_query = jnp.where(some, C - jnp.argmax(sees[:, ::-1], axis=1), 0)
    bounds = (x.astype(jnp.int32) for x in (first_key, end_key, first_query, end_query))
    return _Places((columns(own), rows(own)), (columns(whole), rows(whole)), *bounds)


def _dot(a, b, dtype, contract: tuple[int, int]):
    precision = jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None
    dims = (((contract[0],), (contract[1],)), ((), ()))
    return jax.lax.dot_general(a, b, dims, precision=precision, preferred_element_type=dtype)


def _part(ref, number, row: bool = False):
    """Block `number` of a reference's tokens."""
    at = pl.ds(pl.multiple_of(number * _BLOCK, _BLOCK), _BLOCK)
    return ref[:, at] if row else ref[at, :]


def _all(info: Tokens) -> Tokens:
    return Tokens(*(ref[...] for ref in info))


def _parts(info: Tokens, number, row: bool) -> Tokens:
    return Tokens(*(_part(ref, number, row) for ref in info))


# --- kernels; `dtype` is that of sums -----------------------------------------------------------------------------


def _forward_kernel(begin, end, *refs, scale, window, dtype):
    own, others = Tokens(*refs[:4]), Tokens(*refs[4:8])
    q_ref, k_ref, v_ref, out_ref, lse_ref = refs[8:]
    b, i = pl.program_id(0), pl.program_id(2)
    queries, q = _all(own), q_ref[...]

    def body(j, state):
        top, total, out = state
        mask = attention.sees(queries, _parts(others, j, True), window)
        scores = jnp.where(mask, _dot(q, _part(k_ref, j), dtype, (1, 1)) * scale, MASKED)
        higher = jnp.maximum(top, scores.max(-1, keepdims=True))
        p = jnp.where(mask, jnp.exp(scores - higher), 0)
        shrink = jnp.exp(top - higher)
        v = _part(v_ref, j)
        out = out * shrink + _dot(p.astype(v.dtype), v, dtype, (1, 0))
        return higher, total * shrink + p.sum(-1, keepdims=True), out

    nothing = jnp.full((_BLOCK, 1), MASKED, dtype), jnp.zeros((_BLOCK, 1), dtype), jnp.zeros(q.shape, dtype)
    top, total, out = jax.lax.fori_loop(begin[b, i], end[b, i], body, nothing)
    out_ref[...] = (out / total).astype(out_ref.dtype)
    lse_ref[...] = top + jnp.log(total)


def _queries_kernel(begin, end, *refs, scale, window, dtype):
    own, others = Tokens(*refs[:4]), Tokens(*refs[4:8])
    q_ref, k_ref, v_ref, d_out_ref, lse_ref, delta_ref, d_q_ref = refs[8:]
    b, i = pl.program_id(0), pl.program_id(2)
    queries, q, d_out, lse, delta = _all(own), q_ref[...], d_out_ref[...], lse_ref[...], delta_ref[...]

    def body(j, d_q):
        k, v = _part(k_ref, j), _part(v_ref, j)
        mask = attention.sees(queries, _parts(others, j, True), window)
        p = jnp.where(mask, jnp.exp(_dot(q, k, dtype, (1, 1)) * scale - lse), 0)
        d_scores = p * (_dot(d_out, v, dtype, (1, 1)) - delta)
        return d_q + _dot(d_scores.astype(k.dtype), k, dtype, (1, 0))

    d_q = jax.lax.fori_loop(begin[b, i], end[b, i], body, jnp.zeros(q.shape, dtype))
    d_q_ref[...] = (d_q * scale).astype(d_q_ref.dtype)


def _keys_kernel(begin, end, *refs, scale, window, dtype):
    own, others = Tokens(*refs[:4]), Tokens(*refs[4:8])
    k_ref, v_ref, q_ref, d_out_ref, lse_ref, delta_ref, d_k_ref, d_v_ref = refs[8:]
    b, j = pl.program_id(0), pl.program_id(2)
    keys, k, v = _all(own), k_ref[...], v_ref[...]

    def body(i, state):
        d_k, d_v = state
        q, d_out = _part(q_ref, i), _part(d_out_ref, i)
        mask = attention.sees(_parts(others, i, True), keys, window)
        p = jnp.where(mask, jnp.exp(_dot(k, q, dtype, (1, 1)) * scale - _part(lse_ref, i, True)), 0)
        d_v = d_v + _dot(p.astype(d_out.dtype), d_out, dtype, (1, 0))
        d_scores = p * (_dot(v, d_out, dtype, (1, 1)) - _part(delta_ref, i, True))
        return d_k + _dot(d_scores.astype(q.dtype), q, dtype, (1, 0)), d_v

    nothing = jnp.zeros(k.shape, dtype)
    d_k, d_v = jax.lax.fori_loop(begin[b, j], end[b, j], body, (nothing, nothing))
    d_k_ref[...] = d_k * scale
    d_v_ref[...] = d_v


# --- calls ---------------------------------------------------------------------------------------------------------


class _Call(NamedTuple):
    """How kernels are run over arrays [B, heads, tokens, N]: grid (B, H, blocks)."""

    platform: str
    groups: int  # query heads of a key head

    def spec(self, x: Any, blocked: bool, shared: bool = False) -> pl.BlockSpec:
        """Of an array of a head: its own block of tokens, or all of them; `shared` by a group of query heads."""
        head = (lambda h: h // self.groups) if shared else (lambda h: h)
        row = x.shape[2] == 1  # numbers that lie along a row: only ever read whole
        tokens = _BLOCK if blocked and not row else x.shape[2]
        place = (lambda b, h, i: (b, head(h), i, 0)) if blocked else (lambda b, h, i: (b, head(h), 0, 0))
        return pl.BlockSpec((None, None, tokens, x.shape[3]), place)

    def info(self, column: bool, size: int) -> pl.BlockSpec:
        """Of the numbers that the mask is made of: a block's column, or the whole row."""
        if column:
            return pl.BlockSpec((None, _BLOCK, 1), lambda b, h, i: (b, i, 0))
        return pl.BlockSpec((None, 1, size), lambda b, h, i: (b, 0, 0))

    def bounds(self, x: Any) -> pl.BlockSpec:
        if self.platform == "tpu":
            from jax.experimental.pallas import tpu

            return pl.BlockSpec(memory_space=tpu.SMEM)
        return pl.BlockSpec(x.shape, lambda b, h, i: (0, 0))

    def options(self) -> dict[str, Any]:
        if self.platform == "cpu":
            return {"interpret": True}
        if self.platform == "gpu":
            from jax.experimental.pallas import triton

            return {"compiler_params": triton.CompilerParams(num_warps=4, num_stages=2)}
        return {}


def _run(call: _Call, kernel: Callable, bounds, own: Tokens, others: Tokens, given, results, heads: int, q) -> Any:
    """Runs a kernel over (array, spec) pairs; `own` are columns that it has a block of, `others` whole rows."""
    blocks, size = own.segment.shape[1] // _BLOCK, others.segment.shape[2]
    infos = [call.info(True, size)] * 4 + [call.info(False, size)] * 4
    return pl.pallas_call(
        functools.partial(kernel, scale=q.shape[-1] ** -0.5, dtype=wide(q)),
        grid=(q.shape[0], heads, blocks),
        in_specs=[*map(call.bounds, bounds), *infos, *(spec for _, spec in given)],
        out_specs=[spec for _, spec in results],
        out_shape=[shape for shape, _ in results],
        **call.options(),
    )(*bounds, *own, *others, *(array for array, _ in given))


def _forward(q, k, v, places: _Places, window, platform):
    """q [B, H, Q, N], k and v [B, K, T, N] -> out as q, and the log-sum-exp of each query's scores [B, H, Q]."""
    call = _Call(platform, q.shape[1] // k.shape[1])
    given = [(q, call.spec(q, True)), (k, call.spec(k, False, True)), (v, call.spec(v, False, True))]
    out = jax.ShapeDtypeStruct(q.shape, q.dtype)
    lse = jax.ShapeDtypeStruct((*q.shape[:3], 1), wide(q))
    results = [(out, call.spec(out, True)), (lse, call.spec(lse, True))]
    kernel = functools.partial(_forward_kernel, window=window)
    bounds = (places.first_key, places.end_key)
    out, lse = _run(call, kernel, bounds, places.queries[0], places.keys[1], given, results, q.shape[1], q)
    return out, lse[..., 0]


def _backward(q, k, v, places: _Places, window, platform, out, lse, d_out):
    """Gradients of q [B, H, Q, N], k and v [B, K, T, N]."""
    call, heads = _Call(platform, q.shape[1] // k.shape[1]), q.shape[1]
    delta = jnp.sum(out.astype(wide(q)) * d_out.astype(wide(q)), axis=-1)
    column, row = lambda x: x[..., None], lambda x: x[:, :, None]
    shared = [(k, call.spec(k, False, True)), (v, call.spec(v, False, True))]
    given = [(q, call.spec(q, True)), *shared, *((x, call.spec(x, True)) for x in (d_out, column(lse), column(delta)))]
    d_q = jax.ShapeDtypeStruct(q.shape, q.dtype)
    kernel, bounds = functools.partial(_queries_kernel, window=window), (places.first_key, places.end_key)
    results = [(d_q, call.spec(d_q, True))]
    (d_q,) = _run(call, kernel, bounds, places.queries[0], places.keys[1], given, results, heads, q)
    own = [(x, call.spec(x, True, True)) for x in (k, v)]
    given = [*own, *((x, call.spec(x, False)) for x in (q, d_out, row(lse), row(delta)))]
    each = jax.ShapeDtypeStruct((*q.shape[:2], *k.shape[2:]), wide(q))  # of every query head, summed below
    kernel, bounds = functools.partial(_keys_kernel, window=window), (places.first_query, places.end_query)
    results = [(each, call.spec(each, True))] * 2
    d_k, d_v = _run(call, kernel, bounds, places.keys[0], places.queries[1], given, results, heads, q)
    of_group = lambda x, like: x.reshape(*like.shape[:2], -1, *like.shape[2:]).sum(2).astype(like.dtype)
    return d_q, of_group(d_k, k), of_group(d_v, v)


def _platform() -> str:
    """What is compiled for: the devices of the mesh, which need not be here, or those at hand."""
    device = getattr(jax.sharding.get_abstract_mesh(), "abstract_device", None)
    named = getattr(device, "platform", None) or jax.default_backend()
    return "gpu" if named in ("cuda", "rocm") else named


@functools.partial(jax.custom_vjp, nondiff_argnames=("window", "platform"))
def attend(
    q: Float[Array, "B Q H N"],
    k: Float[Array, "B T K N"],
    v: Float[Array, "B T K N"],
    segment: Int[Array, "B T"],
    branch: Int[Array, "B T"],
    position: Int[Array, "B T"],
    first: Int[Array, ""] | None = None,
    window: int | None = None,
    platform: str | None = None,
) -> Float[Array, "B Q H N"]:
    """Attention of the queries at `first` … `first` + Q (None: the whole row) over the row; Q and T in whole blocks.

    Args:
      platform: "gpu", "tpu" or "cpu" (interpreted, slow); None = the one at hand.
    """
    return _attend_forward(q, k, v, segment, branch, position, first, window, platform)[0]


def _attend_forward(q, k, v, segment, branch, position, first, window, platform):
    layout, platform = RowLayout(segment, branch, position), platform or _platform()
    turned = q.swapaxes(1, 2), k.swapaxes(1, 2), v.swapaxes(1, 2)
    out, lse = _forward(*turned, _places(layout, q.shape[1], first), window, platform)
    # Named, so that a remat policy can keep them: recomputing attention costs far more than storing its output.
    out, lse = checkpoint_name(out, "attention"), checkpoint_name(lse, "attention")
    return out.swapaxes(1, 2), (q, k, v, layout, first, out, lse)


def _attend_backward(window, platform, kept, d_out):
    q, k, v, layout, first, out, lse = kept
    turned = q.swapaxes(1, 2), k.swapaxes(1, 2), v.swapaxes(1, 2)
    places = _places(layout, q.shape[1], first)
    platform = platform or _platform()
    gradients = _backward(*turned, places, window, platform, out, lse, d_out.swapaxes(1, 2))
    return *(x.swapaxes(1, 2) for x in gradients), None, None, None, None


attend.defvjp(_attend_forward, _attend_backward)


@functools.cache
def trouble() -> str:
    """Why the kernels cannot be used on the device at hand, found by using them; empty where they can."""
    import numpy as np

    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.standard_normal((1, 2 * _BLOCK, heads, 64)), jnp.bfloat16) for heads in (2, 1, 1))
    place = jnp.arange(2 * _BLOCK, dtype=jnp.int32)[None]
    layout = (place // 200 + 1, jnp.zeros_like(place), place % 200)

    def run(backend):
        loss = lambda q, k, v: jnp.sum(attention.local(backend)(q, k, v, *layout, window=None).astype(jnp.float32) ** 2)
        return jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(q, k, v)

    try:
        with jax.default_device(jax.local_devices()[0]):
            pairs = zip(run("pallas"), run("dense"), strict=True)
            far = max(float(jnp.abs(a - b).max() / jnp.abs(b).max()) for a, b in pairs)
    except Exception as error:  # whatever a compiler says
        return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return "" if far < 0.05 else f"its gradients are off by {far:.2g}"
