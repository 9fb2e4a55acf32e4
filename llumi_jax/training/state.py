"""The whole state of a stage: one frozen pytree."""

from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax


@flax.struct.dataclass
class TrainState:
    """What a step reads and writes, and nothing else does.

    step: optimiser steps done (int32). params: what is trained, all weights or the LoRA tree. opt_state: optax's.
    rng: key data (uint32). position: rows consumed (int32), the whole state of the input.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    rng: jax.Array
    position: jax.Array

    @classmethod
    def create(cls, params: Any, optimizer: optax.GradientTransformation, seed: int) -> "TrainState":
        rng = jax.random.key_data(jax.random.key(seed))
        return cls(jnp.int32(0), params, optimizer.init(params), rng, jnp.int32(0))

    def trees(self) -> dict[str, Any]:
        """The state as the trees of a checkpoint."""
        progress = {"step": self.step, "rng": self.rng, "position": self.position}
        return {"params": self.params, "opt_state": self.opt_state, "progress": progress}

    @classmethod
    def from_trees(cls, trees: dict[str, Any]) -> "TrainState":
        return cls(params=trees["params"], opt_state=trees["opt_state"], **trees["progress"])
