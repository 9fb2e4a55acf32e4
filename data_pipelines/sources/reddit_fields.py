"""The fields of Reddit's posts and comments, in every form they took: for each source whose texts come from there.

The types of several fields drifted over the years (numbers written as strings, `false` or an epoch, missing
fields); every form measured so far is accepted here and nowhere else. Votes come from `score` alone: `ups` and
`downs` were invented numbers for years.
"""

import html

import msgspec

from data_pipelines.records import Gone, Post, Reply

# Before March 2015 many months say 0 for every comment: there the field means nothing.
CONTROVERSIALITY_SINCE = 1425168000
_MAX_COUNT = (1 << 31) - 1  # What a dataset can hold.
_YEAR_2100 = 4_102_444_800

Epoch = int | float | str | None


class Meta(msgspec.Struct):
    """What the second retrieval (36 h later, since November 2023) found out."""

    retrieved_2nd_on: Epoch = None
    was_deleted_later: bool | None = None
    removal_type: str | None = None


class Row(msgspec.Struct, rename={"meta": "_meta"}):
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
    meta: Meta | None = None


class Submission(Row):
    title: str | None = None
    selftext: str | None = None
    is_self: bool | None = None
    over_18: bool | None = None
    contest_mode: bool | None = None


class Comment(Row):
    body: str | None = None
    link_id: str | int | None = None
    parent_id: str | int | None = None
    is_submitter: bool | None = None
    score_hidden: bool | None = None
    controversiality: int | None = None


def epoch(value: int | float | str) -> int:
    """Returns whole seconds. Raises ValueError or OverflowError for what is no number, or no time before 2100."""
    seconds = value if type(value) is int else int(float(value))
    if not 0 <= seconds < _YEAR_2100:
        raise ValueError("no such time")
    return seconds


def retrieved(row: Row) -> int | None:
    """The latest time at which this row's score was looked at, None if the source does not say."""
    seen, latest = row.retrieved_on, 0
    if type(seen) is int and 0 < seen < _YEAR_2100 and not (row.retrieved_utc or row.updated_on or row.meta):
        return seen  # As nearly all rows have it.
    for value in (
        row.retrieved_on,
        row.retrieved_utc,
        row.updated_on,
        row.meta.retrieved_2nd_on if row.meta else None,
    ):
        if value:
            try:
                latest = max(latest, epoch(value))
            except (ValueError, OverflowError):
                continue
    return latest or None


def _score_age(row: Row, created: int) -> int | None:
    seen = retrieved(row)
    return None if seen is None else seen - created


def _count(value: int | float | None) -> int | None:
    if value is None:
        return None
    if abs(value) > _MAX_COUNT:
        raise OverflowError("no score is so large")
    return int(value)


def gone(row: Row, body: str | None) -> Gone | None:
    """Says whether author or moderators took the text back, even where a source kept or restored it."""
    if body is None or body.strip() == "[removed]" or row.removed_by_category not in (None, "", "deleted", "author"):
        return "removed"
    if body.strip() == "[deleted]" or row.author in (None, "[deleted]") or row.removed_by_category:
        return "deleted"
    if row.meta and (row.meta.was_deleted_later or row.meta.removal_type):
        return "restored"
    return None


def text(raw: str | None) -> str:
    """Undoes the HTML escapes of Reddit; a lone surrogate would not survive UTF-8."""
    plain = html.unescape(raw or "").replace("\r\n", "\n").strip()
    if plain.isascii():
        return plain
    return plain.replace("\u200b", "").strip().encode("utf-8", "replace").decode("utf-8")


def post(row: Submission) -> Post:
    """Returns a submission as a post. Raises ValueError or OverflowError for a time or a score that is no number."""
    return Post(
        id=row.id,
        community=row.subreddit or "",
        title=text(row.title),
        body=text(row.selftext),
        author=row.author,
        created=epoch(row.created_utc),
        score=_count(row.score),
        # Absent in early years: there a link post has no text of its own, and falls to the length rule.
        is_text=row.is_self is not False,
        gone=gone(row, row.selftext),
        contest=bool(row.contest_mode),
        edited=bool(row.edited),
        over_18=bool(row.over_18),
    )


def reply(row: Comment) -> Reply:
    """Returns a comment as a reply; a comment on a comment is one that is not `top_level`.

    Raises:
      ValueError, OverflowError: a time or a score that is no number.
    """
    created = epoch(row.created_utc)
    return Reply(
        id=row.id,
        post_id=str(row.link_id or "").removeprefix("t3_"),
        text=text(row.body),
        author=row.author,
        created=created,
        score=_count(row.score),
        score_hidden=row.score_hidden,
        score_age=_score_age(row, created),
        controversiality=_count(row.controversiality) if created >= CONTROVERSIALITY_SINCE else None,
        top_level=str(row.parent_id or "").startswith("t3_") or row.parent_id is None,
        by_poster=row.is_submitter,  # Absent before July 2017: there the authors are compared when post and reply meet.
        official=bool(row.stickied) or row.distinguished not in (None, ""),
        gone=gone(row, row.body),
    )
