"""The replies that `train` shows before and after: the one place where training meets inference."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from llumi_jax import prompts
from llumi_jax.data.dataset import Thread
from llumi_jax.inference.engine import Engine, Request
from llumi_jax.inference.sampling import Sampling
from llumi_jax.models import lora, quantization
from llumi_jax.storage import checkpoints
from llumi_jax.training import build, sharding
from llumi_jax.training.recipe import Recipe
from llumi_jax.training.workshop import Base

# Greedy, so that two runs can be compared; the penalty keeps small models out of loops.
_REPETITION_PENALTY = 1.2


class Answers:
    """Lets the base, or what a stage trained, answer posts. Adapters share one engine and its compiled programs."""

    def __init__(self, recipe: Recipe, base: Base, mesh: jax.sharding.Mesh) -> None:
        self._recipe, self._base, self._mesh = recipe, base, mesh
        self._lora = lora.LoraConfig.from_dict(dict(recipe.lora)) if recipe.lora else None
        self._shared: Engine | None = None

    def __call__(self, role: str, trained: Any, threads: Sequence[Thread]) -> list[str]:
        """Returns a reply to each post.

        Args:
          role: "gm" or "im".
          trained: a stage's folder, or what is trained as it is now, or None for the base as it came.
          threads: the posts.
        """
        engine = self._adapted(trained) if self._lora else self._engine(self._weights(trained))
        sampling = Sampling(
            temperature=0.0, repetition_penalty=_REPETITION_PENALTY, max_tokens=self._recipe.sample_tokens
        )
        requests = [Request(tuple(self._prompt(role, t)), sampling) for t in threads]
        adapter = "shown" if self._lora else None
        replies = [completion.text for completion in engine.generate(requests, adapter, batch_size=len(requests))]
        if not (trained is None or isinstance(trained, Path)):
            self._shared = None  # training goes on, and the engine's own copy of the base would stand in its way
        return replies

    def _prompt(self, role: str, t: Thread) -> list[int]:
        limit = self._recipe.max_prompt_tokens
        return prompts.prompt_ids(self._base.tokenizer, role, t.title, t.body, t.draft, limit)

    def _adapted(self, trained: Any) -> Engine:
        """The engine with the stage's adapter; the base alone is an adapter of zeros, which needs no other program."""
        assert self._lora is not None
        abstract = lora.abstract(self._lora, self._base.config)
        if isinstance(trained, Path):
            placed = build.placed(abstract, sharding.tree_shardings(abstract, self._mesh))
            tree = checkpoints.restore_params(trained / "checkpoints", placed)
        elif trained is not None:
            tree = trained
        else:
            tree = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), abstract)
        self._shared = self._shared or self._engine(self._base.params())
        self._shared.add_adapter("shown", tree, self._lora.scale)
        return self._shared

    def _weights(self, trained: Any) -> Any:
        if isinstance(trained, Path):
            return checkpoints.restore_params(trained / "checkpoints", self._base.params())
        return self._base.params() if trained is None else trained

    def _engine(self, params: Any) -> Engine:
        tokenizer = self._base.tokenizer
        if quantization.is_quantized(params):  # the engine writes with weights in floating point
            params = quantization.dequantize(params, self._recipe.param_dtype)
        return Engine(self._base.config, params, tokenizer, [prompts.end_of_turn_id(tokenizer)])
