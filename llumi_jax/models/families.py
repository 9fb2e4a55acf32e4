"""Families of decoders: how each names its weights and writes its configuration. Read in both directions.

One row of a family's table says where a weight lives in our tree, what Hugging Face and GGUF call it, and how the
two layouts turn into each other. A family is data; the decoder that runs it is the same for all.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from llumi_jax.cli import UserError, suggestion
from llumi_jax.models.config import DecoderConfig, RopeScaling


@dataclasses.dataclass(frozen=True)
class Weight:
    """One row of a weight table. Axes are the letters of the shapes used everywhere: V D F H K N.

    kind: "matrix" is stored [outputs, inputs] outside and [inputs, outputs] here; "table" (the embedding) and
    "vector" (norms, biases) keep their order. Heads are one flat axis outside and two axes here.
    """

    path: str
    hf: str
    gguf: str
    kind: Literal["matrix", "table", "vector"]
    outputs: str
    inputs: str = ""

    @property
    def stacked(self) -> bool:
        """Whether there is one such tensor in every layer, stacked along a leading axis in our tree."""
        return "{layer}" in self.hf

    @property
    def target(self) -> str | None:
        """The LoRA target this weight is ("q", …, "down"), or None."""
        return self.path.split(".")[-2] if self.stacked and self.kind == "matrix" else None

    def tree_shape(self, config: DecoderConfig) -> tuple[int, ...]:
        """Shape in our tree, of one layer."""
        order = self.inputs + self.outputs if self.kind == "matrix" else self.outputs + self.inputs
        return _sizes(order, config)

    def hf_shape(self, config: DecoderConfig) -> tuple[int, ...]:
        """Shape of the tensor outside."""
        flat = [math.prod(_sizes(axes, config)) for axes in (self.outputs, self.inputs) if axes]
        return tuple(flat)

    def to_tree(self, tensor: np.ndarray, config: DecoderConfig) -> np.ndarray:
        """Outside layout -> one layer of ours (a view where numpy can make one)."""
        return (tensor.T if self.kind == "matrix" else tensor).reshape(self.tree_shape(config))

    def to_hf(self, array: np.ndarray, config: DecoderConfig) -> np.ndarray:
        """One layer of ours -> outside layout; the exact inverse of `to_tree`."""
        shape = self.hf_shape(config)
        return array.reshape(shape[::-1]).T if self.kind == "matrix" else array.reshape(shape)

    def lora_to_hf(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One layer's factors A [*inputs, r], B [r, *outputs] -> PEFT's lora_A [r, in], lora_B [out, r]."""
        rank = b.shape[0]
        return a.reshape(-1, rank).T, b.reshape(rank, -1).T

    def lora_to_tree(self, a: np.ndarray, b: np.ndarray, config: DecoderConfig) -> tuple[np.ndarray, np.ndarray]:
        """PEFT's lora_A [r, in], lora_B [out, r] -> one layer's factors."""
        rank = a.shape[0]
        inputs, outputs = _sizes(self.inputs, config), _sizes(self.outputs, config)
        return a.T.reshape(*inputs, rank), b.T.reshape(rank, *outputs)


def _sizes(axes: str, config: DecoderConfig) -> tuple[int, ...]:
    sizes = {
        "V": config.vocab_size,
        "D": config.hidden_size,
        "F": config.intermediate_size,
        "H": config.num_heads,
        "K": config.num_kv_heads,
        "N": config.head_dim,
    }
    return tuple(sizes[axis] for axis in axes)


def _attention(name: str, outputs: str, inputs: str, gguf: str) -> Weight:
    hf = f"model.layers.{{layer}}.self_attn.{name}_proj.weight"
    return Weight(f"layers.attention.{name}.kernel", hf, f"blk.{{layer}}.{gguf}.weight", "matrix", outputs, inputs)


def _bias(name: str, outputs: str) -> Weight:
    hf = f"model.layers.{{layer}}.self_attn.{name}_proj.bias"
    return Weight(f"layers.attention.{name}.bias", hf, f"blk.{{layer}}.attn_{name}.bias", "vector", outputs)


def _mlp(name: str, outputs: str, inputs: str) -> Weight:
    hf = f"model.layers.{{layer}}.mlp.{name}_proj.weight"
    return Weight(f"layers.mlp.{name}.kernel", hf, f"blk.{{layer}}.ffn_{name}.weight", "matrix", outputs, inputs)


