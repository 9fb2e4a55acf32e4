"""The vocabulary of this folder: what a source yields and what a rule makes of it.

Raw ids and authors live only in these records, in memory; what is written carries keyed hashes (see `identity`).
"""

from dataclasses import dataclass, field
from typing import Literal, TypeVar

import msgspec

T = TypeVar("T")
Task = Literal["gm", "im"]
Gone = Literal["deleted", "removed", "restored"]
SPLITS = ("train", "validation", "test", "test_later")


def known(value: T | None) -> T:
    """Returns a value that may be absent in a source but not here: the traits and the eligibility made sure of it."""
    if value is None:
        raise ValueError("a value that eligibility should have made sure of is absent")
    return value


# Posts and replies come by the million and wait on disk: structs are made, written and read back ten times faster than
# data classes. They hold no cycles, so the garbage collector need not look at them (`gc=False`).
# `msgspec.structs.replace` changes them; `copy.replace` and `dataclasses.replace` do not know them.
class Post(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One post that asks for support. `created` is in seconds, `None` where the source lacks it."""

    id: str
    community: str
    title: str
    body: str
    author: str | None = None
    created: int | None = None
    score: int | None = None
    is_text: bool = True
    gone: Gone | None = None
    contest: bool = False
    edited: bool = False
    over_18: bool = False


class Reply(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One reply to a post. `score` counts the votes as the source shows them, `views` how often it was seen.

    `created` and `score_age` are in seconds. `by_poster` is `None` where the source does not say it.
    """

    id: str
    post_id: str
    text: str
    author: str | None = None
    created: int | None = None
    score: int | None = None
    views: int | None = None
    score_hidden: bool | None = None
    score_age: int | None = None
    controversiality: int | None = None
    top_level: bool = True
    by_poster: bool | None = None
    official: bool = False
    gone: Gone | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """A preference between two replies to one post (GM), or between two revisions of one draft (IM).

    `probability` is the chance that `chosen` is truly preferred (.5-1); `weight` scales the pair's loss.
    """

    task: Task
    post: Post
    chosen: Reply
    rejected: Reply
    probability: float
    draft: Reply | None = None
    weight: float = 1.0
    source: str = "votes"

    @property
    def length_ratio(self) -> float:
        """Length of chosen over rejected, in characters."""
        return len(self.chosen.text) / len(self.rejected.text)


@dataclass(frozen=True, slots=True)
class Example:
    """A reply to imitate (SFT), with the draft that it revises for the task IM."""

    task: Task
    post: Post
    reply: Reply
    draft: Reply | None = None
    weight: float = 1.0
    source: str = "votes"


class Thread(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A post with its eligible replies, oldest first (order of the file where there are no times)."""

    post: Post
    replies: tuple[Reply, ...]


@dataclass(frozen=True)
class Traits:
    """What a source has, and the settings that follow from its size and kind (design of the three rules).

    self_vote: a reply starts at 1, its author's own vote.  fuzz: the site blurs scores.  time: replies carry times.
    views: replies carry a count of views (exposure).  posts_are_rows: posts are input rows of their own.
    fractions: of posts in each split.  later: share of the latest posts that never enter train, where there are times.
    """

    name: str
    self_vote: bool
    fuzz: bool
    time: bool
    views: bool
    posts_are_rows: bool
    fractions: dict[str, float] = field(default_factory=lambda: {"train": 0.9, "validation": 0.05, "test": 0.05})
    later: float = 0.05
