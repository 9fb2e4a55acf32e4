"""Posts meet their replies: what was kept of some posts, and of all their replies, becomes threads."""

from collections import Counter
from collections.abc import Collection, Iterable

from data_pipelines import eligibility
from data_pipelines.funnel import Funnel
from data_pipelines.ingest import DAY, Gone
from data_pipelines.months import month_of
from data_pipelines.records import Post, Reply, Thread, Traits, known


def threads(
    posts: Iterable[Post],
    replies: Iterable[Reply],
    gone: Iterable[Gone],
    traits: Traits,
    funnel: Funnel,
    refused: Collection[str] = (),
) -> list[Thread]:
    """Returns the threads of eligible posts with at least one eligible reply each, in the order of their ids.

    What comes out does not depend on the order of the rows, except that replies without times keep theirs.

    Args:
      gone: posts that were dropped and replies that were taken back, in whatever copy of them.
      refused: months whose scores cannot be used.
    """
    taken_back = set(gone)
    by_id = _posts(posts, taken_back, traits, funnel)
    groups = _groups(replies, by_id, taken_back, refused, funnel)
    found = [Thread(by_id[post_id], _oldest(list(group.values()), funnel)) for post_id, group in sorted(groups.items())]
    funnel.drop("post_without_replies", len(by_id) - len(found) if traits.posts_are_rows else 0)
    return found


def _posts(posts: Iterable[Post], taken_back: set[Gone], traits: Traits, funnel: Funnel) -> dict[str, Post]:
    rows = int(traits.posts_are_rows)
    by_id: dict[str, Post] = {}
    for post in posts:
        if (post.id, "") in taken_back:
            funnel.drop("post_taken_back", rows)
            continue
        other = by_id.get(post.id)
        funnel.drop("post_repeated", rows if other else 0)
        by_id[post.id] = post if other is None else max(other, post, key=lambda p: (p.score or 0, p.body, repr(p)))
    return by_id


def _groups(
    replies: Iterable[Reply],
    posts: dict[str, Post],
    taken_back: set[Gone],
    refused: Collection[str],
    funnel: Funnel,
) -> dict[str, dict[str, Reply]]:
    groups: dict[str, dict[str, Reply]] = {}
    copies: Counter[str] = Counter()
    scores: dict[tuple[str, str], set[int | None]] = {}
    for reply in replies:
        reason = _judge(reply, posts.get(reply.post_id), taken_back, refused)
        if reason:
            funnel.drop(reason)
            continue
        group = groups.setdefault(reply.post_id, {})
        other = group.get(reply.id)
        if other is not None:
            funnel.drop("reply_repeated")
            copies["copies"] += 1
            scores.setdefault((reply.post_id, reply.id), {other.score}).add(reply.score)
            reply = reply if reply == other else max(other, reply, key=_freshness)
        group[reply.id] = reply
    copies["other_score"] = sum(len(seen) - 1 for seen in scores.values())
    funnel.merges += copies
    return groups


def _judge(reply: Reply, post: Post | None, taken_back: set[Gone], refused: Collection[str]) -> str | None:
    if post is None:
        return "reply_post_dropped" if (reply.post_id, "") in taken_back else "reply_orphan"
    if (reply.post_id, reply.id) in taken_back:
        return "reply_taken_back"
    if refused and reply.created is not None and month_of(reply.created // DAY) in refused:
        return "reply_dead_month"
    return eligibility.judge_reply_to(reply, post)


def _freshness(reply: Reply) -> tuple[int, int, str, str]:
    """The score seen last counts; between equals the larger, as merged dumps do: no order of rows matters."""
    return reply.score_age or 0, abs(known(reply.score)), reply.text, repr(reply)


def _oldest(group: list[Reply], funnel: Funnel) -> tuple[Reply, ...]:
    if group[0].created is not None:
        group.sort(key=lambda reply: (known(reply.created), reply.id))
    funnel.drop("reply_beyond_first_50", max(len(group) - eligibility.MAX_REPLIES, 0))
    return tuple(group[: eligibility.MAX_REPLIES])
