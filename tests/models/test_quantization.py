"""An int8 base: numbers by hand, the decoder over it, the gradients of LoRA, and what it costs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from llumi_jax.models import decoder, lora, quantization
from llumi_jax.models.config import DecoderConfig
from llumi_jax.training import sharding

pytestmark = pytest.mark.optimized

CONFIG = DecoderConfig("llama", 64, 32, 48, 3, 4, 2, 8, qkv_bias=True)
LORA = lora.LoraConfig(rank=3, alpha=6.0)
T = 24


@pytest.fixture(scope="module")
def base():
    drawn = decoder.init_params(jax.random.key(0), CONFIG)
    biased = lambda path, x: x + 0.1 if path[-1].key == "bias" else x
    return jax.tree_util.tree_map_with_path(biased, drawn)


@pytest.fixture(scope="module")
def packed(base):
    return quantization.quantize(base)


@pytest.fixture(scope="module")
def adapter():
    rng = np.random.default_rng(1)
    shapes = lora.abstract(LORA, CONFIG)
    return jax.tree.map(lambda x: jnp.asarray(0.2 * rng.standard_normal(x.shape), jnp.float32), shapes)


# --- the numbers ---------------------------------------------------------------------------------------------------


def test_each_output_has_its_scale_by_hand(base, packed):
    """In plain loops: the largest weight of an output becomes +-127, and none is off by more than half a step."""
    for owner, name, inputs in (("attention", "q", 1), ("attention", "o", 2), ("mlp", "down", 1)):
        kernel = np.asarray(base["layers"][owner][name]["kernel"], np.float64)
        values, scale = (np.asarray(packed["layers"][owner][name][key]) for key in ("kernel", "kernel_scale"))
        assert values.dtype == np.int8 and scale.dtype == np.float32 and values.shape == kernel.shape
        L = kernel.shape[0]
        outputs = kernel.shape[1 + inputs :]
        assert scale.shape == (L, *outputs)
        columns = kernel.reshape(L, -1, int(np.prod(outputs)))
        packed_columns, scales = values.reshape(columns.shape).astype(int), scale.reshape(L, -1)
        for layer in range(L):
            for output in range(columns.shape[2]):
                column, whole = columns[layer, :, output], packed_columns[layer, :, output]
                assert scales[layer, output] == pytest.approx(np.abs(column).max() / 127, rel=1e-6)
                assert np.abs(whole).max() == 127
                assert np.abs(column - whole * scales[layer, output]).max() <= scales[layer, output] * 0.5001


def test_what_is_no_matrix_of_a_layer_stays(base, packed):
    for path in (("embed", "embedding"), ("lm_head", "kernel"), ("final_norm", "scale")):
        np.testing.assert_array_equal(base[path[0]][path[1]], packed[path[0]][path[1]])
    q = packed["layers"]["attention"]["q"]
    assert set(q) == {"kernel", "kernel_scale", "bias"} and q["bias"].dtype == jnp.float32


def test_zeros_and_numpy_trees():
    tree = {"layers": {"mlp": {"up": {"kernel": np.zeros((2, 4, 3), np.float32)}}}}
    tree["layers"]["mlp"]["up"]["kernel"][0, 1, 2] = -5.0
    packed = quantization.quantize(tree)
    up = packed["layers"]["mlp"]["up"]
    assert isinstance(up["kernel"], np.ndarray) and up["kernel"][0, 1, 2] == -127 and not up["kernel"][1].any()
    back = np.asarray(quantization.dequantize(packed)["layers"]["mlp"]["up"]["kernel"])
    np.testing.assert_array_equal(back, [[[0] * 3, [0, 0, -5.0], [0] * 3, [0] * 3], [[0] * 3] * 4])


def test_trees_are_told_apart_and_shapes_suffice(base, packed):
    assert quantization.is_quantized(packed) and not quantization.is_quantized(base)
    shapes = jax.eval_shape(quantization.quantize, decoder.abstract_params(CONFIG))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), shapes) == jax.tree.map(lambda x: (x.shape, x.dtype), packed)
    back = quantization.dequantize(packed, jnp.bfloat16)
    assert (
        jax.tree.structure(back) == jax.tree.structure(base)
        and back["layers"]["mlp"]["up"]["kernel"].dtype == "bfloat16"
    )


# --- the decoder over it -------------------------------------------------------------------------------------------


def hidden(params, tree=None, remat="none", dtype=jnp.float32):
    model = decoder.Decoder(CONFIG, dtype=dtype, remat=remat, lora_scale=LORA.scale)
    rng = np.random.default_rng(0)
    tokens = jnp.asarray(rng.integers(0, CONFIG.vocab_size, (2, T)), jnp.int32)
    position = jnp.broadcast_to(jnp.arange(T), (2, T))
    variables = {"params": params} | ({} if tree is None else {"lora": tree})
    return model.apply(variables, tokens, position, jnp.ones((2, T), jnp.int32), jnp.zeros((2, T), jnp.int32))


def test_logits_are_those_of_the_unpacked_weights_and_near_the_base(base, packed, adapter):
    logits = lambda params: np.asarray(decoder.logits(base, hidden(params, adapter)), np.float64)
    found, unpacked, whole = logits(packed), logits(quantization.dequantize(packed)), logits(base)
    np.testing.assert_allclose(found, unpacked, atol=1e-5 * np.abs(unpacked).max())
    error = np.linalg.norm(found - whole) / np.linalg.norm(whole)
    print(f"relative error of the logits by 8 bits: {error:.2%}")
    assert 1e-4 < error < 0.02


def test_in_bfloat16(base, packed):
    found = np.asarray(hidden(packed, dtype=jnp.bfloat16), np.float64)
    plain = np.asarray(hidden(quantization.dequantize(packed), dtype=jnp.bfloat16), np.float64)
    assert found.shape == plain.shape and np.abs(found - plain).max() < 0.06 * np.abs(plain).max()


@pytest.mark.parametrize("remat", ["none", "full"])
def test_gradients_of_lora_are_those_over_the_unpacked_weights(packed, adapter, remat):
    aim = jnp.asarray(np.random.default_rng(2).standard_normal((2, T, CONFIG.hidden_size)), jnp.float32)
    gradient = jax.jit(jax.grad(lambda tree, params: jnp.sum(aim * hidden(params, tree, remat))))
    found, expected = gradient(adapter, packed), gradient(adapter, quantization.dequantize(packed))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


# --- what it costs -------------------------------------------------------------------------------------------------


def test_a_quarter_of_the_bytes_and_no_copy_of_the_base_in_a_step():
    config = DecoderConfig("llama", 64, 128, 352, 6, 4, 2, 32)
    base = decoder.abstract_params(config)
    packed = jax.eval_shape(quantization.quantize, base)
    size = lambda tree: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
    assert size(packed) / size(base) < 0.27
    tree = lora.abstract(LORA, config)
    ids = jax.ShapeDtypeStruct((1, 64), jnp.int32)
    model = decoder.Decoder(config)
    run = lambda tree, params, *rows: model.apply({"params": params, "lora": tree}, *rows).sum()
    temporary = functools.cache(
        lambda params_are_packed: (
            jax.jit(jax.grad(run))
            .lower(tree, packed if params_are_packed else base, ids, ids, ids, ids)
            .compile()
            .memory_analysis()
            .temp_size_in_bytes
        )
    )
    one_layer = size(base["layers"]) / config.num_layers
    assert temporary(True) < temporary(False) + 2 * one_layer


def test_scales_are_split_like_the_outputs_they_belong_to():
    mesh = sharding.make_mesh(dict(data=1, fsdp=2, tensor=2, context=1) | {"data": 2})
    packed = jax.eval_shape(quantization.quantize, decoder.abstract_params(CONFIG))
    places = sharding.tree_shardings(packed, mesh)["layers"]
    assert places["attention"]["q"]["kernel"].spec == P(None, "fsdp", "tensor", None)
    assert places["attention"]["q"]["kernel_scale"].spec == P(None, "tensor", None)
    assert places["attention"]["o"]["kernel_scale"].spec == P(None, "fsdp")
    assert places["mlp"]["down"]["kernel_scale"].spec == P(None, "fsdp")


def test_a_tree_of_the_host_comes_onto_the_mesh(packed):
    mesh = sharding.make_mesh(dict(data=2, fsdp=2, tensor=2, context=1))
    placed = sharding.place(jax.tree.map(np.asarray, packed), mesh)
    jax.tree.map(np.testing.assert_array_equal, placed, packed)
    kernel = placed["layers"]["mlp"]["up"]["kernel"]
    assert kernel.dtype == jnp.int8 and kernel.addressable_shards[0].data.shape == (3, 16, 24)
