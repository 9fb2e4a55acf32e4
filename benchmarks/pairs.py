"""Token-id pairs with the lengths of voted threads: python -m benchmarks.pairs --set threads --out pairs.json

Lengths are log-normal: posts around 180 tokens, chosen replies around 70, rejected ones around 50. `independent`: every
pair has a post of its own. `threads`: five replies and four pairs a post, as votes give them. Token ids are random:
what is measured is time, and no text is needed for that. The same seed gives the same ids everywhere.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from llumi_jax import cli

Pair = dict[str, list[int]]  # "prompt", "chosen", "rejected": token ids

FIRST_ID, VOCABULARY = 10, 8000  # ids below FIRST_ID are left to padding and the like


class Lengths(NamedTuple):
    """A log-normal length in tokens, cut at both ends."""

    median: int
    sigma: float
    least: int
    most: int


POST, CHOSEN, REJECTED = Lengths(180, 0.7, 20, 600), Lengths(70, 0.8, 8, 300), Lengths(50, 0.8, 8, 300)
# Of a thread with two good replies and three others: which good one stands above which other.
_VOTES = ((0, 0), (0, 1), (1, 1), (1, 2))


class _Source:
    """Draws token ids; how often and in which order it is asked decides what comes."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def ids(self, of: Lengths) -> list[int]:
        drawn = self._rng.lognormal(np.log(of.median), of.sigma)
        length = int(np.clip(drawn, of.least, of.most))
        return self._rng.integers(FIRST_ID, VOCABULARY, length).tolist()


def independent(seed: int, count: int) -> list[Pair]:
    """Pairs that share nothing."""
    source = _Source(seed)
    draw = lambda: {"prompt": source.ids(POST), "chosen": source.ids(CHOSEN), "rejected": source.ids(REJECTED)}
    return [draw() for _ in range(count)]


def threads(seed: int, count: int) -> list[Pair]:
    """Pairs of threads with five replies and four pairs each; the last thread is cut off at `count`."""
    source = _Source(seed)
    made: list[Pair] = []
    while len(made) < count:
        post = source.ids(POST)
        good = [source.ids(CHOSEN) for _ in range(2)]
        other = [source.ids(REJECTED) for _ in range(3)]
        made += [{"prompt": post, "chosen": good[c], "rejected": other[r]} for c, r in _VOTES]
    return made[:count]


SETS: Mapping[str, Callable[[int, int], list[Pair]]] = {"independent": independent, "threads": threads}


def by_post(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Pairs of the same post together, in the order in which posts first appear."""
    groups: dict[tuple[int, ...], list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(tuple(pair["prompt"]), []).append(pair)
    return list(groups.values())


def representative(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """About `count` of the pairs, whole threads, spread evenly over all sizes: their mean is near the set's.

    A slow side can then be timed on a part of the set. 0 or more than there are: all of them.
    """
    if not 0 < count < len(pairs):
        return list(pairs)
    groups = by_post(pairs)
    wanted = max(1, round(count * len(groups) / len(pairs)))
    by_size = sorted(range(len(groups)), key=lambda i: (sum(map(plain_tokens, groups[i])), i))
    chosen = {by_size[int((i + 0.5) * len(groups) / wanted)] for i in range(wanted)}
    return [pair for i in sorted(chosen) for pair in groups[i]]


def plain_tokens(pair: Pair) -> int:
    """Tokens of a pair as two sequences, each with the post."""
    return 2 * len(pair["prompt"]) + len(pair["chosen"]) + len(pair["rejected"])


def shared_tokens(pairs: Sequence[Pair]) -> int:
    """Tokens of all pairs with each post once and each distinct reply to it once."""
    total = 0
    for group in by_post(pairs):
        replies = {tuple(pair[side]) for pair in group for side in ("chosen", "rejected")}
        total += len(group[0]["prompt"]) + sum(map(len, replies))
    return total


def read(path: Path) -> list[Pair]:
    """Reads a file of pairs. Raises ValueError, naming what is wrong, where it is none."""
    try:
        values: Any = json.loads(path.read_text())
    except ValueError:
        raise ValueError("no JSON, and a list of pairs is needed") from None
    if not isinstance(values, list) or not values:
        raise ValueError("a list of pairs is needed")
    for number, pair in enumerate(values):
        for key in ("prompt", "chosen", "rejected"):
            ids = pair.get(key) if isinstance(pair, dict) else None
            if not isinstance(ids, list) or not ids or not all(isinstance(i, int) and i >= 0 for i in ids):
                raise ValueError(f"pair {number}: {key!r} must be a list of token ids")
    return values


def main(argv: Sequence[str]) -> None:
    flags = cli.Parser(prog="python -m benchmarks.pairs", description=__doc__)
    flags.add_argument("--set", choices=tuple(SETS), default="independent")
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--count", type=int, default=256)
    flags.add_argument("--out", required=True, metavar="FILE")
    args = flags.parse_args(argv)
    pairs = SETS[args.set](args.seed, args.count)
    Path(args.out).write_text(json.dumps(pairs))
    plain, shared = sum(map(plain_tokens, pairs)), shared_tokens(pairs)
    print(f"{len(pairs)} pairs of {len(by_post(pairs))} posts: {plain:,} tokens as pairs, {shared:,} as threads")


if __name__ == "__main__":
    cli.run(main)
