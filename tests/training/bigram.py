"""A model of one table in place of a decoder, and packed rows for it: steps that compile in a moment."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from llumi_jax.data import packing
from llumi_jax.data.dataset import Pair
from llumi_jax.data.tokenization import TokenThread
from llumi_jax.training import step
from llumi_jax.training.recipe import Stage
from llumi_jax.training.state import TrainState

D, V, RATE = 16, 64, 0.5
DPO = Stage("s", "gm", "dpo", steps=1, beta=0.2)
SFT = Stage("s", "gm", "sft", steps=1)
OPTIMIZER = optax.sgd(RATE, momentum=0.0)  # whose trace is the gradient, to the last bit


class Bigram:
    """Stands in for the decoder where attention does not matter: a token's hidden state is its row of a table."""

    def apply(self, variables, tokens, positions, segment, branch):
        hidden = variables["params"]["embed"]["embedding"][tokens]
        if "lora" in variables:
            hidden += (variables["lora"]["lora_a"] @ variables["lora"]["lora_b"])[tokens]
        return hidden * (1 + 0.1 * (positions % 7)[..., None])


def filled(shapes, seed: int = 0, size: float = 0.5):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(size * rng.standard_normal(x.shape), jnp.float32), shapes)


def at_zero(adapter):
    """The adapter with A = 0: the base itself."""
    return jax.tree_util.tree_map_with_path(lambda path, x: x * (path[-1].key != "lora_a"), adapter)


MODEL = Bigram()
SHAPES = {"embed": {"embedding": np.empty((V, D))}, "lm_head": {"kernel": np.empty((D, V))}}
BASE = filled(SHAPES)
ADAPTER_SHAPES = {"lora_a": np.empty((V, 3)), "lora_b": np.empty((3, D))}
ADAPTER = filled(ADAPTER_SHAPES, 1)
START = at_zero(ADAPTER)
WITH_ADAPTER = {"base": BASE, "reference": None}


def some_rows() -> packing.PackedRows:
    """Four rows or more, with different numbers of pairs, weights and labels."""
    rng = np.random.default_rng(3)
    threads = []
    for i in range(14):

        def ids(most):
            return rng.integers(0, V, rng.integers(1, most)).astype(np.int32)

        replies = tuple(ids(20) for _ in range(3))
        which = [(0, 1), (2, 1)][: 1 + i % 2]
        pairs = tuple(Pair(f"{i}/{c}", c, r, float(rng.uniform(0.5, 1)), float(rng.uniform(0.2, 2))) for c, r in which)
        threads.append(TokenThread(f"t{i}", "", ids(30), replies, (0.0,) * 3, pairs))
    return packing.pack(threads, 128)


ROWS = some_rows()


def batch(rows: int = 4, **changes) -> dict:
    items = [ROWS[i] for i in range(rows)]
    return {name: np.stack([item[name] for item in items]) for name in items[0]} | changes


@functools.cache
def jitted(stage: Stage, accumulate: int = 1, model=MODEL):
    objective = step.objective_of(stage, model, ROWS.shape.slots)
    return jax.jit(step.make_step(objective, OPTIMIZER, optax.linear_schedule(RATE, 0, 10), accumulate))


@functools.cache
def reply_logps(model=MODEL):
    return jax.jit(functools.partial(step.reply_logps, model, slots=ROWS.shape.slots))


def cached(rows: dict, reference=START, frozen=WITH_ADAPTER, model=MODEL) -> dict:
    return {**rows, "reference_logps": np.asarray(reply_logps(model)(reference, frozen, rows))}


def begin(params=ADAPTER) -> TrainState:
    return TrainState.create(params, OPTIMIZER, 0)


def gradients(state: TrainState):
    return state.opt_state[0].trace


def value(metrics, name: str) -> float:
    total, weight = map(float, metrics[name])
    return total / weight if weight else total


def close(a, b, tolerance: float) -> None:
    """Every leaf within the tolerance, relative to the largest entry of that leaf."""
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=tolerance * np.abs(y).max(), rtol=0), a, b)
