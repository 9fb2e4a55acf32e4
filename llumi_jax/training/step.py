"""The train step: rows in, gradients of a sum over a sum of weights, new state out. Pure functions only."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from llumi_jax.models.decoder import Decoder, output_matrix
from llumi_jax.objectives import logprobs, preference, sft
from llumi_jax.training.optimizer import keep_finite
from llumi_jax.training.recipe import Stage
from llumi_jax.training.state import TrainState

# name -> (sum, weight), so that accumulation stays exact; the value is their ratio, or the sum where the weight is 0
Metrics = dict[str, tuple[jax.Array, jax.Array]]
Rows = Mapping[str, Array]


def forward(model: Decoder, base: Any, lora: Any, rows: Rows) -> Float[Array, "B M"]:
    """Log-probabilities of the rows' predictions under `base`, adapted by `lora` unless it is None."""
    variables = {"params": base} if lora is None else {"params": base, "lora": lora}
    hidden: Any = model.apply(variables, rows["tokens"], rows["positions"], rows["segment"], rows["branch"])
    return logprobs.prediction_logps(hidden, output_matrix(base), rows)


def policy_logps(model: Decoder, params: Any, frozen: Any, rows: Rows) -> Float[Array, "B M"]:
    """`forward` of what is trained: the LoRA tree over a frozen base, or all weights."""
    base = frozen["base"]
    return forward(model, params, None, rows) if base is None else forward(model, base, params, rows)


def reply_logps(model: Decoder, params: Any, frozen: Any, rows: Rows, slots: int) -> Float[Array, "B S"]:
    """Summed log-probability of every reply of the rows."""
    return logprobs.reply_logps(policy_logps(model, params, frozen, rows), rows, slots)


def sft_objective(model: Decoder, params: Any, frozen: Any, rows: Rows) -> tuple[Array, Metrics]:
    """Sum of token losses, and metrics."""
    total, weight = sft.sft_loss(policy_logps(model, params, frozen, rows), rows)
    return total, {"loss": (total, weight), "targets": (weight, jnp.float32(0))}


def dpo_objective(
    stage: Stage, slots: int, model: Decoder, params: Any, frozen: Any, rows: Rows
) -> tuple[Array, Metrics]:
    """Sum of weighted pair losses, and metrics. The reference's log-probs come with the rows or are made here."""
    policy = reply_logps(model, params, frozen, rows, slots)
    reference = rows.get("reference_logps")
    if reference is None:
        reference = _live_reference(model, params, frozen, rows, slots)
    pick = lambda logps, side: jnp.take_along_axis(logps, rows[side], axis=1)
    pairs = preference.PairLogps(*(pick(x, side) for x in (policy, reference) for side in ("chosen", "rejected")))
    weight = rows["pair_weight"]
    label = rows["probability"] if stage.soft_labels else jnp.ones_like(rows["probability"])
    # Padded pairs compare slot 0 with itself and weigh nothing.
    losses = preference.LOSSES[stage.loss](pairs, stage.beta, label)
    total, weights = jnp.sum(weight * losses), jnp.sum(weight)
    counted = (weight > 0).astype(jnp.float32)
    mean = lambda values: (jnp.sum(counted * values), jnp.sum(counted))
    metrics = {name: mean(values) for name, values in preference.rewards(pairs, stage.beta).items()}
    metrics |= {"logp_chosen": mean(pairs.chosen), "logp_rejected": mean(pairs.rejected)}
    return total, {"loss": (total, weights), "pairs": (jnp.sum(counted), jnp.float32(0)), **metrics}


def _live_reference(model: Decoder, params: Any, frozen: Any, rows: Rows, slots: int) -> Float[Array, "B S"]:
    """Of a second tree where there is one, else of the base without its adapter."""
    if frozen["reference"] is not None:
        logps = policy_logps(model, frozen["reference"], frozen, rows)
    else:
        logps = forward(model, frozen["base"], None, rows)
    return jax.lax.stop_gradient(logprobs.reply_logps(logps, rows, slots))


def make_step(
    objective: Callable[..., tuple[Array, Metrics]],
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    accumulate: int,
) -> Callable[[TrainState, Any, Rows], tuple[TrainState, Metrics]]:
    """Returns step(state, frozen, rows) -> (state, metrics), to be jitted.

    Args:
      objective: (params, frozen, rows) -> (loss sum, metrics); metrics["loss"] holds the sum and the weight.
      optimizer: optax transformation.
      schedule: learning rate by step, for the log.
      accumulate: micro-batches that the rows are cut into; gradients are those of the whole batch to the last bits.
    """
    gradient = jax.value_and_grad(objective, has_aux=True)

    def gradients(params, frozen, rows):
        if accumulate == 1:
            (_, metrics), grads = gradient(params, frozen, rows)
            return grads, metrics
        # Micro-batch m takes rows m, m + accumulate, …: a device keeps the rows that it holds.
        split = lambda x: x.reshape(x.shape[0] // accumulate, accumulate, *x.shape[1:]).swapaxes(0, 1)
        micro = jax.tree.map(split, dict(rows))

        def add(total, part):
            (_, metrics), grads = gradient(params, frozen, part)
            return jax.tree.map(jnp.add, total, (grads, metrics)), None

        shapes = jax.eval_shape(lambda: gradient(params, frozen, jax.tree.map(lambda x: x[0], micro)))
        zeros = lambda tree: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), tree)
        return jax.lax.scan(add, zeros((shapes[1], shapes[0][1])), micro)[0]

    def step(state: TrainState, frozen: Any, rows: Rows) -> tuple[TrainState, Metrics]:
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
        batch = rows["tokens"].shape[0]
        return TrainState(state.step + 1, params, opt_state, state.rng, state.position + batch), metrics

    return step


def objective_of(stage: Stage, model: Decoder, slots: int) -> Callable[..., tuple[Array, Metrics]]:
    """The stage's objective as a function of (params, frozen, rows)."""
    if stage.objective == "sft":
        return functools.partial(sft_objective, model)
    return functools.partial(dpo_objective, stage, slots, model)
