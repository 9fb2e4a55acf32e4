"""Every weight finds its axes, and what a mesh does not divide stays whole."""

import jax
import pytest
from jax.sharding import PartitionSpec as P

from llumi_jax.models import decoder, lora, partitioning
from llumi_jax.models.config import DecoderConfig
from llumi_jax.training.sharding import make_mesh

CONFIG = DecoderConfig("qwen2", 64, 32, 48, 2, 4, 2, 8, qkv_bias=True)  # untied, with biases: every kind of weight
MESH = {"data": 2, "fsdp": 2, "tensor": 2, "context": 1}


def specs(tree, mesh=MESH) -> dict[str, P]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    named = [(partitioning.path_names(path), leaf.shape) for path, leaf in leaves]
    return {".".join(path): partitioning.partition_spec(path, shape, mesh) for path, shape in named}


def test_every_weight_names_each_of_its_axes():
    for tree in (decoder.abstract_params(CONFIG), lora.abstract(lora.LoraConfig(), CONFIG)):
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            axes = partitioning.logical_axes(partitioning.path_names(path))
            assert len(axes) == leaf.ndim, path
            assert set(axes) <= set(partitioning.RULES)
            assert (axes[0] == "layers") == (path[0].key == "layers")


def test_axes_have_the_sizes_that_their_names_say():
    sizes = {"layers": 2, "vocab": 64, "embed": 32, "heads": 4, "kv_heads": 2, "head_dim": 8, "mlp": 48, "rank": 16}
    for tree in (decoder.abstract_params(CONFIG), lora.abstract(lora.LoraConfig(rank=16), CONFIG)):
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            axes = partitioning.logical_axes(partitioning.path_names(path))
            assert tuple(sizes[axis] for axis in axes) == leaf.shape, path


def test_weights_are_split_over_fsdp_and_tensor():
    found = specs(decoder.abstract_params(CONFIG))
    assert found["embed.embedding"] == P("tensor", "fsdp")
    assert found["lm_head.kernel"] == P("fsdp", "tensor")
    assert found["layers.attention.q.kernel"] == P(None, "fsdp", "tensor", None)
    assert found["layers.attention.k.bias"] == P(None, "tensor", None)
    assert found["layers.attention.o.kernel"] == P(None, "tensor", None, "fsdp")
    assert found["layers.mlp.up.kernel"] == P(None, "fsdp", "tensor")
    assert found["layers.mlp.down.kernel"] == P(None, "tensor", "fsdp")
    assert found["layers.input_norm.scale"] == P(None, "fsdp")
    assert found["final_norm.scale"] == P("fsdp")


def test_factors_are_split_like_the_weight_beside_them():
    found = specs(lora.abstract(lora.LoraConfig(), CONFIG))
    assert found["layers.attention.q.lora_a"] == P(None, "fsdp", None)
    assert found["layers.attention.q.lora_b"] == P(None, "fsdp", "tensor", None)
    assert found["layers.attention.o.lora_a"] == P(None, "tensor", None, "fsdp")
    assert found["layers.mlp.down.lora_b"] == P(None, None, "fsdp")


def test_an_axis_that_does_not_divide_stays_whole():
    found = specs(decoder.abstract_params(CONFIG), {"data": 1, "fsdp": 3, "tensor": 4, "context": 1})
    assert found["layers.attention.q.kernel"] == P(None, None, "tensor", None)
    assert found["layers.attention.k.kernel"] == P(None, None, None, None)


def test_matrices_know_their_inputs_and_outputs():
    at = lambda *path: partitioning.matrix_axes(("layers", *path))
    assert at("attention", "q", "kernel") == ((1,), (2, 3))
    assert at("attention", "o", "kernel") == ((1, 2), (3,))
    assert at("mlp", "down", "kernel") == ((1,), (2,))
    assert at("attention", "o", "lora_a") == ((1, 2), (3,))
    assert at("attention", "v", "lora_b") == ((1,), (2, 3))
    assert at("attention", "q", "bias") is None and at("input_norm", "scale") is None
    assert partitioning.matrix_axes(("embed", "embedding")) is partitioning.matrix_axes(("lm_head", "kernel")) is None


@pytest.mark.parametrize("path", [("layers", "attention", "w", "kernel"), ("layers", "mlp", "up", "gamma")])
def test_an_unknown_weight_is_an_error(path):
    with pytest.raises(KeyError):
        partitioning.logical_axes(path)


def test_activations_are_pinned_on_a_mesh_only():
    x = jax.numpy.zeros((8, 4))
    assert partitioning.current_mesh() is None
    assert partitioning.constrain(x, "data", None) is x
    with jax.set_mesh(make_mesh({**MESH})):
        assert dict(partitioning.current_mesh().shape) == MESH
        pinned = jax.jit(lambda x: partitioning.constrain(x, partitioning.BATCH_AXES, None))(x)
    assert pinned.addressable_shards[0].data.shape == (2, 4)
