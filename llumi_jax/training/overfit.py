"""Can a stage learn one batch by heart? If not, something is wrong that no longer run will mend.

The check is the stage itself, on other rows: its first batch, over and over. Nothing of it stays.
"""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from llumi_jax.cli import RunFailure, UserError
from llumi_jax.data import loader, mixture, subset
from llumi_jax.data.mixture import Mixture
from llumi_jax.training import metrics
from llumi_jax.training.recipe import Stage
from llumi_jax.training.stage import StageRun
from llumi_jax.training.workshop import Workshop

# Part of the first loss that must go. Learning by heart takes nearly all of it; a wrong mask or sign takes none.
_MUST_FALL = 0.3


class _OneBatch(StageRun):
    """The stage on the rows of its first batch."""

    def _training_rows(self) -> Mixture | None:
        found = super()._training_rows()
        if found is None:
            return None
        order = loader.row_order(found.draw, self.recipe.seed, np.arange(self.recipe.batch_rows))
        return mixture.of_parts([subset.take(found.rows, sorted(set(order.tolist())))], [1.0])


def check(shop: Workshop, stage: Stage, steps: int, say: Callable[[str], None] = print) -> None:
    """Trains a stage from its base (or `init_from`) on its first batch for `steps` steps, in a folder that is removed.

    Labels are taken for certain, since a soft label keeps the loss above its entropy.

    Raises:
      RunFailure: the loss fell by less than 30 %.
      UserError: there are several processes.
    """
    if jax.process_count() > 1:
        raise UserError("--overfit_one_batch runs in one process. Try it on one host.")
    alone = dataclasses.replace(
        stage, steps=steps, epochs=0.0, tokens=0, soft_labels=False,
        evaluate=False, evaluate_every=0, best_by="", patience=0, sample_every=0,
    )  # fmt: skip
    recipe = dataclasses.replace(
        shop.recipe, stages=(stage.name,), stage={stage.name: alone}, checkpoint_every=steps, roles="", only=""
    )
    with tempfile.TemporaryDirectory(prefix="overfit-") as folder:
        there = dataclasses.replace(shop, recipe=recipe, workdir=Path(folder))
        _OneBatch(there, alone).run()
        lines = metrics.read(there.folder(alone))
    first, last = lines[0]["loss"], lines[-1]["loss"]
    accuracy = lines[-1].get("reward_accuracy")
    more = "" if accuracy is None else f", reward accuracy {accuracy:.0%}"
    found = f"{stage.name}: loss of one batch {first:.4f} -> {last:.4f} in {len(lines)} steps{more}"
    if first - last < _MUST_FALL * abs(first):
        raise RunFailure(
            f"{found}: that is not learning it by heart. Look at the learning rate, at what per_pattern freezes, at "
            "the data's labels; or give it more steps: --overfit_one_batch N."
        )
    say(found)
