"""Low-rank adapters (LoRA, arXiv:2106.09685) as a second tree beside frozen weights."""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp

from llumi_jax.models.config import DecoderConfig

TARGETS = ("q", "k", "v", "o", "gate", "up", "down")
_OWNER = {name: "attention" if name in ("q", "k", "v", "o") else "mlp" for name in TARGETS}


def _matching(pattern: str) -> list[str]:
    """The targets that a name or a regular expression stands for.

    Raises:
      ValueError: it stands for none.
    """
    try:
        found = [t for t in TARGETS if t == pattern or re.fullmatch(pattern, f"{_OWNER[t]}/{t}")]
    except re.error as error:
        raise ValueError(f"lora: target {pattern!r} is no regular expression: {error}") from None
    if not found:
        known = ", ".join(f"{_OWNER[t]}/{t}" for t in TARGETS)
        raise ValueError(f"lora: target {pattern!r} matches nothing; targets among {', '.join(TARGETS)} ({known})")
    return found


@dataclasses.dataclass(frozen=True)
class LoraConfig:
    """W' = W + scale * A @ B, with scale = alpha / rank, or alpha / sqrt(rank) for rsLoRA (arXiv:2312.03732).

    `targets` may be given as regular expressions of "attention/q" and its like; what they match stands there then.
    """

    rank: int = 16
    alpha: float = 32.0
    rslora: bool = False
    targets: tuple[str, ...] = TARGETS

    def __post_init__(self) -> None:
        named = [name for pattern in self.targets for name in _matching(pattern)]
        object.__setattr__(self, "targets", tuple(dict.fromkeys(named)))
        if self.rank < 1 or not self.targets:
            raise ValueError(f"lora: rank >= 1 and targets among {', '.join(TARGETS)} are needed, got {self}")

    @property
    def scale(self) -> float:
        return self.alpha / (self.rank**0.5 if self.rslora else self.rank)

    def to_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "targets": list(self.targets)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "LoraConfig":
        return cls(**values)


def _shapes(target: str, c: DecoderConfig) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Input and output axes of a projection's kernel."""
    D, F, H, K, N = c.hidden_size, c.intermediate_size, c.num_heads, c.num_kv_heads, c.head_dim
    return {
        "q": ((D,), (H, N)),
        "k": ((D,), (K, N)),
        "v": ((D,), (K, N)),
        "o": ((H, N), (D,)),
        "gate": ((D,), (F,)),
        "up": ((D,), (F,)),
        "down": ((F,), (D,)),
    }[target]


def init(rng: jax.Array, lora: LoraConfig, config: DecoderConfig, dtype=jnp.float32) -> dict:
    """Makes a tree whose delta is exactly zero: B is drawn, A = 0.

    The usual start is the other way round. With A = 0 the first gradient reaches A through a random B, so no
    device order can leave both factors at zero gradient, and the reference equals the policy to the last bit.
    """
    tree: dict = {"layers": {}}
    for key, target in zip(jax.random.split(rng, len(lora.targets)), lora.targets, strict=True):
        inputs, outputs = _shapes(target, config)
        b_shape = (config.num_layers, lora.rank, *outputs)
        tree["layers"].setdefault(_OWNER[target], {})[target] = {
            "lora_a": jnp.zeros((config.num_layers, *inputs, lora.rank), dtype),
            "lora_b": (jax.random.normal(key, b_shape) * lora.rank**-0.5).astype(dtype),
        }
    return tree


def abstract(lora: LoraConfig, config: DecoderConfig, dtype=jnp.float32) -> dict:
    """Shapes and dtypes of `init`'s tree."""
    return jax.eval_shape(lambda: init(jax.random.key(0), lora, config, dtype))


def delta(a: jax.Array, b: jax.Array) -> jax.Array:
    """A @ B of one target over all layers: [L, *in, r], [L, r, *out] -> [L, *in, *out], in float32."""
    L, r = a.shape[0], a.shape[-1]
    product = jnp.matmul(a.reshape(L, -1, r), b.reshape(L, r, -1), preferred_element_type=jnp.float32)
    return product.reshape(L, *a.shape[1:-1], *b.shape[2:])


def merge(params: dict, lora: dict, scale: float) -> dict:
    """Returns `params` with W + scale * A @ B at every adapted kernel, in the kernel's dtype."""
    layers = {**params["layers"]}
    for owner, targets in lora["layers"].items():
        layers[owner] = {**layers[owner]}
        for target, factors in targets.items():
            kernel = layers[owner][target]["kernel"]
            merged = kernel.astype(jnp.float32) + scale * delta(factors["lora_a"], factors["lora_b"])
            layers[owner][target] = {**layers[owner][target], "kernel": merged.astype(kernel.dtype)}
    return {**params, "layers": layers}
