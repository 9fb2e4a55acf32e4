"""What one device sends in a step, by what for: rings, each byte counted where it leaves.

A gather of P bytes over w devices sends (w-1)/w P from each; so does a sum that stays split; a sum that all get, twice
that. Small things (norms, counts, the statistics of the softmax over `tensor`) are left out.
"""

import dataclasses
import math
from typing import Any

import jax

from llumi_jax.data.packing import RowShape
from llumi_jax.models.config import DecoderConfig
from llumi_jax.models.partitioning import path_names
from llumi_jax.training import build, sharding
from llumi_jax.training.planner.memory import abstract_mesh
from llumi_jax.training.recipe import Recipe, Stage


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Bytes that one device sends in one optimiser step."""

    weights: int  # gathered over fsdp: a layer's forward and backward, the others once
    gradients: int  # summed over fsdp (and stay split), data and context
    tensor: int  # activations, summed
    context: int  # keys and values gathered, their gradients summed; hidden states before the output matrix

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.tensor + self.context


def reckon(recipe: Recipe, stage: Stage, config: DecoderConfig, sizes: dict[str, int], shape: RowShape) -> Traffic:
    """Reckons a step of `stage` on a mesh of these sizes."""
    micro = recipe.batch_rows // recipe.micro_rows
    live = int(stage.objective == "dpo" and stage.reference != "cached")
    again = int(recipe.remat in ("full", "attention", "offload"))
    rows = max(1, recipe.micro_rows // (sizes["data"] * sizes["fsdp"]))
    trained = build.abstract_trained(recipe, config)
    sums = 4 + again + 2 * live  # of a layer's activations over tensor
    weights = (trained,) if recipe.lora is None else (build.abstract_base(recipe, config), trained)
    return Traffic(
        weights=micro * sum(_gathered(tree, sizes, 2 + live, 1 + live) for tree in weights),
        gradients=micro * _summed(trained, sizes),
        tensor=micro * config.num_layers * _activations(recipe, config, sizes, rows * shape.tokens, sums),
        context=micro * _context(recipe, config, sizes, rows * shape.tokens, again, live),
    )


def _share(ways: int) -> float:
    return (ways - 1) / ways


def _held(tree: Any, sizes: dict[str, int], of_layer: int = 1, of_others: int = 1) -> int:
    """Bytes on a device; the layers' and the others' (embedding, output matrix, last norm) so many times."""
    mesh: Any = abstract_mesh(sizes)
    places = jax.tree.leaves(sharding.tree_shardings(tree, mesh))
    total = 0
    for (path, leaf), place in zip(jax.tree_util.tree_leaves_with_path(tree), places, strict=True):
        times = of_layer if "layers" in path_names(path) else of_others
        total += times * math.prod(place.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    return total


def _gathered(tree: Any, sizes: dict[str, int], *times: int) -> int:
    """Sent where weights are gathered over fsdp: everybody's other parts pass by."""
    if sizes["fsdp"] == 1:
        return 0
    return _held(tree, {**sizes, "fsdp": 1}, *times) - _held(tree, sizes, *times)


def _summed(tree: Any, sizes: dict[str, int]) -> int:
    """A sum over fsdp that stays split, then one over data and context that all get."""
    split = _gathered(tree, sizes)
    others = sizes["data"] * sizes["context"]
    return round(split + 2 * _share(others) * _held(tree, sizes))


def _activations(recipe: Recipe, config: DecoderConfig, sizes: dict[str, int], tokens: int, sums: int) -> int:
    width = jax.numpy.dtype(recipe.dtype).itemsize
    here = tokens // sizes["context"] * config.hidden_size * width
    return round(sums * 2 * _share(sizes["tensor"]) * here)


def _context(recipe: Recipe, config: DecoderConfig, sizes: dict[str, int], tokens: int, again: int, live: int) -> int:
    ways, split = sizes["context"], sizes["tensor"]
    width = jax.numpy.dtype(recipe.dtype).itemsize
    heads = config.num_kv_heads // split if config.num_kv_heads % split == 0 else config.num_kv_heads
    keys = 2 * tokens * heads * config.head_dim * width
    hidden = tokens * config.hidden_size * width
    # Gathered forward, again where the layer is computed again, again backward; then the gradients' sum.
    passes = 3 + again + live
    return round(_share(ways) * (config.num_layers * passes * keys + (2 + live) * hidden))
