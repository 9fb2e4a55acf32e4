"""One stage from its start weights to its evaluation, each part resumable on its own."""

import functools
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from llumi_jax import prompts
from llumi_jax.cli import UserError
from llumi_jax.data import dataset
from llumi_jax.data.mixture import Mixture
from llumi_jax.data.packing import PackedRows
from llumi_jax.evaluation import preference as preference_evaluation
from llumi_jax.interchange import packages
from llumi_jax.models import lora
from llumi_jax.objectives import preference as objectives
from llumi_jax.storage import checkpoints, files
from llumi_jax.training import build, looks, loop, metrics, provenance, reference, sharding, step
from llumi_jax.training.compiled import CompiledStep
from llumi_jax.training.hosts import agreement, votes
from llumi_jax.training.optimizer import check_lengths
from llumi_jax.training.progress import Progress
from llumi_jax.training.recipe import Stage, to_config
from llumi_jax.training.report_text import size
from llumi_jax.training.state import TrainState
from llumi_jax.training.watchdog import Watchdog
from llumi_jax.training.workshop import Workshop, kind_of, read_rows, spec_of, training_rows


class StageRun:
    """One stage being run. `run()` reads top-down; what it needs is made on the way and kept."""

    def __init__(self, shop: Workshop, stage: Stage, answer: looks.Answer | None = None) -> None:
        self.shop, self.stage, self.recipe, self.answer = shop, stage, shop.recipe, answer
        self.folder = shop.folder(stage)
        self.lora_config = shop.lora_config
        self.model = build.decoder(self.recipe, shop.base.config)
        self.reply_logps = votes.scored(functools.partial(step.reply_logps, self.model), shop.mesh)

    def run(self) -> dict[str, Any]:
        """Trains, evaluates and returns the stage's summary. A part that is done already is not done again."""
        began = time.monotonic()
        part = self.shop.goodput.part
        with part("loading"):
            found = self._training_rows()
        if found is None:
            kind = kind_of(self.stage)
            raise UserError(
                f"{self.stage.name}: the dataset has no {kind} for role {self.stage.role!r} to train on. "
                f"Build one with data_pipelines.build, or choose another with --config.{kind}."
            )
        rows, self.draw, self.tokens_per_row = found.rows, found.draw, found.tokens_per_row
        with part("loading"):
            held_out = self._held_out()
            start = self._start_params()
        identity = self._identity(start)
        given = self._given_reference(rows, identity)  # before anything is written: it may be refused
        self._bind(rows)
        self._describe(rows, held_out)
        frozen = {"base": self.shop.base.params() if self.lora_config else None, "reference": None}
        before = self._sweep("before", held_out, start, identity)
        inputs: Any = rows
        if self.stage.objective == "dpo" and objectives.needs_reference(self.stage):
            if self.stage.reference == "cached":
                logps = self._sweep("reference", rows, start, identity) if given is None else given
                inputs = reference.RowsWithReference(rows, logps)
            elif self.stage.reference == "frozen":
                if not self.stage.reference_sync_steps:  # one that moves is part of the state
                    frozen["reference"] = start
            else:
                self._require_plain_start(start)
        state, best = self._train(rows, inputs, start, frozen, held_out, before)
        result = state.result if best is None else self._restored(self.stage, best.step)
        identity |= {"end": checkpoints.tree_sha256(result)}
        after = self._sweep("after", held_out, result, identity)
        return self._finish(state, best, held_out, before, after, time.monotonic() - began)

    # --- parts, in the order of run() ---

    def _training_rows(self) -> Mixture | None:
        with agreement.first_goes_first():  # it prepares the dataset and keeps its tokens
            return training_rows(self.shop, self.stage)

    def _held_out(self) -> PackedRows | None:
        if not self.stage.evaluate:
            return None
        split, most = self.recipe.evaluation_split, self.stage.evaluation_threads
        with agreement.first_goes_first():
            rows = read_rows(self.shop, self.stage, split, "pairs", most)
        if rows is None:
            said = f"{self.stage.name}: no held-out pairs for role {self.stage.role!r} in split {split!r}"
            if self.stage.best_by:
                raise UserError(
                    f"{said}, and best_by={self.stage.best_by!r} needs some. Set best_by='' and patience=0."
                )
            print(said, flush=True)
        return rows

    def _bind(self, rows: PackedRows) -> None:
        """Holds the stage to the rows that it began with: a position in other rows would mean nothing."""
        drawn = {"base": self.shop.base.identity, "mixture": [list(self.draw.sizes), list(self.draw.counts)]}
        path, parts = self.folder / "inputs.json", self._made_from(rows, drawn)
        agreement.same(f"input of {self.stage.name}", parts, provenance.difference)
        if path.exists() and (other := provenance.difference(files.read_json(path), parts)):
            raise UserError(
                f"{self.folder} was begun with another {other}. Bring that back, or choose another --workdir."
            )
        if jax.process_index() == 0:
            files.write_json(path, parts)

    def _made_from(self, rows: PackedRows, weights: Mapping[str, Any]) -> dict[str, Any]:
        """What numbers of these rows depend on, under these weights."""
        tokenizer = provenance.of_tokenizer(self.shop.base.tokenizer)
        return provenance.of_rows(rows, **weights, **tokenizer, max_prompt_tokens=self.recipe.max_prompt_tokens)

    def _identity(self, start: Any) -> dict[str, Any]:
        """The weights that log-probabilities come from. An adapter of A = 0 is the base, whatever its B."""
        recipe, plain = self.recipe, self.lora_config is not None and _is_plain(start)
        found = {"base": self.shop.base.identity, "dtype": recipe.dtype, "param_dtype": recipe.param_dtype}
        if recipe.base_quantization:
            found["base_quantization"] = recipe.base_quantization
        found["start"] = "the base" if plain else checkpoints.tree_sha256(start)
        return found if plain or not self.lora_config else {**found, "lora": self.lora_config.to_dict()}

    def _describe(self, rows: PackedRows, held_out: PackedRows | None) -> None:
        """Writes model.json, so that every checkpoint can be exported, and says what the rows look like."""
        stage = self.stage
        if jax.process_index() == 0:
            files.write_json(self.folder / "model.json", self._manifest(rows, held_out))
        what = f"{rows.num_pairs} pairs" if stage.objective == "dpo" else f"{rows.num_targets} replies"
        left_out = lambda rows: f" ({rows.dropped} left out as too long)" if rows.dropped else ""
        held = f"; {held_out.num_pairs} held-out pairs{left_out(held_out)}" if held_out else ""
        dropped = left_out(rows)
        print(
            f"{stage.name}: {what} in {len(rows)} rows of {rows.shape.tokens} tokens, {rows.fill:.0%} full"
            f"{dropped}{held}; {self.total_steps(rows)} steps; attention {self.model.backend}",
            flush=True,
        )

    def _manifest(self, rows: PackedRows, held_out: PackedRows | None) -> dict[str, Any]:
        """What an export must know of the stage, and what its model card tells."""
        recipe, stage = self.recipe, self.stage
        settings = ("optimizer", "schedule", "seed", "batch_rows", "row_length")
        return {
            "format": 1,
            "kind": "stage",
            "name": stage.name,
            "role": stage.role,
            "objective": stage.objective,
            "base": self.shop.base.spec,
            "decoder": self.shop.base.config.to_dict(),
            "lora": self.lora_config.to_dict() if self.lora_config else None,
            "dtype": recipe.param_dtype,
            "prompt_version": prompts.VERSION,
            "max_prompt_tokens": recipe.max_prompt_tokens,
            "recipe": {
                **{name: getattr(stage, name) for name in ("objective", "loss", "beta", "learning_rate")},
                "steps": self.total_steps(rows),
                **{name: to_config(recipe)[name] for name in settings},
            },
            "data": {
                "dataset": dataset.in_words(spec_of(recipe, stage, kind_of(stage))),
                "pairs": rows.num_pairs,
                "replies": rows.num_targets,
                "held_out_pairs": held_out.num_pairs if held_out else 0,
            },
        }

    def total_steps(self, rows: PackedRows) -> int:
        """The stage's length in optimiser steps, at least one."""
        stage, batch = self.stage, self.recipe.batch_rows
        if stage.steps:
            return stage.steps
        consumed = stage.epochs * len(rows) if stage.epochs else stage.tokens / self.tokens_per_row
        return max(1, math.ceil(consumed / batch))

    def _start_params(self) -> Any:
        """The weights that the stage starts from: its predecessor's, else `init_from`'s adapter or the base's own."""
        previous = self.recipe.predecessor(self.stage)
        if previous is None:
            return self._first_params()
        if self.shop.done(previous) is None:
            raise UserError(
                f"{self.stage.name} starts from {previous.name}, not finished in {self.shop.workdir}. Run it first."
            )
        return self._restored(previous)

    def _restored(self, stage: Stage, at: int | None = None) -> Any:
        """The result of a stage, which it names itself once it is finished; before, it is the step `at`."""
        abstract = self._abstract_params()
        folder = self.shop.folder(stage) / "checkpoints"
        return checkpoints.restore_params(folder, build.placed(abstract, self._shardings(abstract)), at)

    def _first_params(self) -> Any:
        base = self.shop.base
        if self.lora_config is None:
            return base.params()
        if base.adapter is not None:
            tree, config = base.adapter
            if config != self.lora_config:
                raise UserError(f"config.lora differs from the adapter that config.init_from names ({config}).")
            return sharding.place(jax.tree.map(np.asarray, tree), self.shop.mesh)
        seed = jax.random.key(self.recipe.seed)
        make = functools.partial(lora.init, lora=self.lora_config, config=base.config)
        return jax.jit(make, out_shardings=self._shardings(self._abstract_params()))(seed)

    def _abstract_params(self) -> Any:
        return build.abstract_trained(self.recipe, self.shop.base.config)

    def _shardings(self, tree: Any) -> Any:
        return sharding.tree_shardings(tree, self.shop.mesh)

    def _require_plain_start(self, start: Any) -> None:
        if not _is_plain(start):
            raise UserError(
                f"config.stage.{self.stage.name}.reference='adapter_off' needs a stage that starts from the base; "
                "this one starts from an adapter. Use 'cached' or 'frozen'."
            )

    def _given_reference(self, rows: PackedRows, identity: Mapping[str, Any]) -> np.ndarray | None:
        """The log-probabilities of another run that the stage is told to take."""
        if not self.stage.reference_from:
            return None
        parts, shape = self._made_from(rows, identity), (len(rows), rows.shape.slots)
        return reference.numbers_of(Path(self.stage.reference_from), parts, shape)

    def _shared(self, name: str) -> reference.Shared | None:
        """Where runs share what they start with. Several hosts would have to find the same there, or wait for ever."""
        kept = self.recipe.reference_cache
        if name == "after" or kept == "none" or jax.process_count() > 1:
            return None
        folder = Path(kept) if kept else packages.cache_folder() / "references"
        say = lambda path: print(f"{self.stage.name}: {name}: log-probabilities of an earlier run, {path}", flush=True)
        return reference.Shared(folder, jax.default_backend(), say)

    def _sweep(self, name: str, rows: PackedRows | None, params: Any, identity: Mapping[str, Any]) -> Any:
        """Log-probabilities of the rows' replies under `params`, kept below the stage's folder."""
        if rows is None:
            return None
        compute = self._scorer(params, rows.shape.slots)
        title = f"{self.stage.name}: {name}"
        dog = Watchdog(title, self.shop.options.hang_seconds, "row")
        with Progress(title, len(rows), unit="row") as bar, dog, self.shop.goodput.part("evaluation"):

            def after_batch(done: int) -> None:
                dog.beat(done)
                bar.update(done)
                self.shop.stop.check()

            values = reference.sweep(
                self.folder / "reference" / f"{name}.npy",
                self._made_from(rows, identity),
                rows,
                compute,
                self.recipe.micro_rows,
                writer=jax.process_index() == 0,
                mine=sharding.own_rows(self.shop.mesh, self.recipe.micro_rows),
                shared=self._shared(name),
                after_batch=after_batch,
            )
            bar.update(len(rows))
        return values

    def _scorer(self, params: Any, slots: int) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
        """batch -> log-probability of each reply [batch, S] under `params`."""
        names = ("tokens", "positions", "segment", "branch", "source", "target", "slot", "weight")
        base = {"base": self.shop.base.params() if self.lora_config else None}

        shop, B = self.shop, self.recipe.micro_rows

        def compute(batch: Mapping[str, np.ndarray]) -> np.ndarray:
            on_device = sharding.to_device({name: batch[name] for name in names}, shop.mesh, B)
            on_device = votes.cast(on_device, shop.stop.requested, shop.mesh)
            logps, asked = jax.device_get(self.reply_logps(params, base, on_device, slots=slots))
            shop.stop.heard(asked)
            return np.asarray(logps)

        return compute

    def _train(
        self, rows: PackedRows, inputs: Any, start: Any, frozen: Any, held_out: PackedRows | None, before: Any
    ) -> tuple[TrainState, looks.Best | None]:
        """Returns the last state, and the best step where one is asked for."""
        recipe, stage, mesh = self.recipe, self.stage, self.shop.mesh
        total = self.total_steps(rows)
        check_lengths(recipe.schedule, total, len(rows) / recipe.batch_rows)
        made = build.trainer(recipe, stage, start, mesh, total, len(rows) / recipe.batch_rows)
        for name, count in sharding.whole_leaves(made.abstract.opt_state, made.places.opt_state).items():
            print(f"{stage.name}: optimiser state {name} ({size(count)}) stands whole on each device", flush=True)
        saved = checkpoints.Checkpoints(self.folder / "checkpoints", recipe.keep_checkpoints)
        with saved:
            if saved.latest is None:
                # All weights that nothing else needs are handed over; a copy of them could be what does not fit.
                alone = self.lora_config is None and frozen["reference"] is None
                state = jax.jit(made.create, out_shardings=made.places, donate_argnums=0 if alone else ())(start)
            else:
                state = TrainState.from_trees(saved.restore(build.placed(made.abstract, made.places).trees()))
            look = None
            if self.stage.evaluate_every and held_out is not None:
                mine = sharding.own_rows(mesh, recipe.micro_rows)
                score = looks.scorer(held_out, before, stage, recipe.micro_rows, self._scorer, mine)
                score = self.shop.goodput.within("evaluation", score)
                look = looks.held_out_look(self.folder, stage, total, score, int(state.step))
            compiling = functools.partial(self.shop.goodput.part, "compiling")
            norms = self.shop.options.layer_norms
            made_step = build.train_step(recipe, stage, self.model, rows.shape.slots, made, layer_norms=norms)
            first_loss = objectives.first_loss(stage) if stage.objective == "dpo" else None
            job = loop.Job(
                name=stage.name,
                folder=self.folder,
                step=CompiledStep(made_step, stage.name, self.folder, around=compiling),
                frozen=frozen,
                rows=inputs,
                draw=self.draw,
                ids_of=lambda row: [t.thread_id for t in rows.threads_of(row)],
                tokens_per_row=self.tokens_per_row,
                batch_rows=recipe.batch_rows,
                total_steps=total,
                seed=recipe.seed,
                checkpoint_every=recipe.checkpoint_every,
                first_loss=first_loss,
                first_loss_tolerance=(1e-3 if recipe.dtype == "float32" else 5e-2) * max(1.0, first_loss or 0.0),
                options=self.shop.options,
                held_out=look,
                replies=looks.reply_look(self.folder, recipe, stage, self.shop.data_dir, self._answer()),
                goodput=self.shop.goodput,
            )
            return loop.train(job, state, mesh, saved, self.shop.stop), look.best if look else None

    def _answer(self) -> looks.Answer | None:
        return self.answer and self.shop.goodput.within("evaluation", self.answer)

    def _finish(
        self, state: TrainState, best: looks.Best | None, held_out: PackedRows | None, before, after, seconds: float
    ) -> dict[str, Any]:
        evaluation = None
        if held_out is not None:
            pairs = looks.held_out_pairs(held_out, before, after)
            evaluation = preference_evaluation.summarize(pairs, self.stage.beta)
        losses = [line["loss"] for line in metrics.read(self.folder) if line["loss"] is not None]
        loss_first, loss_last = metrics.first_and_last(losses) or (None, None)
        summary = {
            "name": self.stage.name,
            "role": self.stage.role,
            "objective": self.stage.objective,
            "steps": int(state.step),
            "best": None if best is None else {"step": best.step, "by": self.stage.best_by, "value": best.value},
            "seconds": round(seconds, 1),
            "loss_first": loss_first,
            "loss_last": loss_last,
            "sha256": {
                "params": checkpoints.tree_sha256(state.result),
                "opt_state": checkpoints.tree_sha256(state.opt_state),
                "position": int(state.position),
            },
        }
        if jax.process_index() == 0:
            if evaluation:
                files.write_json(self.folder / "evaluation.json", evaluation)
            files.write_json(self.folder / "done.json", summary)
        return summary


def _is_plain(adapter: Any) -> bool:
    """Whether A = 0 everywhere: the base without the adapter."""
    factors = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(adapter) if "lora_a" in str(path[-1])]
    return not any(bool(jnp.any(leaf)) for leaf in factors)
