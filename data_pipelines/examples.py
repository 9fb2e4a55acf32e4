"""Replies to imitate (SFT): the best-voted of their kind for GM, revisions of a draft for IM."""

from collections import Counter
from collections.abc import Callable, Sequence

from data_pipelines import gate
from data_pipelines.records import Example, Pair
from data_pipelines.selection import Selected

MAX_PER_POST = 2
IM_WEIGHT = 0.5


def gm_examples(threads: Sequence[Selected]) -> list[Example]:
    """Returns at most two replies a post, the best first."""
    return [
        Example("gm", one.thread.post, one.thread.replies[index], weight=gate.weight(one.found[index]))
        for one in threads
        for index in one.high
    ]


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
