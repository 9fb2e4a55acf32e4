"""The attention backends against loops over the definition of who sees whom, in float64 numpy."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llumi_jax.models import attention
from llumi_jax.models.attention import RowLayout
from llumi_jax.models.partitioning import MESH_AXES
from llumi_jax.training.sharding import make_mesh

B, T, H, N = 3, 256, 4, 8
WINDOW = 37
TOLERANCE = {"float32": (1e-5, 1e-4), "bfloat16": (2e-2, 8e-2)}  # of outputs and of gradients, which sum over many


def random_layout(seed: int, rows: int = B, length: int = T) -> RowLayout:
    """Threads of random sizes one after another, padding at the end of each row, and a last row of padding alone."""
    rng = np.random.default_rng(seed)
    layout = np.zeros((3, rows, length), np.int32)
    for row in range(rows - 1):
        at, segment = 0, 1
        while at < length - rng.integers(0, 40):
            prefix = int(rng.integers(1, 150))
            pieces = [(0, 0, prefix)] + [(b, prefix, int(rng.integers(1, 50))) for b in range(1, rng.integers(2, 5))]
            for branch, position, size in pieces:
                size = min(size, length - at)
                layout[:, row, at : at + size] = (
                    np.full(size, segment), np.full(size, branch), position + np.arange(size),
                )  # fmt: skip
                at += size
            segment += 1
    return RowLayout(*layout)


def allowed(layout: RowLayout, window: int | None) -> np.ndarray:
    """may_attend's definition, one query and one key at a time."""
    segment, branch, position = (np.asarray(a) for a in layout)
    rows, length = segment.shape
    mask = np.zeros((rows, length, length), bool)
    for row in range(rows):
        for q in range(length):
            for k in range(q + 1):
                if segment[row, q] != segment[row, k]:
                    continue
                if branch[row, k] != 0 and branch[row, k] != branch[row, q]:
                    continue
                mask[row, q, k] = window is None or position[row, q] - position[row, k] < window
    return mask


