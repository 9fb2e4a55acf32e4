"""Pushshift and Arctic Shift dumps: newline-delimited JSON, one object a post or comment."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from data_pipelines.funnel import Funnel
from data_pipelines.records import Post, Reply, Traits
from data_pipelines.sources import reddit_fields
from data_pipelines.sources.broken import BrokenLines
from data_pipelines.sources.lines import Progress, read_blocks

TRAITS = Traits("reddit_dump", self_vote=True, fuzz=True, time=True, views=False, posts_are_rows=True)
KINDS = ("submissions", "comments")


def read(
    submissions: Iterable[str], comments: Iterable[str], funnel: Funnel, progress: Progress = lambda read: None
) -> Iterator[Post | Reply]:
    """Yields every post of the submission files, then every top-level reply of the comment files.

    Lines that cannot be read and nested comments are counted in `funnel` here; every other verdict is
    `eligibility`'s.

    Raises:
      UserError: a missing, truncated or damaged file, or more than 1 % broken lines.
    """
    for kind, paths in (("submissions", submissions), ("comments", comments)):
        for path in paths:
            broken = BrokenLines(str(path))
            for number, block in read_blocks(path, progress):
                yield from records(kind, block, number, funnel, broken)
            funnel.notes += broken.finish()


def records(kind: str, block: bytes, number: int, funnel: Funnel, broken: BrokenLines) -> Iterator[Post | Reply]:
    """Yields the posts (`kind` "submissions") or top-level replies ("comments") of a block of whole lines.

    Args:
      number: the number of the block's first line.
      broken: where lines that cannot be read are noted.
    """
    comments = kind == "comments"
    decode = (_COMMENTS if comments else _SUBMISSIONS).decode
    convert: Callable[[Any], Post | Reply] = reddit_fields.reply if comments else reddit_fields.post
    lines = block.split(b"\n")
    broken.lines += len(lines)
    asked = list(enumerate(lines, start=number))
    if comments:
        asked = [(at, line) for at, line in asked if _NESTED not in line and _NESTED_SPACED not in line]
    rows = blank = 0
    for at, line in asked:
        rows += 1
        try:
            record = convert(decode(line))
        except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
            if not line or line.isspace():
                blank += 1
                continue
            funnel.drop("broken_line")
            broken.add(at)
            continue
        yield record
    funnel.read(len(lines) - blank)
    funnel.drop("reply_nested", len(lines) - rows)
    broken.lines -= blank  # Blank lines are no rows.


# Inside a JSON string every quote is escaped, so these bytes can only be the key itself.
_NESTED, _NESTED_SPACED = b'"parent_id":"t1_', b'"parent_id": "t1_'
_SUBMISSIONS = msgspec.json.Decoder(reddit_fields.Submission)
_COMMENTS = msgspec.json.Decoder(reddit_fields.Comment)
