"""The named rules: which of two replies to one post the community preferred, and how surely.

`strict` (default) asks for evidence against every known confound; `paper` follows the published recipe, for
replication. Clauses whose column a source lacks are off, and the card lists them.
"""

import functools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from data_pipelines import confidence, exposure
from data_pipelines.calibration import Calibration, cell_of
from data_pipelines.confidence import Prior
from data_pipelines.records import Pair, Post, Reply, Thread, Traits, known
from llumi_jax.cli import UserError, suggestion

RULES = ("strict", "exposure", "paper")
MAX_CHOSEN_PER_AUTHOR = 20
MAX_PAIRS_PER_POST = 5


@dataclass(frozen=True)
class Rule:
    """Every number of a rule; its dictionary is what the rule hash is taken of."""

    name: str
    min_ratio: float = 0.0
    min_gap: int = 1
    min_posterior: float = 0.5
    min_after_fuzz: float = 0.0
    time_order: bool = False
    window: int | None = None  # seconds that may lie between the two replies
    calm: bool = False
    chosen_quantile: float | None = None
    rejected_quantile: float | None = None
    max_uses: int = 2
    max_pairs_per_post: int = MAX_PAIRS_PER_POST
    max_chosen_per_author: int = MAX_CHOSEN_PER_AUTHOR

    def to_dict(self) -> dict:
        return asdict(self)

    def clauses_off(self, traits: Traits) -> list[str]:
        """Names the clauses of the rule that this source cannot feed."""
        known = {"time": traits.time, "fuzz": traits.fuzz, "ratio and gap": not traits.views, "views": traits.views}
        return [] if self.name == "paper" else [name for name, there in known.items() if not there]


def rule_for(name: str, traits: Traits) -> Rule:
    """Returns the rule as it applies to a source.

    Raises:
      UserError: there is no such rule.
    """
    if name == "paper":
        return Rule("paper", min_gap=15, chosen_quantile=0.98, rejected_quantile=0.15)
    if name == "exposure":
        if traits.views or not traits.time:
            why = "strict already counts the views of this source" if traits.views else "this source has no times"
            raise UserError(f"rule 'exposure' estimates how often a reply was seen, and {why}. Use --rule strict.")
        return Rule("exposure", min_gap=exposure.MIN_GAP, min_posterior=exposure.MIN_POSTERIOR, window=exposure.WINDOW)
    if name != "strict":
        raise UserError(f"unknown rule {name!r}. Rules: {', '.join(RULES)}.{suggestion(name, RULES)}")
    if traits.views:
        # One upvote is a signal where most answers have none: the posterior with exposure carries the rule.
        return Rule("strict", min_posterior=0.60, max_uses=3)
    return Rule(
        "strict",
        min_ratio=2.0,
        min_gap=3,
        min_posterior=0.90,
        min_after_fuzz=0.80 if traits.fuzz else 0.0,
        time_order=traits.time,
        calm=True,
    )


def check_reach(rule: Rule, scores: Iterable[int]) -> None:
    """Raises UserError if no two scores of the whole input lie as far apart as the rule `paper` asks."""
    found = set(scores)
    if rule.chosen_quantile is not None and found and max(found) - min(found) < rule.min_gap:
        raise UserError(
            f"rule '{rule.name}': gap {rule.min_gap} needed, highest score {max(found)}. Use --rule strict."
        )


Candidate = tuple[int, int, float]  # (index of chosen, of rejected, probability)


def candidates(thread: Thread, rule: Rule, traits: Traits, calibration: Calibration) -> list[Candidate]:
    """Returns every preference that the rule finds in a thread, before safety, caps, lengths and balance."""
    if calibration.exposure is not None:
        return exposure.exposure_candidates(
            thread, calibration.exposure, traits.fuzz, rule.min_posterior, rule.min_gap, rule.window or exposure.WINDOW
        )
    # Plain numbers first: most pairs of replies end there.
    agreed = list(_agreed(thread, rule, calibration))
    if not agreed:
        return []
    sure = zip(agreed, _certainty(thread.replies, agreed, traits, calibration.prior), strict=True)
    return [
        (chosen, rejected, max(after if traits.fuzz else posterior, 0.5))
        for (chosen, rejected), (posterior, after) in sure
        if posterior >= rule.min_posterior and after >= rule.min_after_fuzz
    ]


