"""Texts that stand more than once: templates and copied replies go, copies of posts stay on one side of the splits."""

from collections.abc import Collection, Sequence

import numpy as np
from msgspec.structs import replace

from data_pipelines import names
from data_pipelines.funnel import Funnel
from data_pipelines.near_duplicates import BANDS, Clusters
from data_pipelines.records import Traits
from data_pipelines.selection import Selected, with_keys

TEMPLATE_POSTS = 3


def without_copies(found: Sequence[Selected], traits: Traits, funnel: Funnel) -> list[Selected]:
    """Drops templates (a text under 3 posts or more), all but the first of near-duplicate replies, and posts that
    stand in another split than the oldest of their near-duplicates, with their replies."""
    return _without_copied_replies(_on_one_side(_with_fresh_keys(found), traits, funnel), traits, funnel)


def _with_fresh_keys(found: Sequence[Selected]) -> list[Selected]:
    """Makes the keys anew where names may have been masked since: what differed in a name alone is a copy now."""
    old = [index for index, one in enumerate(found) if _names_somebody(one)]
    fresh = dict(zip(old, with_keys([found[index] for index in old]), strict=True))
    return [fresh.get(index, one) for index, one in enumerate(found)]


def _names_somebody(one: Selected) -> bool:
    post, replies = one.thread.post, one.thread.replies
    return any(names.PLACEHOLDER in text for text in (post.title, post.body, *(reply.text for reply in replies)))


def _on_one_side(found: Sequence[Selected], traits: Traits, funnel: Funnel) -> list[Selected]:
    posts = [one.thread.post for one in found]
    clusters = Clusters.of([f"{post.title}\n{post.body}" for post in posts], _stack([one.post_key for one in found]))
    gone = set()
    for cluster in clusters.groups():
        oldest = min(cluster, key=lambda index: (posts[index].created or 0, posts[index].id))
        gone |= {index for index in cluster if found[index].split != found[oldest].split}
    for index in gone:
        funnel.drop("post_near_duplicate", int(traits.posts_are_rows))
        funnel.drop("reply_post_dropped", len(found[index].thread.replies))
    return [one for index, one in enumerate(found) if index not in gone]


def _without_copied_replies(found: Sequence[Selected], traits: Traits, funnel: Funnel) -> list[Selected]:
    places = [(i, j) for i, one in enumerate(found) for j in range(len(one.thread.replies))]
    replies = [found[i].thread.replies[j] for i, j in places]
    keys = _stack([key for one in found for key in one.reply_keys])
    gone: dict[int, set[int]] = {}
    for cluster in Clusters.of([reply.text for reply in replies], keys).groups():
        template = len({replies[index].post_id for index in cluster}) >= TEMPLATE_POSTS
        first = min(cluster, key=lambda index: (replies[index].created or 0, replies[index].post_id, index))
        dropped = [index for index in cluster if template or index != first]
        funnel.drop("reply_template" if template else "reply_near_duplicate", len(dropped))
        for index in dropped:
            gone.setdefault(places[index][0], set()).add(places[index][1])
    left = [keep_replies(one, gone[i]) if i in gone else one for i, one in enumerate(found)]
    funnel.drop("post_without_replies", sum(not one.thread.replies for one in left) * traits.posts_are_rows)
    return [one for one in left if one.thread.replies]


def keep_replies(one: Selected, gone: Collection[int]) -> Selected:
    """Returns the thread without the replies of these indices."""
    kept = [index for index in range(len(one.thread.replies)) if index not in gone]
    new = {old: index for index, old in enumerate(kept)}
    return replace(
        one,
        thread=replace(one.thread, replies=tuple(one.thread.replies[index] for index in kept)),
        candidates=[(new[c], new[r], p) for c, r, p in one.candidates if c in new and r in new],
        high=[new[index] for index in one.high if index in new],
        found=[one.found[index] for index in kept],
        reply_keys=[one.reply_keys[index] for index in kept],
    )


def _stack(keys: Sequence[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(keys), np.uint64).reshape(-1, BANDS)
