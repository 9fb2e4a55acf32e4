"""What is looked at every so many steps while a stage trains: held-out pairs, and replies to held-out posts.

Whatever is decided by a look (which step is the best, whether the stage ends early) follows from the lines of
metrics.jsonl alone. A run that goes on from a checkpoint drops the lines past it, and comes to the same decisions.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from llumi_jax.data import dataset, loader, subset
from llumi_jax.data.packing import PackedRows
from llumi_jax.evaluation import preference
from llumi_jax.storage import files
from llumi_jax.storage.checkpoints import BEST_FILE
from llumi_jax.training import metrics
from llumi_jax.training.recipe import Recipe, Stage

# (role, weights: a stage's folder, or what is trained as it is now, or None = the base, posts) -> a reply to each post
Answer = Callable[[str, Any, Sequence[dataset.Thread]], list[str]]
# (weights, slots) -> (batch -> log-probability of each reply [batch, S])
Scorer = Callable[[Any, int], Callable[[Mapping[str, np.ndarray]], np.ndarray]]


class Best(NamedTuple):
    """The step with the best held-out number so far."""

    step: int
    value: float


class Look(Protocol):
    """Something that is due at some steps and reads the weights. Its numbers stand on the step's line of the log, its
    texts in TensorBoard."""

    def due(self, step: int) -> bool: ...

    def __call__(self, step: int, weights: Any) -> Mapping[str, float | str]: ...


class HeldOutLook:
    """Scores held-out pairs every so many steps and at the last one; remembers the best step, and when to give up.

    Args:
      folder: of the stage.
      every: steps between two looks.
      total: steps of the stage.
      score: weights -> numbers by name.
      best_by: a name of `preference.BRIEF` by which steps are compared; "" = they are not.
      patience: looks without a better one before the stage ends; 0 = never.
      start: step that the run goes on from; older looks stand in metrics.jsonl.
    """

    def __init__(
        self,
        folder: Path,
        every: int,
        total: int,
        score: Callable[[Any], Mapping[str, float]],
        best_by: str = "",
        patience: int = 0,
        start: int = 0,
    ) -> None:
        self._folder, self._every, self._total, self._score = folder, every, total, score
        self.best_by, self._patience = best_by, patience
        self.best: Best | None = None
        self._since = 0  # looks since the best
        for line in metrics.read(folder):
            if best_by and line["step"] <= start and best_by in line:
                self._compare(line["step"], line[best_by])

    @property
    def exhausted(self) -> bool:
        """Whether the stage should end here."""
        return bool(self._patience) and self._since >= self._patience

    def is_best(self, step: int) -> bool:
        return self.best is not None and self.best.step == step

    def due(self, step: int) -> bool:
        return step % self._every == 0 or step == self._total

    def __call__(self, step: int, weights: Any) -> Mapping[str, float]:
        found = self._score(weights)
        if self.best_by:
            self._compare(step, found[self.best_by])
        return found

    def write_best(self) -> None:
        """Says which checkpoint is the best, to be called when it is whole."""
        if self.best:
            files.write_json(
                self._folder / BEST_FILE, {"step": self.best.step, "by": self.best_by, "value": self.best.value}
            )

    def _compare(self, step: int, value: float | None) -> None:
        sign = 1 if preference.BRIEF[self.best_by] else -1
        if value is None or not math.isfinite(value) or (self.best and sign * value <= sign * self.best.value):
            self._since += 1  # of equals the first stays
        else:
            self.best, self._since = Best(step, value), 0


class ReplyLook:
    """Lets the weights answer a few posts every so many steps, and keeps the replies.

    Args:
      folder: of the stage.
      every: steps between two looks.
      answer: weights -> a reply to each post.
      posts: rows of {"id", "title", "body", "draft"}.
    """

    def __init__(
        self, folder: Path, every: int, answer: Callable[[Any], Sequence[str]], posts: Sequence[Mapping[str, str]]
    ) -> None:
        self._folder, self._every, self._answer, self._posts = folder, every, answer, posts

    def due(self, step: int) -> bool:
        return step % self._every == 0

    def __call__(self, step: int, weights: Any) -> Mapping[str, str]:
        replies = self._answer(weights)
        rows = [{**post, "reply": reply} for post, reply in zip(self._posts, replies, strict=True)]
        metrics.write_replies(self._folder, step, rows)
        return {f"reply/{row['id']}": row["reply"] for row in rows}


def held_out_look(
    folder: Path, stage: Stage, total: int, score: Callable[[Any], Mapping[str, float]], start: int
) -> HeldOutLook:
    """As the stage's settings ask."""
    return HeldOutLook(folder, stage.evaluate_every, total, score, stage.best_by, stage.patience, start)


