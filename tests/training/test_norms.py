"""Norms by layer, against numpy; the weights do not notice that they are looked at."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from llumi_jax.training import norms, step
from llumi_jax.training.state import TrainState

L = 3
RNG = np.random.default_rng(0)


def draw(*shape):
    return jnp.asarray(RNG.standard_normal(shape), jnp.float32)


PARAMS = {
    "embed": {"embedding": draw(5, 4)},
    "layers": {"mlp": {"up": {"kernel": draw(L, 4, 2)}}, "norm": {"scale": draw(L, 4)}},
}
GRADIENT = jax.tree.map(lambda x: draw(*x.shape), PARAMS)


def objective(params, frozen, rows):
    """Linear: its gradient is GRADIENT times the rows' factor."""
    total = sum(jnp.vdot(p, g) for p, g in zip(jax.tree.leaves(params), jax.tree.leaves(GRADIENT), strict=True))
    return total * rows["factor"].sum(), {"loss": (total, jnp.float32(1))}


def expected(tree) -> dict[str, float]:
    """By hand: every number of a layer in one vector."""
    up, scale = tree["layers"]["mlp"]["up"]["kernel"], tree["layers"]["norm"]["scale"]
    of = {f"layer_{i:03}": [up[i].ravel(), scale[i].ravel()] for i in range(L)}
    of["embed"] = [tree["embed"]["embedding"].ravel()]
    return {name: float(np.linalg.norm(np.concatenate(parts))) for name, parts in of.items()}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_norms_of_gradients_updates_and_weights(accumulate):
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(0.1))
    make = lambda around: step.make_step(objective, around, optax.constant_schedule(0.1), accumulate)
    rows = {"tokens": jnp.zeros((2, 1)), "factor": jnp.ones(2)}
    state = TrainState.create(PARAMS, optimizer, 0)
    plain, _ = jax.jit(make(optimizer))(state, None, rows)
    seen, metrics = jax.jit(norms.observed(make, optimizer))(state, None, rows)
    jax.tree.map(np.testing.assert_array_equal, seen, plain)
    found = {name: float(total) / float(weight) for name, (total, weight) in metrics.items() if "/" in name}
    moved = jax.tree.map(jnp.subtract, seen.params, PARAMS)
    # The loss is a sum over a weight: two micro-batches weigh twice as much.
    gradient = jax.tree.map(lambda x: x * 2 / accumulate, GRADIENT)
    by_hand = {
        f"{kind}/{name}": value
        for kind, tree in (("grad_norm", gradient), ("update_norm", moved), ("weight_norm", seen.params))
        for name, value in expected(tree).items()
    }
    assert found.keys() == by_hand.keys()
    for name, value in by_hand.items():
        assert found[name] == pytest.approx(value, rel=2e-4), name
    total = np.sqrt(sum(value**2 for name, value in found.items() if name.startswith("grad_norm")))
    assert total == pytest.approx(float(metrics["grad_norm"][0]), rel=1e-5)