def _norm(name: str, hf: str, gguf: str) -> Weight:
    hf, gguf = f"model.layers.{{layer}}.{hf}.weight", f"blk.{{layer}}.{gguf}.weight"
    return Weight(f"layers.{name}.scale", hf, gguf, "vector", "D")


_EMBEDDING = Weight("embed.embedding", "model.embed_tokens.weight", "token_embd.weight", "table", "V", "D")
_FINAL_NORM = Weight("final_norm.scale", "model.norm.weight", "output_norm.weight", "vector", "D")
_LM_HEAD = Weight("lm_head.kernel", "lm_head.weight", "output.weight", "matrix", "V", "D")
_BIASES = (_bias("q", "HN"), _bias("k", "KN"), _bias("v", "KN"))
_LAYER = (
    _norm("input_norm", "input_layernorm", "attn_norm"),
    _attention("q", "HN", "D", "attn_q"),
    _attention("k", "KN", "D", "attn_k"),
    _attention("v", "KN", "D", "attn_v"),
    _attention("o", "D", "HN", "attn_output"),
    _norm("post_attention_norm", "post_attention_layernorm", "ffn_norm"),
    _mlp("gate", "F", "D"),
    _mlp("up", "F", "D"),
    _mlp("down", "D", "F"),
)


@dataclasses.dataclass(frozen=True)
class Family:
    """A family: its name in `config.json`, the values its files leave out, and what it adds to the common decoder.

    gguf_permuted: GGUF stores the rows of q and k in the order of interleaved rotary pairs.
    must_be_off: switches that must be off, because the decoder does not have what they ask for.
    """

    name: str
    architecture: str
    gguf: str
    defaults: Mapping[str, Any]
    qkv_bias: bool = False
    gguf_permuted: bool = False
    must_be_off: tuple[str, ...] = ()


FAMILIES = {
    family.name: family
    for family in (
        Family(
            "llama",
            "LlamaForCausalLM",
            "llama",
            {"max_position_embeddings": 2048},
            gguf_permuted=True,
            must_be_off=("attention_bias", "mlp_bias"),
        ),
        Family(
            "mistral",
            "MistralForCausalLM",
            "llama",
            {"max_position_embeddings": 131072, "num_key_value_heads": 8, "sliding_window": 4096},
            gguf_permuted=True,
        ),
        Family(
            "qwen2",
            "Qwen2ForCausalLM",
            "qwen2",
            {
                "max_position_embeddings": 32768,
                "num_key_value_heads": 32,
                "sliding_window": 4096,
                "max_window_layers": 28,
            },
            qkv_bias=True,
        ),
    )
}


def weights(config: DecoderConfig) -> tuple[Weight, ...]:
    """The weight table of a decoder: every weight of its tree exactly once."""
    biases = _BIASES if config.qkv_bias else ()
    head = () if config.tie_embeddings else (_LM_HEAD,)
    return (_EMBEDDING, *_LAYER, *biases, _FINAL_NORM, *head)


def of_architecture(architecture: str) -> Family:
    """The family of a `config.json` architecture. UserError when there is none."""
    for family in FAMILIES.values():
        if family.architecture == architecture:
            return family
    known = [family.architecture for family in FAMILIES.values()]
    raise UserError(
        f"the architecture {architecture!r} is not supported.{suggestion(architecture, known)} "
        f"Supported: {', '.join(known)}."
    )


def of_model_type(name: str) -> Family:
    """The family of a `config.json` that names no architecture. UserError when there is none."""
    return FAMILIES[name] if name in FAMILIES else of_architecture(name)


