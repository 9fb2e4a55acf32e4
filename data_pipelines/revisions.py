"""IM pairs: a draft, another person's better reply to the same post as its revision, and what to turn away from.

The rejected side is the draft itself or, for at least half of the pairs, an *over-written* revision: a reply to the
same post that the community liked no less than the draft, but that says something else. Were the draft always the
rejected one, the model would learn to leave it behind.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import zip_longest

from data_pipelines.balance import balance_length, comparable
from data_pipelines.pairing import MAX_PAIRS_PER_POST, best_first
from data_pipelines.records import Pair, Reply, Thread, known
from data_pipelines.similarity import Similarity

MAX_GROWTH = 2.0
MAX_DRAFT_USES = 2
MAX_TARGET_USES = 3
OVERWRITTEN = "votes_overwritten"
# What a model revised (`synthetic`); the model's name follows after a colon.
MADE = "synthetic"
MADE_OVERWRITTEN = "synthetic_overwritten"
Order = Callable[[Pair], float]


def kind(source: str) -> str:
    """Returns the source of a pair without the name of a model: one of four."""
    return source.partition(":")[0]


def is_made(source: str) -> bool:
    """Whether a model wrote the revision."""
    return kind(source) in (MADE, MADE_OVERWRITTEN)


def is_overwritten(source: str) -> bool:
    """Whether the rejected side is an over-written revision instead of the draft."""
    return kind(source) in (OVERWRITTEN, MADE_OVERWRITTEN)


def revisions(preferences: Sequence[Pair], similarity: Similarity, same: float = 1.0) -> list[Pair]:
    """Returns the GM preferences whose chosen reply can pass for a revision of the rejected one (the draft).

    Args:
      same: from this similarity on two replies say the same, and neither revises the other.
    """
    return [
        pair
        for pair in preferences
        if len(pair.chosen.text) <= MAX_GROWTH * len(pair.rejected.text)
        and comparable(pair)
        and similarity.threshold <= similarity.cosine(pair.chosen.text, pair.rejected.text) < same
    ]


def candidates(found: Sequence[Pair], threads: Sequence[Thread], similarity: Similarity, order: Order) -> list[Pair]:
    """Returns IM pairs: each revision against its draft, and against an over-written revision where there is one.

    Args:
      found: what `revisions` returned.
      threads: the threads that these pairs come from.
      order: tie-break, independent of content.
    """
    replies = {thread.post.id: thread.replies for thread in threads}
    made = []
    for pair in _capped(best_first(found, order)):
        draft, target = pair.rejected, pair.chosen
        made.append(Pair("im", pair.post, target, draft, pair.probability, draft=draft, weight=pair.weight))
        other = _overwritten(draft, target, replies[pair.post.id], similarity)
        if other is not None:
            made.append(
                Pair(
                    "im",
                    pair.post,
                    target,
                    other,
                    pair.probability,
                    draft=draft,
                    weight=pair.weight,
                    source=OVERWRITTEN,
                )
            )
    return [pair for pair in made if comparable(pair)]


def balanced(found: Sequence[Pair], order: Order, before: Sequence[Pair] = ()) -> list[Pair]:
    """Returns at most five pairs a post, balanced in length on both kinds, at least half of them over-written.

    Args:
      before: pairs that were taken already, and count among the five of their post.
    """
    posts = Counter(pair.post.id for pair in before)
    overwritten = balance_length(_at_most([p for p in found if is_overwritten(p.source)], posts.copy()), order)
    posts.update(pair.post.id for pair in overwritten)
    plain = balance_length(_at_most([p for p in found if not is_overwritten(p.source)], posts), order)
    return overwritten + _as_many(plain, len(overwritten))


def _capped(ordered: Sequence[Pair]) -> list[Pair]:
    posts: Counter[str] = Counter()
    drafts: Counter[tuple[str, str]] = Counter()
    targets: Counter[tuple[str, str]] = Counter()
    taken = []
    for pair in ordered:
        draft, target = (pair.post.id, pair.rejected.id), (pair.post.id, pair.chosen.id)
        if posts[pair.post.id] >= MAX_PAIRS_PER_POST:
            continue
        if drafts[draft] >= MAX_DRAFT_USES or targets[target] >= MAX_TARGET_USES:
            continue
        posts[pair.post.id] += 1
        drafts[draft] += 1
        targets[target] += 1
        taken.append(pair)
    return taken


def _overwritten(draft: Reply, target: Reply, replies: Sequence[Reply], similarity: Similarity) -> Reply | None:
    """The reply least like the draft among those voted between draft and target; None if none is less like it."""
    others = [
        (similarity.cosine(draft.text, reply.text), reply.id, reply)
        for reply in replies
        if reply.id not in (draft.id, target.id) and known(draft.score) <= known(reply.score) <= known(target.score)
    ]
    least = min(others, default=None, key=lambda other: other[:2])
    if least is None or least[0] >= similarity.cosine(draft.text, target.text):
        return None
    return least[2]


def _as_many(plain: Sequence[Pair], count: int) -> list[Pair]:
    """Takes `count` pairs, longer and shorter chosen replies in turn, so that the balance of lengths stays."""
    longer = [pair for pair in plain if pair.length_ratio > 1]
    shorter = [pair for pair in plain if pair.length_ratio <= 1]
    turns = [pair for both in zip_longest(longer, shorter) for pair in both if pair is not None]
    return turns[:count]


def _at_most(found: Sequence[Pair], posts: Counter[str]) -> list[Pair]:
    """Keeps at most five pairs a post, those counted in `posts` included; counts on in it."""
    taken = []
    for pair in found:
        if posts[pair.post.id] < MAX_PAIRS_PER_POST:
            posts[pair.post.id] += 1
            taken.append(pair)
    return taken
