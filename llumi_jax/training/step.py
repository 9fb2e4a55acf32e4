"""The train step: rows in, gradients of a sum over a sum of weights, new state out. Pure functions only."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from llumi_jax.models.decoder import Decoder
from llumi_jax.objectives import sft
from llumi_jax.training import moving
from llumi_jax.training.forward import Rows, forward, policy_logps, reply_logps
from llumi_jax.training.gradients import Objective, make_gradients
from llumi_jax.training.moving import NOTHING, Moving
from llumi_jax.training.optimizer import keep_finite
from llumi_jax.training.pair_objective import Metrics, PairObjective
from llumi_jax.training.recipe import Stage
from llumi_jax.training.state import TrainState

__all__ = ["Metrics", "Rows", "forward", "make_step", "objective_of", "reply_logps", "sft_objective"]


def sft_objective(model: Decoder, params: Any, frozen: Any, rows: Rows) -> tuple[Array, Metrics]:
    """Sum of token losses, and metrics."""
    total, weight = sft.sft_loss(policy_logps(model, params, frozen, rows), rows)
    return total, {"loss": (total, weight), "targets": (weight, jnp.float32(0))}


def make_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    accumulate: int,
    following: Moving = NOTHING,
) -> Callable[[TrainState, Any, Rows], tuple[TrainState, Metrics]]:
    """Returns step(state, frozen, rows) -> (state, metrics), to be jitted.

    Args:
      objective: (params, frozen, rows) -> (loss sum, metrics); metrics["loss"] holds the sum and the weight.
      optimizer: optax transformation.
      schedule: learning rate by step, for the log.
      accumulate: micro-batches that the rows are cut into; gradients are those of the whole batch to the last bits.
      following: what of the state follows the weights.
    """
    gradients = make_gradients(objective, accumulate)

    def step(state: TrainState, frozen: Any, rows: Rows) -> tuple[TrainState, Metrics]:
        if state.reference is not None:
            frozen = {**frozen, "reference": state.reference}
        grads, metrics = gradients(state.params, frozen, rows)
        total, weight = metrics["loss"]
        # A sum over a sum of weights: a batch of padding alone has weight 0 and moves nothing.
        grads = jax.tree.map(lambda g: g / jnp.maximum(weight, 1e-9).astype(g.dtype), grads)
        norm = optax.tree.norm(grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        finite = jnp.isfinite(total) & jnp.isfinite(norm)
        params = keep_finite(finite, optax.apply_updates(state.params, updates), state.params)
        opt_state = keep_finite(finite, opt_state, state.opt_state)
        one = jnp.float32(1)
        metrics |= {"grad_norm": (norm, one), "learning_rate": (jnp.float32(schedule(state.step)), one)}
        position = state.position + rows["tokens"].shape[0]
        new = dataclasses.replace(state, step=state.step + 1, params=params, opt_state=opt_state, position=position)
        return _followed(new, following), metrics

    return step


def _followed(state: TrainState, following: Moving) -> TrainState:
    """The state with its average and its reference moved after the weights, where it has them."""
    average, reference = state.average, state.reference
    if average is not None:
        average = moving.follow_average(average, state.params, following)
    if reference is not None:
        reference = moving.follow_reference(reference, state.params, state.step, following)
    return dataclasses.replace(state, average=average, reference=reference)


def objective_of(stage: Stage, model: Decoder, slots: int) -> Objective:
    """The stage's objective as a function of (params, frozen, rows)."""
    if stage.objective == "sft":
        return functools.partial(sft_objective, model)
    return PairObjective(stage, slots, model)