def config_from_hf(values: Mapping[str, Any]) -> DecoderConfig:
    """Translates the contents of a Hugging Face `config.json`.

    Reads what transformers 4 wrote (`rope_theta`, `rope_scaling`) and what transformers 5 writes (`rope_parameters`).
    UserError names an unsupported architecture, a missing key, or a switch that the decoder does not have.
    """
    names = values.get("architectures")
    family = of_architecture(names[0]) if names else of_model_type(values.get("model_type", "unknown"))
    values = {**family.defaults, **values}
    _refuse_unknown_switches(family, values)
    try:
        hidden, heads = int(values["hidden_size"]), int(values["num_attention_heads"])
        theta, scaling = _rope(values)
        return DecoderConfig(
            family=family.name,
            vocab_size=int(values["vocab_size"]),
            hidden_size=hidden,
            intermediate_size=int(values["intermediate_size"]),
            num_layers=int(values["num_hidden_layers"]),
            num_heads=heads,
            num_kv_heads=int(values.get("num_key_value_heads") or heads),
            head_dim=int(values.get("head_dim") or hidden // heads),
            rope_theta=theta,
            rope_scaling=scaling,
            norm_eps=float(values.get("rms_norm_eps", 1e-6)),
            tie_embeddings=bool(values.get("tie_word_embeddings", False)),
            sliding_window=_window(family, values),
            qkv_bias=family.qkv_bias,
            max_position=int(values["max_position_embeddings"]),
        )
    except KeyError as error:
        missing = f"config.json has no {error.args[0]!r}, which {family.architecture} needs"
        raise UserError(f"{missing}. Fetch the model again.") from error


def _refuse_unknown_switches(family: Family, values: Mapping[str, Any]) -> None:
    on = [name for name in family.must_be_off if values.get(name)]
    if on:
        raise UserError(f"config.json sets {on[0]}=true: {family.architecture} is supported without it only.")
    activation = values.get("hidden_act", "silu")
    if activation not in ("silu", "swish"):
        raise UserError(f"config.json asks for the activation {activation!r}: only 'silu' is supported.")


def _rope(values: Mapping[str, Any]) -> tuple[float, RopeScaling | None]:
    """Base and scaling of the rotary embedding, from either generation of `config.json`."""
    rope = {**(values.get("rope_scaling") or {}), **(values.get("rope_parameters") or {})}
    theta = float(rope.get("rope_theta") or values.get("rope_theta") or 10_000.0)
    kind = rope.get("rope_type", rope.get("type", "default"))
    partial = rope.get("partial_rotary_factor", values.get("partial_rotary_factor", 1.0)) or 1.0
    if kind not in ("default", "llama3") or partial != 1.0:
        what = f"rope type {kind!r}" if partial == 1.0 else f"partial_rotary_factor={partial}"
        raise UserError(f"config.json asks for {what}: supported are the types 'default' and 'llama3', on whole heads.")
    if kind == "default":
        return theta, None
    return theta, RopeScaling(
        float(rope["factor"]),
        float(rope["low_freq_factor"]),
        float(rope["high_freq_factor"]),
        int(rope["original_max_position_embeddings"]),
    )


def _window(family: Family, values: Mapping[str, Any]) -> int | None:
    """Sliding window in tokens; Qwen2 has a switch for it and may leave its first layers without."""
    window = values.get("sliding_window")
    if family.name == "llama" or window is None:
        return None
    if family.name == "qwen2":
        if not values.get("use_sliding_window") or values["max_window_layers"] >= values["num_hidden_layers"]:
            return None
        if values["max_window_layers"] > 0:
            raise UserError("config.json gives a sliding window to some layers only: not supported.")
    return int(window)


def config_to_hf(config: DecoderConfig, dtype: str) -> dict[str, Any]:
    """The `config.json` of a decoder, readable by transformers 4 and 5, vLLM and llama.cpp. dtype: "float32", …"""
    family = FAMILIES[config.family]
    scaling = config.rope_scaling and {
        "rope_type": "llama3",
        "factor": config.rope_scaling.factor,
        "low_freq_factor": config.rope_scaling.low_freq_factor,
        "high_freq_factor": config.rope_scaling.high_freq_factor,
        "original_max_position_embeddings": config.rope_scaling.original_max_position,
    }
    values = {
        "architectures": [family.architecture],
        "model_type": family.name,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_position,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling,
        "rope_parameters": {"rope_type": "default", **(scaling or {}), "rope_theta": config.rope_theta},
        "tie_word_embeddings": config.tie_embeddings,
        "attention_dropout": 0.0,
        "use_cache": True,
        "torch_dtype": dtype,
        "dtype": dtype,
    }
    values.update(dict.fromkeys(family.must_be_off, False))
    return {**values, **_window_to_hf(family, config)}


def _window_to_hf(family: Family, config: DecoderConfig) -> dict[str, Any]:
    if family.name == "llama":
        return {}
    if family.name == "qwen2":
        layers = 0 if config.sliding_window else config.num_layers
        return {
            "use_sliding_window": bool(config.sliding_window),
            "sliding_window": config.sliding_window,
            "max_window_layers": layers,
        }
    return {"sliding_window": config.sliding_window}
