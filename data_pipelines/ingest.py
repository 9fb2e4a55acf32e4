"""From records to what is kept: every row is judged by itself, once, in whatever order the rows come."""

import functools
import re
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
# How people write a name or an id: with what stands before it on the site, or as an address there (of a profile, of a
# post, of a reply below it).
_WRITTEN = (
    re.compile(r"(?:(?:https?://)?[^/\s]*/?(?:user|u)/|@|t[13]_)([^/\s]+)/?"),
    re.compile(r"(?:https?://)?\S*/comments/(\w+)(?:/[^/\s]*)?/?"),
    re.compile(r"(?:https?://)?\S*/comments/\w+/[^/\s]*/(\w+)/?"),
)
_HASH = re.compile(r"[0-9a-f]{24}")


@dataclass(frozen=True)
class Tombstones:
    """Who and what must be forgotten: raw names and ids of posts and replies, or their hashes under the build's key.

    Of hashes it knows those of `identity.Hasher` for a post, a reply and an author, and those that a dataset shows: a
    `thread_id` (for the task gm) stands for the post and all replies to it, a `reply_id` (gm) for that reply.
    """

    entries: frozenset[str] = frozenset()

    @classmethod
    def of(cls, lines: Iterable[str]) -> "Tombstones":
        """Takes lines as people write them: `u/name`, `t3_abc`, an address, a bare name or id, a hash, a # comment.

        Upper and lower case are the same: sites take names so, and nobody should stay because of a letter's case.
        """
        bare = {line.split("#")[0].strip().removeprefix("\ufeff").casefold() for line in lines} - {""}
        named = {match[1] for entry in bare for form in _WRITTEN if (match := form.fullmatch(entry))}
        return cls(frozenset(bare | named))  # As they stand, too: somebody may be called "t1_x".

    def cover(self, record: Post | Reply, hasher: Hasher) -> bool:
        """Whether a record, its author or (for a reply) its post is named."""
        if not self.entries:
            return False
        post = record.id if isinstance(record, Post) else record.post_id
        raw = {record.id, post, record.author or record.id}
        if not self.entries.isdisjoint(map(str.casefold, raw)):
            return True
        return self._has_hashes and not self.entries.isdisjoint(_hashes(record, post, hasher))

    @functools.cached_property
    def _has_hashes(self) -> bool:
        """Hashing every row takes longer than judging it."""
        return any(map(_HASH.fullmatch, self.entries))


def _hashes(record: Post | Reply, post: str, hasher: Hasher) -> set[str]:
    found = {hasher.id("post", post), hasher.id("thread", post, "")}
    if isinstance(record, Reply):
        found |= {hasher.id("reply", record.id), hasher.id("reply", post, "", record.id)}
    if record.author:
        found.add(hasher.id("author", record.author))
    return found


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
