"""Where arrays live on the mesh: each weight names its logical axes once, rules map those to mesh axes."""

import jax
from jax.sharding import PartitionSpec

MESH_AXES = ("data", "fsdp", "tensor", "context")
BATCH_AXES = ("data", "fsdp")  # the rows of a batch are split over both
TOKEN_AXIS = "context"  # the tokens of a row are split over it, inside of the model

# Logical axis -> mesh axis. An axis whose size the mesh axis does not divide stays whole, and so does the second axis
# of an array that asks for the same mesh axis: of LoRA's factors one has `embed`, the other is split by its rank.
RULES: dict[str, str | None] = {
    "layers": None,
    "vocab": "tensor",
    "embed": "fsdp",
    "heads": "tensor",
    "kv_heads": "tensor",
    "head_dim": None,
    "mlp": "tensor",
    "rank": "fsdp",
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
    axes = logical_axes(path)
    split: dict[str, int] = {}  # mesh axis -> axis of the weight; `rank` comes last, it takes what is left
    for at in sorted(range(len(axes)), key=lambda at: axes[at] == "rank"):
        name = RULES[axes[at]]
        if name and name not in split and shape[at] % mesh_shape[name] == 0:
            split[name] = at
    found = {at: name for name, at in split.items()}
    return PartitionSpec(*(found.get(at) for at in range(len(shape))))


def without_axis(spec: PartitionSpec, axis: int) -> PartitionSpec:
    """The places of an array that has lost one axis, such as a sum over it."""
    return PartitionSpec(*(name for at, name in enumerate(spec) if at != axis))


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
