"""Each rule against the truth: on planted corpora, how often is `chosen` really the better reply?

    python -m data_pipelines.planted_report --posts 30000 --world default --world strong_herding

Pairs are those of a build: of like lengths, within the caps, for `exposure` also balanced in order and length. The rule
`higher_score`, for comparison, takes any two replies of a post with different scores. The reliability curve compares
`probability` with the share of pairs whose chosen reply is really better; the expected calibration error (ECE) is their
mean distance.
"""

import json
import math
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy import special

from data_pipelines import calibration, confidence, exposure, pairing
from data_pipelines.balance import comparable
from data_pipelines.confidence import Prior
from data_pipelines.identity import Hasher
from data_pipelines.pairing import Candidate, Rule
from data_pipelines.planted import threads, truth, world_named
from data_pipelines.planted_world import WORLDS, Corpus, World, simulate, vote_again
from data_pipelines.records import Pair, Thread, known
from data_pipelines.sources.reddit_dump import TRAITS
from llumi_jax import cli
from llumi_jax.cli import UserError

RULES = ("higher_score", "paper", "strict", "exposure")
TRAIN = 0.9
BIN_EDGES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.965, 0.98, 0.99, 1.0)
LUCK_FROM, LUCK_POSTS = 0.3, 4000
HASHER = Hasher(b"planted corpora are public")


@dataclass(frozen=True)
class Score:
    """How a rule fares: `yield_per_1000` pairs for 1,000 posts; accuracy with its 95 % interval and by order in time;
    share of pairs whose chosen reply is earlier; reliability as (mean probability, accuracy, pairs) a bin.
    """

    rule: str
    pairs: int
    yield_per_1000: float
    accuracy: float
    low: float
    high: float
    chosen_earlier: float
    accuracy_earlier: float
    accuracy_later: float
    mean_probability: float
    calibration_error: float
    reliability: list[tuple[float, float, int]]


def evaluate(corpus: Corpus) -> list[Score]:
    """Scores every rule on a corpus; what a rule learns, it learns from nine tenths of the posts."""
    found, quality = threads(corpus), truth(corpus)
    train = [thread for thread in found if HASHER.uniform("split", thread.post.id) < TRAIN]
    made = (_higher_score(found), _by_votes("paper", found, train), _by_votes("strict", found, train))
    pairs = (*made, _by_exposure(found, train))
    return [score(rule, some, quality, len(corpus.community)) for rule, some in zip(RULES, pairs, strict=True)]


def _higher_score(found: Sequence[Thread]) -> list[Pair]:
    """Takes the posterior of equal exposure for the probability."""
    pairs = []
    for thread in found:
        for two in combinations(thread.replies, 2):
            rejected, chosen = sorted(two, key=lambda reply: known(reply.score))
            if known(chosen.score) > known(rejected.score):
                for_chosen, for_rejected = confidence.votes([chosen.score, rejected.score], TRAITS.self_vote)
                probability = float(confidence.probability_preferred(for_chosen, for_rejected, Prior()))
                pairs.append(Pair("gm", thread.post, chosen, rejected, max(probability, 0.5)))
    return _capped(pairs, Rule("higher_score"))


def _by_votes(name: str, found: Sequence[Thread], train: Sequence[Thread]) -> list[Pair]:
    rule = pairing.rule_for(name, TRAITS)
    learnt = calibration.fit(calibration.Sums.of(train), TRAITS, rule.chosen_quantile, rule.rejected_quantile)
    return _capped(_pairs(found, lambda thread: pairing.candidates(thread, rule, TRAITS, learnt)), rule)


def _by_exposure(found: Sequence[Thread], train: Sequence[Thread]) -> list[Pair]:
    sums = exposure.ExposureSums(TRAITS.self_vote)
    for thread in train:
        sums.add(thread)
    model = exposure.fit(sums)
    pairs = _pairs(found, lambda thread: exposure.exposure_candidates(thread, model, TRAITS.fuzz))
    sized = [pair for pair in pairs if comparable(pair)]
    return exposure.balance(pairing.cap(exposure.best_first(sized, _order), Rule("exposure")), _order)


def _pairs(found: Sequence[Thread], candidates: Callable[[Thread], Sequence[Candidate]]) -> list[Pair]:
    return [
        Pair("gm", thread.post, thread.replies[c], thread.replies[r], probability)
        for thread in found
        for c, r, probability in candidates(thread)
    ]


def _capped(pairs: Sequence[Pair], rule: Rule) -> list[Pair]:
    return pairing.cap(pairing.best_first([pair for pair in pairs if comparable(pair)], _order), rule)


def _order(pair: Pair) -> float:
    return HASHER.uniform("order", pair.chosen.id, pair.rejected.id)


