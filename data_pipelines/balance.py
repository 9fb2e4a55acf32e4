"""Length must not give the answer away: pairs are thinned until the longer reply is chosen half of the time."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

from data_pipelines.records import Pair

LOW, HIGH = 0.48, 0.52
MAX_RATIO = 3.0
BINS_PER_DOUBLING = 2


def chosen_longer(pairs: Sequence[Pair]) -> float:
    """Returns the share of pairs whose chosen reply is the longer one; equal lengths count a half. NaN if empty."""
    if not pairs:
        return math.nan
    return sum(0.5 + 0.5 * _sign(pair) for pair in pairs) / len(pairs)


def _sign(pair: Pair) -> int:
    return (len(pair.chosen.text) > len(pair.rejected.text)) - (len(pair.chosen.text) < len(pair.rejected.text))


def _bin(pair: Pair) -> int:
    return int(abs(math.log2(pair.length_ratio)) * BINS_PER_DOUBLING)


def comparable(pair: Pair) -> bool:
    """Whether neither reply is more than three times as long as the other."""
    return 1 / MAX_RATIO <= pair.length_ratio <= MAX_RATIO


def balance_length(pairs: Sequence[Pair], order: Callable[[Pair], float]) -> list[Pair]:
    """Drops pairs until within every bin of the length ratio, and so overall, chosen is the longer one in 48-52 %.

    Args:
      pairs: candidates; their order is kept.
      order: a number per pair that has nothing to do with its content; the smallest leave first.
    """
    bins: dict[int, list[Pair]] = defaultdict(list)
    for pair in pairs:
        bins[_bin(pair)].append(pair)
    dropped: set[int] = set()
    for group in bins.values():
        dropped.update(_surplus(group, order))
    _trim_rest(pairs, dropped, order)
    return [pair for pair in pairs if id(pair) not in dropped]


def _surplus(group: list[Pair], order: Callable[[Pair], float]) -> list[int]:
    """Returns ids of pairs to drop so that a bin's surplus is at most one pair or 2 % of it."""
    surplus = sum(map(_sign, group))
    side = sorted((pair for pair in group if _sign(pair) * surplus > 0), key=order)
    drop, size = 0, len(group)
    while abs(surplus) - drop > max(1, 2 * (HIGH - 0.5) * (size - drop)):
        drop += 1
    return [id(pair) for pair in side[:drop]]


def _trim_rest(pairs: Sequence[Pair], dropped: set[int], order: Callable[[Pair], float]) -> None:
    """Many bins may each be one pair off to the same side: takes those off too."""
    left = sorted((pair for pair in pairs if id(pair) not in dropped), key=lambda pair: (-_bin(pair), order(pair)))
    surplus, size = sum(map(_sign, left)), len(left)
    for pair in left:
        if size == 0 or LOW <= 0.5 + 0.5 * surplus / size <= HIGH or abs(surplus) <= 1:
            return
        if _sign(pair) * surplus > 0:
            dropped.add(id(pair))
            surplus, size = surplus - _sign(pair), size - 1
