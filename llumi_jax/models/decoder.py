"""The decoder, one for all families: pre-norm blocks, rotary positions, gated MLP, scanned over layers.

Shapes: B rows, T tokens of a row, S new tokens, C cache slots, D model, H query heads, K key/value heads, N head
size, F feed-forward, V vocabulary, L layers. Norms, softmax and logits are float32 whatever the compute dtype.
"""

from typing import Any

import flax
import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Int

from llumi_jax.models import attention, quantization
from llumi_jax.models.config import DecoderConfig
from llumi_jax.models.contraction import contract
from llumi_jax.models.partitioning import BATCH_AXES, TOKEN_AXIS, constrain, current_mesh, partition_spec
from llumi_jax.models.remat import REMAT_POLICIES


@flax.struct.dataclass
class KVCache:
    """Keys and values of every token so far. k, v: [L, B, C, K, N]; length: int32 [B], slots in use."""

    k: jax.Array
    v: jax.Array
    length: jax.Array

    @classmethod
    def zeros(cls, config: DecoderConfig, batch: int, capacity: int, dtype=jnp.float32) -> "KVCache":
        shape = (config.num_layers, batch, capacity, config.num_kv_heads, config.head_dim)
        return cls(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype), jnp.zeros(batch, jnp.int32))


class RMSNorm(nn.Module):
    """Root-mean-square norm (arXiv:1910.07467), computed in float32."""

    eps: float

    @nn.compact
    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],))
        y = x.astype(attention.wide(x))
        normed = y * jax.lax.rsqrt(jnp.mean(y**2, axis=-1, keepdims=True) + self.eps)
        return (normed * scale.astype(y.dtype)).astype(x.dtype)


class Projection(nn.Module):
    """x @ W (+ bias) (+ scale * (x @ A) @ B where the "lora" collection holds this projection).

    W may be of 8 bits, with a scale for each output beside it: `quantization.quantize`.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    bias: bool
    dtype: Any
    lora_scale: float

    @nn.compact
    def __call__(self, x):
        init = nn.initializers.variance_scaling(
            1.0,
            "fan_in",
            "normal",
            in_axis=tuple(range(len(self.inputs))),
            out_axis=tuple(range(len(self.inputs), len(self.inputs + self.outputs))),
        )
        kernel = self.param("kernel", init, self.inputs + self.outputs)
        if self.has_variable("params", "kernel_scale"):
            y = quantization.matmul(x, kernel, self.get_variable("params", "kernel_scale"), len(self.inputs))
        else:
            y = contract(x, kernel, len(self.inputs))
        if self.bias:
            y += self.param("bias", nn.initializers.zeros, self.outputs).astype(self.dtype)
        if self.has_variable("lora", "lora_a"):
            a: jax.Array = self.get_variable("lora", "lora_a")
            b: jax.Array = self.get_variable("lora", "lora_b")
            y += self.lora_scale * contract(contract(x, a, len(self.inputs)), b, 1)
        return y


def rope_frequencies(config: DecoderConfig) -> Float[Array, " half"]:
    """Inverse frequencies of the rotary embedding (arXiv:2104.09864), with Llama 3.x scaling where configured."""
    exponent = jnp.arange(0, config.head_dim, 2, dtype=jnp.float32) / config.head_dim
    frequency = 1.0 / config.rope_theta**exponent
    scaling = config.rope_scaling
    if scaling is None:
        return frequency
    wavelength = 2 * jnp.pi / frequency
    ratio = scaling.original_max_position / wavelength
    smooth = (ratio - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    blend = jnp.clip(smooth, 0.0, 1.0)
    return frequency * (blend + (1 - blend) / scaling.factor)


def rotate(x: Float[Array, "B T H N"], position: Int[Array, "B T"], frequency: Float[Array, " half"]):
    """Rotates the halves of each head by its position's angles (the Hugging Face layout)."""
    angle = position[..., None, None].astype(attention.wide(x)) * frequency
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    first, second = jnp.split(x.astype(attention.wide(x)), 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)