def score(rule: str, pairs: Sequence[Pair], quality: dict[str, float], posts: int) -> Score:
    """Compares pairs with the hidden quality by id of reply; NaN where there are none."""
    right = np.array([quality[pair.chosen.id] > quality[pair.rejected.id] for pair in pairs], bool)
    earlier = np.array([exposure.chosen_earlier(pair) for pair in pairs], bool)
    probability = np.array([pair.probability for pair in pairs])
    bins = reliability(probability, right)
    low, high = interval(int(right.sum()), len(right))
    return Score(
        rule,
        len(pairs),
        1000 * len(pairs) / posts,
        _mean(right),
        low,
        high,
        _mean(earlier),
        _mean(right[earlier]),
        _mean(right[~earlier]),
        _mean(probability),
        sum(abs(mean - share) * count for mean, share, count in bins) / max(len(pairs), 1),
        bins,
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def reliability(probability: np.ndarray, right: np.ndarray) -> list[tuple[float, float, int]]:
    """Returns mean probability, share that is right and number of pairs for every bin of probability with any."""
    place = np.digitize(probability, BIN_EDGES[1:-1])
    bins = (place == index for index in range(len(BIN_EDGES) - 1))
    return [(float(probability[b].mean()), float(right[b].mean()), int(b.sum())) for b in bins if b.any()]


def interval(hits: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Returns the exact binomial interval (Clopper and Pearson 1934); it takes trials as independent."""
    tail = (1 - level) / 2
    low = special.betaincinv(hits, trials - hits + 1, tail) if hits else 0.0
    high = special.betaincinv(hits + 1, trials - hits, 1 - tail) if hits < trials else 1.0
    return float(low), float(high)


def luck(posts: int, seed: int, world: World, runs: int = 30) -> tuple[float, float]:
    """Runs the same threads again and again. Returns (a, b) of variance = a * mean + b * mean^2 of a reply's votes.

    By weighted least squares over the replies with a mean above .3.
    """
    votes = vote_again(posts, seed, world, runs)
    mean, variance = votes.mean(axis=0), votes.var(axis=0, ddof=1)
    some = mean > LUCK_FROM
    weight = 1 / (1 + mean[some] / 10)
    factors = np.stack([weight, weight * mean[some]], axis=1)
    (a, b), *_ = np.linalg.lstsq(factors, weight * variance[some] / mean[some])
    return float(a), float(b)


def for_card(posts: int = 10_000, seed: int = 0) -> dict[str, dict[str, float | int | None]]:
    """Returns what a data card says of each rule: its figures on the default world."""
    names = ("pairs", "accuracy", "low", "high", "chosen_earlier", "mean_probability", "calibration_error")
    scores = {score.rule: asdict(score) for score in evaluate(simulate(posts, seed))}
    return {rule: {name: _for_json(score[name]) for name in names} for rule, score in scores.items()}


def _for_json(value):
    return None if isinstance(value, float) and math.isnan(value) else value


def table(scores: Sequence[Score]) -> str:
    """Returns the scores as lines of text."""
    head = f"{'rule':<13}{'pairs':>8}{'per 1k':>8}{'accuracy':>10}  {'95 % interval':<15}{'earlier':>8}"
    head += f"{'acc. earl.':>11}{'acc. later':>11}{'prob.':>7}{'ECE':>7}"
    lines = [
        f"{s.rule:<13}{s.pairs:>8,}{s.yield_per_1000:>8.1f}{s.accuracy:>10.3f}  [{s.low:.3f}, {s.high:.3f}]"
        f"{s.chosen_earlier:>10.3f}{s.accuracy_earlier:>11.3f}{s.accuracy_later:>11.3f}{s.mean_probability:>7.3f}"
        f"{s.calibration_error:>7.3f}"
        for s in scores
    ]
    return "\n".join([head, *lines])


def curve(score: Score) -> str:
    """Returns a rule's reliability curve in one line: probability, accuracy and pairs of each bin."""
    return f"{score.rule}: " + "  ".join(f"{p:.3f} -> {share:.3f} ({count:,})" for p, share, count in score.reliability)


def parser() -> cli.Parser:
    flags = cli.Parser(prog="python -m data_pipelines.planted_report", description=__doc__)
    flags.add_argument("--posts", type=int, default=30_000, metavar="N", help="posts of each corpus")
    flags.add_argument("--seed", type=int, default=0, help="seed of the corpora")
    flags.add_argument(
        "--world", action="append", default=[], help=f"repeatable; default: all of {', '.join(WORLDS)}", metavar="NAME"
    )
    flags.add_argument("--json", metavar="FILE", help="also write the scores to this file")
    return flags


def main(argv: Sequence[str]) -> None:
    flags = parser().parse_args(argv)
    if flags.posts < 1:
        raise UserError(f"--posts {flags.posts}: a corpus has at least 1 post.")
    worlds = {name: world_named(name) for name in flags.world or WORLDS}
    results = {}
    for name, world in worlds.items():
        scores = evaluate(simulate(flags.posts, flags.seed, world))
        results[name] = [{key: _for_json(value) for key, value in asdict(score).items()} for score in scores]
        print(f"\n{name}, {flags.posts:,} posts, seed {flags.seed}\n{table(scores)}")
        a, b = luck(min(flags.posts, LUCK_POSTS), flags.seed, world)
        print(f"votes of a reply whose thread is run again: variance = {a:.2f} mean + {b:.3f} mean^2")
        print("\n".join(curve(score) for score in scores if score.rule in ("strict", "exposure")), flush=True)
    if flags.json:
        _write(flags, results)


def _write(flags: Namespace, results: dict) -> None:
    content = {"posts": flags.posts, "seed": flags.seed, "worlds": results}
    Path(flags.json).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    cli.run(main)
