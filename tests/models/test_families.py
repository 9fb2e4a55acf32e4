"""The weight tables and the two-way translation of configurations."""

import dataclasses

import numpy as np
import pytest

from llumi_jax.cli import UserError
from llumi_jax.models import families
from llumi_jax.models.config import DecoderConfig, RopeScaling

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 100,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
}
SCALING = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def config(**changes) -> DecoderConfig:
    return dataclasses.replace(families.config_from_hf(LLAMA), **changes)


@pytest.mark.parametrize(
    "changes",
    [{}, {"tie_embeddings": True}, {"head_dim": 10}, {"family": "qwen2", "qkv_bias": True}],
    ids=["llama", "tied", "head_dim apart", "biases"],
)
def test_every_weight_of_the_tree_is_in_the_table_once_with_its_shape(changes):
    import jax

    from llumi_jax.models import decoder

    c = config(**changes)
    tree = jax.tree_util.tree_leaves_with_path(decoder.abstract_params(c))
    actual = {".".join(key.key for key in path): leaf.shape for path, leaf in tree}
    table = {w.path: ((c.num_layers,) if w.stacked else ()) + w.tree_shape(c) for w in families.weights(c)}
    assert table == actual


def test_layouts_invert_each_other():
    rng = np.random.default_rng(0)
    c = config(head_dim=10, qkv_bias=True)
    for weight in families.weights(c):
        tensor = rng.standard_normal(weight.hf_shape(c))
        np.testing.assert_array_equal(weight.to_hf(weight.to_tree(tensor, c), c), tensor)


def test_projection_and_its_lora_mean_the_same_in_both_layouts():
    c = config(head_dim=10)
    rng = np.random.default_rng(1)
    x = rng.standard_normal(c.hidden_size)
    q = next(w for w in families.weights(c) if w.target == "q")
    outside = rng.standard_normal(q.hf_shape(c))
    np.testing.assert_allclose(np.tensordot(x, q.to_tree(outside, c), 1).ravel(), outside @ x)
    a, b = rng.standard_normal((3, c.hidden_size)), rng.standard_normal((c.num_heads * c.head_dim, 3))
    ours = q.lora_to_tree(a, b, c)
    np.testing.assert_allclose(np.tensordot(x @ ours[0], ours[1], 1).ravel(), b @ (a @ x))
    for back, original in zip(q.lora_to_hf(*ours), (a, b), strict=True):
        np.testing.assert_array_equal(back, original)


def test_old_and_new_rope_keys_mean_the_same():
    old = families.config_from_hf({**LLAMA, "rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", **SCALING}})
    new = families.config_from_hf({**LLAMA, "rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, **SCALING}})
    assert old == new
    assert old.rope_theta == 5e5
    assert old.rope_scaling == RopeScaling(8.0, 1.0, 4.0, 64)


@pytest.mark.parametrize(
    ("extra", "window"),
    [
        ({"architectures": ["MistralForCausalLM"], "sliding_window": 4096}, 4096),
        ({"architectures": ["MistralForCausalLM"], "sliding_window": None}, None),
        ({"architectures": ["Qwen2ForCausalLM"], "sliding_window": 64, "use_sliding_window": False}, None),
        (
            {
                "architectures": ["Qwen2ForCausalLM"],
                "sliding_window": 64,
                "use_sliding_window": True,
                "max_window_layers": 0,
            },
            64,
        ),
        ({"architectures": ["LlamaForCausalLM"], "rope_scaling": {"type": "llama3", **SCALING}}, None),
    ],
)
def test_configuration_survives_the_round_trip_and_transformers_agrees(extra, window):
    import transformers

    c = families.config_from_hf({**LLAMA, **extra})
    written = families.config_to_hf(c, "bfloat16")
    assert c.sliding_window == window
    assert families.config_from_hf(written) == c
    theirs = transformers.AutoConfig.for_model(**written)
    assert (theirs.head_dim if hasattr(theirs, "head_dim") else 4) == c.head_dim
    assert theirs.rope_parameters["rope_theta"] == c.rope_theta
    assert families.config_from_hf(theirs.to_dict()) == c


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "'GPT2LMHeadModel' is not supported.*LlamaForCausalLM.*Qwen2"),
        ({"architectures": ["LLamaForCausalLM"]}, "Did you mean 'LlamaForCausalLM'"),
        ({"architectures": None, "model_type": "gpt2"}, "'gpt2' is not supported"),
        ({**LLAMA, "attention_bias": True}, "attention_bias"),
        ({**LLAMA, "hidden_act": "gelu"}, "gelu"),
        ({**LLAMA, "rope_scaling": {"type": "yarn", "factor": 4.0}}, "yarn"),
        ({k: v for k, v in LLAMA.items() if k != "hidden_size"}, "no 'hidden_size'"),
        (
            {
                **LLAMA,
                "architectures": ["Qwen2ForCausalLM"],
                "use_sliding_window": True,
                "sliding_window": 4,
                "max_window_layers": 1,
            },
            "some layers only",
        ),
    ],
)
def test_what_is_not_supported_is_named(values, message):
    with pytest.raises(UserError, match=message):
        families.config_from_hf(values)