def _agreed(thread: Thread, rule: Rule, calibration: Calibration) -> Iterator[tuple[int, int]]:
    """Yields pairs of replies (higher, lower) whose votes and times meet the clauses of the rule, all but certainty."""
    replies = thread.replies
    scores = [known(reply.score) for reply in replies]
    least = min(scores, default=0)
    for c, high in enumerate(scores):
        if high - least < rule.min_gap or high < rule.min_ratio:
            continue
        for r, low in enumerate(scores):
            if high - low < rule.min_gap or high < rule.min_ratio * max(low, 1):
                continue
            if rule.time_order and known(replies[c].created) < known(replies[r].created):
                continue
            if rule.calm and (replies[c].controversiality or replies[r].controversiality):
                continue
            if _in_percentiles(thread.post, replies[c], replies[r], calibration):
                yield c, r


def _in_percentiles(post: Post, chosen: Reply, rejected: Reply, calibration: Calibration) -> bool:
    if calibration.chosen_from and known(chosen.score) < calibration.chosen_from.of(cell_of(post, chosen)):
        return False
    return not (calibration.rejected_to and known(rejected.score) > calibration.rejected_to.of(cell_of(post, rejected)))


def _certainty(
    replies: Sequence[Reply], pairs: Sequence[tuple[int, int]], traits: Traits, prior: Prior
) -> list[tuple[float, float]]:
    """Returns P(theta of the first > theta of the second) before and after the fuzz margin, for pairs of replies."""
    if traits.views:
        votes = confidence.votes([known(reply.score) for reply in replies], traits.self_vote)
        views = np.array([float(known(reply.views)) for reply in replies])
        c, r = np.array(pairs, int).reshape(-1, 2).T
        posterior = confidence.probability_preferred(votes[c], votes[r], prior, views[c], views[r]).tolist()
        return list(zip(posterior, posterior, strict=True))
    scores = [known(reply.score) for reply in replies]
    return [_of_scores(scores[c], scores[r], prior, traits.self_vote, traits.fuzz) for c, r in pairs]


@functools.lru_cache(maxsize=1 << 16)  # A few thousand pairs of scores make up nearly all of a dump.
def _of_scores(high: int, low: int, prior: Prior, self_vote: bool, fuzz: bool) -> tuple[float, float]:
    u, v = confidence.votes((high, low), self_vote)
    posterior = float(confidence.probability_preferred(u, v, prior))
    return posterior, float(confidence.after_fuzz(high, low, prior, self_vote)) if fuzz else posterior


def best_first(pairs: Sequence[Pair], tie: Callable[[Pair], float]) -> list[Pair]:
    return sorted(pairs, key=lambda pair: (-pair.probability, tie(pair)))


def cap(pairs: Iterable[Pair], rule: Rule, unless: Callable[[Pair], bool] = lambda pair: False) -> list[Pair]:
    """Takes pairs in the given order, within the caps per post, per reply and per author of the chosen reply.

    Args:
      unless: leaves a pair out; it may be slow, and is asked only about pairs that the caps let through.
    """
    posts: Counter[str] = Counter()
    uses: Counter[tuple[str, str]] = Counter()
    authors: Counter[str] = Counter()
    taken = []
    for pair in pairs:
        ends = [(pair.post.id, pair.chosen.id), (pair.post.id, pair.rejected.id)]
        author = pair.chosen.author
        if posts[pair.post.id] >= rule.max_pairs_per_post or any(uses[end] >= rule.max_uses for end in ends):
            continue
        if author is not None and authors[author] >= rule.max_chosen_per_author:
            continue
        if unless(pair):
            continue
        posts[pair.post.id] += 1
        uses.update(ends)
        if author is not None:
            authors[author] += 1
        taken.append(pair)
    return taken


def weighted(pairs: Sequence[Pair], scale: float = 1.0) -> list[Pair]:
    """Returns the pairs, weight times `scale / sqrt(pairs of that post)`: a busy thread must not drown the others."""
    posts = Counter(pair.post.id for pair in pairs)
    return [replace(pair, weight=pair.weight * scale / math.sqrt(posts[pair.post.id])) for pair in pairs]


def by_post(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    found = defaultdict(list)
    for pair in pairs:
        found[pair.post.id].append(pair)
    return dict(found)
