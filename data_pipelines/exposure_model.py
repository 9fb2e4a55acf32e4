"""How often was a reply seen? Estimated from when it came, since few sites say.

A reply's exposure is taken as (its post's popularity) * rank factor * delay factor * age factor, the factors those of
its community and year. Votes of two replies to one post are Poisson with means in the ratio of their exposures times
qualities, so given their sum the first's share is binomial with log odds log f - log f': the post's popularity cancels.
The factors maximise that likelihood over all pairs of replies to one post (a Bradley-Terry model of cells: Bradley and
Terry 1952; conditioning on the sum for Poisson counts: Agresti, Categorical Data Analysis), with a small penalty
on steps between neighbouring bins. Qualities are assumed to have nothing to do with rank, delay and age.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from data_pipelines import confidence
from data_pipelines.confidence import Prior
from data_pipelines.exposure_sums import (
    AGE_EDGES,
    AGES,
    CELLS,
    DELAY_EDGES,
    DELAYS,
    MAX_SHARED,
    RANK_EDGES,
    RANKS,
    ExposureSums,
    Group,
    GroupSums,
    Table,
    cells_of,
    group_of,
    start_of,
)
from data_pipelines.records import Thread, known

MIN_REPLIES = 500
# How a reply's votes would vary if its thread were lived through again: LUCK * mean + EXPOSURE_VARIANCE * mean^2. Votes
# breed votes, by moving a reply up. Planted threads run again and again give 1.25 to 1.75 and .03 to .18, .09 in the
# world most like real ones (`planted_report.luck`). LUCK is the upper end: doubt costs pairs, not truth.
LUCK = 1.75
EXPOSURE_VARIANCE = 0.1
# Spread of votes between replies seen alike, where too few neighbours are there to fit it.
DEFAULT_SPREAD = 1.4
MIN_NEIGHBOURS = 200
MAX_SHAPE = 10.0
# A post's votes a unit of exposure are Gamma with this shape over posts: popularity is very uneven.
POPULARITY_SHAPE = 0.5
_STEP_PENALTY, _LEVEL_PENALTY = 1.0, 1e-3
# The middle of each bin of delay on a log scale; the outer ones are half as wide as their neighbours.
_DELAY_KNOTS = np.log(np.sqrt(np.r_[DELAY_EDGES[0] / 2, DELAY_EDGES] * np.r_[DELAY_EDGES, DELAY_EDGES[-1] * 2]))


def settings() -> dict[str, float | list[float]]:
    """Returns every number that the estimate depends on, apart from the data."""
    return {
        "luck": LUCK,
        "exposure_variance": EXPOSURE_VARIANCE,
        "popularity_shape": POPULARITY_SHAPE,
        "rank_edges": RANK_EDGES.tolist(),
        "delay_edges": DELAY_EDGES.tolist(),
        "age_edges": AGE_EDGES.tolist(),
    }


@dataclass(frozen=True)
class Factors:
    """Log factors of one community and year: rank [RANKS], delay [DELAYS], age [AGES]; `scale` votes a unit."""

    rank: np.ndarray
    delay: np.ndarray
    age: np.ndarray
    scale: float

    def log_exposure(self, cell: np.ndarray, delay: np.ndarray) -> np.ndarray:
        """Returns the log of the exposure a unit of popularity; the delay factor is drawn through its bins' middles."""
        rank, _, age = np.unravel_index(cell, (RANKS, DELAYS, AGES))
        return self.rank[rank] + np.interp(np.log(np.maximum(delay, 1.0)), _DELAY_KNOTS, self.delay) + self.age[age]


@dataclass(frozen=True)
class ExposureModel:
    """Factors by community and year, `pooled` for all others; the prior of votes a unit of exposure; remarks."""

    pooled: Factors
    groups: dict[Group, Factors]
    prior: Prior
    self_vote: bool
    warnings: tuple[str, ...] = ()

    def exposure(self, thread: Thread) -> np.ndarray:
        """Returns the exposure of each reply [n]: the votes that a reply of average quality would have got there.

        The post's popularity is the posterior mean given the votes of all its replies, so it is shrunk towards its
        community's where they are few.
        """
        replies = thread.replies
        created = np.array([known(reply.created) for reply in replies])
        age = np.array([np.inf if reply.score_age is None else reply.score_age for reply in replies])
        delay = created - start_of(thread)
        factors = self.groups.get(group_of(thread), self.pooled)
        unit = np.exp(factors.log_exposure(cells_of(np.arange(len(replies)), delay, age), delay))
        votes = confidence.votes([known(reply.score) for reply in replies], self.self_vote).sum()
        return unit * (POPULARITY_SHAPE + votes) / (POPULARITY_SHAPE / factors.scale + unit.sum())


