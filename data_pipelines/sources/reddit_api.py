"""JSON as Reddit's API answers it, and as PRAW's objects are commonly written: `Listing`s of posts and comments.

A file holds one JSON document, or one a line. A thread's page is a list, `[Listing of the post, Listing of comments]`;
the replies to a comment are a `Listing` within it, or "". Every post and every comment at any depth is one row of the
input; a document in which nothing of the kind is found counts as one broken row. `more` stubs, which stand for
comments that were not fetched, are no rows: they are counted in a remark.

The API does not say when it was asked, and a young score means little: where a document (or a first line with nothing
else) says `"retrieved_utc": seconds`, it holds for everything in it (after it), else the age of scores is unknown.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from data_pipelines.funnel import Funnel
from data_pipelines.records import Post, Reply, Traits
from data_pipelines.sources import reddit_fields
from data_pipelines.sources.broken import BrokenLines
from data_pipelines.sources.broken_rows import BrokenRows
from data_pipelines.sources.lines import Progress, read_lines
from llumi_jax.cli import UserError

TRAITS = Traits("reddit_api", self_vote=True, fuzz=True, time=True, views=False, posts_are_rows=True)

MAX_DOCUMENT_BYTES = 256 << 20
_POST, _COMMENT, _MORE, _LISTING, _WRAPPER = "t3", "t1", "more", "Listing", ""
_INSIDE = {_LISTING: "children", _COMMENT: "replies", _POST: "replies"}
# The first line of a document that goes on over many lines, as every tool indents JSON.
_OPENING = re.compile(rb"[\s\[{]+")


class _Thing(NamedTuple):
    """What the API calls a thing: its kind and its fields, and when it was retrieved, if that is known."""

    kind: str
    data: Any
    retrieved: Any


class _Stubs:
    """How many comments the `more` stubs stand for: those directly below posts, and all of them."""

    def __init__(self) -> None:
        self.direct = self.all = 0

    def add(self, data: dict) -> None:
        count, children = data.get("count"), data.get("children")
        number = max(count if isinstance(count, int) else 0, len(children) if isinstance(children, list) else 0)
        self.all += number
        self.direct += number if str(data.get("parent_id", "")).startswith("t3_") else 0

    def remarks(self) -> list[str]:
        if not self.all:
            return []
        return [
            f"'more' stubs stand for {self.all:,} comments that are not in the files, {self.direct:,} of them in stubs "
            "directly below a post: fetch those too, or later replies are missing"
        ]


def read(
    paths: Iterable[str], funnel: Funnel, progress: Progress = lambda read: None, retrieved_utc: int | None = None
) -> Iterator[Post | Reply]:
    """Yields every post and every comment of the files, in their order; nested comments are not `top_level`.

    Args:
      retrieved_utc: when the files were fetched, in seconds since 1970, for those that do not say it themselves.

    Raises:
      UserError: a missing or damaged file, one JSON document of more than 256 MiB, or more than 1 % broken rows.
    """
    stubs = _Stubs()
    for path in paths:
        yield from _read_file(str(path), funnel, progress, retrieved_utc, stubs)
    funnel.notes += stubs.remarks()


def _read_file(path: str, funnel: Funnel, progress: Progress, seen: Any, stubs: _Stubs) -> Iterator[Post | Reply]:
    broken, documents = _documents(path, progress)
    for number, document in documents:
        found = False
        for thing in _things(document, seen):
            found = True
            if thing.kind == _MORE:
                stubs.add(thing.data)
            elif thing.kind in (_POST, _COMMENT):
                record = _record(thing)
                _count(record is not None, number, broken, funnel)
                if record is not None:
                    yield record
        if not found and isinstance(document, dict) and "retrieved_utc" in document:
            seen = document["retrieved_utc"]
        elif not found:
            _count(False, number, broken, funnel)
    funnel.notes += broken.finish()


def _count(readable: bool, number: int | None, broken: BrokenLines, funnel: Funnel) -> None:
    funnel.read()
    broken.lines += 1
    if not readable:
        funnel.drop("broken_line")
        broken.add(number or broken.lines)


def _documents(path: str, progress: Progress) -> tuple[BrokenLines, Iterator[tuple[int | None, Any]]]:
    """Returns the documents with their line numbers: one a line, or one alone (None) that runs over many lines."""
    lines = ((number, line) for number, line in enumerate(read_lines(path, progress), start=1) if line.strip())
    first = [(number, line.removeprefix(b"\xef\xbb\xbf")) for number, line in itertools.islice(lines, 1)]
    every = itertools.chain(first, lines)
    if first and _OPENING.fullmatch(first[0][1]):
        return BrokenRows(path), iter([(None, _whole(path, every))])
    return BrokenLines(path), ((number, _decoded(line)) for number, line in every)


def _whole(path: str, lines: Iterable[tuple[int, bytes]]) -> Any:
    document = bytearray()
    for _, line in lines:
        document += line + b"\n"
        if len(document) > MAX_DOCUMENT_BYTES:
            raise UserError(
                f"{path} is one JSON document of more than {MAX_DOCUMENT_BYTES >> 20} MiB. Write one page a line."
            )
    found = _decoded(bytes(document))
    if found is None:
        raise UserError(f"{path} is no complete JSON document, nor one document a line. Fetch it again.")
    return found


def _decoded(document: bytes) -> Any:
    """Returns the decoded document, None if it is no JSON (or `null`, which holds nothing either)."""
    try:
        return msgspec.json.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _things(document: Any, seen: Any) -> Iterator[_Thing]:
    """Yields what is in a document, outermost first; a stack of our own goes as deep as threads do."""
    stack = [(document, seen)]
    while stack:
        node, seen = stack.pop()
        if isinstance(node, list):
            stack += [(child, seen) for child in reversed(node)]
        elif isinstance(node, dict):
            seen = node.get("retrieved_utc", seen)
            kind, data = _kind(node)
            if kind != _WRAPPER:
                yield _Thing(kind, data, seen)
            stack.append((list(data.values()) if kind == _WRAPPER else data.get(_INSIDE.get(kind)), seen))


def _kind(node: dict) -> tuple[str, dict]:
    """Returns a thing's kind and fields. PRAW's objects bear their fields themselves; other objects are wrappers."""
    if isinstance(node.get("kind"), str):
        return node["kind"], node["data"] if isinstance(node.get("data"), dict) else {}
    prefix = str(node.get("name", ""))[:3]
    if prefix == "t1_" or "body" in node:
        return _COMMENT, node
    return (_POST if prefix == "t3_" or "title" in node else _WRAPPER), node


def _record(thing: _Thing) -> Post | Reply | None:
    """Returns the post or reply that a thing is, None if its fields cannot be read."""
    try:
        if thing.kind == _POST:
            submission = msgspec.convert(thing.data, reddit_fields.Submission, strict=False)
            return reddit_fields.post(submission)
        comment = msgspec.convert(thing.data, reddit_fields.Comment, strict=False)
        if reddit_fields.retrieved(comment) is None and isinstance(thing.retrieved, int | float | str):
            comment.retrieved_utc = thing.retrieved
        return reddit_fields.reply(comment)
    except (msgspec.ValidationError, ValueError, OverflowError):
        return None
