"""What the stages of a run share: recipe, folders, base, mesh, and the rows that they read."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from llumi_jax.cli import UserError, suggestion
from llumi_jax.data import dataset, mismatched, mixture, packing, tokenization
from llumi_jax.data.mixture import Mixture
from llumi_jax.data.packing import PackedRows
from llumi_jax.models import lora
from llumi_jax.models.config import DecoderConfig
from llumi_jax.storage import files
from llumi_jax.training import build
from llumi_jax.training.goodput import Goodput
from llumi_jax.training.hosts import agreement
from llumi_jax.training.options import Options
from llumi_jax.training.progress import Progress
from llumi_jax.training.recipe import Recipe, Stage
from llumi_jax.training.signals import StopRequest


@dataclasses.dataclass(frozen=True)
class Base:
    """The model that a run stands on, as the workshop that loads it hands it over."""

    spec: str  # where the weights under what is trained come from, as exports will look for them
    config: DecoderConfig
    tokenizer: Any
    identity: str  # changes with the weights
    params: Callable[[], Any]  # the weights on the mesh; a fresh copy where they are trained
    adapter: tuple[Any, lora.LoraConfig] | None = None  # a LoRA tree that the first stages start from


@dataclasses.dataclass(frozen=True)
class Workshop:
    """What all stages of a run share."""

    recipe: Recipe
    workdir: Path
    data_dir: Path
    base: Base
    mesh: Mesh
    stop: StopRequest
    options: Options = Options()
    goodput: Goodput = dataclasses.field(default_factory=Goodput)

    @property
    def lora_config(self) -> lora.LoraConfig | None:
        return build.lora_config(self.recipe)

    def folder(self, stage: Stage) -> Path:
        return self.workdir / stage.name

    def done(self, stage: Stage) -> dict[str, Any] | None:
        """The stage's own summary once it is finished."""
        path = self.folder(stage) / "done.json"
        return agreement.from_first(lambda: files.read_json(path) if path.exists() else None)


def check_data(shop: Workshop, stage: Stage) -> None:
    """Opens the datasets of a stage, so that a name misspelt is found before hours of training.

    Raises:
      UserError: a dataset is not there or lacks a feature, or there is no such split to evaluate on.
    """
    recipe = shop.recipe
    dataset.check(spec_of(recipe, stage, kind_of(stage)), shop.data_dir, kind_of(stage))
    if not stage.evaluate:
        return
    spec, split = spec_of(recipe, stage, "pairs"), recipe.evaluation_split
    dataset.check(spec, shop.data_dir, "pairs")
    names = dataset.split_names(spec, shop.data_dir)
    if split not in names:
        raise UserError(
            f"config.evaluation_split={split!r} is no split of {dataset.in_words(spec)}; it has {', '.join(names)}."
            f"{suggestion(split, names)} Without held-out pairs: config.stage.{stage.name}.evaluate=False."
        )


def spec_of(recipe: Recipe, stage: Stage, kind: str) -> dataset.Spec:
    """The datasets of one kind that a stage reads."""
    return stage.data if stage.data and kind == kind_of(stage) else getattr(recipe, kind)


def read_rows(shop: Workshop, stage: Stage, split: str, kind: str, most: int = 0) -> PackedRows | None:
    """Packed rows of one split (of its first `most` threads, if given), or None where it has nothing for the role.

    The datasets of a mixture are packed together here, as one.
    """
    return _pack(shop, stage, spec_of(shop.recipe, stage, kind), split, kind, most)


def training_rows(shop: Workshop, stage: Stage) -> Mixture | None:
    """Packed rows to train on and how they are drawn, or None where no dataset has anything for the role."""
    kind = kind_of(stage)
    parts, shares = [], []
    for spec, share in dataset.mixture(spec_of(shop.recipe, stage, kind)):
        rows = _pack(shop, stage, spec, "train", kind)
        if rows is None:
            print(f"{stage.name}: {spec} has no {kind} for role {stage.role!r}", flush=True)
        else:
            parts.append(rows)
            shares.append(share)
    return mixture.of_parts(parts, shares) if parts else None


def _pack(shop: Workshop, stage: Stage, spec: dataset.Spec, split: str, kind: str, most: int = 0) -> PackedRows | None:
    recipe = shop.recipe
    # Threads come in the order of their ids, which are keyed hashes: the first ones are a random part.
    threads = dataset.read_threads(spec, split, stage.role, shop.data_dir, kind)[: most or None]
    if not threads:
        return None
    with Progress(f"{stage.name}: tokens", len(threads), unit="thread") as bar:
        tokens = tokenization.tokenize(
            threads,
            shop.base.tokenizer,
            stage.role,
            recipe.max_prompt_tokens,
            cache=shop.data_dir / "tokens",
            progress=bar.update,
        )
        bar.update(len(threads))
    if split == "train" and "kto" in stage.losses and stage.objective == "dpo":
        tokens = mismatched.with_mismatched(tokens, recipe.row_length)
    return packing.pack(tokens, recipe.row_length, drop_too_long=recipe.drop_too_long)


def kind_of(stage: Stage) -> str:
    return "pairs" if stage.objective == "dpo" else "replies"
