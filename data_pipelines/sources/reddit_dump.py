"""Pushshift and Arctic Shift dumps: newline-delimited JSON, one object a post or comment.

The types of several fields drifted over the years (numbers written as strings, `false` or an epoch, missing
fields); every form measured so far is accepted here and nowhere else. Votes come from `score` alone: `ups` and
`downs` were invented numbers for years.
"""

import html
from collections.abc import Iterable, Iterator

import msgspec

from data_pipelines.funnel import Funnel
from data_pipelines.records import Gone, Post, Reply, Traits
from data_pipelines.sources.broken import BrokenLines
from data_pipelines.sources.lines import Progress, read_lines

TRAITS = Traits("reddit_dump", self_vote=True, fuzz=True, time=True, views=False, posts_are_rows=True)

# Before March 2015 many months say 0 for every comment: there the field means nothing.
CONTROVERSIALITY_SINCE = 1425168000

Epoch = int | float | str | None


class _Meta(msgspec.Struct):
    """What the second retrieval (36 h later, since November 2023) found out."""

    retrieved_2nd_on: Epoch = None
    was_deleted_later: bool | None = None
    removal_type: str | None = None


class _Row(msgspec.Struct, rename={"meta": "_meta"}):
    """Fields that posts and comments share."""

    id: str
    created_utc: int | float | str
    author: str | None = None
    score: int | float | None = None
    subreddit: str | None = None
    edited: bool | int | float | None = None
    distinguished: str | None = None
    stickied: bool | None = None
    retrieved_on: Epoch = None
    retrieved_utc: Epoch = None
    updated_on: Epoch = None
    removed_by_category: str | None = None
    meta: _Meta | None = None


class _Submission(_Row):
    title: str | None = None
    selftext: str | None = None
    is_self: bool | None = None
    over_18: bool | None = None
    contest_mode: bool | None = None


class _Comment(_Row):
    body: str | None = None
    link_id: str | int | None = None
    parent_id: str | int | None = None
    is_submitter: bool | None = None
    score_hidden: bool | None = None
    controversiality: int | None = None


def read(
    submissions: Iterable[str], comments: Iterable[str], funnel: Funnel, progress: Progress = lambda read: None
) -> Iterator[Post | Reply]:
    """Yields every post of the submission files, then every top-level reply of the comment files.

    Lines that cannot be read and nested comments are counted in `funnel` here; every other verdict is
    `eligibility`'s.

    Raises:
      UserError: a missing, truncated or damaged file, or more than 1 % broken lines.
    """
    posters: dict[str, str | None] = {}
    for path in submissions:
        for row in _rows(path, msgspec.json.Decoder(_Submission), funnel, progress):
            posters[row.id] = row.author
            yield _post(row)
    for path in comments:
        for row in _rows(path, msgspec.json.Decoder(_Comment), funnel, progress, skip_nested=True):
            yield _reply(row, posters)


def _rows(path, decoder: msgspec.json.Decoder, funnel: Funnel, progress: Progress, skip_nested: bool = False):
    broken = BrokenLines(str(path))
    for number, line in enumerate(read_lines(path, progress), start=1):
        if not line or line.isspace():
            continue
        funnel.read()
        broken.lines += 1
        # Inside a JSON string every quote is escaped, so these bytes can only be the key itself.
        if skip_nested and (b'"parent_id":"t1_' in line or b'"parent_id": "t1_' in line):
            funnel.drop("reply_nested")
            continue
        try:
            row = decoder.decode(line)
            _epoch(row.created_utc)
        except (msgspec.DecodeError, ValueError, OverflowError):
            funnel.drop("broken_line")
            broken.add(number)
            continue
        yield row
    funnel.notes += broken.finish()


def _epoch(value: int | float | str) -> int:
    """Returns whole seconds. Raises ValueError for a string that is no number."""
    return int(float(value))


def _retrieved(row: _Row) -> int | None:
    """The latest time at which this row's score was looked at, None if the dump does not say."""
    seen = [row.retrieved_on, row.retrieved_utc, row.updated_on, row.meta.retrieved_2nd_on if row.meta else None]
    return max((epoch for epoch in map(_epoch_if_any, seen) if epoch), default=None)


def _epoch_if_any(value: Epoch) -> int | None:
    try:
        return _epoch(value or 0)
    except (ValueError, OverflowError):
        return None


def _score_age(row: _Row) -> int | None:
    retrieved = _retrieved(row)
    return None if retrieved is None else retrieved - _epoch(row.created_utc)


def _gone(row: _Row, text: str | None) -> Gone | None:
    """Says whether author or moderators took the text back, even where a dump kept or restored it."""
    if text is None or text.strip() == "[removed]" or row.removed_by_category not in (None, "", "deleted", "author"):
        return "removed"
    if text.strip() == "[deleted]" or row.author in (None, "[deleted]") or row.removed_by_category:
        return "deleted"
    if row.meta and (row.meta.was_deleted_later or row.meta.removal_type):
        return "restored"
    return None


def _text(raw: str | None) -> str:
    """Undoes the HTML escapes of the dump; a lone surrogate would not survive UTF-8."""
    plain = html.unescape(raw or "").replace("\r\n", "\n").replace("\u200b", "").strip()
    return plain.encode("utf-8", "replace").decode("utf-8")


def _post(row: _Submission) -> Post:
    return Post(
        id=row.id,
        community=row.subreddit or "",
        title=_text(row.title),
        body=_text(row.selftext),
        author=row.author,
        created=_epoch(row.created_utc),
        score=None if row.score is None else int(row.score),
        # Absent in early years: there a link post has no text of its own, and falls to the length rule.
        is_text=row.is_self is not False,
        gone=_gone(row, row.selftext),
        contest=bool(row.contest_mode),
        edited=bool(row.edited),
        over_18=bool(row.over_18),
    )


def _reply(row: _Comment, posters: dict[str, str | None]) -> Reply:
    post_id = str(row.link_id or "").removeprefix("t3_")
    created = _epoch(row.created_utc)
    poster = posters.get(post_id)
    by_poster = row.is_submitter if row.is_submitter is not None else poster is not None and poster == row.author
    return Reply(
        id=row.id,
        post_id=post_id,
        text=_text(row.body),
        author=row.author,
        created=created,
        score=None if row.score is None else int(row.score),
        score_hidden=row.score_hidden,
        score_age=_score_age(row),
        controversiality=row.controversiality if created >= CONTROVERSIALITY_SINCE else None,
        top_level=str(row.parent_id or "").startswith("t3_") or row.parent_id is None,
        by_poster=by_poster,
        official=bool(row.stickied) or row.distinguished not in (None, ""),
        gone=_gone(row, row.body),
    )