class Attention(nn.Module):
    config: DecoderConfig
    dtype: Any
    backend: str
    lora_scale: float

    @nn.compact
    def __call__(self, x: Float[Array, "B T D"], layout: attention.RowLayout, cache):
        c = self.config
        D, H, K, N = c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim
        project = lambda name, heads: Projection((D,), (heads, N), c.qkv_bias, self.dtype, self.lora_scale, name=name)(
            x
        )
        frequency = rope_frequencies(c)
        q = rotate(project("q", H), layout.position, frequency)
        k = rotate(project("k", K), layout.position, frequency)
        v = project("v", K)
        q, k, v = (checkpoint_name(x, name) for x, name in ((q, "q"), (k, "k"), (v, "v")))
        if self.is_initializing():
            out = q  # no weight depends on it, and the one token of an initialisation splits over no mesh
        elif cache is None:
            out = attention.attend(q, k, v, layout, window=c.sliding_window, backend=self.backend)
        else:
            out, cache = self._extend(q, k, v, layout.position, cache)
        return Projection((H, N), (D,), False, self.dtype, self.lora_scale, name="o")(out), cache

    def _extend(self, q, k, v, position: Int[Array, "B S"], cache):
        """Writes keys and values at their positions' slots and attends over every slot up to the query's own."""
        write = jax.vmap(lambda old, new, at: jax.lax.dynamic_update_slice(old, new.astype(old.dtype), (at, 0, 0)))
        keys, values = (write(old, new, position[:, 0]) for old, new in zip(cache, (k, v), strict=True))
        slot = jnp.arange(keys.shape[1])
        mask = slot[None, None, :] <= position[:, :, None]
        if self.config.sliding_window is not None:
            mask &= position[:, :, None] - slot[None, None, :] < self.config.sliding_window
        return attention.masked_attention(q, keys.astype(q.dtype), values.astype(q.dtype), mask), (keys, values)


class MLP(nn.Module):
    config: DecoderConfig
    dtype: Any
    lora_scale: float

    @nn.compact
    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        D, F = self.config.hidden_size, self.config.intermediate_size
        project = lambda name, i, o: Projection((i,), (o,), False, self.dtype, self.lora_scale, name=name)
        gate, up = (checkpoint_name(project(name, D, F)(x), name) for name in ("gate", "up"))
        return project("down", F, D)(jax.nn.silu(gate) * up)


class Layer(nn.Module):
    config: DecoderConfig
    dtype: Any
    backend: str
    lora_scale: float

    @nn.compact
    def __call__(self, x: Float[Array, "B T D"], cache, layout: attention.RowLayout):
        norm = lambda name: RMSNorm(self.config.norm_eps, name=name)
        tokens = TOKEN_AXIS if cache is None else None  # of a cached row only some new tokens are here
        x = checkpoint_name(x, "input")
        attended, cache = Attention(self.config, self.dtype, self.backend, self.lora_scale, name="attention")(
            norm("input_norm")(x), layout, cache
        )
        x = constrain(x + attended, BATCH_AXES, tokens, None)
        x = x + MLP(self.config, self.dtype, self.lora_scale, name="mlp")(norm("post_attention_norm")(x))
        return constrain(x, BATCH_AXES, tokens, None), cache


