"""The mesh, and shardings of weights, optimiser state and batches that follow from the weights' logical axes."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from llumi_jax.cli import UserError
from llumi_jax.models import attention
from llumi_jax.models.partitioning import (
    BATCH_AXES,
    MESH_AXES,
    TOKEN_AXIS,
    partition_spec,
    path_names,
    without_axis,
)


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


def check_rows(mesh: Mesh, row_length: int, attention_backend: str) -> None:
    """Raises UserError unless the tokens of a row split evenly over `context`, in whole query blocks unless "dense"."""
    ways = mesh.shape[TOKEN_AXIS]
    block = attention.QUERY_BLOCK if attention_backend != "dense" and ways > 1 else 1
    if row_length % (ways * block):
        each = f", and attention {attention_backend!r} needs a multiple of {block} tokens on each" if block > 1 else ""
        way_out = " Or set config.attention='dense'." if block > 1 and row_length % ways == 0 else ""
        raise UserError(
            f"config.row_length={row_length} must be a multiple of {ways * block}: config.mesh.context={ways} splits a "
            f"row over {ways} devices{each}.{way_out}"
        )


def tree_shardings(tree: Any, mesh: Mesh) -> Any:
    """NamedShardings for a tree of weights (or of LoRA factors) by their paths."""
    spec = lambda path, leaf: NamedSharding(mesh, partition_spec(path_names(path), leaf.shape, dict(mesh.shape)))
    return jax.tree_util.tree_map_with_path(spec, tree)


def state_shardings(opt_state: Any, params: Any, mesh: Mesh) -> Any:
    """Shardings of optimiser state.

    A leaf that mirrors a parameter is split like it, and so is a sum over one of its axes (Adafactor's factors); the
    rest stands everywhere: `whole_leaves` names it.
    """
    shapes = {path_names(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(params)}

    def sharding(path, leaf):
        names = path_names(path)
        for start in range(len(names)):
            of = names[start:]
            spec = _spec_like(of, shapes[of], leaf.shape, mesh) if of in shapes else None
            if spec is not None:
                return NamedSharding(mesh, spec)
        return NamedSharding(mesh, PartitionSpec())

    return jax.tree_util.tree_map_with_path(sharding, opt_state)


def _spec_like(path: tuple[str, ...], of: tuple[int, ...], shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec | None:
    """Where an array of `shape` lies that belongs to the parameter at `path`; None where its shape tells nothing."""
    spec = partition_spec(path, of, dict(mesh.shape))
    if shape == of:
        return spec
    lost = [axis for axis in range(len(of)) if of[:axis] + of[axis + 1 :] == shape]
    return without_axis(spec, lost[0]) if lost else None


def whole_leaves(tree: Any, places: Any, over: int = 2**20) -> dict[str, int]:
    """{name: bytes} of the arrays of more than `over` bytes that stand whole on each of several devices."""
    found = {}
    for (path, leaf), place in zip(jax.tree_util.tree_leaves_with_path(tree), jax.tree.leaves(places), strict=True):
        size = int(np.prod(leaf.shape)) * leaf.dtype.itemsize
        if size > over and place.num_devices > 1 and place.is_fully_replicated:
            found[jax.tree_util.keystr(path, simple=True, separator=".")] = size
    return found


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def place(tree: Any, mesh: Mesh) -> Any:
    """Puts a tree of weights that every host holds onto the mesh."""

    def put(host: np.ndarray, where: NamedSharding) -> jax.Array:
        return jax.make_array_from_callback(host.shape, where, lambda index: host[index])

    return jax.tree.map(put, tree, tree_shardings(tree, mesh))


def own_rows(mesh: Mesh, batch_rows: int) -> np.ndarray | None:
    """Which rows of a batch live on this process's devices, in order: it loads these and no others. None = all.

    A host of a mesh in which tensor or context span hosts feeds the rows that its neighbour feeds, too.
    """
    if jax.process_count() == 1:
        return None
    places = NamedSharding(mesh, PartitionSpec(BATCH_AXES)).addressable_devices_indices_map((batch_rows,))
    rows = [range(*index[0].indices(batch_rows)) for index in places.values() if index is not None]
    return np.unique(np.concatenate([np.asarray(part) for part in rows]))


def to_device(batch: Mapping[str, np.ndarray], mesh: Mesh, batch_rows: int = 0) -> dict[str, jax.Array]:
    """Makes global arrays from this process's own rows of a batch, of `batch_rows` rows where there are others."""
    sharding, own = NamedSharding(mesh, PartitionSpec(BATCH_AXES)), own_rows(mesh, batch_rows)
    if own is None:
        return {name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()}
    at = {int(row): place for place, row in enumerate(own)}

    def put(array: np.ndarray) -> jax.Array:
        def part(index: Any) -> np.ndarray:
            first, last, _ = index[0].indices(batch_rows)
            return array[at[first] : at[first] + last - first]

        return jax.make_array_from_callback((batch_rows, *array.shape[1:]), sharding, part)

    return {name: put(array) for name, array in batch.items()}
