"""The rule `exposure`: replies of the same hours compared by their votes a view, views estimated (`exposure_model`).

Neither votes nor exposure tell all. Votes breed votes, a true exposure differs from its estimate, a score is blurred: a
reply's votes u have variance L m + V m^2 + F (m its expected votes, L luck, V the exposure's relative variance, F the
fuzz's), not m as a Poisson count. So they count as w u votes with exposure w E, w = m / (L m + V m^2 + F), as in
quasi-likelihood (Wedderburn 1974), and evidence never exceeds 1 / V votes. With these, the Gamma-Poisson posterior of
`confidence` says how sure one can be.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from data_pipelines import confidence
from data_pipelines.balance import balance_length
from data_pipelines.confidence import Prior
from data_pipelines.exposure_model import EXPOSURE_VARIANCE, LUCK, POPULARITY_SHAPE, ExposureModel, fit
from data_pipelines.exposure_sums import HOUR, ExposureSums
from data_pipelines.records import Pair, Reply, Thread, known

__all__ = [
    "ExposureModel",
    "ExposureSums",
    "balance",
    "balance_order",
    "best_first",
    "can_pair",
    "exposure_candidates",
    "fit",
]

MIN_POSTERIOR = 0.95
MIN_GAP = 1
WINDOW = int(6 * HOUR)
EARLIER_LOW, EARLIER_HIGH = 0.45, 0.55
MANY = 1000


def evidence(votes, exposure, score, fuzz: bool) -> np.ndarray:
    """Returns the weight w in (0, 1] of votes and exposure; a fuzz margin is taken as two standard deviations."""
    m = np.maximum(votes, exposure)
    blur = (confidence.fuzz_margin(score) / 2) ** 2 if fuzz else 0.0
    return m / (LUCK * m + EXPOSURE_VARIANCE * m**2 + blur)


def posteriors(thread: Thread, model: ExposureModel, fuzz: bool) -> np.ndarray:
    """Returns P(quality of row > quality of column) for the replies of a thread [n, n]."""
    score = np.array([known(reply.score) for reply in thread.replies])
    votes, exposure = confidence.votes(score, model.self_vote), model.exposure(thread)
    weight = evidence(votes, exposure, score, fuzz)
    u, e = weight * votes, weight * exposure
    return confidence.probability_preferred(u[:, None], u[None, :], model.prior, e[:, None], e[None, :])


def exposure_candidates(
    thread: Thread,
    model: ExposureModel,
    fuzz: bool = True,
    min_posterior: float = MIN_POSTERIOR,
    min_gap: int = MIN_GAP,
    window: int = WINDOW,
) -> list[tuple[int, int, float]]:
    """Returns every preference that the rule finds in a thread as (index of chosen, of rejected, probability).

    The chosen reply needs the higher score as well: should the exposures be wrong, the votes alone still agree.

    Args:
      thread: replies sorted by time.
      fuzz: whether the site blurs scores.
      window: seconds that may lie between the two replies.
    """
    if not can_pair(thread, model, fuzz, min_posterior, window):
        return []
    score = np.array([known(reply.score) for reply in thread.replies])
    created = np.array([known(reply.created) for reply in thread.replies])
    posterior = posteriors(thread, model, fuzz)
    possible = posterior >= min_posterior
    possible &= np.abs(created[:, None] - created[None, :]) <= window
    possible &= score[:, None] - score[None, :] >= min_gap
    return [(c, r, float(posterior[c, r])) for c, r in np.argwhere(possible).tolist()]


def can_pair(
    thread: Thread,
    model: ExposureModel,
    fuzz: bool = True,
    min_posterior: float = MIN_POSTERIOR,
    window: int = WINDOW,
) -> bool:
    """Whether a thread may give a pair at all: cheap, and wrong to one side only (it may say yes in vain)."""
    replies = thread.replies
    if len(replies) < 2:
        return False
    own = int(model.self_vote)
    total = top = 0
    for index, reply in enumerate(replies):
        votes = max(known(reply.score) - own, 0)
        total += votes
        if votes > top and _has_neighbour(replies, index, window):
            top = votes
    return top > 0 and top >= fewest_votes(min(total, MANY), model.prior, min_posterior, fuzz)


def _has_neighbour(replies: tuple[Reply, ...], index: int, window: int) -> bool:
    created = known(replies[index].created)
    beside = replies[max(index - 1, 0) : index] + replies[index + 1 : index + 2]
    return any(abs(known(reply.created) - created) <= window for reply in beside)


@lru_cache(maxsize=4096)
def fewest_votes(total: int, prior: Prior, min_posterior: float, fuzz: bool) -> int:
    """Returns the fewest votes of a chosen reply in a thread with `total` votes (MANY: or more), at the very best.

    That is: hardly any exposure of its own, no vote for the other one, and for that all the exposure that the thread's
    votes allow.
    """
    votes = np.arange(1, total + 1)
    chosen = votes * _most_evidence(votes, confidence.fuzz_margin(votes) if fuzz else 0)
    most = POPULARITY_SHAPE + total if total < MANY else np.inf  # What the exposures of a thread sum up to, at most.
    # The other's weighted exposure grows with the exposure, up to 1 / V; a score of 0 has the narrowest fuzz.
    blur = (confidence.fuzz_margin(0) / 2) ** 2 if fuzz else 0.0
    rejected = 1 / (LUCK / most + EXPOSURE_VARIANCE + blur / most**2)
    enough = confidence.probability_preferred(chosen, 0.0, prior, 0.0, rejected) >= min_posterior
    return int(votes[enough][0]) if enough.any() else total + 1


def _most_evidence(votes: np.ndarray, margin: np.ndarray | int) -> np.ndarray:
    """Returns the largest weight that `evidence` gives to votes, whatever their exposure: it peaks at sqrt(F / V)."""
    blur = (np.asarray(margin) / 2) ** 2
    m = np.maximum(votes, np.sqrt(blur / EXPOSURE_VARIANCE))
    return m / (LUCK * m + EXPOSURE_VARIANCE * m**2 + blur)


def chosen_earlier(pair: Pair) -> bool:
    return known(pair.chosen.created) < known(pair.rejected.created)


def best_first(pairs: Sequence[Pair], tie: Callable[[Pair], float]) -> list[Pair]:
    """Sorts for the caps: the highest posterior first in either order in time, the two orders in turn by their share.

    Taken together, the later replies' posteriors are higher, so they would fill the caps, and leave again for balance.
    """
    place: dict[int, float] = {}
    for side in (True, False):
        mine = sorted(
            (pair for pair in pairs if chosen_earlier(pair) is side), key=lambda pair: (-pair.probability, tie(pair))
        )
        place |= {id(pair): (index + 0.5) / len(mine) for index, pair in enumerate(mine)}
    return sorted(pairs, key=lambda pair: (place[id(pair)], tie(pair)))


def balance_order(pairs: Sequence[Pair], order: Callable[[Pair], float]) -> list[Pair]:
    """Drops pairs of the more frequent order until chosen is the earlier one in 45-55 %, or one pair is the surplus.

    Longer and shorter chosen replies leave in turn, so that a balance of lengths stays.

    Args:
      pairs: candidates; their sequence is kept.
      order: a number per pair that has nothing to do with its content; the smallest leave first.
    """
    earlier = [pair for pair in pairs if chosen_earlier(pair)]
    later = [pair for pair in pairs if not chosen_earlier(pair)]
    more, fewer = max(earlier, later, key=len), min(earlier, later, key=len)
    keep = max(int(len(fewer) * EARLIER_HIGH / (1 - EARLIER_HIGH)), min(len(fewer) + 1, len(more)))
    gone = {id(pair) for pair in _in_turn(more, order)[: max(len(more) - keep, 0)]}
    return [pair for pair in pairs if id(pair) not in gone]


def _in_turn(pairs: list[Pair], order: Callable[[Pair], float]) -> list[Pair]:
    """Sorts by `order`, a pair whose chosen reply is longer and one where it is shorter taking turns."""
    sides: tuple[list[Pair], list[Pair]] = ([], [])
    for pair in sorted(pairs, key=order):
        sides[len(pair.chosen.text) > len(pair.rejected.text)].append(pair)
    turns = {id(pair): place for side in sides for place, pair in enumerate(side)}
    return sorted(sides[0] + sides[1], key=lambda pair: turns[id(pair)])


def balance(pairs: Sequence[Pair], order: Callable[[Pair], float]) -> list[Pair]:
    """Balances the order in time and the lengths together: each order's lengths first, then both until neither asks."""
    kept = {
        id(pair)
        for side in (True, False)
        for pair in balance_length([pair for pair in pairs if chosen_earlier(pair) is side], order)
    }
    left = [pair for pair in pairs if id(pair) in kept]
    while True:
        fewer = balance_order(balance_length(left, order), order)
        if len(fewer) == len(left):
            return left
        left = fewer
