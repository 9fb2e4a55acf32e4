"""The decoder: one pass equals many small ones, adapters add what they should, remat changes no number."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from llumi_jax.models import decoder, lora
from llumi_jax.models.config import DecoderConfig, RopeScaling
from llumi_jax.models.decoder import Decoder, KVCache
from llumi_jax.models.remat import REMAT_POLICIES
from llumi_jax.objectives import logprobs

CONFIG = DecoderConfig("llama", 64, 32, 48, 2, 4, 2, 8, rope_theta=1000.0, tie_embeddings=True)
UNLIKE = dataclasses.replace(CONFIG, qkv_bias=True, tie_embeddings=False, head_dim=6, sliding_window=5)
VARIANTS = {"llama": CONFIG, "biases, untied, head_dim apart, sliding window": UNLIKE}
LORA = lora.LoraConfig(rank=3, alpha=6.0)
T = 14


@functools.cache
def weights(config: DecoderConfig = CONFIG):
    """Random weights of the sizes that make hidden states neither vanish nor explode, norms and biases included."""
    rng = np.random.default_rng(0)

    def fill(path, x):
        kind = path[-1].key
        size = {"kernel": 0.2, "embedding": 1.0, "scale": 0.1, "bias": 0.1}[kind]
        return ((kind == "scale") + size * rng.standard_normal(x.shape)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(fill, decoder.abstract_params(config))


@functools.cache
def adapter():
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: (0.3 * rng.standard_normal(x.shape)).astype(np.float32), lora.abstract(LORA, CONFIG))


@functools.cache
def new_adapter():
    return jax.jit(lora.init, static_argnames=("lora", "config"))(jax.random.key(5), lora=LORA, config=CONFIG)


def some_tokens(rows: int = 2, length: int = T):
    return np.random.default_rng(2).integers(0, 64, (rows, length)).astype(np.int32)


def plain_layout(rows: int = 2, length: int = T):
    """positions, segment, branch of rows that hold one plain sequence each."""
    positions = np.broadcast_to(np.arange(length, dtype=np.int32), (rows, length))
    return positions, np.ones_like(positions), np.zeros_like(positions)


@functools.cache
def one_pass(**settings):
    model = Decoder(settings.pop("config", CONFIG), **settings)
    return jax.jit(lambda variables, tokens: model.apply(variables, tokens, *plain_layout(*tokens.shape)))


@functools.cache
def extend(config: DecoderConfig = CONFIG, lora_scale: float = 1.0):
    model = Decoder(config, lora_scale=lora_scale)
    return jax.jit(lambda variables, tokens, cache: model.apply(variables, tokens, cache, method="extend"))


# --- one pass and many ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_step_by_step_equals_one_pass(name):
    config = VARIANTS[name]
    variables, tokens = {"params": weights(config)}, some_tokens()
    whole = one_pass(config=config)(variables, tokens)
    cache, pieces = KVCache.zeros(config, 2, T + 3), []
    first, cache = extend(config)(variables, tokens[:, :5], cache)
    pieces.append(first)
    for at in range(5, T):
        hidden, cache = extend(config)(variables, tokens[:, at : at + 1], cache)
        pieces.append(hidden)
    assert cache.length.tolist() == [T, T]
    np.testing.assert_allclose(np.concatenate(pieces, 1), whole, atol=5e-5)


def test_prompts_of_different_lengths_are_padded_on_the_right():
    variables, tokens, lengths = {"params": weights()}, some_tokens(), np.array([5, 3], np.int32)
    junk = np.where(np.arange(5) < lengths[:, None], tokens[:, :5], 63)
    hidden, cache = extend()(variables, junk, KVCache.zeros(CONFIG, 2, T + 3))
    cache = cache.replace(length=jnp.asarray(lengths))
    got = [[hidden[row, : lengths[row]]] for row in range(2)]
    for step in range(8):
        following = tokens[[0, 1], lengths + step][:, None]
        hidden, cache = extend()(variables, following, cache)
        for row in range(2):
            got[row].append(hidden[row])
    whole = one_pass()(variables, tokens)
    for row in range(2):
        ours = np.concatenate(got[row])
        np.testing.assert_allclose(ours, whole[row, : len(ours)], atol=5e-5)


def test_a_bfloat16_cache_is_near():
    variables, tokens = {"params": weights()}, some_tokens()
    cache = KVCache.zeros(CONFIG, 2, T, jnp.bfloat16)
    hidden, cache = extend()(variables, tokens, cache)
    assert cache.k.dtype == jnp.bfloat16 and hidden.dtype == jnp.float32
    np.testing.assert_allclose(hidden, one_pass()(variables, tokens), atol=0.1)


def test_a_later_token_changes_nothing_before_it():
    variables, tokens = {"params": weights()}, some_tokens()
    changed = np.where(np.arange(T) == 8, (tokens + 1) % 64, tokens)
    before, after = (np.asarray(one_pass()(variables, t)) for t in (tokens, changed))
    np.testing.assert_array_equal(before[:, :8], after[:, :8])
    assert (before[:, 8:] != after[:, 8:]).any(-1).all()


# --- adapters ------------------------------------------------------------------------------------------------------


def test_a_new_adapter_changes_no_bit():
    adapted = one_pass(lora_scale=LORA.scale)({"params": weights(), "lora": new_adapter()}, some_tokens())
    np.testing.assert_array_equal(one_pass()({"params": weights()}, some_tokens()), adapted)


def test_the_first_gradient_reaches_every_a():
    model = Decoder(CONFIG, lora_scale=LORA.scale)

    def run(tree):
        return model.apply({"params": weights(), "lora": tree}, some_tokens(), *plain_layout())

    gradient = jax.jit(jax.grad(lambda tree: jnp.sum(run(tree) ** 3)))(new_adapter())
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.any(leaf) == (path[-1].key == "lora_a"), path


def test_merged_weights_equal_the_adapter():
    tokens = some_tokens()
    adapted = one_pass(lora_scale=LORA.scale)({"params": weights(), "lora": adapter()}, tokens)
    merged = one_pass()({"params": jax.jit(lora.merge)(weights(), adapter(), LORA.scale)}, tokens)
    alone = one_pass()({"params": weights()}, tokens)
    np.testing.assert_allclose(adapted, merged, atol=1e-4)
    assert np.abs(np.asarray(adapted) - alone).max() > 0.1


def test_a_partial_adapter_touches_its_targets_alone():
    some = lora.LoraConfig(rank=3, alpha=6.0, targets=("v", "down"))
    tree = {"layers": {"attention": {"v": adapter()["layers"]["attention"]["v"]}}}
    tree["layers"]["mlp"] = {"down": adapter()["layers"]["mlp"]["down"]}
    adapted = one_pass(lora_scale=some.scale)({"params": weights(), "lora": tree}, some_tokens())
    merged = one_pass()({"params": jax.jit(lora.merge)(weights(), tree, some.scale)}, some_tokens())
    np.testing.assert_allclose(adapted, merged, atol=1e-4)


def test_extend_uses_the_adapter():
    variables = {"params": weights(), "lora": adapter()}
    hidden, _ = extend(lora_scale=LORA.scale)(variables, some_tokens(), KVCache.zeros(CONFIG, 2, T))
    np.testing.assert_allclose(hidden, one_pass(lora_scale=LORA.scale)(variables, some_tokens()), atol=1e-4)


# --- compute -------------------------------------------------------------------------------------------------------


def test_remat_changes_no_gradient():
    tokens, layout = some_tokens(1, 128), plain_layout(1, 128)

    def gradients(remat):
        model = Decoder(CONFIG, remat=remat, backend="block")
        return jax.jit(jax.grad(lambda p: jnp.sum(model.apply({"params": p}, tokens, *layout) ** 3)))(weights())

    plain = gradients("none")
    for remat in sorted(set(REMAT_POLICIES) - {"none"}):
        for a, b in zip(jax.tree.leaves(gradients(remat)), jax.tree.leaves(plain), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


def test_bfloat16_compute_is_near_float32():
    variables, tokens = {"params": weights()}, some_tokens()
    exact, rounded = one_pass()(variables, tokens), one_pass(dtype=jnp.bfloat16)(variables, tokens)
    assert rounded.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(rounded), exact, atol=0.15)
    assert decoder.logits(weights(), rounded).dtype == jnp.float32


@pytest.mark.parametrize("backend", ["dense", "block"])
def test_in_bfloat16_norms_angles_and_softmaxes_are_islands_of_float32(backend):
    """Of the whole forward and backward pass, log-probabilities included, weights of bfloat16 and all."""
    tokens, layout = some_tokens(1, 128), plain_layout(1, 128)
    model = Decoder(CONFIG, dtype=jnp.bfloat16, backend=backend)
    rows = {"source": tokens, "target": tokens}

    def loss(params):
        hidden = model.apply({"params": params}, tokens, *layout)
        return logprobs.prediction_logps(hidden, decoder.output_matrix(params), rows).sum()

    found: dict[str, set] = {}

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            found.setdefault(equation.primitive.name, set()).update(str(v.aval.dtype) for v in equation.invars)
            for inner in jaxprs_in_params(equation.params):
                walk(inner)

    walk(jax.make_jaxpr(jax.value_and_grad(loss))(jax.tree.map(jnp.bfloat16, weights())).jaxpr)
    for name in ("exp", "log", "rsqrt", "cos", "sin"):
        assert found[name] == {"float32"}, name
    assert "bfloat16" in found["dot_general"]  # the sea around them: factors, whatever their sums are kept in


def test_norm_is_computed_in_float32():
    x = np.full((1, 8), 300.0, np.float16)  # its square overflows float16
    norm = decoder.RMSNorm(1e-5)
    np.testing.assert_allclose(norm.apply({"params": {"scale": np.ones(8, np.float32)}}, x), np.ones((1, 8)), rtol=1e-3)


def test_logits_use_the_output_matrix():
    hidden = np.random.default_rng(3).standard_normal((2, 3, 32)).astype(np.float32)
    tied, untied = weights(), weights(UNLIKE)
    np.testing.assert_allclose(decoder.logits(tied, hidden), hidden @ tied["embed"]["embedding"].T, atol=1e-5)
    np.testing.assert_allclose(decoder.logits(untied, hidden), hidden @ untied["lm_head"]["kernel"], atol=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
def test_abstract_weights_are_the_real_ones(name):
    config = VARIANTS[name]

    def shapes(tree):
        return jax.tree.map(lambda x: (x.shape, x.dtype), tree)

    assert shapes(decoder.abstract_params(config)) == shapes(weights(config))
    assert ("lm_head" in weights(config)) != config.tie_embeddings
    matmul = [
        x.size for path, x in jax.tree_util.tree_leaves_with_path(weights(config)["layers"]) if path[-1].key == "kernel"
    ]
    assert config.matmul_params == sum(matmul)


# --- rotary positions ----------------------------------------------------------------------------------------------


def test_rotated_scores_depend_on_distances_alone():
    rng = np.random.default_rng(4)
    q, k = (jnp.asarray(rng.standard_normal((1, 1, 2, 8)), jnp.float32) for _ in range(2))
    frequency = decoder.rope_frequencies(CONFIG)

    def at(x, position):
        return decoder.rotate(x, jnp.array([[position]]), frequency)

    def score(m, n):
        return jnp.sum(at(q, m) * at(k, n), -1)

    np.testing.assert_allclose(score(17, 12), score(105, 100), atol=1e-4)
    assert float(jnp.abs(score(17, 12) - score(17, 11)).max()) > 1e-2
    np.testing.assert_array_equal(at(q, 0), q)


def test_plain_frequencies_are_transformers():
    expected = 1000.0 ** -(np.arange(0, 8, 2) / 8)
    np.testing.assert_allclose(decoder.rope_frequencies(CONFIG), expected, rtol=1e-6)


def test_scaled_frequencies_are_those_of_llama_3():
    # Written as in Meta's llama-models: long waves are slowed by the factor, short ones kept, those between blended.
    factor, low, high, original = 8.0, 1.0, 4.0, 128
    expected = []
    for plain in 5e5 ** -(np.arange(0, 64, 2) / 64):
        wavelength = 2 * np.pi / plain
        if wavelength < original / high:
            expected.append(plain)
        elif wavelength > original / low:
            expected.append(plain / factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            expected.append((1 - smooth) * plain / factor + smooth * plain)
    scaling = RopeScaling(factor, low, high, original)
    config = dataclasses.replace(CONFIG, head_dim=64, rope_theta=5e5, rope_scaling=scaling)
    np.testing.assert_allclose(decoder.rope_frequencies(config), expected, rtol=1e-5)


# --- configuration -------------------------------------------------------------------------------------------------


def test_a_configuration_survives_json():
    import json

    config = dataclasses.replace(CONFIG, rope_scaling=RopeScaling(8.0, 1.0, 4.0, 128), sliding_window=7)
    assert DecoderConfig.from_dict(json.loads(config.to_json())) == config
    assert DecoderConfig.from_dict(json.loads(CONFIG.to_json())) == CONFIG


def test_heads_that_cannot_be_grouped_are_refused():
    with pytest.raises(ValueError, match="num_heads=4 is not a multiple of num_kv_heads=3"):
        dataclasses.replace(CONFIG, num_kv_heads=3)
