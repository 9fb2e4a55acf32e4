"""The whole state of a stage: one frozen pytree."""

from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

from llumi_jax.training.moving import NOTHING, Moving, copies


@flax.struct.dataclass
class TrainState:
    """What a step reads and writes, and nothing else does.

    step: optimiser steps done (int32). params: what is trained, all weights or the LoRA tree. opt_state: optax's.
    rng: key data (uint32). position: rows consumed (int32), the whole state of the input.
    average: exponential moving average of params, or None. reference: the reference of TR-DPO, or None.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    rng: jax.Array
    position: jax.Array
    average: Any = None
    reference: Any = None

    @classmethod
    def create(
        cls, params: Any, optimizer: optax.GradientTransformation, seed: int, moving: Moving = NOTHING
    ) -> "TrainState":
        return cls(
            step=jnp.int32(0),
            params=params,
            opt_state=optimizer.init(params),
            rng=jax.random.key_data(jax.random.key(seed)),
            position=jnp.int32(0),
            average=copies(params) if moving.ema_decay else None,
            reference=copies(params) if moving.reference_sync_steps else None,
        )

    @property
    def result(self) -> Any:
        """What the stage hands on: the average where there is one, else the weights."""
        return self.params if self.average is None else self.average

    def trees(self) -> dict[str, Any]:
        """The state as the trees of a checkpoint; `params` is what others read: the result.

        With an average the weights that are trained stand beside it as `trained`.
        """
        progress = {"step": self.step, "rng": self.rng, "position": self.position}
        trees = {"params": self.result, "opt_state": self.opt_state, "progress": progress}
        if self.average is not None:
            trees["trained"] = self.params
        if self.reference is not None:
            trees["reference"] = self.reference
        return trees

    @classmethod
    def from_trees(cls, trees: dict[str, Any]) -> "TrainState":
        averaged = "trained" in trees
        return cls(
            params=trees["trained" if averaged else "params"],
            opt_state=trees["opt_state"],
            average=trees["params"] if averaged else None,
            reference=trees.get("reference"),
            **trees["progress"],
        )
