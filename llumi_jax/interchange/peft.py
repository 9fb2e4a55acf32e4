"""LoRA adapters as the `peft` library keeps them: adapter_config.json beside adapter_model.safetensors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from llumi_jax.cli import UserError
from llumi_jax.interchange import tensors
from llumi_jax.models import families
from llumi_jax.models.config import DecoderConfig
from llumi_jax.models.lora import LoraConfig
from llumi_jax.storage.files import read_json, write_json

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_FACTORS = ("lora_A", "lora_B")
# Switches of peft that change what an adapter computes, and that ours does not have.
_UNSUPPORTED = (
    "use_dora",
    "lora_bias",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
    "layers_to_transform",
    "fan_in_fan_out",
)


def _rows(config: DecoderConfig, targets: tuple[str, ...]) -> list[families.Weight]:
    return [weight for weight in families.weights(config) if weight.target in targets]


def _name(hf_name: str, factor: str) -> str:
    return f"{_PREFIX}{hf_name.removesuffix('.weight')}.{factor}.weight"


def write(folder: Path, lora: Mapping, lora_config: LoraConfig, config: DecoderConfig, base: str) -> None:
    """Writes an adapter that `peft` loads. base: what its adapter_config.json names as the base model."""
    flat = tensors.flatten(lora)
    listed: list[tensors.Tensor] = []
    for weight in _rows(config, lora_config.targets):
        stem = weight.path.removesuffix(".kernel")
        a, b = np.asarray(flat[f"{stem}.lora_a"]), np.asarray(flat[f"{stem}.lora_b"])
        for layer, name in enumerate(tensors.hf_names(weight, config)):
            for factor, array in zip(_FACTORS, weight.lora_to_hf(a[layer], b[layer]), strict=True):
                listed.append(tensors.Tensor(_name(name, factor), array.shape, array.view))
    tensors.write_safetensors(folder / WEIGHTS, listed, "float32")
    modules = [weight.hf.split(".")[-2] for weight in _rows(config, lora_config.targets)]
    write_json(folder / CONFIG, _config_to_peft(lora_config, modules, base))


def _config_to_peft(lora_config: LoraConfig, modules: list[str], base: str) -> dict[str, Any]:
    alpha = lora_config.alpha
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": lora_config.rank,
        "lora_alpha": int(alpha) if float(alpha).is_integer() else alpha,
        "use_rslora": lora_config.rslora,
        "target_modules": modules,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "inference_mode": True,
    }


def read(folder: Path, config: DecoderConfig) -> tuple[dict, LoraConfig]:
    """Reads an adapter for a base of the given configuration: (LoRA tree in float32, its LoraConfig).

    UserError names a switch that is not supported, or a tensor that is missing or does not fit the base.
    """
    values = read_json(folder / CONFIG)
    on = [name for name in _UNSUPPORTED if values.get(name)]
    if values.get("peft_type") != "LORA" or on or values.get("bias", "none") != "none":
        what = f"{on[0]}" if on else f"peft_type {values.get('peft_type')!r} with bias {values.get('bias', 'none')!r}"
        raise UserError(f"{folder / CONFIG} uses {what}, which is not supported: plain LoRA only.")
    if not (folder / WEIGHTS).exists():
        raise UserError(f"{folder} has no {WEIGHTS}. Save the adapter with safe_serialization=True and try again.")
    source = tensors.SafetensorsFolder(folder)
    present = set(source.names())
    rows = [w for w in _rows(config, tuple(_targets(config))) if _name(w.hf.format(layer=0), _FACTORS[0]) in present]
    if not rows:
        raise UserError(
            f"{folder / WEIGHTS} adapts no weight of a {config.family} decoder. Is it an adapter for this base?"
        )
    lora_config = LoraConfig(
        rank=int(values["r"]),
        alpha=float(values["lora_alpha"]),
        rslora=bool(values.get("use_rslora", False)),
        targets=tuple(weight.target for weight in rows if weight.target),
    )
    leaves, used = {}, set()
    for weight in rows:
        factors, names = _read_target(source, weight, config, lora_config.rank)
        leaves.update(factors)
        used |= names
    if present - used:
        raise UserError(f"{folder / WEIGHTS} adapts {sorted(present - used)[0]!r}, which is not supported.")
    return tensors.nest(leaves), lora_config


def _targets(config: DecoderConfig) -> list[str]:
    return [weight.target for weight in families.weights(config) if weight.target]


def _read_target(
    source: tensors.SafetensorsFolder, weight: families.Weight, config: DecoderConfig, rank: int
) -> tuple[dict[str, Any], set[str]]:
    """One target's stacked factors by their path in the tree, and the names of the tensors they came from."""
    out_size, in_size = weight.hf_shape(config)
    layers, used = [], set()
    for name in tensors.hf_names(weight, config):
        pair = {}
        for factor, shape in zip(_FACTORS, ((rank, in_size), (out_size, rank)), strict=True):
            key = _name(name, factor)
            if key not in source.names() or source.shape(key) != shape:
                found = source.shape(key) if key in source.names() else "nothing"
                raise UserError(
                    f"{source.where}: {key!r} should be {shape}, found {found}. Is this the adapter's own base?"
                )
            pair[factor] = source.read(key).astype(np.float32)
            used.add(key)
        layers.append(weight.lora_to_tree(pair["lora_A"], pair["lora_B"], config))
    stem = weight.path.removesuffix(".kernel")
    stacked = (np.stack(factors) for factors in zip(*layers, strict=True))
    return {f"{stem}.{n}": tensors.place(s) for n, s in zip(("lora_a", "lora_b"), stacked, strict=True)}, used
