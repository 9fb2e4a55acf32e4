"""What a recipe, a decoder's sizes and a mesh determine before there are weights or data: shared by run and plan."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from llumi_jax.models import attention, lora, quantization
from llumi_jax.models.config import DecoderConfig
from llumi_jax.models.decoder import Decoder, abstract_params
from llumi_jax.training import moving, norms, sharding, step
from llumi_jax.training.hosts import votes
from llumi_jax.training.optimizer import frozen_leaves, keep_frozen, make_optimizer, make_schedule
from llumi_jax.training.recipe import Recipe, Stage
from llumi_jax.training.state import TrainState


def lora_config(recipe: Recipe) -> lora.LoraConfig | None:
    """The adapter that is trained, or None where all weights are."""
    return None if recipe.lora is None else lora.LoraConfig.from_dict(dict(recipe.lora))


def decoder(recipe: Recipe, config: DecoderConfig) -> Decoder:
    """The decoder as the recipe computes it."""
    adapter = lora_config(recipe)
    return Decoder(
        config,
        dtype=jnp.dtype(recipe.dtype),
        remat=recipe.remat,
        backend=attention.resolve_backend(recipe.attention, recipe.row_length),
        lora_scale=adapter.scale if adapter else 1.0,
        scan_layers=recipe.scan_layers,
    )


def abstract_base(recipe: Recipe, config: DecoderConfig) -> Any:
    """Shapes and dtypes of the base's weights."""
    whole = abstract_params(config, jnp.dtype(recipe.param_dtype))
    return jax.eval_shape(quantization.quantize, whole) if recipe.base_quantization else whole


def abstract_trained(recipe: Recipe, config: DecoderConfig) -> Any:
    """Shapes and dtypes of what is trained: the LoRA tree, or all weights."""
    adapter = lora_config(recipe)
    return lora.abstract(adapter, config) if adapter else abstract_base(recipe, config)


def placed(abstract: Any, places: Any) -> Any:
    """An abstract tree with its shardings, to restore onto or to compile for."""
    return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract, places)


class Trainer(NamedTuple):
    """How a stage's state is made, where it lives, and what moves it."""

    create: Callable[[Any], TrainState]  # params -> state, to be jitted onto `places`
    abstract: TrainState
    places: TrainState  # shardings
    optimizer: optax.GradientTransformation
    schedule: optax.Schedule
    frozen: Any  # tree of bools: which parameters are never moved


def trainer(recipe: Recipe, stage: Stage, params: Any, mesh: Mesh, total_steps: int, steps_per_epoch: float) -> Trainer:
    """Optimiser, schedule and state of a stage.

    Args:
      params: what is trained, arrays or their shapes.
      total_steps: length of the stage in optimiser steps.
      steps_per_epoch: for schedules that give lengths in epochs.
    """
    schedule = make_schedule(recipe.schedule, total_steps, steps_per_epoch, stage.learning_rate)
    optimizer = make_optimizer(recipe.optimizer, schedule, recipe.per_pattern, params)
    create = functools.partial(TrainState.create, optimizer=optimizer, seed=recipe.seed, moving=moving.of(stage))
    abstract = jax.eval_shape(create, params)
    whole: Any = sharding.replicated(mesh)
    places = TrainState(
        step=whole,
        params=sharding.tree_shardings(abstract.params, mesh),
        opt_state=sharding.state_shardings(abstract.opt_state, abstract.params, mesh),
        rng=whole,
        position=whole,
        average=sharding.tree_shardings(abstract.average, mesh),
        reference=sharding.tree_shardings(abstract.reference, mesh),
    )
    frozen = frozen_leaves(recipe.per_pattern, abstract.params)
    return Trainer(create, abstract, places, optimizer, schedule, frozen)


def train_step(
    recipe: Recipe, stage: Stage, model: Decoder, slots: int, made: Trainer, *, layer_norms: bool = False
) -> Any:
    """The jitted step(state, frozen, rows) -> (state, metrics); the state is donated."""
    objective = step.objective_of(stage, model, slots)
    accumulate = recipe.batch_rows // recipe.micro_rows
    around = lambda optimizer: step.make_step(objective, optimizer, made.schedule, accumulate, moving.of(stage))
    function = norms.observed(around, made.optimizer) if layer_norms else around(made.optimizer)
    if any(jax.tree.leaves(made.frozen)):
        function = keep_frozen(function, made.frozen)
    return jax.jit(votes.counted(function), donate_argnums=0, out_shardings=(made.places, None))
