"""What else could tell chosen from rejected? Cheap checks of known confounds, printed with every build.

Each AUC is the chance that a feature is larger on the chosen side of a pair, ties counting a half: .5 means that the
feature tells nothing. Intervals come from a bootstrap over posts, since pairs of one post are not independent.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from data_pipelines.balance import chosen_longer
from data_pipelines.records import Pair, Reply, Traits, known

WARN_ABOVE = 0.55
BOOTSTRAPS = 400


def audit(pairs: Sequence[Pair], traits: Traits, in_time_order: bool) -> dict[str, Any]:
    """Returns the audits of a set of pairs; None where the source lacks the column or the rule fixed it.

    `in_time_order` says that the rule admits only pairs whose chosen reply is the later one.
    """
    wins = _win_rate(pairs)
    results = shares(pairs, traits) | {
        "auc_earlier": _auc(pairs, lambda reply: -known(reply.created)) if traits.time and not in_time_order else None,
        "auc_length": _auc(pairs, lambda reply: len(reply.text)),
        "auc_views": _auc(pairs, lambda reply: known(reply.views)) if traits.views else None,
        "auc_replier_win_rate": _auc_of(pairs, wins) if wins else None,
    }
    results["warnings"] = [
        f"{name} tells chosen from rejected with AUC {value['auc']:.2f} (95 % interval from {value['low']:.2f})"
        for name, value in results.items()
        if isinstance(value, dict)
        and max(value["auc"], 1 - value["auc"]) > WARN_ABOVE
        and (value["low"] > 0.5 or value["high"] < 0.5)
    ]
    return results


def shares(pairs: Sequence[Pair], traits: Traits) -> dict[str, Any]:
    """Returns the plain shares of a set of pairs, without intervals."""
    return {
        "pairs": len(pairs),
        "mean_probability": _mean([pair.probability for pair in pairs]),
        "chosen_longer": _rounded(chosen_longer(pairs)),
        "chosen_earlier": _chosen_earlier(pairs) if traits.time else None,
    }


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def _mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None


def _chosen_earlier(pairs: Sequence[Pair]) -> float | None:
    return _mean([float(known(pair.chosen.created) < known(pair.rejected.created)) for pair in pairs])


def _auc(pairs: Sequence[Pair], feature: Callable[[Reply], float]) -> dict[str, float] | None:
    return _auc_of(pairs, [_compare(feature(pair.chosen), feature(pair.rejected)) for pair in pairs])


def _compare(chosen: float, rejected: float) -> float:
    return 0.5 if chosen == rejected else float(chosen > rejected)


def _auc_of(pairs: Sequence[Pair], wins: Sequence[float]) -> dict[str, float] | None:
    if not pairs:
        return None
    posts: dict[str, list[float]] = defaultdict(list)
    for pair, win in zip(pairs, wins, strict=True):
        posts[pair.post.id].append(win)
    sums = np.array([(sum(group), len(group)) for group in posts.values()])
    random = np.random.default_rng(0)
    draws = sums[random.integers(0, len(sums), (BOOTSTRAPS, len(sums)))].sum(axis=1)
    low, high = np.quantile(draws[:, 0] / draws[:, 1], [0.025, 0.975])
    auc = sums[:, 0].sum() / sums[:, 1].sum()
    return {"auc": round(float(auc), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def _win_rate(pairs: Sequence[Pair]) -> list[float]:
    """Guesses each pair from its repliers' win rates under other posts. Empty without authors.

    Leaving out the pair alone would not do: a reply stands in several pairs, and one would tell the other.
    """
    everywhere: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(2))
    here: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(2))
    for pair in pairs:
        for reply, won in ((pair.chosen, 1), (pair.rejected, 0)):
            if reply.author is None:
                return []
            everywhere[reply.author] += (won, 1)
            here[pair.post.id, reply.author] += (won, 1)

    def rate(pair: Pair, author: str) -> float:
        won, played = everywhere[author] - here[pair.post.id, author]
        return (won + 1) / (played + 2)

    return [_compare(rate(pair, known(pair.chosen.author)), rate(pair, known(pair.rejected.author))) for pair in pairs]
