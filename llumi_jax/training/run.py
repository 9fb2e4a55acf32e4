"""A whole recipe in a work directory: its lock, its config, its stages in order, its report."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax
import jax

import llumi_jax
from llumi_jax.cli import UserError
from llumi_jax.storage import files
from llumi_jax.training import looks, metrics, provenance
from llumi_jax.training import recipe as recipes
from llumi_jax.training.goodput import Goodput
from llumi_jax.training.hosts import agreement
from llumi_jax.training.looks import Answer
from llumi_jax.training.recipe import Recipe, Stage
from llumi_jax.training.stage import StageRun
from llumi_jax.training.workshop import Workshop, check_data


def claim(workdir: Path, recipe: Recipe) -> None:
    """Writes the resolved config into the work directory, or checks that the one there is the same.

    Raises:
      UserError: the directory belongs to another config; it names the first key that differs.
    """
    versions = {"llumi_jax": llumi_jax.__version__, "jax": jax.__version__, "flax": flax.__version__}
    agreement.same("installation", versions, provenance.difference)
    agreement.same("config", recipes.to_config(recipe), recipes.first_difference)
    if jax.process_index() > 0:
        return
    path, new = workdir / "config.json", recipes.to_config(recipe)
    if any(workdir.glob("*/model.json")):  # before its first stage has begun, a config may still be mended
        old = {key: value for key, value in files.read_json(path).items() if key in new}
        if difference := recipes.first_difference(old, json.loads(json.dumps(new))):
            raise UserError(
                f"{workdir} holds a run of another config: {difference}. Choose another --workdir, or the same config."
            )
    else:
        files.write_json(path, new)


def close(goodput: Goodput) -> None:
    """Says, and keeps, where the time of this start went."""
    if jax.process_index() == 0:
        goodput.write(ended=True)
        print(goodput.line(), flush=True)


def add_parameters(workdir: Path, parameters: int) -> None:
    """Notes the base's size in config.json, by which the report knows its banner."""
    if jax.process_index() > 0:
        return
    path = workdir / "config.json"
    config = files.read_json(path)
    if config.get("parameters") != parameters:
        files.write_json(path, {**config, "parameters": parameters})


def run(shop: Workshop, answer: Answer) -> dict[str, Any]:
    """Runs the selected stages and returns the summary that is printed at the end.

    Args:
      shop: recipe, work directory, base, mesh.
      answer: writes the replies that are shown before and after.
    """
    recipe = shop.recipe
    for stage in recipe.selected():
        if shop.done(stage) is None:
            with agreement.first_goes_first():
                check_data(shop, stage)
    stages = []
    for stage in recipe.selected():
        summary = shop.done(stage)
        if summary is None:
            summary = StageRun(shop, stage, answer).run()
        else:
            print(f"{stage.name}: finished before, {summary['steps']} steps", flush=True)
        if _is_last_of_role(recipe, stage):
            _write_samples(shop, stage, answer)
        stages.append({**summary, "evaluation": _evaluation(shop.folder(stage))})
        if jax.process_index() == 0:
            from llumi_jax.training import report

            report.write_report(shop.workdir)
        shop.stop.check()
    samples = [
        {"role": stage.role, **row}
        for stage in recipe.selected()
        for row in metrics.read_samples(shop.folder(stage))[:1]
    ]
    return {"stages": stages, "samples": samples, "report": str(shop.workdir / "report.html")}


def _is_last_of_role(recipe: Recipe, stage: Stage) -> bool:
    return [name for name in recipe.stages if recipe.stage[name].role == stage.role][-1] == stage.name


def _evaluation(folder: Path) -> Mapping[str, Any] | None:
    path = folder / "evaluation.json"
    return files.read_json(path) if path.exists() else None


def _write_samples(shop: Workshop, stage: Stage, answer: Answer) -> None:
    """Lets the base and the trained model answer a few held-out posts, once."""
    folder, recipe = shop.folder(stage), shop.recipe
    if (folder / "samples.jsonl").exists() or not recipe.samples:
        return
    if jax.process_count() > 1:  # the weights lie on all hosts, and the engine writes on one
        print(f"{stage.name}: replies before and after are left to llumi_jax.generate, or to this command on one host")
        return
    threads = looks.shown_threads(recipe, stage, shop.data_dir)
    if not threads:
        return
    before, after = answer(stage.role, None, threads), answer(stage.role, folder, threads)
    metrics.write_samples(
        folder,
        [
            {"id": t.thread_id, "title": t.title, "body": t.body, "draft": t.draft, "before": b, "after": a}
            for t, b, a in zip(threads, before, after, strict=True)
        ],
    )
