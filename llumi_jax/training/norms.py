"""Norms of gradients, updates and weights, layer by layer: where a run blows up, or where nothing is learned."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from llumi_jax.models.partitioning import path_names


def layer_norms(kind: str, tree: Any) -> dict[str, tuple[jax.Array, jax.Array]]:
    """L2 norms as metrics `<kind>/layer_003` for every layer [L, …] and `<kind>/<name>` for each part beside them."""
    squares: dict[str, jax.Array] = {}
    layers: jax.Array | None = None
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        top, square = path_names(path)[0], jnp.square(leaf.astype(jnp.float32))
        if top == "layers":
            each = square.reshape(leaf.shape[0], -1).sum(axis=1)
            layers = each if layers is None else layers + each
        else:
            squares[top] = squares.get(top, jnp.float32(0)) + square.sum()
    if layers is not None:
        squares |= {f"layer_{i:03}": layers[i] for i in range(layers.shape[0])}
    return {f"{kind}/{name}": (jnp.sqrt(total), jnp.float32(1)) for name, total in squares.items()}


def observed(
    make: Callable[[optax.GradientTransformation], Callable], optimizer: optax.GradientTransformation
) -> Callable:
    """The step that `make` builds around the optimiser, with `layer_norms` among its metrics.

    Gradients are those that the optimiser is given, before it clips them.
    """

    def step(state: Any, frozen: Any, rows: Any) -> tuple[Any, dict]:
        seen: dict[str, tuple[jax.Array, jax.Array]] = {}

        def update(grads, opt_state, params=None, **more):
            updates, new = optax.with_extra_args_support(optimizer).update(grads, opt_state, params, **more)
            seen.update({**layer_norms("grad_norm", grads), **layer_norms("update_norm", updates)})
            return updates, new

        watched = optax.GradientTransformationExtraArgs(optimizer.init, update)
        after, metrics = make(watched)(state, frozen, rows)
        return after, {**metrics, **seen, **layer_norms("weight_norm", after.params)}

    return step
