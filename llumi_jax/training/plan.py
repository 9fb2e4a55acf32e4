"""What a run will need, before any weight or row is read: `--dry_run`.

Nothing here allocates: every step is compiled for shapes and shardings alone, exactly as the run compiles it.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from llumi_jax.cli import UserError
from llumi_jax.data.packing import RowShape, build_row, rounded_predictions
from llumi_jax.models import attention
from llumi_jax.models.config import DecoderConfig
from llumi_jax.models.partitioning import BATCH_AXES, path_names
from llumi_jax.training import build, flops, sharding
from llumi_jax.training.compiled import Memory, memory_of
from llumi_jax.training.planner import advice, estimate, traffic
from llumi_jax.training.planner import memory as reckoning
from llumi_jax.training.planner import show as tables
from llumi_jax.training.planner.accelerators import ACCELERATORS
from llumi_jax.training.planner.memory import Parts
from llumi_jax.training.recipe import Recipe, Stage
from llumi_jax.training.report_text import size

_WIDTH = 80
_STEPS = 1000  # a schedule needs some length; it changes no shape


@dataclasses.dataclass(frozen=True)
class Weight:
    """One array of a tree and what a device holds of it."""

    name: str
    shape: tuple[int, ...]
    spec: PartitionSpec
    bytes_per_device: int
    size: int  # elements of the whole array


def show(
    recipe: Recipe, config: DecoderConfig, mesh: Mesh, console: Console | None = None, accelerator: str = ""
) -> None:
    """Prints the plan: parameters, sharding of every weight, memory, FLOPs and traffic of each kind of step.

    Args:
      accelerator: one of `planner.accelerators.ACCELERATORS`, to be told what to change where a step does not fit it.

    Raises:
      UserError: the batch does not split over the mesh.
    """
    console = console or Console(width=_WIDTH)
    sharding.check_batch(mesh, recipe.batch_rows, recipe.micro_rows)
    sharding.check_rows(mesh, recipe.row_length, attention.resolve_backend(recipe.attention, recipe.row_length))
    weights = {"base": describe(build.abstract_base(recipe, config), mesh)}
    if recipe.lora is not None:
        weights["LoRA"] = describe(build.abstract_trained(recipe, config), mesh)
    _print_parameters(console, recipe, weights, mesh)
    for title, tree in weights.items():
        console.print(_weight_table(title, tree, mesh))
    shape = assumed_shape(recipe.row_length)
    _print_assumption(console, recipe, shape)
    table, compiled = _step_table(), {}
    for names, stage in _kinds_of_step(recipe).items():
        memory = compiled[names] = step_memory(recipe, stage, config, mesh, shape)
        sizes = (size(count) for count in (memory.arguments, memory.temporaries, memory.total))
        table.add_row(", ".join(names), *sizes, *map(_flops, step_flops(recipe, stage, config, shape)))
    console.print(table)
    _print_conventions(console, recipe, mesh)
    console.print()
    _print_reckoning(console, recipe, config, mesh, shape, compiled, accelerator)


def needed(
    recipe: Recipe, config: DecoderConfig, sizes: Mapping[str, int], platform: str | None = None
) -> tuple[tuple[str, ...], Parts]:
    """The stages whose step needs most of a device on a mesh of these sizes, and what; reckoned, not compiled."""
    shape, on = assumed_shape(recipe.row_length), dict(sizes)
    parts = {
        names: reckoning.reckon(recipe, stage, config, on, abstract_rows(recipe, stage, shape), shape, platform)
        for names, stage in _kinds_of_step(recipe).items()
    }
    return max(parts.items(), key=lambda item: item[1].total)


def _print_reckoning(
    console: Console,
    recipe: Recipe,
    config: DecoderConfig,
    mesh: Mesh,
    shape: RowShape,
    compiled: Mapping[tuple[str, ...], Memory],
    accelerator: str,
) -> None:
    sizes = dict(mesh.shape)
    names, parts = needed(recipe, config, sizes)
    tables.memory(console, names, parts, compiled[names])
    kinds = _kinds_of_step(recipe)
    sent = {", ".join(n): traffic.reckon(recipe, stage, config, sizes, shape) for n, stage in kinds.items()}
    tables.traffic(console, sent)
    counted = estimate.hardware_flops(recipe, *step_flops(recipe, kinds[names], config, shape))
    tokens = recipe.batch_rows * shape.tokens
    bfloat16 = recipe.dtype == "bfloat16"
    needs = {name: needed(recipe, config, sizes, kind.platform)[1].total for name, kind in ACCELERATORS.items()}
    tables.accelerators(console, mesh.size, needs, counted, sent[", ".join(names)].total, tokens, bfloat16)
    if accelerator:
        _print_advice(console, recipe, config, sizes, needs[accelerator], accelerator)


def _print_advice(
    console: Console, recipe: Recipe, config: DecoderConfig, sizes: dict[str, int], need: int, accelerator: str
) -> None:
    kind = ACCELERATORS[accelerator]
    needs = lambda recipe, sizes: needed(recipe, config, sizes, kind.platform)[1].total
    found = advice.advise(recipe, sizes, needs, kind.usable)
    enough = None if found.fits else advice.devices_that_fit(recipe, sizes, needs, kind.usable)
    tables.advice(console, accelerator, kind, need, found, enough)


def describe(tree: Any, mesh: Mesh) -> list[Weight]:
    """Every array of a tree of weights (or of LoRA factors) with its sharding."""
    places = jax.tree.leaves(sharding.tree_shardings(tree, mesh))
    rows = []
    for (path, leaf), place in zip(jax.tree_util.tree_leaves_with_path(tree), places, strict=True):
        local = math.prod(place.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        rows.append(Weight(".".join(path_names(path)), leaf.shape, place.spec, local, math.prod(leaf.shape)))
    return rows


def assumed_shape(row_length: int) -> RowShape:
    """Row shapes follow from the data, which a plan does not read: M = T/2, S = P = T/64."""
    some = max(1, row_length // 64)
    return RowShape(row_length, rounded_predictions(row_length // 2), some, some)


def compile_step(recipe: Recipe, stage: Stage, config: DecoderConfig, mesh: Mesh, shape: RowShape) -> Any:
    """Compiles one train step for shapes alone, as a run compiles it; a `jax.stages.Compiled`."""
    with jax.set_mesh(mesh):
        trained = build.abstract_trained(recipe, config)
        made = build.trainer(recipe, stage, trained, mesh, _STEPS, _STEPS)
        put = lambda tree: build.placed(tree, sharding.tree_shardings(tree, mesh))
        frozen = {
            "base": None if recipe.lora is None else put(build.abstract_base(recipe, config)),
            "reference": put(trained) if _second_tree(stage) else None,
        }
        rows = abstract_rows(recipe, stage, shape, mesh)
        step = build.train_step(recipe, stage, build.decoder(recipe, config), shape.slots, made)
        return step.lower(build.placed(made.abstract, made.places), frozen, rows).compile()


def step_memory(recipe: Recipe, stage: Stage, config: DecoderConfig, mesh: Mesh, shape: RowShape) -> Memory:
    """What a device needs for one train step, as the compiler counts it."""
    found = memory_of(compile_step(recipe, stage, config, mesh, shape))
    if found is None:
        raise UserError("this platform's compiler does not tell its memory. Run without --dry_run.")
    return found


def abstract_rows(
    recipe: Recipe, stage: Stage, shape: RowShape, mesh: Mesh | None = None
) -> dict[str, jax.ShapeDtypeStruct]:
    """The batch as the loop puts it on the mesh; without one, its shapes alone."""
    row = build_row([], shape)
    if stage.objective == "dpo" and stage.reference == "cached":
        row["reference_logps"] = np.zeros(shape.slots, np.float32)
    row["row"] = np.zeros((), np.int64)
    place = None if mesh is None else NamedSharding(mesh, PartitionSpec(BATCH_AXES))
    dtype = lambda x: jax.dtypes.canonicalize_dtype(x.dtype)
    of = lambda x: jax.ShapeDtypeStruct((recipe.batch_rows, *x.shape), dtype(x), sharding=place)
    return {name: of(array) for name, array in row.items()}


def step_flops(recipe: Recipe, stage: Stage, config: DecoderConfig, shape: RowShape) -> tuple[int, int]:
    """(forward, whole step) of one optimiser step over all devices; conventions as printed below the table."""
    forward = forward_flops(config, recipe.batch_rows, shape)
    factors = None
    if build.lora_config(recipe) is not None:
        factors = sum(math.prod(x.shape) for x in jax.tree.leaves(build.abstract_trained(recipe, config)))
    total = flops.training(config, _whole_rows(recipe.batch_rows, shape), factors)
    if stage.objective == "dpo" and stage.reference != "cached":
        total += forward
    return forward, total


def forward_flops(config: DecoderConfig, rows: int, shape: RowShape) -> int:
    """2 x matmul weights x tokens, the output matrix on predicted tokens alone."""
    return flops.forward(config, _whole_rows(rows, shape))


def _whole_rows(rows: int, shape: RowShape) -> flops.Work:
    """Full rows; which tokens attend to which follows from the data, so attention is left out."""
    return flops.Work(rows * shape.tokens, rows * shape.predictions)


def _second_tree(stage: Stage) -> bool:
    return stage.objective == "dpo" and stage.reference == "frozen"


def _kinds_of_step(recipe: Recipe) -> Mapping[tuple[str, ...], Stage]:
    """Stages whose steps compile to the same shapes, under the names of all of them."""
    kinds: dict[tuple[str, str], list[Stage]] = {}
    for stage in recipe.selected():
        key = (stage.objective, stage.reference if stage.objective == "dpo" else "")
        kinds.setdefault(key, []).append(stage)
    return {tuple(stage.name for stage in stages): stages[0] for stages in kinds.values()}


def _print_parameters(console: Console, recipe: Recipe, weights: Mapping[str, list[Weight]], mesh: Mesh) -> None:
    count = {title: sum(weight.size for weight in tree) for title, tree in weights.items()}
    base, trained = count["base"], count.get("LoRA", count["base"])
    devices = " x ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    kind = mesh.devices.flat[0].device_kind
    console.print(Text.assemble(("Plan", "bold"), f"  {recipe.init_from or recipe.base}"), soft_wrap=True)
    console.print(f"{mesh.size} {kind} device(s): {devices}")
    console.print(f"parameters {base:,} in {recipe.param_dtype}; trained {trained:,} ({trained / base:.2%})")
    console.print()


def _print_assumption(console: Console, recipe: Recipe, shape: RowShape) -> None:
    micro = recipe.batch_rows // recipe.micro_rows
    parts = f"{micro} micro-batches of {recipe.micro_rows} rows" if micro > 1 else "1 forward pass"
    backend = attention.resolve_backend(recipe.attention, recipe.row_length)
    tokens = recipe.batch_rows * shape.tokens
    console.print(
        f"A step is {recipe.batch_rows} rows of {shape.tokens:,} tokens ({tokens:,} in all), in {parts}; computed in "
        f"{recipe.dtype}, remat {recipe.remat!r}, attention {backend!r}. Rows follow from the data; assumed are "
        f"{shape.predictions:,} predicted tokens (T/2), {shape.slots} replies and {shape.pairs} pairs (T/64) in each.",
        highlight=False,
    )
    console.print()


def _print_conventions(console: Console, recipe: Recipe, mesh: Mesh) -> None:
    backward = "twice the forward"
    if recipe.lora is not None:
        backward = "the forward once more (activations) and 6 x the adapter's weights x tokens"
    platform = mesh.devices.flat[0].platform
    wide = ""
    if platform == "cpu" and recipe.dtype == "bfloat16":
        wide = " (which computes bfloat16 in float32: accelerators need less)"
    console.print(
        f"Memory is the compiler's own count for {platform}{wide}, on one device. FLOPs are over all devices: forward "
        f"= 2 x matmul weights x tokens, the output matrix on predicted tokens alone; backward = {backward}. Attention "
        "scores and recomputation (remat) are left out, padding counts as tokens. A live DPO reference adds one "
        "forward; a cached one is a sweep of one forward over all rows.",
        style="dim",
        highlight=False,
    )


def _weight_table(title: str, tree: list[Weight], mesh: Mesh) -> Table:
    total = sum(weight.bytes_per_device for weight in tree)
    table = Table(
        title=f"Weights: {title}, {size(total)} on each device", title_justify="left", title_style="bold",
        box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    table.add_column("weight", no_wrap=True)
    table.add_column("shape", no_wrap=True)
    table.add_column("split over", no_wrap=True)
    table.add_column("a device", justify="right", no_wrap=True)
    for weight in tree:
        shape = "x".join(map(str, weight.shape))
        table.add_row(weight.name, shape, _axes(weight.spec, mesh), size(weight.bytes_per_device))
    return table


def _step_table() -> Table:
    table = Table(
        title="One optimiser step", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("stages")
    for name in ("state, rows", "temporary", "memory", "forward", "FLOPs"):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _axes(spec: PartitionSpec, mesh: Mesh) -> str:
    """The mesh axis of every axis of the array; mesh axes of size 1 split nothing."""
    names = [axis if axis and mesh.shape[axis] > 1 else "-" for axis in spec]
    return " ".join(names) if any(name != "-" for name in names) else "whole"


def _flops(count: float) -> str:
    for unit in ("", "K", "M", "G", "T"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} P" if count < 1000 else f"{count / 1000:.3g} E"
