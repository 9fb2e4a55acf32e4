"""What happens in a cascade, as data: findings of the rules, replies, and the events of a stream."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from llumi_jax.inference.writers import Post


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a hook noticed. `action`: "note" informs, "rewrite" asks for another reply, "withhold" ends it at once."""

    rule: str
    about: str  # "post", "gm" or "im"
    message: str
    action: str = "note"
    span: tuple[int, int] | None = None  # characters of the text it is about

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Hooks:
    """Where safety comes in. `triage` reads the post; `output` reads (post, role, text so far) of every reply.

    `name` identifies the rules in each output's provenance.
    """

    name: str = "none"
    triage: Callable[[Post], Sequence[Finding]] = lambda post: ()
    output: Callable[[Post, str, str], Sequence[Finding]] = lambda post, role, text: ()


@dataclasses.dataclass(frozen=True)
class Reply:
    """A finished text. `finish`: "stop", "length" (cut off at max_tokens) or "withheld"."""

    role: str
    text: str
    finish: str
    attempts: int
    findings: tuple[Finding, ...] = ()


@dataclasses.dataclass(frozen=True)
class Result:
    """All that became of one post."""

    post: Post
    triage: tuple[Finding, ...]
    replies: dict[str, Reply]

    @property
    def findings(self) -> list[Finding]:
        return [*self.triage, *(f for reply in self.replies.values() for f in reply.findings)]


@dataclasses.dataclass(frozen=True)
class Triaged:
    """The post was read."""

    findings: tuple[Finding, ...]


@dataclasses.dataclass(frozen=True)
class Began:
    """A reply is being written."""

    role: str


@dataclasses.dataclass(frozen=True)
class Said:
    """One more sentence, which the rules have seen."""

    role: str
    text: str


@dataclasses.dataclass(frozen=True)
class Cleared:
    """Take back what was shown of this reply: it is written anew, or withheld."""

    role: str
    findings: tuple[Finding, ...]


@dataclasses.dataclass(frozen=True)
class Ended:
    """A reply is finished, or withheld."""

    reply: Reply


Event = Triaged | Began | Said | Cleared | Ended
