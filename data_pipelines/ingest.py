"""From records to what is kept: every row is judged by itself, once, in whatever order the rows come."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from data_pipelines import eligibility
from data_pipelines.eligibility import Options
from data_pipelines.funnel import Funnel
from data_pipelines.identity import Hasher
from data_pipelines.records import Post, Reply, Traits

DAY = 24 * 3600
Gone = tuple[str, str]  # (post id, reply id or "" for the post itself)


@dataclass(frozen=True)
class Tombstones:
    """Who and what must be forgotten: raw names and ids of posts and replies, or their hashes under the build's key."""

    entries: frozenset[str] = frozenset()

    @classmethod
    def of(cls, lines: Iterable[str]) -> "Tombstones":
        """Takes lines as people write them: `u/name`, `t3_abc`, `t1_def`, a bare name or id, a hash, a # comment."""
        bare = (line.split("#")[0].strip() for line in lines)
        return cls(frozenset(_without_prefix(entry) for entry in bare if entry))

    def cover(self, record: Post | Reply, hasher: Hasher) -> bool:
        """Whether a record, its author or (for a reply) its post is named."""
        if not self.entries:
            return False
        names = {record.id, hasher.id("post" if isinstance(record, Post) else "reply", record.id)}
        post = record.id if isinstance(record, Post) else record.post_id
        names |= {post, hasher.id("post", post), hasher.id("thread", post, "")}
        if record.author:
            names |= {record.author, hasher.id("author", record.author)}
        return not names.isdisjoint(self.entries)


def _without_prefix(entry: str) -> str:
    for prefix in ("/u/", "u/", "t1_", "t3_"):
        if entry.startswith(prefix):
            return entry[len(prefix) :]
    return entry


@dataclass
class Kept:
    """What a part of the input leaves: eligible records, what was taken back, and sums over the rows.

    votes_by_day: day -> [eligible replies, sum of their scores, those of score 1].  Days are counted from 1970.
    """

    funnel: Funnel = field(default_factory=Funnel)
    posts: list[Post] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    gone: list[Gone] = field(default_factory=list)
    votes_by_day: dict[int, list[int]] = field(default_factory=dict)
    posts_by_day: Counter[int] = field(default_factory=Counter)


def keep(
    records: Iterable[Post | Reply],
    traits: Traits,
    options: Options,
    tombstones: Tombstones,
    hasher: Hasher,
    into: Kept,
) -> Kept:
    """Judges records and adds them to `into`, where every dropped one is counted."""
    for record in records:
        if isinstance(record, Post):
            _keep_post(record, traits, options, tombstones.cover(record, hasher), into)
        else:
            _keep_reply(record, options, tombstones.cover(record, hasher), into)
    return into


def _keep_post(post: Post, traits: Traits, options: Options, forget: bool, into: Kept) -> None:
    reason = "post_tombstone" if forget else eligibility.judge_post(post, traits, options)
    if reason:
        into.funnel.drop(reason, int(traits.posts_are_rows))
        into.gone.append((post.id, ""))
        return
    into.posts.append(post)
    if post.created is not None:
        into.posts_by_day[post.created // DAY] += 1


def _keep_reply(reply: Reply, options: Options, forget: bool, into: Kept) -> None:
    reason = "reply_tombstone" if forget else eligibility.judge_reply(reply, options)
    if reason:
        into.funnel.drop(reason)
        # Another dump of the same month may still hold the text: what was taken back stays taken back.
        if forget or reply.gone:
            into.gone.append((reply.post_id, reply.id))
        return
    into.replies.append(reply)
    if reply.created is not None and reply.score is not None:
        sums = into.votes_by_day.setdefault(reply.created // DAY, [0, 0, 0])
        sums[0] += 1
        sums[1] += reply.score
        sums[2] += reply.score == 1
