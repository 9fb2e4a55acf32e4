"""Gradients of an objective over a batch, at once or micro-batch by micro-batch: the same to the last bits."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from llumi_jax.training.pair_objective import Metrics, PairObjective

Objective = Callable[..., tuple[jax.Array, Metrics]]  # (params, frozen, rows) -> (sum of losses, metrics)
Gradients = Callable[[Any, Any, Mapping[str, jax.Array]], tuple[Any, Metrics]]


def make_gradients(objective: Objective, accumulate: int) -> Gradients:
    """Returns gradients(params, frozen, rows) -> (gradients of the sum of losses, metrics).

    Args:
      objective: a sum over rows; a coupled `PairObjective` is one over the whole batch.
      accumulate: micro-batches that the rows are cut into.
    """
    if accumulate == 1:
        return lambda params, frozen, rows: _at_once(objective, params, frozen, rows)
    if isinstance(objective, PairObjective) and objective.coupled:
        return lambda params, frozen, rows: _coupled(objective, params, frozen, split(rows, accumulate))
    return lambda params, frozen, rows: _summed(objective, params, frozen, split(rows, accumulate))


def split(rows: Mapping[str, jax.Array], accumulate: int) -> dict[str, jax.Array]:
    """Rows [B, …] to micro-batches [accumulate, B / accumulate, …].

    Micro-batch m takes rows m, m + accumulate, …: a device keeps the rows that it holds.
    """
    cut = lambda x: x.reshape(x.shape[0] // accumulate, accumulate, *x.shape[1:]).swapaxes(0, 1)
    return jax.tree.map(cut, dict(rows))


def _at_once(objective: Objective, params: Any, frozen: Any, rows: Any) -> tuple[Any, Metrics]:
    if isinstance(objective, PairObjective):
        rows = objective.with_reference(frozen, rows)
    (_, metrics), gradients = jax.value_and_grad(objective, has_aux=True)(params, frozen, rows)
    return gradients, metrics


def _summed(objective: Objective, params: Any, frozen: Any, micro: Any) -> tuple[Any, Metrics]:
    add = lambda total, rows: (_add(total, _at_once(objective, params, frozen, rows)), None)
    shapes = jax.eval_shape(lambda: _at_once(objective, params, frozen, jax.tree.map(lambda x: x[0], micro)))
    return jax.lax.scan(add, _zeros(shapes), micro)[0]


def _coupled(objective: PairObjective, params: Any, frozen: Any, micro: Any) -> tuple[Any, Metrics]:
    """The loss of all pairs together needs all of them measured first: one forward pass more than the plain sum.

    Its gradient by each pair's log-probabilities, some numbers a row, is then pulled back micro-batch by micro-batch.
    """

    def measure(_, rows):
        rows = objective.with_reference(frozen, rows)
        return None, (rows, *objective.measure(params, frozen, rows))

    _, (micro, policy, fixed) = jax.lax.scan(measure, None, micro)
    (_, metrics), slopes = jax.value_and_grad(objective.score, has_aux=True)(policy, fixed)

    def pull(total, part):
        rows, slope = part
        _, back, _ = jax.vjp(lambda p: objective.measure(p, frozen, rows), params, has_aux=True)
        return _add(total, back(slope)[0]), None

    return jax.lax.scan(pull, _zeros(params), (micro, slopes))[0], metrics


def _add(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.add, a, b)


def _zeros(tree: Any) -> Any:
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), tree)
