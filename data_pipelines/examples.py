"""Replies to imitate (SFT): the best-voted of their kind for GM, revisions of a draft for IM."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from data_pipelines import confidence
from data_pipelines.confidence import Prior
from data_pipelines.pairing import may_be_chosen
from data_pipelines.records import Example, Pair, Post, Reply, Thread, Traits, known

QUANTILE = 0.80
MIN_CELL = 500
MAX_PER_POST = 2
IM_WEIGHT = 0.5
_DAY = 24 * 3600
_POOL = ("all",)
Cell = tuple


@dataclass(frozen=True)
class Standing:
    """How well a reply did among its like: the votes' rate, and its 80th percentile per cell of the training split."""

    traits: Traits
    prior: Prior
    thresholds: dict[Cell, float]
    pooled_cells: int

    @classmethod
    def fit(cls, train: Sequence[Thread], traits: Traits, prior: Prior) -> "Standing":
        """Fits the percentiles; cells of fewer than 500 replies share one."""
        cells: dict[Cell, list[float]] = defaultdict(list)
        standing = cls(traits, prior, {}, 0)
        for thread in train:
            for reply in thread.replies:
                cells[_cell(thread.post, reply)].append(standing.rate(reply))
        everything = [rate for rates in cells.values() for rate in rates]
        large = {cell: rates for cell, rates in cells.items() if len(rates) >= MIN_CELL} | {_POOL: everything}
        thresholds = {cell: float(np.quantile(rates, QUANTILE)) for cell, rates in large.items() if rates}
        return cls(traits, prior, thresholds, sum(len(rates) < MIN_CELL for rates in cells.values()))

    def rate(self, reply: Reply) -> float:
        """Returns the score or, where views are known, the posterior mean of upvotes per view."""
        if not self.traits.views:
            return float(known(reply.score))
        return (float(confidence.votes(reply.score, False)) + self.prior.shape) / (known(reply.views) + self.prior.rate)

    def is_high(self, post: Post, reply: Reply) -> bool:
        """Whether somebody voted for the reply and it reaches the percentile of its cell."""
        threshold = self.thresholds.get(_cell(post, reply), self.thresholds.get(_POOL, np.inf))
        voted = bool(confidence.votes(reply.score, self.traits.self_vote) > 0)
        return voted and self.rate(reply) >= threshold


def _cell(post: Post, reply: Reply) -> Cell:
    year = datetime.fromtimestamp(reply.created, UTC).year if reply.created is not None else None
    age = None if reply.score_age is None else sum(reply.score_age >= days * _DAY for days in (2, 30, 365))
    return post.community, year, age


def gm_examples(threads: Sequence[Thread], standing: Standing) -> list[Example]:
    """Returns at most two replies a post, the best first."""
    found = []
    for thread in threads:
        high = [r for r in thread.replies if may_be_chosen(r) and standing.is_high(thread.post, r)]
        high.sort(key=standing.rate, reverse=True)
        found += [Example("gm", thread.post, reply) for reply in high[:MAX_PER_POST]]
    return found


def im_examples(revisions: Sequence[Pair], order: Callable[[Pair], float]) -> list[Example]:
    """Returns revisions, at most two a post and one a draft: the surest first."""
    posts: Counter[str] = Counter()
    drafts: set[tuple[str, str]] = set()
    found = []
    for pair in sorted(revisions, key=lambda pair: (-pair.probability, order(pair))):
        draft = (pair.post.id, pair.rejected.id)
        if posts[pair.post.id] >= MAX_PER_POST or draft in drafts:
            continue
        posts[pair.post.id] += 1
        drafts.add(draft)
        found.append(Example("im", pair.post, pair.chosen, draft=pair.rejected, weight=IM_WEIGHT))
    return found
