"""Chunked log-probabilities against a plain log-softmax over all of [B, M, V]."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from jax.sharding import NamedSharding, PartitionSpec

from llumi_jax.models.partitioning import BATCH_AXES, MESH_AXES
from llumi_jax.objectives import logprobs
from llumi_jax.training.sharding import make_mesh

pytestmark = pytest.mark.optimized

B, D, V = 2, 16, 50


def inputs(M: int, dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(M), 4)
    hidden = (3 * jax.random.normal(keys[0], (B, M, D))).astype(dtype)
    matrix = jax.random.normal(keys[1], (V, D))
    return hidden, matrix, jax.random.randint(keys[2], (B, M), 0, V), jax.random.normal(keys[3], (B, M))


def plain(hidden, matrix, target):
    every = jax.nn.log_softmax(hidden.astype(jnp.float32) @ matrix.astype(jnp.float32).T, axis=-1)
    return jnp.take_along_axis(every, target[..., None], axis=-1)[..., 0]


@pytest.mark.parametrize("M", [384, 200], ids=["three chunks", "no multiple of a chunk"])
def test_logps_and_gradients_equal_plain_log_softmax(M):
    hidden, matrix, target, cotangent = inputs(M)

    @jax.jit
    def both(h, m):
        results = (jax.vjp(lambda h, m, f=f: f(h, m, target), h, m) for f in (logprobs.token_logps, plain))
        return [(logps, *pull(cotangent)) for logps, pull in results]

    (ours, *our_gradients), (theirs, *their_gradients) = both(hidden, matrix)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)
    for a, b in zip(our_gradients, their_gradients, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)


def test_float64_stays_float64():
    with jax.enable_x64(True):
        hidden, matrix, target, _ = inputs(128)
        ours = logprobs.token_logps(hidden.astype(jnp.float64), matrix.astype(jnp.float64), target)
        x, m = np.asarray(hidden, np.float64), np.asarray(matrix, np.float64)
        scores = x @ m.T
        picked = np.take_along_axis(scores, np.asarray(target)[..., None], -1)[..., 0]
        expected = picked - np.log(np.exp(scores).sum(-1))
        assert ours.dtype == jnp.float64
        np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_bfloat16_hidden_states_give_float32_sums():
    hidden, matrix, target, _ = inputs(128, jnp.bfloat16)
    ours = logprobs.token_logps(hidden, matrix, target)
    assert ours.dtype == jnp.float32
    # The same bfloat16 numbers, multiplied and summed in float32: only the rounding of the inputs may be seen.
    exact = plain(hidden, matrix.astype(jnp.bfloat16), target)
    np.testing.assert_allclose(ours, exact, atol=1e-3)


def test_no_array_of_all_logits_exists():
    hidden, matrix, target, _ = inputs(512)
    gradient = jax.grad(lambda h: logprobs.token_logps(h, matrix, target).sum())
    largest = 0

    def walk(jaxpr):
        nonlocal largest
        for equation in jaxpr.eqns:
            largest = max([largest, *(v.aval.size for v in equation.outvars if hasattr(v.aval, "size"))])
            for inner in jaxprs_in_params(equation.params):
                walk(inner)

    walk(jax.make_jaxpr(gradient)(hidden).jaxpr)
    assert B * logprobs.CHUNK * V <= largest < B * 512 * V


def test_predictions_are_gathered_from_their_source():
    hidden, matrix, target, _ = inputs(128)
    source = jax.random.randint(jax.random.key(0), (B, 128), 0, 128)
    ours = logprobs.prediction_logps(hidden, matrix, {"source": source, "target": target})
    gathered = np.stack([np.asarray(hidden)[b, np.asarray(source)[b]] for b in range(B)])
    np.testing.assert_allclose(ours, plain(jnp.asarray(gathered), matrix, target), atol=2e-5)


def test_replies_sum_their_own_predictions_and_no_padding():
    logps = np.array([[-1.0, -2.0, -4.0, -8.0, np.nan], [-1.0, -1.0, -1.0, -1.0, -1.0]], np.float32)
    rows = {
        "slot": jnp.array([[0, 0, 1, 2, 0], [0, 2, 2, 2, 0]]),
        "weight": jnp.array([[1.0, 1.0, 1.0, 0.5, 0.0], [1.0, 1.0, 1.0, 1.0, 0.0]]),
    }
    np.testing.assert_array_equal(logprobs.reply_logps(jnp.asarray(logps), rows, 3), [[-3, -4, -8], [-1, 0, -3]])
    np.testing.assert_array_equal(logprobs.reply_lengths(rows, 3), [[2, 1, 1], [1, 0, 3]])


@pytest.mark.parametrize("sizes", [(2, 1, 2, 2), (1, 2, 1, 4), (1, 1, 8, 1)], ids=str)
@pytest.mark.parametrize("M", [256, 250], ids=["predictions split", "predictions that do not divide"])
def test_on_a_mesh_they_are_the_same(sizes, M):
    """Hidden states split by rows and tokens, the output matrix by both its axes; gradients and statistics included."""
    hidden, matrix, target, cotangent = inputs(M)
    hidden = jnp.tile(hidden[:, :128], (1, 2, 1))[:, :192]
    matrix = jnp.concatenate([matrix, matrix[:6] / 2])
    rows = {"source": jax.random.randint(jax.random.key(1), (B, M), 0, 192), "target": target}

    def run(hidden, matrix, rows, cotangent):
        logps, pull = jax.vjp(lambda h, m: logprobs.prediction_logps(h, m, rows), hidden, matrix)
        return logps, *pull(cotangent), *logprobs.prediction_statistics(hidden, matrix, rows)

    alone = jax.jit(run)(hidden, matrix, rows, cotangent)
    mesh = make_mesh(dict(zip(MESH_AXES, sizes, strict=True)))
    put = lambda x, *axes: jax.device_put(x, NamedSharding(mesh, PartitionSpec(*axes)))
    with jax.set_mesh(mesh):
        split = put(hidden, BATCH_AXES, "context", None), put(matrix, "tensor", "fsdp")
        together = jax.jit(run)(*split, {name: put(x, BATCH_AXES) for name, x in rows.items()}, cotangent)
    for ours, theirs in zip(together, alone, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5 * np.abs(theirs).max())
