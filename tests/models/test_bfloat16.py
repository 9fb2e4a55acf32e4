"""bfloat16 over shapes of all kinds: XLA has code for each, and loss and gradients are float32's but for the rounding.

On processors XLA refuses some products of bfloat16 in some layouts, which no single shape shows.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llumi_jax.models import decoder, lora
from llumi_jax.models.config import DecoderConfig
from llumi_jax.objectives import logprobs

BASE = DecoderConfig("llama", 50, 24, 40, 2, 1, 1, 8, rope_theta=1000.0, tie_embeddings=True)
# sizes, (B, T), attention backend, remat policy, rank of an adapter (0 = all weights are trained)
CASES = [
    (dict(), (1, 1), "dense", "none", 0),
    (dict(num_heads=4, num_kv_heads=2, tie_embeddings=False, qkv_bias=True), (2, 7), "dense", "full", 1),
    (dict(num_heads=9, num_kv_heads=3, head_dim=64, hidden_size=576), (1, 128), "block", "products", 4),
    (dict(num_heads=3, num_kv_heads=1, head_dim=16, vocab_size=101), (2, 256), "block", "attention", 0),
    (dict(num_heads=2, num_kv_heads=2, hidden_size=64, intermediate_size=96), (3, 128), "block", "products", 0),
]  # fmt: skip


def rows_of(vocabulary: int, B: int, T: int, M: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(B * T)
    whole = dict(source=rng.integers(0, T, (B, M)), target=rng.integers(0, vocabulary, (B, M)))
    whole |= dict(tokens=rng.integers(0, vocabulary, (B, T)), segment=np.ones((B, T)), branch=np.zeros((B, T)))
    whole["position"] = np.broadcast_to(np.arange(T), (B, T))
    return {name: array.astype(np.int32) for name, array in whole.items()}


def value_and_gradients(config, shape, backend, remat, rank, dtype):
    model = decoder.Decoder(config, dtype=dtype, remat=remat, backend=backend)
    params = jax.jit(decoder.init_params, static_argnums=1)(jax.random.key(0), config)
    rows = rows_of(config.vocab_size, *shape, max(shape[1], 64))
    factors = None
    if rank:
        fill = np.random.default_rng(1)
        shapes = lora.abstract(lora.LoraConfig(rank=rank), config)
        factors = jax.tree.map(lambda x: fill.normal(0, 0.1, x.shape).astype(np.float32), shapes)

    def loss(trained):
        variables = {"params": params, "lora": trained} if rank else {"params": trained}
        places = (rows["tokens"], rows["position"], rows["segment"], rows["branch"])
        logps = logprobs.prediction_logps(
            model.apply(variables, *places), decoder.output_matrix(variables["params"]), rows
        )
        return -logps.mean()

    return jax.jit(jax.value_and_grad(loss))(factors if rank else params)


@pytest.mark.parametrize(("sizes", "shape", "backend", "remat", "rank"), CASES)
def test_loss_and_gradients_are_those_of_float32(sizes, shape, backend, remat, rank):
    config = dataclasses.replace(BASE, **sizes)
    exact, rounded = (
        value_and_gradients(config, shape, backend, remat, rank, dtype) for dtype in (jnp.float32, jnp.bfloat16)
    )
    assert rounded[0].dtype == jnp.float32
    assert float(rounded[0]) == pytest.approx(float(exact[0]), rel=0.02)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(exact[1]), jax.tree.leaves(rounded[1]), strict=True):
        a, b = np.float64(a).ravel(), np.float64(b).ravel()
        assert np.linalg.norm(a - b) <= 0.06 * np.linalg.norm(a) + 1e-6, jax.tree_util.keystr(path)
