"""The mesh, and shardings of weights, optimiser state and batches that follow from the weights' logical axes."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from llumi_jax.cli import UserError
from llumi_jax.models.partitioning import BATCH_AXES, MESH_AXES, partition_spec, path_names


def make_mesh(sizes: Mapping[str, int]) -> Mesh:
    """Lays all devices out over `data, fsdp, tensor, context`; one size may be -1, the rest.

    Raises:
      UserError: the sizes do not multiply to the number of devices.
    """
    devices = jax.device_count()
    shape = [sizes[axis] for axis in MESH_AXES]
    if shape.count(-1) > 1:
        raise UserError(f"config.mesh {dict(sizes)}: only one axis may be -1.")
    if -1 in shape:
        fixed = -int(np.prod(shape))
        shape[shape.index(-1)] = devices // fixed if fixed and devices % fixed == 0 else 0
    if int(np.prod(shape)) != devices or min(shape) < 1:
        raise UserError(
            f"config.mesh {dict(sizes)} does not fit {devices} devices. Make the sizes multiply to it, or use -1 once."
        )
    return jax.make_mesh(tuple(shape), MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def check_batch(mesh: Mesh, batch_rows: int, micro_rows: int) -> None:
    """Raises UserError unless every device gets the same number of rows of each micro-batch."""
    ways = int(np.prod([mesh.shape[axis] for axis in BATCH_AXES]))
    if micro_rows % ways:
        key = "config.micro_batch_rows" if micro_rows != batch_rows else "config.batch_rows"
        raise UserError(f"{key}={micro_rows} must be a multiple of {ways} (mesh data x fsdp).")


def tree_shardings(tree: Any, mesh: Mesh) -> Any:
    """NamedShardings for a tree of weights (or of LoRA factors) by their paths."""
    spec = lambda path, leaf: NamedSharding(mesh, partition_spec(path_names(path), leaf.shape, dict(mesh.shape)))
    return jax.tree_util.tree_map_with_path(spec, tree)


def state_shardings(opt_state: Any, params: Any, mesh: Mesh) -> Any:
    """Shardings of optimiser state: a leaf that mirrors a parameter is split like it, the rest stands everywhere."""
    shapes = {path_names(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(params)}

    def sharding(path, leaf):
        names = path_names(path)
        for start in range(len(names)):
            if shapes.get(names[start:]) == leaf.shape:
                return NamedSharding(mesh, partition_spec(names[start:], leaf.shape, dict(mesh.shape)))
        return NamedSharding(mesh, PartitionSpec())

    return jax.tree_util.tree_map_with_path(sharding, opt_state)


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def place(tree: Any, mesh: Mesh) -> Any:
    """Puts a tree of weights that every host holds onto the mesh."""

    def put(host: np.ndarray, where: NamedSharding) -> jax.Array:
        return jax.make_array_from_callback(host.shape, where, lambda index: host[index])

    return jax.tree.map(put, tree, tree_shardings(tree, mesh))


def to_device(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Makes global arrays from this process's rows of a batch."""
    sharding = NamedSharding(mesh, PartitionSpec(BATCH_AXES))
    return {name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()}
