"""Seconds of a step on a named accelerator: an estimate, from published peaks and assumed shares of them."""

import dataclasses

from llumi_jax.training.planner.accelerators import COMPUTE_SHARE, Accelerator
from llumi_jax.training.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Seconds:
    """Of one optimiser step."""

    compute: float
    traffic: float

    @property
    def best(self) -> float:
        """All traffic hidden behind computation, or the other way round."""
        return max(self.compute, self.traffic)

    @property
    def worst(self) -> float:
        """Nothing hidden."""
        return self.compute + self.traffic


def hardware_flops(recipe: Recipe, forward: int, total: int) -> int:
    """The step's FLOPs with what `remat` computes again."""
    return total + (forward if recipe.remat in ("attention", "full", "offload") else 0)


def seconds(accelerator: Accelerator, devices: int, flops: int, sent: int) -> Seconds:
    """A step of `flops` over all devices, each of which sends `sent` bytes; in bfloat16."""
    compute = flops / devices / (COMPUTE_SHARE * accelerator.flops)
    return Seconds(compute, sent / accelerator.bandwidth(devices))