def scorer(
    rows: PackedRows, before: np.ndarray, stage: Stage, batch_rows: int, of: Scorer, mine: np.ndarray | None = None
) -> Callable[[Any], Mapping[str, float]]:
    """weights -> numbers of `preference.brief` over at most `stage.evaluate_on` held-out posts.

    Args:
      rows: all held-out rows.
      before: log-probabilities [rows, S] under the stage's first weights.
      batch_rows: rows of a batch.
      of: makes the function that scores a batch.
      mine: which rows of a batch this process loads; None = all.
    """
    indices = spread(rows, stage.evaluate_on)
    part, start = subset.take(rows, indices), before[indices]

    def score(weights: Any) -> Mapping[str, float]:
        compute = of(weights, rows.shape.slots)
        logps = [compute(batch)[: len(found)] for found, batch in loader.sweep(part, batch_rows, mine=mine)]
        return preference.brief(held_out_pairs(part, start, np.concatenate(logps)), stage.beta)

    return score


def reply_look(folder: Path, recipe: Recipe, stage: Stage, data_dir: Path, answer: Answer | None) -> ReplyLook | None:
    """As the stage's settings ask; None where nobody writes replies, and on several hosts."""
    if not stage.sample_every or answer is None or jax.process_count() > 1:
        return None
    threads = shown_threads(recipe, stage, data_dir)
    posts = [{"id": t.thread_id, "title": t.title, "body": t.body, "draft": t.draft} for t in threads]
    return ReplyLook(folder, stage.sample_every, lambda weights: answer(stage.role, weights, threads), posts)


def shown_threads(recipe: Recipe, stage: Stage, data_dir: Path) -> list[dataset.Thread]:
    """The held-out posts that replies are shown to."""
    threads = dataset.read_threads(recipe.pairs, recipe.evaluation_split, stage.role, data_dir, "pairs")
    return threads[: recipe.samples]


def spread(rows: PackedRows, most: int) -> list[int]:
    """Rows with at most `most` threads in all, but one row at least; a drawn part, for the first rows hold the longest.

    The same rows always give the same part.
    """
    chosen: list[int] = []
    threads = 0
    for index in np.random.default_rng(0).permutation(len(rows)).tolist():
        count = len(rows.threads_of(index))
        if not chosen or threads + count <= most:
            chosen.append(index)
            threads += count
    return sorted(chosen)


def held_out_pairs(rows: PackedRows, before: np.ndarray, after: np.ndarray) -> preference.HeldOut:
    """Joins log-probabilities [rows, S] before and after to the pairs of the rows."""
    records = []
    for row in range(len(rows)):
        slot = 0
        for thread in rows.threads_of(row):
            for p in thread.pairs:
                c, r = slot + p.chosen, slot + p.rejected
                records.append(
                    (p.pair_id, thread.thread_id, thread.community, p.probability, p.weight)
                    + (len(thread.replies[p.chosen]), len(thread.replies[p.rejected]))
                    + (before[row, c], before[row, r], after[row, c], after[row, r])
                )
            slot += len(thread.replies)
    return preference.HeldOut(*(np.array(column) for column in zip(*records, strict=True)))