def brute_force(q, k, v, mask, d_out):
    """Output and gradients with respect to q, k, v in float64, written out with every head on its own."""
    q, k, v, d_out = (np.asarray(x, np.float64) for x in (q, k, v, d_out))
    group = q.shape[2] // k.shape[2]
    out, d_q, d_k, d_v = np.zeros_like(q), np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for row in range(q.shape[0]):
        for head in range(q.shape[2]):
            here, shared = (row, slice(None), head), (row, slice(None), head // group)
            scores = np.where(mask[row], q[here] @ k[shared].T / np.sqrt(q.shape[3]), -np.inf)
            p = np.exp(scores - scores.max(-1, keepdims=True))
            p /= p.sum(-1, keepdims=True)
            out[here] = p @ v[shared]
            d_p = d_out[here] @ v[shared].T
            d_scores = p * (d_p - (d_p * p).sum(-1, keepdims=True)) / np.sqrt(q.shape[3])
            d_q[here] = d_scores @ k[shared]
            d_k[shared] += d_scores.T @ q[here]
            d_v[shared] += p.T @ d_out[here]
    return out, d_q, d_k, d_v


def arrays(K: int, dtype: str, rows: int = B):
    """q, k, v and a cotangent. A little sharp, so that a wrong neighbour would be seen."""
    rng = np.random.default_rng(K)
    return [(1.5 * rng.standard_normal((rows, T, heads, N))).astype(jnp.dtype(dtype)) for heads in (H, K, K, H)]


def with_gradients(layout, window, backend):
    """(q, k, v, d_out) -> output and gradients, compiled once."""

    def run(q, k, v, d_out):
        out, pull = jax.vjp(lambda q, k, v: attention.attend(q, k, v, layout, window=window, backend=backend), q, k, v)
        return out, *pull(d_out)

    return jax.jit(run)


@functools.cache
def expected(K: int, window: int | None, dtype: str):
    layout = random_layout(1)
    return brute_force(*arrays(K, dtype)[:3], allowed(layout, window), arrays(K, dtype)[3])


@pytest.mark.parametrize("backend", attention.BACKENDS)
@pytest.mark.parametrize(
    ("K", "window", "dtype"),
    [(4, None, "float32"), (2, WINDOW, "float32"), (1, None, "float32"), (2, None, "bfloat16")],
    ids=["a key head each", "half, sliding window", "one key head for all", "bfloat16"],
)
def test_outputs_and_gradients_are_the_definitions(backend, K, window, dtype):
    layout = RowLayout(*map(jnp.asarray, random_layout(1)))
    results = with_gradients(layout, window, backend)(*arrays(K, dtype))
    forward, backward = TOLERANCE[dtype]
    for ours, theirs, tolerance in zip(
        results, expected(K, window, dtype), (forward, backward, backward, backward), strict=True
    ):
        assert ours.dtype == jnp.dtype(dtype)
        np.testing.assert_allclose(np.asarray(ours, np.float64), theirs, atol=tolerance * max(1, np.abs(theirs).max()))


@pytest.mark.parametrize("window", [None, WINDOW])
def test_may_attend_is_the_definition(window):
    layout, index = random_layout(2), np.arange(T)
    ours = attention.may_attend(layout, layout, index, index, window)
    np.testing.assert_array_equal(ours, allowed(layout, window))


def test_a_sliding_window_counts_positions_not_places_in_the_row():
    # A prefix of 4, a reply of 4, a reply of 2: the second reply stands 8 tokens behind but only 4 positions.
    layout = RowLayout(
        np.ones((1, 10), np.int32),
        np.array([[0] * 4 + [1] * 4 + [2] * 2], np.int32),
        np.array([[0, 1, 2, 3, 4, 5, 6, 7, 4, 5]], np.int32),
    )
    index = np.arange(10)
    mask = attention.may_attend(layout, layout, index, index, 3)
    assert np.flatnonzero(mask[0, 8]).tolist() == [2, 3, 8]
    assert np.flatnonzero(mask[0, 9]).tolist() == [3, 8, 9]
    assert np.flatnonzero(mask[0, 7]).tolist() == [5, 6, 7]


@pytest.mark.parametrize(
    ("backend", "K", "axes", "window"),
    [
        ("block", 2, (2, 2, 2, 1), None),
        ("block", 1, (4, 1, 2, 1), None),
        ("block", 2, (2, 1, 2, 2), None),
        ("block", 1, (1, 2, 2, 2), WINDOW),
        ("pallas", 2, (2, 2, 2, 1), None),
        ("pallas", 1, (2, 1, 2, 2), WINDOW),
        ("dense", 2, (1, 1, 2, 4), WINDOW),
        ("dense", 1, (1, 1, 1, 8), None),
    ],
    ids=lambda x: str(x).replace(" ", ""),
)
def test_on_a_mesh_it_is_the_same(backend, K, axes, window):
    """Heads split or (K = 1) too few to be, rows split into the queries of two devices, of four and of eight."""
    layout, inputs = random_layout(3, rows=4), arrays(K, "float32", rows=4)
    with jax.set_mesh(make_mesh(dict(zip(MESH_AXES, axes, strict=True)))):
        together = with_gradients(RowLayout(*map(jnp.asarray, layout)), window, backend)(*inputs)
    alone = brute_force(*inputs[:3], allowed(layout, window), inputs[3])
    for ours, theirs in zip(together, alone, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("backend", attention.BACKENDS)
def test_the_keys_of_whole_rows_are_gathered_again_and_not_kept(backend):
    """Of what the backward pass is handed, all that has a head's size is a device's own part of a row."""
    layout, (q, k, v, _) = RowLayout(*map(jnp.asarray, random_layout(3, rows=4))), arrays(2, "float32", rows=4)
    attend = functools.partial(attention.attend, layout=layout, backend=backend)
    with jax.set_mesh(make_mesh(dict(zip(MESH_AXES, (2, 2, 1, 2), strict=True)))):
        kept = jax.tree.leaves(jax.eval_shape(lambda *inputs: jax.vjp(attend, *inputs)[1], q, k, v))
    own = q.size + k.size + v.size + (q.size if backend != "dense" else 0)  # its output, too
    assert sum(math.prod(x.shape) for x in kept if x.ndim > 1 and x.shape[-1] == N) == own


@pytest.mark.parametrize("length", [256, 4224])
def test_each_block_of_queries_reads_its_whole_thread(length):
    layout = random_layout(4, 2, length)
    plan, widths = jax.jit(attention._plan)(layout.segment), attention._widths(length)
    blocks = length // attention.QUERY_BLOCK
    assert sorted(plan.order) == list(range(2 * blocks)) and plan.bounds[0] == 0 and plan.bounds[-1] == 2 * blocks
    for width, first, end in zip(widths, plan.bounds[:-1], plan.bounds[1:], strict=True):
        for index in plan.order[first:end]:
            row, block, start = index // blocks, index % blocks, int(plan.start[index])
            segment, end_of_block = layout.segment[row], (block + 1) * attention.QUERY_BLOCK
            seen_from = np.flatnonzero(segment == segment[block * attention.QUERY_BLOCK])[0]
            assert 0 <= start <= seen_from and end_of_block <= start + width <= length


# --- choosing a backend --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "length", "platform", "expected"),
    [
        ("auto", 1024, "cpu", "block"),
        ("auto", 1000, "cpu", "dense"),
        ("auto", 1024, "gpu", "pallas"),
        ("auto", 1000, "gpu", "dense"),
        ("block", 256, "gpu", "block"),
        ("dense", 100, "cpu", "dense"),
    ],
)
def test_a_name_stands_for_a_backend(name, length, platform, expected):
    assert attention.resolve_backend(name, length, platform) == expected


def test_block_refuses_a_length_that_it_cannot_hold():
    with pytest.raises(ValueError, match="multiple of 128, got 1000"):
        attention.resolve_backend("block", 1000)


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="'flash' is not one of auto, dense, block"):
        attention.resolve_backend("flash", 1024)