class Decoder(nn.Module):
    """Tokens to hidden states. Variables: {"params": weights} and, where adapted, {"lora": LoRA tree}.

    Attributes:
      config: sizes and switches.
      dtype: compute dtype; weights are cast to it where they are used.
      remat: one of `remat.REMAT_POLICIES`.
      backend: a resolved attention backend (see `attention.resolve_backend`).
      lora_scale: the factor before A @ B.
      scan_layers: one layer is compiled and run L times; without, L layers are compiled one behind the other.
    """

    config: DecoderConfig
    dtype: Any = jnp.float32
    remat: str = "none"
    backend: str = "dense"
    lora_scale: float = 1.0
    scan_layers: bool = True

    def setup(self) -> None:
        self.embed = nn.Embed(self.config.vocab_size, self.config.hidden_size, dtype=self.dtype)
        policy = REMAT_POLICIES[self.remat].policy
        block = Layer if policy is None else nn.remat(Layer, policy=policy, prevent_cse=False)
        scanned = nn.scan(
            block,
            variable_axes={"params": 0, "lora": 0},
            split_rngs={"params": True},
            in_axes=(0, nn.broadcast),
            length=self.config.num_layers,
            unroll=1 if self.scan_layers else self.config.num_layers,
        )
        self.layers = scanned(self.config, self.dtype, self.backend, self.lora_scale)
        self.final_norm = RMSNorm(self.config.norm_eps)
        if not self.config.tie_embeddings:
            self.lm_head = _OutputMatrix(self.config)

    def __call__(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        segment: Int[Array, "B T"],
        branch: Int[Array, "B T"],
    ) -> Float[Array, "B T D"]:
        """Hidden states after the final norm, each token seeing what `attention.may_attend` allows."""
        x, _ = self.layers(self._embed(tokens, TOKEN_AXIS), None, attention.RowLayout(segment, branch, positions))
        return self._finish(x)

    def extend(self, tokens: Int[Array, "B S"], cache: KVCache) -> tuple[Float[Array, "B S D"], KVCache]:
        """Reads S further tokens of every row; they take the slots from `cache.length` on, as positions."""
        S = tokens.shape[1]
        position = cache.length[:, None] + jnp.arange(S)[None]
        layout = attention.RowLayout(jnp.ones_like(position), jnp.zeros_like(position), position)
        x, (k, v) = self.layers(self._embed(tokens), (cache.k, cache.v), layout)
        return self._finish(x), KVCache(k, v, cache.length + S)

    def _embed(self, tokens, split: str | None = None):
        # Rows of the table are looked up whole: left to itself, XLA looks up a piece of every token of the batch on
        # each device and joins them all there ("involuntary full rematerialization").
        table = self.embed.embedding.astype(self.dtype)
        mesh = current_mesh()
        if mesh is not None:
            table = constrain(table, partition_spec(("embed", "embedding"), table.shape, dict(mesh.shape))[0], None)
        return constrain(jnp.take(table, tokens, axis=0), BATCH_AXES, split, None)

    def _finish(self, x):
        if self.is_initializing() and not self.config.tie_embeddings:
            self.lm_head()
        return self.final_norm(x)


class _OutputMatrix(nn.Module):
    """Declares the untied output matrix; it is applied outside, to the predicted tokens alone."""

    config: DecoderConfig

    @nn.compact
    def __call__(self):
        shape = (self.config.hidden_size, self.config.vocab_size)
        return self.param("kernel", nn.initializers.normal(0.02), shape)


def output_matrix(params: dict) -> Float[Array, "V D"]:
    """The matrix that turns hidden states into logits, with the vocabulary first (the tied embedding's layout)."""
    return params["lm_head"]["kernel"].T if "lm_head" in params else params["embed"]["embedding"]


def logits(params: dict, hidden: Float[Array, "*B D"]) -> Float[Array, "*B V"]:
    """Float32 logits. For the log-probabilities of many tokens: `objectives.logprobs`, which never holds [B, T, V]."""
    matrix = output_matrix(params).astype(hidden.dtype)
    return jnp.einsum("...D,VD->...V", hidden, matrix, preferred_element_type=attention.wide(hidden))


def init_params(rng: jax.Array, config: DecoderConfig, dtype=jnp.float32) -> dict:
    """Random weights, for tests and for training from nothing."""
    one = jnp.zeros((1, 1), jnp.int32)
    params = Decoder(config).init(rng, one, one, one, one)["params"]
    return jax.tree.map(lambda x: x.astype(dtype), params)


def abstract_params(config: DecoderConfig, dtype=jnp.float32) -> dict:
    """Shapes and dtypes of every weight."""
    return jax.eval_shape(lambda: init_params(jax.random.key(0), config, dtype))