def fit(sums: ExposureSums) -> ExposureModel:
    """Fits factors for every community and year with enough replies, and the prior, on sums of the training split."""
    total = GroupSums()
    for part in sums.groups().values():
        total = total.merged(part)
    pooled = _factors(total, np.zeros(RANKS + DELAYS + AGES))
    center = np.r_[pooled.rank, pooled.delay, pooled.age]
    large = {group: part for group, part in sums.groups().items() if part.replies >= MIN_REPLIES}
    small = len(sums.groups()) - len(large)
    warnings = (
        (f"exposure: {small} of {small + len(large)} communities and years have under {MIN_REPLIES} replies: pooled",)
        if small
        else ()
    )
    groups = {group: _factors(part, center) for group, part in large.items()}
    return ExposureModel(pooled, groups, quality_prior(spread(sums.shared())), sums.self_vote, warnings)


def _factors(sums: GroupSums, center: np.ndarray) -> Factors:
    won = np.zeros(CELLS * CELLS)
    won[sums.pairs.keys] = sums.pairs.values
    log_factors = bradley_terry(won.reshape(CELLS, CELLS), _design(), _penalty(), center)
    rank, delay, age = np.split(log_factors, [RANKS, RANKS + DELAYS])
    units = float(sums.cells.values @ np.exp(_design()[sums.cells.keys] @ log_factors))
    return Factors(rank, delay, age, max(sums.votes, 1.0) / max(units, 1.0))


def _design() -> np.ndarray:
    """Returns which factors each cell has [CELLS, RANKS + DELAYS + AGES]."""
    rank, delay, age = np.unravel_index(np.arange(CELLS), (RANKS, DELAYS, AGES))
    return np.hstack([np.eye(RANKS)[rank], np.eye(DELAYS)[delay], np.eye(AGES)[age]])


def _penalty() -> np.ndarray:
    """Returns the quadratic penalty on steps between neighbouring bins, and a touch on the free level."""
    size = RANKS + DELAYS + AGES
    steps = np.diff(np.eye(size), axis=0)
    steps = np.delete(steps, [RANKS - 1, RANKS + DELAYS - 1], axis=0)
    return _STEP_PENALTY * steps.T @ steps + _LEVEL_PENALTY * np.eye(size)


def bradley_terry(won: np.ndarray, design: np.ndarray, penalty: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Returns b that maximises sum won[i, j] log s(x_i b - x_j b) - (b - c)' P (b - c) / 2, s the logistic function.

    Args:
      won: votes of cell i in pairs with cell j [N, N].
      design: x, features of each cell [N, K].
      penalty: P [K, K].
      center: c, where b goes without data [K].
    """
    first, second = np.nonzero(np.triu(won + won.T, 1))
    for_first, for_second = won[first, second], won[second, first]
    difference = design[first] - design[second]

    total = for_first + for_second

    def loss(b: np.ndarray) -> float:
        odds, away = difference @ b, b - center
        return -for_first @ special.log_expit(odds) - for_second @ special.log_expit(-odds) + away @ penalty @ away / 2

    def slope(b: np.ndarray) -> np.ndarray:
        return difference.T @ (total * special.expit(difference @ b) - for_first) + penalty @ (b - center)

    def curvature(b: np.ndarray) -> np.ndarray:
        share = special.expit(difference @ b)
        return (difference.T * (total * share * (1 - share))) @ difference + penalty

    return optimize.minimize(loss, center, jac=slope, hess=curvature, method="trust-exact").x


def spread(shared: Table) -> float:
    """Fits how unevenly neighbours share their votes: rates of votes a unit of exposure are about Gamma(spread).

    If two replies' rates are Gamma with one shape and were seen alike, the first's votes given the sum are
    beta-binomial with that shape twice, whatever the post's popularity. Fitted with two shapes, since the first of
    two is seen a little more, by maximum likelihood; their mean is returned.
    """
    if shared.values.sum() < MIN_NEIGHBOURS:
        return DEFAULT_SPREAD
    first, second = np.divmod(shared.keys, MAX_SHARED + 1)

    def loss(log_shapes):
        a, b = np.exp(log_shapes)
        return -shared.values @ (special.betaln(first + a, second + b) - special.betaln(a, b))

    bounds = [(np.log(0.1), np.log(100.0))] * 2
    return float(np.exp(optimize.minimize(loss, np.log([1.0, 1.0]), method="L-BFGS-B", bounds=bounds).x).mean())


def quality_prior(shape: float) -> Prior:
    """Returns the prior of quality: the spread of rates less what is due to exposures that the estimate misses.

    Relative variances of a product of independent factors: 1 + 1/shape = (1 + 1/quality shape) * (1 + variance).
    """
    inverse = max((1 + 1 / shape) / (1 + EXPOSURE_VARIANCE) - 1, 1 / MAX_SHAPE)
    return Prior(1 / inverse, 1 / inverse)
