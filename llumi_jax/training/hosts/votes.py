"""Whether to stop is carried by the steps themselves: each process votes with every step, and all read the same sum.

A signal, a notice or a time limit that reaches one process is known to all when the metrics of a step that it voted
with are read, which all do at the same place of their loops. Nothing waits for it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

STOP = "stop"  # among the rows, and among the metrics


def cast(rows: Mapping[str, jax.Array], stop: bool, mesh: Mesh) -> dict[str, jax.Array]:
    """The rows with this process's vote, one number a device; as they are where a process is alone."""
    if jax.process_count() == 1:
        return dict(rows)
    every = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    own = np.full((1,), stop, np.int32)
    return {**rows, STOP: jax.make_array_from_callback((mesh.size,), every, lambda index: own)}


def counted(step: Callable[..., Any]) -> Callable[..., Any]:
    """A step(state, frozen, rows) -> (state, metrics) that adds the votes up; the same step where there are none."""
    if jax.process_count() == 1:
        return step

    def with_votes(state: Any, frozen: Any, rows: Mapping[str, jax.Array]) -> Any:
        votes = rows[STOP]
        state, metrics = step(state, frozen, {name: array for name, array in rows.items() if name != STOP})
        return state, {**metrics, STOP: (jnp.sum(votes), jnp.int32(0))}

    return with_votes


def scored(function: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """Jits a function(params, base, rows, slots) and returns (its result, the sum of votes), whole in each process."""
    if jax.process_count() == 1:
        alone = jax.jit(function, static_argnames="slots")
        return lambda *arguments, slots: (alone(*arguments, slots=slots), 0)

    def with_votes(params: Any, base: Any, rows: Mapping[str, jax.Array], slots: int) -> Any:
        rest = {name: array for name, array in rows.items() if name != STOP}
        return function(params, base, rest, slots), jnp.sum(rows[STOP])

    return jax.jit(with_votes, static_argnames="slots", out_shardings=NamedSharding(mesh, PartitionSpec()))
