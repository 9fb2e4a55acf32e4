"""Any CSV, JSONL or parquet file of voted replies, by a mapping from our fields to its columns.

One row is one reply with its post repeated, and one row of the input. What the table has no column for is unknown:
`traits` says which clauses of the rules that turns off.
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from data_pipelines.funnel import Funnel
from data_pipelines.records import Post, Reply, Traits
from data_pipelines.sources import values
from data_pipelines.sources.lines import Progress
from data_pipelines.sources.tables import Row, Table, converted, open_table
from llumi_jax.cli import UserError, suggestion

NEEDED = ("post_id", "post", "reply", "score")
OPTIONAL = ("title", "author", "post_author", "created", "views", "community", "reply_id")
FIELDS = (*NEEDED, *OPTIONAL)
_OTHER_NAMES = {"text": "reply", "body": "post"}
_IDS = ("post_id", "reply_id")
_EXAMPLE = "--columns post_id=thread,post=question,reply=answer,score=likes"

# How a cell of each field is read, and what it should hold.
_FORMS: dict[str, tuple[Callable[[Any], Any], str]] = {
    **dict.fromkeys(FIELDS, (values.label, "text")),
    **dict.fromkeys(("post", "reply", "title"), (values.text, "text")),
    "post_id": (values.identifier, "an id"),
    "score": (values.whole, "a whole number of votes"),
    "views": (values.whole, "a whole number of views"),
    "created": (values.epoch, "a time, in seconds since 1970 or as ISO 8601"),
}


def parse_mapping(items: Sequence[str]) -> dict[str, str]:
    """Returns field -> column from flags such as `post_id=thread,reply=answer`, in the order of `FIELDS`.

    A column whose name holds a comma is put in quotes with its field: `'"reply=Answer, in full"'`.

    Raises:
      UserError: a part without `=`, an unknown or repeated field, one column for two fields, a needed field missing.
    """
    found: dict[str, str] = {}
    for part in _parts(items):
        name, equals, column = (piece.strip() for piece in part.partition("="))
        if not (name and equals and column):
            raise UserError(f"--columns {part!r}: write FIELD=COLUMN, as in {_EXAMPLE}.")
        field = _OTHER_NAMES.get(name, name)
        if field not in FIELDS:
            near = suggestion(name, (*FIELDS, *_OTHER_NAMES))
            raise UserError(f"--columns {part!r}: unknown field {name!r}. Fields are: {', '.join(FIELDS)}.{near}")
        if field in found:
            raise UserError(f"--columns {part!r}: {field} is already {found[field]!r}. Give each field once.")
        found[field] = column
    _check(found)
    return {field: found[field] for field in FIELDS if field in found}


def _parts(items: Sequence[str]) -> Iterator[str]:
    for item in items:
        try:
            rows = list(csv.reader([item], skipinitialspace=True))
        except csv.Error:
            raise UserError(f"--columns {item!r}: write FIELD=COLUMN,FIELD=COLUMN, as in {_EXAMPLE}.") from None
        yield from (part for row in rows for part in row if part.strip())


def _check(found: Mapping[str, str]) -> None:
    missing = [field for field in NEEDED if field not in found]
    if missing:
        raise UserError(f"--columns lacks {', '.join(missing)}: say which column holds it, as in {_EXAMPLE}.")
    # An id may be made of a text that no other post has, everything else is read from a column of its own.
    owners: dict[str, str] = {}
    for field, column in found.items():
        if field in _IDS:
            continue
        if column in owners:
            raise UserError(f"--columns: {owners[column]} and {field} are both {column!r}. Give each its own column.")
        owners[column] = field


def traits(mapping: Mapping[str, str], self_vote: bool = False, fuzz: bool = False) -> Traits:
    """Returns what a table has, from the columns that are mapped.

    Args:
      self_vote: a reply starts at 1, by its own author's vote, as on Reddit.
      fuzz: the site shows scores that it has blurred.
    """
    return Traits("table", self_vote, fuzz, time="created" in mapping, views="views" in mapping, posts_are_rows=False)


TRAITS = traits({})


def read(
    paths: Iterable[str], mapping: Mapping[str, str], funnel: Funnel, progress: Progress = lambda read: None
) -> Iterator[Post | Reply]:
    """Yields each post once, before its first reply, and every reply.

    Where times or views are mapped, a reply without one is counted as `reply_no_time` or `reply_no_views`.

    Args:
      mapping: field -> column, as `parse_mapping` returns it.

    Raises:
      UserError: a missing file or column, or more than 1 % broken rows; it names the column that breaks most of them.
    """
    posts: set[str] = set()
    for path in paths:
        reader = _Reader(mapping)
        for post, reply in converted(_open(path, mapping, progress), reader.records, funnel, explain=reader.blame):
            if post.id not in posts:
                posts.add(post.id)
                yield post
            reason = _lacks(reply, mapping)
            if reason:
                funnel.drop(reason)
            else:
                yield reply


def _open(path: str, mapping: Mapping[str, str], progress: Progress) -> Table:
    table = open_table(path, set(mapping.values()), progress)
    for field, column in mapping.items():
        if message := table.missing(column):
            raise UserError(f"{message} Change --columns {field}={column}.")
    return table


def _lacks(reply: Reply, mapping: Mapping[str, str]) -> str | None:
    if "created" in mapping and reply.created is None:
        return "reply_no_time"
    return "reply_no_views" if "views" in mapping and reply.views is None else None


class _Reader:
    """Turns rows into records, and remembers which field's cells could not be read."""

    def __init__(self, mapping: Mapping[str, str]) -> None:
        self._mapping = mapping
        self._unreadable: Counter[str] = Counter()

    def records(self, row: Row) -> tuple[Post, Reply]:
        cells = {field: self._cell(row, field) for field in self._mapping}
        post = Post(
            id=cells["post_id"],
            community=cells.get("community") or "",
            title=cells.get("title", ""),
            body=cells["post"],
            author=cells.get("post_author"),
            gone=values.gone(cells["post"], cells.get("post_author")),
        )
        return post, _reply(cells)

    def _cell(self, row: Row, field: str) -> Any:
        convert, _ = _FORMS[field]
        try:
            value = convert(row.get(self._mapping[field]))
            if field == "views" and value is not None and value < 0:
                raise ValueError("fewer than no views")
        except (TypeError, ValueError, OverflowError):
            self._unreadable[field] += 1
            raise
        return value

    def blame(self) -> str:
        """Returns a sentence on the field that could not be read most often, "" if all could."""
        if not self._unreadable:
            return ""
        field, count = self._unreadable.most_common(1)[0]
        form = _FORMS[field][1]
        return f" In {count:,} of them the column {self._mapping[field]!r} does not hold {form}, as {field} must."


def _reply(cells: Mapping[str, Any]) -> Reply:
    author, poster, score, views = (cells.get(field) for field in ("author", "post_author", "score", "views"))
    return Reply(
        id=cells.get("reply_id") or f"{cells['post_id']}/{values.digest(cells['reply'])}",
        post_id=cells["post_id"],
        text=cells["reply"],
        author=author,
        created=cells.get("created"),
        score=score,
        # A vote is a view at least, and an exposure of 0 would know nothing.
        views=None if views is None else max(views, score or 0, 1),
        by_poster=author == poster if author and poster else None,
        gone=values.gone(cells["reply"], author),
    )
