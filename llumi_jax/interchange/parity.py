"""Does an export say what the trained weights say? Both are run on the same prompts and compared.

The exported files are read back by the same readers that any user's folder goes through, and run by our decoder.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from llumi_jax import prompts
from llumi_jax.interchange.sources import LoadedModel

GREEDY_TOKENS = 16
_POSITIONS = 64  # logits compared in each prompt: the last ones
_MAX_PROMPT = 192
_POST = (
    "Can't sleep again\n\nIt is the third week now. I lie there, count 1, 2, 3… and think of everything I did wrong. 😔"
)
_PROBES = (
    ("gm", "Can't sleep again", _POST, ""),
    ("gm", "", "Nobody answers me here.", ""),
    ("im", "Can't sleep again", _POST, "You should just try to relax, everyone has that."),
    ("im", "New job", "I start on Monday & I'm terrified.", "Don't worry!"),
)
# What rounding alone may do, by the dtype of the files. float32 differs only in the order of additions.
LIMITS = {
    "float32": {"max_logit_difference": 1e-3, "kl": 1e-6},
    "bfloat16": {"max_logit_difference": 2.0, "kl": 5e-3},
    "float16": {"max_logit_difference": 0.5, "kl": 5e-4},
}


class ParityError(Exception):
    """An export does not say what the trained weights say."""


@dataclasses.dataclass(frozen=True)
class Probe:
    """What a model answers. logits: one [positions, V] per prompt; greedy: int [prompts, GREEDY_TOKENS]."""

    logits: list[np.ndarray]
    greedy: np.ndarray


def probe(model: LoadedModel) -> Probe:
    """Runs a model on the probe prompts: logits of their last positions, then a greedy reply."""
    import jax.numpy as jnp

    from llumi_jax.models.decoder import KVCache

    rows = [prompts.prompt_ids(model.tokenizer, *question) for question in _PROBES]
    lengths = np.array([len(row) for row in rows])
    tokens = np.zeros((len(rows), max(lengths)), np.int32)
    for row, ids in zip(tokens, rows, strict=True):
        row[: len(ids)] = ids
    prefill, step = _programs(model.config, model.lora_scale)
    cache = KVCache.zeros(model.config, len(rows), tokens.shape[1] + GREEDY_TOKENS)
    chosen = np.maximum(lengths[:, None] - _POSITIONS + np.arange(_POSITIONS), 0)
    logits, cache = prefill(model.variables, tokens, cache, chosen)
    cache = cache.replace(length=jnp.asarray(lengths, jnp.int32))
    kept = [np.asarray(row[-min(_POSITIONS, length) :]) for row, length in zip(logits, lengths, strict=True)]
    token = np.array([row[-1].argmax() for row in kept], np.int32)
    greedy = [token]
    for _ in range(GREEDY_TOKENS - 1):
        token, cache = step(model.variables, token, cache)
        greedy.append(np.asarray(token))
    return Probe(kept, np.stack(greedy, axis=1))


@functools.lru_cache(maxsize=4)
def _programs(config: Any, lora_scale: float):
    """Compiled once for a configuration: reading the prompts, and one greedy step. Compute is float32."""
    import jax
    import jax.numpy as jnp

    from llumi_jax.models import decoder

    model = decoder.Decoder(config, lora_scale=lora_scale)

    @jax.jit
    def prefill(variables, tokens, cache, chosen):
        hidden, cache = model.apply(variables, tokens, cache, method="extend")
        picked = jnp.take_along_axis(hidden, chosen[:, :, None], axis=1)
        return decoder.logits(variables["params"], picked), cache

    @jax.jit
    def step(variables, token, cache):
        hidden, cache = model.apply(variables, token[:, None], cache, method="extend")
        return decoder.logits(variables["params"], hidden)[:, 0].argmax(-1).astype(jnp.int32), cache

    return prefill, step


def compare(trained: Probe, exported: Probe) -> dict[str, Any]:
    """Largest logit difference, mean KL(trained || exported) in nats a token, share of equal greedy tokens."""
    pairs = list(zip(trained.logits, exported.logits, strict=True))
    differences = [np.abs(a - b).max() for a, b in pairs]
    kls = np.concatenate([_kl(a, b) for a, b in pairs])
    return {
        "prompts": len(pairs),
        "positions": int(kls.size),
        # A NaN anywhere must not look like agreement.
        "max_logit_difference": float(np.nan_to_num(np.max(differences), nan=np.inf)),
        "kl": float(np.nan_to_num(kls.mean(), nan=np.inf)),
        "greedy_agreement": float((trained.greedy == exported.greedy).mean()),
    }


def _kl(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """KL divergence of softmax(b) from softmax(a) in each row, in float64 and never below zero."""
    log_a, log_b = _log_softmax(a), _log_softmax(b)
    return np.maximum((np.exp(log_a) * (log_a - log_b)).sum(-1), 0.0)


def _log_softmax(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def problems(parity: dict[str, Any], dtype: str) -> list[str]:
    """What is over its limit, in words; empty when the export is faithful."""
    found = [
        f"{name} is {parity[name]:.3g}, allowed is {limit:.3g} in {dtype}"
        for name, limit in LIMITS[dtype].items()
        if not parity[name] <= limit
    ]
    if dtype == "float32" and parity["greedy_agreement"] < 1.0:
        found.append(f"only {parity['greedy_agreement']:.0%} of the greedy tokens agree")
    return found
