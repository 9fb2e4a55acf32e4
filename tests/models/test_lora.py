"""LoRA trees: what they hold at the start, what they add, and what merging does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llumi_jax.models import decoder, lora
from llumi_jax.models.config import DecoderConfig
from llumi_jax.models.lora import LoraConfig

CONFIG = DecoderConfig("llama", 64, 32, 48, 2, 4, 2, 10)  # head_dim apart from D / H
D, F, H, K, N, L, R = 32, 48, 4, 2, 10, 2, 3


# Compiled whole: a test that runs op by op compiles each of them.
init = jax.jit(lora.init, static_argnames=("lora", "config", "dtype"))
merge = jax.jit(lora.merge)


def filled(shapes: dict, dtype=np.float32) -> dict:
    """A tree of random numbers with these shapes."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.standard_normal(x.shape).astype(dtype), shapes)


def random_tree(lora_config: LoraConfig, dtype=np.float32) -> dict:
    return filled(lora.abstract(lora_config, CONFIG), dtype)


def test_scale_is_alpha_over_rank_or_its_root():
    assert LoraConfig(rank=16, alpha=32).scale == 2
    assert LoraConfig(rank=16, alpha=32, rslora=True).scale == 8


def test_settings_survive_json():
    config = LoraConfig(rank=4, alpha=8.0, rslora=True, targets=("q", "down"))
    values = config.to_dict()
    assert values["targets"] == ["q", "down"]
    assert LoraConfig.from_dict(values) == config and hash(LoraConfig.from_dict(values)) == hash(config)


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"targets": ()}, {"targets": ("q", "w")}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="lora: .*targets among q, k, v, o, gate, up, down"):
        LoraConfig(**wrong)


def test_a_tree_holds_the_targets_alone_with_their_shapes():
    shapes = {
        "q": ((L, D, R), (L, R, H, N)),
        "k": ((L, D, R), (L, R, K, N)),
        "v": ((L, D, R), (L, R, K, N)),
        "o": ((L, H, N, R), (L, R, D)),
        "gate": ((L, D, R), (L, R, F)),
        "up": ((L, D, R), (L, R, F)),
        "down": ((L, F, R), (L, R, D)),
    }
    for targets in (lora.TARGETS, ("q", "v"), ("down",)):
        config = LoraConfig(rank=R, targets=targets)
        tree = lora.abstract(config, CONFIG, jnp.bfloat16)
        held = {n: factors for owner in tree["layers"].values() for n, factors in owner.items()}
        assert {n: (f["lora_a"].shape, f["lora_b"].shape) for n, f in held.items()} == {n: shapes[n] for n in targets}
        assert {leaf.dtype for leaf in jax.tree.leaves(tree)} == {jnp.dtype(jnp.bfloat16)}


def test_the_start_is_zero_in_a_and_random_in_b():
    config = LoraConfig(rank=16, targets=("q", "k", "v"))  # k and v are of one shape and must still differ
    tree = init(jax.random.key(0), lora=config, config=CONFIG)

    def shapes(tree):
        return jax.tree.map(lambda x: (x.shape, x.dtype), tree)

    assert shapes(tree) == shapes(lora.abstract(config, CONFIG))
    factors = [f for owner in tree["layers"].values() for f in owner.values()]
    for f in factors:
        assert not np.any(f["lora_a"])
        assert np.std(f["lora_b"]) == pytest.approx(1 / 4, rel=0.1)
    flat = [np.asarray(f["lora_b"]).ravel()[:8] for f in factors]
    assert len({tuple(x) for x in flat}) == len(flat), "every target draws its own numbers"


def test_delta_is_the_product_layer_by_layer():
    tree = random_tree(LoraConfig(rank=R))["layers"]["attention"]["o"]
    ours = jax.jit(lora.delta)(tree["lora_a"], tree["lora_b"])
    a, b = (np.asarray(tree[n], np.float64) for n in ("lora_a", "lora_b"))
    for layer in range(L):
        np.testing.assert_allclose(ours[layer], np.tensordot(a[layer], b[layer], 1), rtol=1e-4, atol=1e-5)


def test_merge_adds_the_scaled_product_and_leaves_the_rest():
    params = filled(decoder.abstract_params(CONFIG))
    before = jax.tree.map(np.copy, params)
    tree = random_tree(LoraConfig(rank=R, targets=("k", "gate")))
    merged = merge(params, tree, 0.5)
    for path, leaf in jax.tree_util.tree_leaves_with_path(merged):
        old = before
        for key in path:
            old = old[key.key]
        name = path[-2].key
        if name in ("k", "gate"):
            factors = tree["layers"]["attention" if name == "k" else "mlp"][name]
            product = [np.tensordot(a, b, 1) for a, b in zip(factors["lora_a"], factors["lora_b"], strict=True)]
            np.testing.assert_allclose(leaf, old + 0.5 * np.stack(product), rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(leaf, old)
    for old, now in zip(jax.tree.leaves(before), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(old, now)


def test_merge_keeps_the_kernels_dtype_and_adds_before_rounding():
    config = LoraConfig(rank=R, targets=("down",))
    params = filled(decoder.abstract_params(CONFIG), jnp.bfloat16)
    tree = random_tree(config, jnp.bfloat16)
    kernel, factors = params["layers"]["mlp"]["down"]["kernel"], tree["layers"]["mlp"]["down"]
    merged = merge(params, tree, 1.0)["layers"]["mlp"]["down"]["kernel"]
    a, b = (factors[n].astype(np.float64) for n in ("lora_a", "lora_b"))
    exact = kernel.astype(np.float64) + np.einsum("lfr,lrd->lfd", a, b)
    assert merged.dtype == jnp.bfloat16
    np.testing.assert_array_equal(merged, exact.astype(np.float32).astype(jnp.bfloat16))


@pytest.mark.parametrize(
    ("targets", "found"),
    [
        (("v", "q"), ("v", "q")),
        (("attention/.*",), ("q", "k", "v", "o")),
        ((".*/(gate|up)", "q"), ("gate", "up", "q")),
        (("mlp/.*", "down"), ("gate", "up", "down")),
        ((".*",), lora.TARGETS),
    ],
)
def test_targets_by_pattern(targets, found):
    made = lora.LoraConfig(targets=targets)
    assert made.targets == found
    assert lora.LoraConfig.from_dict(made.to_dict()) == made == lora.LoraConfig(targets=found)


@pytest.mark.parametrize("targets", [(), ("w",), ("attention/x",), ("q", "("), ("",)])
def test_targets_that_are_none(targets):
    with pytest.raises(ValueError, match="lora: .*target"):
        lora.LoraConfig(targets=targets)
