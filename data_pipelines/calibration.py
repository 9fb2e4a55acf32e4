"""What is learnt from the training split before a rule is applied: sums, added up in any order, then numbers.

A *cell* is (community, year, age of the score): votes are only comparable inside one.
"""

import bisect
import functools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from data_pipelines import confidence
from data_pipelines.confidence import Prior
from data_pipelines.exposure_model import ExposureModel
from data_pipelines.exposure_model import fit as fit_exposure
from data_pipelines.exposure_sums import ExposureSums
from data_pipelines.ingest import DAY
from data_pipelines.records import Post, Reply, Thread, Traits, known

HIGH_QUANTILE = 0.80  # of the replies to imitate
MIN_CELL = 500
_AGES = (2 * DAY, 30 * DAY, 365 * DAY)
Cell = tuple[str, int | None, int | None]


def cell_of(post: Post, reply: Reply) -> Cell:
    year = None if reply.created is None else _year(reply.created // DAY)
    age = None if reply.score_age is None else bisect.bisect_right(_AGES, reply.score_age)
    return post.community, year, age


@functools.lru_cache(maxsize=1 << 16)
def _year(day: int) -> int:
    return datetime.fromtimestamp(day * DAY, UTC).year


@dataclass
class Sums:
    """How often each (cell, score, views) occurs among the eligible replies of the training split.

    `exposure`: what the rule of that name learns from, None for the others.
    """

    counts: Counter[tuple[Cell, int, int | None]] = field(default_factory=Counter)
    exposure: ExposureSums | None = None

    def add(self, thread: Thread) -> None:
        for reply in thread.replies:
            self.counts[cell_of(thread.post, reply), known(reply.score), reply.views] += 1
        if self.exposure is not None:
            self.exposure.add(thread)

    def merge(self, other: "Sums") -> None:
        self.counts.update(other.counts)
        if self.exposure is not None and other.exposure is not None:
            self.exposure.merge(other.exposure)

    @classmethod
    def of(cls, threads: Iterable[Thread], exposure: ExposureSums | None = None) -> "Sums":
        sums = cls(exposure=exposure)
        for thread in threads:
            sums.add(thread)
        return sums


@dataclass(frozen=True)
class Percentiles:
    """A quantile per cell; cells of fewer than 500 replies share that of the whole split."""

    cells: Mapping[Cell, float]
    pool: float

    def of(self, cell: Cell) -> float:
        return self.cells.get(cell, self.pool)

    @classmethod
    def fit(cls, values: Mapping[Cell, tuple[np.ndarray, np.ndarray]], quantile: float, empty: float) -> "Percentiles":
        """Args: values: cell -> (values [k], how often each occurs [k]); empty: what stands in for no value at all."""
        large = {cell: pair for cell, pair in values.items() if pair[1].sum() >= MIN_CELL}
        whole = [np.repeat(value, count) for value, count in values.values()]
        pool = float(np.quantile(np.concatenate(whole), quantile)) if whole else empty
        return cls({cell: float(np.quantile(np.repeat(*pair), quantile)) for cell, pair in large.items()}, pool)


@dataclass(frozen=True)
class Calibration:
    """The prior of the votes' rate, and where a reply counts as high (to imitate), as chosen or as rejected.

    `exposure`: how often a reply was seen, for the rule of that name.
    """

    prior: Prior = Prior()
    high: Percentiles = Percentiles({}, np.inf)
    chosen_from: Percentiles | None = None
    rejected_to: Percentiles | None = None
    exposure: ExposureModel | None = None
    pooled_cells: int = 0

    def rate(self, reply: Reply, traits: Traits) -> float:
        """Returns the score or, where views are known, the posterior mean of upvotes per view."""
        if not traits.views:
            return float(known(reply.score))
        return float(_rates(np.array(known(reply.score)), np.array(known(reply.views)), self.prior))

    def is_high(self, post: Post, reply: Reply, traits: Traits) -> bool:
        """Whether somebody voted for the reply and it reaches the percentile of its cell."""
        voted = known(reply.score) > int(traits.self_vote)
        return voted and self.rate(reply, traits) >= self.high.of(cell_of(post, reply))


def fit(
    sums: Sums, traits: Traits, chosen_quantile: float | None = None, rejected_quantile: float | None = None
) -> Calibration:
    """Fits everything on the training split's sums; the quantiles are those of a rule, None where it has none."""
    cells: dict[Cell, list[tuple[int, int, int]]] = {}
    for (cell, score, views), count in sorted(sums.counts.items(), key=repr):  # Sums of floats depend on the order.
        cells.setdefault(cell, []).append((score, views or 0, count))
    tables = {cell: np.array(rows).T for cell, rows in cells.items()}
    prior = _prior(tables, traits)
    scores = {cell: (table[0], table[2]) for cell, table in tables.items()}
    rates = (
        {cell: (_rates(table[0], table[1], prior), table[2]) for cell, table in tables.items()}
        if traits.views
        else scores
    )
    return Calibration(
        prior=prior,
        high=Percentiles.fit(rates, HIGH_QUANTILE, empty=np.inf),
        chosen_from=Percentiles.fit(scores, chosen_quantile, np.inf) if chosen_quantile is not None else None,
        rejected_to=Percentiles.fit(scores, rejected_quantile, -np.inf) if rejected_quantile is not None else None,
        exposure=fit_exposure(sums.exposure) if sums.exposure is not None else None,
        pooled_cells=sum(int(table[2].sum()) < MIN_CELL for table in tables.values()),
    )


def _rates(scores: np.ndarray, views: np.ndarray, prior: Prior) -> np.ndarray:
    return (confidence.votes(scores, False) + prior.shape) / (views + prior.rate)


def _prior(tables: Mapping[Cell, np.ndarray], traits: Traits) -> Prior:
    if not traits.views or not tables:
        return Prior()
    table = np.concatenate(list(tables.values()), axis=1)
    scores, views = np.repeat(table[0], table[2]), np.repeat(table[1], table[2])
    return confidence.fit_prior(confidence.votes(scores, traits.self_vote), views) if len(scores) > 1 else Prior()
