"""From a source's records to threads: each row is judged once, and what is left is sorted by post."""

from collections.abc import Iterable
from dataclasses import replace

from data_pipelines import eligibility, privacy
from data_pipelines.funnel import Funnel
from data_pipelines.names import mask_names
from data_pipelines.near_duplicates import Clusters
from data_pipelines.records import Post, Reply, Thread, Traits, known

TEMPLATE_POSTS = 3


def threads(records: Iterable[Post | Reply], traits: Traits, funnel: Funnel) -> list[Thread]:
    """Returns the threads of eligible posts with at least one eligible reply each, personal details masked.

    Args:
      records: posts before their replies.
      funnel: every dropped row is counted here; rows themselves are counted by the reader.
    """
    posts: dict[str, Post | None] = {}
    replies: dict[str, dict[str, Reply]] = {}
    for record in records:
        if isinstance(record, Post):
            _take_post(record, posts, traits, funnel)
        else:
            _take_reply(record, posts, replies, funnel)
    found = [
        Thread(_masked_post(known(posts[post_id])), _oldest(list(group.values()), funnel))
        for post_id, group in replies.items()
    ]
    funnel.drop("post_without_replies", _posts_kept(posts) - len(found) if traits.posts_are_rows else 0)
    return mask_names(found)


def _posts_kept(posts: dict[str, Post | None]) -> int:
    return sum(post is not None for post in posts.values())


def _take_post(post: Post, posts: dict[str, Post | None], traits: Traits, funnel: Funnel) -> None:
    rows = int(traits.posts_are_rows)
    if post.id in posts:
        funnel.drop("post_repeated", rows)
        return
    reason = eligibility.judge_post(post, traits)
    if reason:
        funnel.drop(reason, rows)
    posts[post.id] = None if reason else post


def _take_reply(reply: Reply, posts: dict, replies: dict[str, dict[str, Reply]], funnel: Funnel) -> None:
    if reply.post_id not in posts:
        funnel.drop("reply_orphan")
        return
    post = posts[reply.post_id]
    if post is None:
        funnel.drop("reply_post_dropped")
        return
    group = replies.get(reply.post_id, {})
    if reply.id in group:
        # Merged dumps hold a reply twice: the score seen last is the one that counts.
        if (reply.score_age or 0) <= (group[reply.id].score_age or 0) or eligibility.judge_reply(reply, post):
            funnel.drop("reply_repeated")
            return
    reason = eligibility.judge_reply(reply, post)
    if reason:
        funnel.drop(reason)
        return
    if reply.id in group:
        funnel.drop("reply_repeated")
    group[reply.id] = replace(reply, text=privacy.mask(reply.text))
    replies[reply.post_id] = group


def _masked_post(post: Post) -> Post:
    return replace(post, title=privacy.mask(post.title), body=privacy.mask(post.body))


def _oldest(group: list[Reply], funnel: Funnel) -> tuple[Reply, ...]:
    if group[0].created is not None:
        group.sort(key=lambda reply: (known(reply.created), reply.id))
    funnel.drop("reply_beyond_first_50", max(len(group) - eligibility.MAX_REPLIES, 0))
    return tuple(group[: eligibility.MAX_REPLIES])


def without_copies(found: list[Thread], traits: Traits, funnel: Funnel) -> tuple[list[Thread], Clusters]:
    """Drops templates (a text under 3 posts or more) and all but the first of near-duplicate replies.

    Returns the threads that still have replies, and the clusters of near-duplicate posts, by place in that list.
    """
    replies = [reply for thread in found for reply in thread.replies]
    dropped: set[tuple[str, str]] = set()
    for cluster in Clusters.of([reply.text for reply in replies]).groups():
        members = [replies[index] for index in cluster]
        template = len({reply.post_id for reply in members}) >= TEMPLATE_POSTS
        first = min(members, key=lambda reply: (reply.created or 0, members.index(reply)))
        gone = members if template else [reply for reply in members if reply is not first]
        funnel.drop("reply_template" if template else "reply_near_duplicate", len(gone))
        dropped.update((reply.post_id, reply.id) for reply in gone)
    left = [
        Thread(thread.post, kept)
        for thread in found
        if (kept := tuple(reply for reply in thread.replies if (reply.post_id, reply.id) not in dropped))
    ]
    funnel.drop("post_without_replies", len(found) - len(left) if traits.posts_are_rows else 0)
    return left, Clusters.of([f"{thread.post.title}\n{thread.post.body}" for thread in left])
