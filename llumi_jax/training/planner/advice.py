"""What to change until a step fits a device: the cheapest things first, each tried by reckoning again."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from llumi_jax.models.remat import REMAT_POLICIES
from llumi_jax.training.recipe import Recipe

Needs = Callable[[Recipe, dict[str, int]], int]  # bytes on a device


@dataclasses.dataclass(frozen=True)
class Change:
    """Flags, what they cost, and what a device needs once they and all before them are given."""

    flags: tuple[str, ...]
    cost: str
    bytes: int


@dataclasses.dataclass(frozen=True)
class Advice:
    """The changes that were found to help, in order. `fits`: with all of them, the step fits."""

    changes: tuple[Change, ...]
    fits: bool

    @property
    def flags(self) -> list[str]:
        """All of them; of one key the last."""
        last = {flag.split("=")[0]: flag for change in self.changes for flag in change.flags}
        return list(last.values())


def advise(recipe: Recipe, sizes: dict[str, int], needs: Needs, usable: float) -> Advice:
    """Goes through the changes until `needs` is at most `usable`; one that saves less than 2 % is not proposed."""
    now, changes = needs(recipe, sizes), []
    for changed, mesh, flags, cost in _steps(recipe, sizes):
        if now <= usable:
            break
        recipe_then, sizes_then = changed(recipe), mesh(sizes)
        then = needs(recipe_then, sizes_then)
        if then < 0.98 * now:
            recipe, sizes, now = recipe_then, sizes_then, then
            changes.append(Change(flags, cost, then))
    return Advice(tuple(changes), now <= usable)


def devices_that_fit(
    recipe: Recipe, sizes: dict[str, int], needs: Needs, usable: float, most: int = 4096
) -> int | None:
    """The first doubling of fsdp, batch and micro-batch at which a step fits; None where none up to `most` does."""
    while (devices := _product(sizes)) <= most:
        if needs(recipe, sizes) <= usable:
            return devices
        sizes = {**sizes, "fsdp": 2 * sizes["fsdp"]}
        ways = sizes["data"] * sizes["fsdp"]
        micro = max(ways, recipe.micro_rows)
        rows = max(recipe.batch_rows, micro)
        recipe = dataclasses.replace(recipe, batch_rows=rows, micro_batch_rows=micro)
    return None


def _product(sizes: dict[str, int]) -> int:
    result = 1
    for ways in sizes.values():
        result *= ways
    return result


_Step = tuple[Callable[[Recipe], Recipe], Callable[[dict[str, int]], dict[str, int]], tuple[str, ...], str]


def _steps(recipe: Recipe, sizes: dict[str, int]) -> Iterator[_Step]:
    same: Any = lambda x: x
    if sizes["data"] > 1:
        merged = {**sizes, "fsdp": sizes["data"] * sizes["fsdp"], "data": 1}
        split = ("--config.mesh.data=1", f"--config.mesh.fsdp={merged['fsdp']}")
        yield same, _sizes(merged), split, "weights travel between the devices that split them"
        sizes = merged
    yield from _remat(recipe, ("products",), "a few per cent of a step")
    ways, micro = sizes["data"] * sizes["fsdp"], recipe.micro_rows
    while micro % 2 == 0 and (micro // 2) % ways == 0:
        micro //= 2
        cost = "the same gradients in more passes; weights travel in each"
        yield _with(micro_batch_rows=micro), same, (f"--config.micro_batch_rows={micro}",), cost
    yield from _remat(recipe, ("attention", "full"), "a third of a step's products again")
    for stage in recipe.selected():
        if stage.objective == "dpo" and stage.reference == "frozen":
            flag = f"--config.stage.{stage.name}.reference=cached"
            yield _stage(stage.name, reference="cached"), same, (flag,), "one sweep over the rows before training"
    if recipe.dtype != "bfloat16":
        yield _with(dtype="bfloat16"), same, ("--config.dtype=bfloat16",), "computes in 8 bits of mantissa"
    if recipe.lora is not None and recipe.param_dtype != "bfloat16":
        yield _with(param_dtype="bfloat16"), same, ("--config.param_dtype=bfloat16",), "the frozen base is rounded"
    if recipe.lora is not None and not recipe.base_quantization:
        cost = "the frozen base in 8 bits, unpacked where it is used"
        yield _with(base_quantization="int8"), same, ("--config.base_quantization=int8",), cost
    context = sizes["context"]
    while recipe.row_length % (2 * context * 128) == 0 and sizes["fsdp"] % 2 == 0 and recipe.lora is not None:
        context, sizes = 2 * context, {**sizes, "context": 2 * context, "fsdp": sizes["fsdp"] // 2}
        flags = (f"--config.mesh.fsdp={sizes['fsdp']}", f"--config.mesh.context={context}")
        yield same, _sizes(sizes), flags, "rows split; keys and values travel"


def _remat(recipe: Recipe, policies: tuple[str, ...], cost: str) -> Iterator[_Step]:
    """Those of the policies that keep less than the recipe's own."""
    order = tuple(REMAT_POLICIES)
    for policy in policies:
        if order.index(policy) > order.index(recipe.remat):
            yield _with(remat=policy), lambda sizes: sizes, (f"--config.remat={policy}",), cost


def _sizes(now: dict[str, int]) -> Callable[[dict[str, int]], dict[str, int]]:
    return lambda before: now


def _with(**values: Any) -> Callable[[Recipe], Recipe]:
    return lambda recipe: dataclasses.replace(recipe, **values)


def _stage(name: str, **values: Any) -> Callable[[Recipe], Recipe]:
    def change(recipe: Recipe) -> Recipe:
        changed = dataclasses.replace(recipe.stage[name], **values)
        return dataclasses.replace(recipe, stage={**recipe.stage, name: changed})

    return change
