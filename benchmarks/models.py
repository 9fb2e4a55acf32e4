"""Random Llamas to time: the benchmark's own small one, and the shapes of a 1B and a 7B."""

import json
from collections.abc import Mapping
from pathlib import Path

from llumi_jax.models.config import DecoderConfig

SIZES = {
    "tiny": DecoderConfig("llama", 8000, 64, 128, 2, 4, 2, 16, tie_embeddings=True),  # for tests
    "small": DecoderConfig("llama", 8000, 512, 1408, 8, 8, 4, 64, tie_embeddings=True),
    "1b": DecoderConfig("llama", 128256, 2048, 8192, 16, 32, 8, 64, 500_000.0, tie_embeddings=True, max_position=8192),
    "7b": DecoderConfig("llama", 32000, 4096, 14336, 32, 32, 8, 128, 1e6, max_position=8192),
}
_WRITTEN = ("tiny", "small")  # with weights, so that every side starts from the same; larger ones are drawn by each


def folder(size: str, root: Path, seed: int = 0) -> Path:
    """A Hugging Face folder of a random model, made once below `root`; larger ones hold config.json alone."""
    out = root / f"model_{size}_{seed}"
    if not (out / "config.json").exists():
        write(out, SIZES[size], random_params(SIZES[size], seed) if size in _WRITTEN else None)
    return out


def write(out: Path, config: DecoderConfig, params: Mapping | None) -> None:
    """Writes a Hugging Face folder in float32, without a tokenizer: token ids are all that is trained on."""
    from llumi_jax.interchange import tensors
    from llumi_jax.models import families

    out.mkdir(parents=True, exist_ok=True)
    if params is not None:
        tensors.write_sharded(out, params, config, "float32")
    values = {**families.config_to_hf(config, "float32"), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    # Last: a folder with it is whole.
    (out / "config.json").write_text(json.dumps(values, indent=1))


def random_params(config: DecoderConfig, seed: int) -> dict:
    """Normal weights of 0.02, norms of 1."""
    import numpy as np

    from llumi_jax.interchange import tensors
    from llumi_jax.models import families

    rng, leaves = np.random.default_rng(seed), {}
    for weight in families.weights(config):
        shape = ((config.num_layers,) if weight.stacked else ()) + weight.tree_shape(config)
        norm = weight.path.endswith("scale")
        leaves[weight.path] = np.ones(shape, np.float32) if norm else 0.02 * rng.standard_normal(shape, np.float32)
    return tensors.nest(leaves)
