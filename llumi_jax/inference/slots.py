"""The compiled half of the engine: a fixed number of slots, each holding one reply in the making.

`admit` reads a prompt into a slot and draws the first token; `advance` draws up to CHUNK further tokens for all
slots at once. Both take weights, adapter and settings as arrays: they compile once for each (slots, capacity) and
each prompt bucket, never again for another adapter, seed or temperature.
"""

import dataclasses
import functools

import flax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from llumi_jax.inference import network, sampling
from llumi_jax.models.config import DecoderConfig

CHUNK = 16  # most tokens that one dispatch can draw; fewer can be asked for without compiling again
MAX_STOPS = 8
NOTHING = -1  # in place of a token, where a slot drew none


@flax.struct.dataclass
class Slots:
    """B slots. `token` is drawn but not yet in the cache; `step` counts the tokens drawn for this reply."""

    cache: network.Cache
    token: jax.Array  # int32 [B]
    seen: jax.Array  # bool [B, V], the tokens of prompt and reply
    step: jax.Array  # int32 [B]
    limit: jax.Array  # int32 [B], most tokens of the reply
    seed: jax.Array  # uint32 [B]
    active: jax.Array  # bool [B], still writing
    rows: sampling.Rows  # each [B]

    @classmethod
    def empty(cls, config: DecoderConfig, batch: int, capacity: int, dtype) -> "Slots":
        zeros = functools.partial(jnp.zeros, batch)
        return cls(
            cache=network.Cache.zeros(config, batch, capacity, dtype),
            token=zeros(jnp.int32),
            seen=jnp.zeros((batch, config.vocab_size), bool),
            step=zeros(jnp.int32),
            limit=zeros(jnp.int32),
            seed=zeros(jnp.uint32),
            active=zeros(bool),
            rows=jax.tree.map(jnp.asarray, sampling.Rows.of([sampling.Sampling()] * batch)),
        )


@flax.struct.dataclass
class Admission:
    """One prompt for one slot, right-padded to a bucket. Scalars, and `rows` of one row."""

    slot: jax.Array
    tokens: jax.Array  # int32 [1, S]
    length: jax.Array  # of the prompt, without padding
    seed: jax.Array
    limit: jax.Array
    rows: sampling.Rows


@functools.partial(jax.jit, static_argnums=0, donate_argnums=3)
def admit(
    config: DecoderConfig, weights: dict, lora: dict | None, slots: Slots, new: Admission, stops: Int[Array, " E"]
) -> tuple[Slots, Int[Array, ""]]:
    """Reads the prompt into its slot, over whatever was there, and draws the reply's first token."""
    S, V = new.tokens.shape[1], config.vocab_size
    own = network.Cache.zeros(config, 1, S, slots.cache.k[0].dtype)
    hidden, own = network.extend(config, weights, lora, new.tokens, own)
    last = jax.lax.dynamic_index_in_dim(hidden, new.length - 1, axis=1, keepdims=False)
    real = jnp.where(jnp.arange(S) < new.length, new.tokens[0], V)  # V is out of range: padding marks nothing
    seen = jnp.zeros((1, V), bool).at[0, real].set(True, mode="drop")
    zero = jnp.zeros(1, jnp.int32)
    token = sampling.pick(network.next_logits(weights, last), seen, new.seed[None], zero, new.rows)[0]

    def write(whole: jax.Array, part: jax.Array) -> jax.Array:
        return jax.lax.dynamic_update_slice(whole, part, (new.slot, *(0,) * (whole.ndim - 1)))

    cache = network.Cache(
        k=jax.tree.map(write, slots.cache.k, own.k),
        v=jax.tree.map(write, slots.cache.v, own.v),
        length=slots.cache.length.at[new.slot].set(new.length),
    )
    goes_on = ~jnp.isin(token, stops) & (new.limit > 1)
    return Slots(
        cache=cache,
        token=slots.token.at[new.slot].set(token),
        seen=write(slots.seen, seen.at[0, token].set(True)),
        step=slots.step.at[new.slot].set(1),
        limit=slots.limit.at[new.slot].set(new.limit),
        seed=slots.seed.at[new.slot].set(new.seed),
        active=slots.active.at[new.slot].set(goes_on),
        rows=jax.tree.map(write, slots.rows, new.rows),
    ), token


@functools.partial(jax.jit, static_argnums=0, donate_argnums=3)
def advance(
    config: DecoderConfig,
    weights: dict,
    lora: dict | None,
    slots: Slots,
    steps: Int[Array, ""],
    stops: Int[Array, " E"],
) -> tuple[Slots, Int[Array, "CHUNK B"]]:
    """Draws up to `steps` tokens for every active slot, fewer when all have ended. NOTHING fills the rest."""

    def one(carry: tuple) -> tuple:
        i, slots, drawn = carry
        hidden, cache = network.extend(config, weights, lora, slots.token[:, None], slots.cache)
        cache = dataclasses.replace(cache, length=jnp.where(slots.active, cache.length, slots.cache.length))
        logits = network.next_logits(weights, hidden[:, 0])
        token = sampling.pick(logits, slots.seen, slots.seed, slots.step, slots.rows)
        step = slots.step + 1
        drawn = drawn.at[i].set(jnp.where(slots.active, token, NOTHING))
        goes_on = slots.active & ~jnp.isin(token, stops) & (step < slots.limit)
        seen = slots.seen.at[jnp.arange(token.shape[0]), token].set(True)
        slots = slots.replace(cache=cache, token=token, seen=seen, step=step, active=goes_on)
        return i + 1, slots, drawn

    drawn = jnp.full((CHUNK, slots.token.shape[0]), NOTHING, jnp.int32)
    carry = (jnp.zeros((), jnp.int32), slots, drawn)
    _, slots, drawn = jax.lax.while_loop(lambda c: (c[0] < steps) & jnp.any(c[1].active), one, carry)
    return slots, drawn
