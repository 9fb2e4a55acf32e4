"""Where arrays live on the mesh: each weight names its logical axes once, rules map those to mesh axes."""

import jax
from jax.sharding import PartitionSpec

MESH_AXES = ("data", "fsdp", "tensor", "context")
BATCH_AXES = ("data", "fsdp")  # the rows of a batch are split over both

# Logical axis -> mesh axis. An axis whose size the mesh axis does not divide stays whole.
RULES: dict[str, str | None] = {
    "layers": None,
    "vocab": "tensor",
    "embed": "fsdp",
    "heads": "tensor",
    "kv_heads": "tensor",
    "head_dim": None,
    "mlp": "tensor",
    "rank": None,
}

_PROJECTIONS = {
    "q": (("embed",), ("heads", "head_dim")),
    "k": (("embed",), ("kv_heads", "head_dim")),
    "v": (("embed",), ("kv_heads", "head_dim")),
    "o": (("heads", "head_dim"), ("embed",)),
    "gate": (("embed",), ("mlp",)),
    "up": (("embed",), ("mlp",)),
    "down": (("mlp",), ("embed",)),
}


def logical_axes(path: tuple[str, ...]) -> tuple[str, ...]:
    """Names the axes of the weight at `path` of the decoder's tree or of a LoRA tree, the layer axis included.

    Raises:
      KeyError: the decoder has no such weight.
    """
    leaf, owner = path[-1], path[-2]
    if leaf == "embedding":
        return ("vocab", "embed")
    if owner == "lm_head":
        return ("embed", "vocab")
    layers = ("layers",) if "layers" in path else ()
    if leaf == "scale":
        return (*layers, "embed")
    inputs, outputs = _PROJECTIONS[owner]
    axes = {"kernel": (*inputs, *outputs), "bias": outputs, "lora_a": (*inputs, "rank"), "lora_b": ("rank", *outputs)}
    axes["kernel_scale"] = outputs
    return (*layers, *axes[leaf])


def matrix_axes(path: tuple[str, ...]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Input and output axes of a layer's matrix (a kernel or a LoRA factor); None for vectors, embedding and head."""
    if path[-1] not in ("kernel", "lora_a", "lora_b") or path[-2] not in _PROJECTIONS:
        return None
    inputs, outputs = _PROJECTIONS[path[-2]]
    sizes = {"kernel": (len(inputs), len(outputs)), "lora_a": (len(inputs), 1), "lora_b": (1, len(outputs))}
    before, after = sizes[path[-1]]
    first = len(logical_axes(path)) - before - after  # the layer axis stands in front of a matrix of each layer
    return tuple(range(first, first + before)), tuple(range(first + before, first + before + after))


def partition_spec(path: tuple[str, ...], shape: tuple[int, ...], mesh_shape: dict[str, int]) -> PartitionSpec:
    """Maps the weight's logical axes to mesh axes; what does not divide evenly stays whole."""
    names = (RULES[axis] for axis in logical_axes(path))
    return PartitionSpec(
        *(n if n and size % mesh_shape[n] == 0 else None for n, size in zip(names, shape, strict=True))
    )


def current_mesh() -> jax.sharding.AbstractMesh | None:
    """The mesh set by `jax.set_mesh`, or None outside of one and on a single device."""
    mesh = jax.sharding.get_abstract_mesh()
    return None if mesh.empty or mesh.size == 1 else mesh


def constrain(x: jax.Array, *axes: str | tuple[str, ...] | None) -> jax.Array:
    """Pins an activation to mesh axes; a no-op without a mesh."""
    return x if current_mesh() is None else jax.lax.with_sharding_constraint(x, PartitionSpec(*axes))


def path_names(path: tuple) -> tuple[str, ...]:
    """The dictionary keys along a tree path: ("layers", "attention", "q", "kernel")."""
    return tuple(str(key.key) for key in path if isinstance(key, jax.tree_util.DictKey))
