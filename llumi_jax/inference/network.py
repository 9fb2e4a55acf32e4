"""One step of the decoder for writing: layer by layer, over a cache with static shapes.

Training scans over stacked weights [L, ...]. A scan copies each layer's slice out before it multiplies, which
costs nothing beside a batch of rows but two thirds of the time of a single token. So for writing the weights are
cut into layers once, when they are loaded, and the same `decoder.Layer` is applied to each.
"""

from typing import Any, cast

import flax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from llumi_jax.models import decoder
from llumi_jax.models.attention import RowLayout
from llumi_jax.models.config import DecoderConfig


@flax.struct.dataclass
class Cache:
    """Keys and values so far. k, v: L arrays [B, C, K, N]; length: int32 [B], slots in use.

    What lies behind `length` is junk: a query sees only slots up to its own position, and writing goes over it.
    """

    k: tuple[jax.Array, ...]
    v: tuple[jax.Array, ...]
    length: jax.Array

    @classmethod
    def zeros(cls, config: DecoderConfig, batch: int, capacity: int, dtype: Any) -> "Cache":
        def layers() -> tuple[jax.Array, ...]:
            shape = (batch, capacity, config.num_kv_heads, config.head_dim)
            return tuple(jnp.zeros(shape, dtype) for _ in range(config.num_layers))

        return cls(layers(), layers(), jnp.zeros(batch, jnp.int32))


def cut_layers(tree: dict, num_layers: int) -> dict:
    """Turns `tree["layers"]`, stacked over L, into a list of L trees. Works for weights and LoRA trees alike."""
    tree = jax.tree.map(jnp.asarray, tree)
    layers = [jax.tree.map(lambda x, i=i: x[i], tree["layers"]) for i in range(num_layers)]
    return {**tree, "layers": layers}


def fold_scale(lora: dict, scale: float) -> dict:
    """Multiplies B by LoRA's scale, so that adapters of any alpha run through one compiled program."""

    def fold(path: tuple, x: jax.Array) -> jax.Array:
        return (x * scale).astype(x.dtype) if path[-1].key == "lora_b" else x

    return jax.tree_util.tree_map_with_path(fold, lora)


def extend(
    config: DecoderConfig, weights: dict, lora: dict | None, tokens: Int[Array, "B S"], cache: Cache
) -> tuple[Float[Array, "B S D"], Cache]:
    """Reads S further tokens of every row into the slots from `cache.length` on; returns their hidden states."""
    dtype = weights["embed"]["embedding"].dtype
    layer = decoder.Layer(config, dtype, "dense", 1.0)
    position = cache.length[:, None] + jnp.arange(tokens.shape[1])[None]
    layout = RowLayout(jnp.ones_like(position), jnp.zeros_like(position), position)
    x = jnp.take(weights["embed"]["embedding"], tokens, axis=0)
    keys: list[jax.Array] = []
    values: list[jax.Array] = []
    for i in range(config.num_layers):
        variables = {"params": weights["layers"][i]}
        if lora is not None:
            variables["lora"] = lora["layers"][i]
        x, (k, v) = cast(Any, layer.apply(variables, x, (cache.k[i], cache.v[i]), layout))
        keys.append(k)
        values.append(v)
    hidden = decoder.RMSNorm(config.norm_eps).apply({"params": weights["final_norm"]}, x)
    return cast(jax.Array, hidden), Cache(tuple(keys), tuple(values), cache.length + tokens.shape[1])


def next_logits(weights: dict, hidden: Float[Array, "B D"]) -> Float[Array, "B V"]:
    """Float32 logits of the next token."""
    return decoder.logits(weights, hidden)
