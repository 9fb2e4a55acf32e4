"""The kernels against the dense square over random packings, and as programs for machines that are not here."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AbstractMesh

from llumi_jax.models import attention, flash
from llumi_jax.models.attention import RowLayout

T, H, K, N = 384, 4, 2, 16

threads = st.lists(st.tuples(st.integers(1, 200), st.lists(st.integers(1, 120), max_size=4)), max_size=6)


def pack(rows: list[list[tuple[int, list[int]]]]) -> RowLayout:
    """Threads (prefix, replies) one after another; what does not fit the row is cut, what is left is padding."""
    layout = np.zeros((3, len(rows), T), np.int32)
    for row, packed in enumerate(rows):
        at = 0
        for segment, (prefix, replies) in enumerate(packed, start=1):
            pieces = [(0, 0, prefix), *((branch, prefix, size) for branch, size in enumerate(replies, start=1))]
            for branch, position, size in pieces:
                size = min(size, T - at)
                layout[0, row, at : at + size] = segment
                layout[1, row, at : at + size] = branch
                layout[2, row, at : at + size] = position + np.arange(size)
                at += size
    return RowLayout(*map(jnp.asarray, layout))


def vjp(backend: str, window: int | None):
    @jax.jit
    def run(q, k, v, d_out, layout, first):
        queries = q if first is None else jax.lax.dynamic_slice_in_dim(q, first, T // 3, axis=1)
        attend = lambda q, k, v: attention.local(backend)(q, k, v, *layout, first=first, window=window)
        out, pull = jax.vjp(attend, queries, k, v)
        return out, pull(d_out[:, : out.shape[1]])

    return run


RUN = {(name, window): vjp(name, window) for name in attention.BACKENDS for window in (None, 50)}


@settings(max_examples=12, deadline=None)
@given(
    rows=st.lists(threads, min_size=2, max_size=2),
    window=st.sampled_from([None, 50]),
    part=st.booleans(),
    seed=st.integers(0, 9),
)
def test_all_backends_are_the_dense_square(rows, window, part, seed):
    rng = np.random.default_rng(seed)
    q, k, v, d_out = (jnp.asarray(rng.standard_normal((2, T, heads, N)), jnp.float32) for heads in (H, K, K, H))
    first = jnp.int32(T // 3 * rng.integers(0, 3)) if part else None
    results = {name: RUN[name, window](q, k, v, d_out, pack(rows), first) for name in attention.BACKENDS}
    out, gradients = results.pop("dense")
    for ours, pulled in results.values():
        np.testing.assert_allclose(ours, out, atol=1e-5)
        for mine, theirs in zip(pulled, gradients, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-4)


def elsewhere(platform: str, kind: str):
    """A mesh of one device that is not here."""
    given = {"device_kind": kind, "num_cores": 1, "platform": platform}
    known = inspect.signature(jax.sharding.AbstractDevice).parameters
    device = jax.sharding.AbstractDevice(**{name: value for name, value in given.items() if name in known})
    return jax.sharding.use_abstract_mesh(AbstractMesh((1,), ("x",), abstract_device=device))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("window", [None, 50])
@pytest.mark.parametrize(
    ("platform", "name", "kind"), [("gpu", "cuda", "NVIDIA H100 80GB HBM3"), ("tpu", "tpu", "TPU v5")]
)
def test_it_becomes_a_program_for_gpus_and_tpus(platform, name, kind, window, dtype):
    """Lowered as far as it goes without the machine's own compiler; nothing in it is a square of T."""
    shapes = [jax.ShapeDtypeStruct((1, T, heads, 64), dtype) for heads in (H, K, K, H)]
    layout = RowLayout(*[jax.ShapeDtypeStruct((1, T), jnp.int32)] * 3)

    def both(q, k, v, d_out, layout):
        attend = lambda q, k, v: flash.attend(q, k, v, *layout, window=window, platform=platform)
        out, pull = jax.vjp(attend, q, k, v)
        return out, pull(d_out)

    with elsewhere(platform, kind):
        text = jax.jit(both).trace(*shapes, layout).lower(lowering_platforms=(name,)).as_text()
    assert text.count("triton" if platform == "gpu" else "tpu_custom_call") >= 3
    assert f"{T}x{T}" not in text


def test_they_are_tried_on_the_device_at_hand(monkeypatch, capsys):
    assert flash.trouble() == ""
    monkeypatch.setattr(flash, "trouble", lambda: "no such instruction")
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    attention._say_once.cache_clear()
    assert [attention.resolve_backend("auto", 256) for _ in range(2)] == ["dense", "dense"]
    assert capsys.readouterr().out.count("no such instruction") == 1
    monkeypatch.setattr(flash, "trouble", lambda: "")
    assert attention.resolve_backend("auto", 256) == "pallas" and attention.resolve_backend("auto", 200) == "dense"
