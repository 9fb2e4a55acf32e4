"""Cells of tables as values: numbers written as text, empty cells, and the missing values of several libraries."""

import hashlib
import math
from datetime import UTC, date, datetime
from typing import Any

from data_pipelines.records import Gone

_MISSING = frozenset(("", "nan", "none", "null", "na", "n/a"))
_LARGEST = (1 << 31) - 1  # Of votes and views: what a dataset can hold.
_TAKEN_BACK: dict[str, Gone] = {"[deleted]": "deleted", "[removed]": "removed"}
_FIRST = 315_532_800  # 1980
_SECONDS_BELOW = 10**11  # Seconds since 1970 reach it in the year 5138; milliseconds passed it in 1973.
_NANOSECONDS_BELOW = 10**20


def whole(cell: Any) -> int | None:
    """Returns a count as a whole number, None for a missing one.

    Raises:
      ValueError: no number, one with a fraction, or a larger one than any count.
    """
    number = _number(cell)
    if number is None:
        return None
    if abs(number) > _LARGEST or number != int(number):
        raise ValueError("no count")
    return int(number)


def epoch(cell: Any) -> int | None:
    """Returns a time as whole seconds since 1970, None for a missing one (0 stands for one, too).

    Reads numbers (seconds; milliseconds and finer are told by their size), ISO 8601 and times of Python; a time that
    names no zone is UTC.

    Raises:
      ValueError: anything else, and times before 1980, which are other numbers (years, days) taken for times.
      OverflowError: a time beyond the calendar.
    """
    seconds = _seconds(cell)
    if not seconds:
        return None
    while _SECONDS_BELOW <= seconds < _NANOSECONDS_BELOW:
        seconds //= 1000
    if not _FIRST <= seconds < _SECONDS_BELOW:
        raise ValueError("no time at which people wrote in forums")
    return int(seconds)


def _number(cell: Any) -> int | float | None:
    """Returns a number as it is, None for a missing one. Raises ValueError or TypeError for anything else."""
    if isinstance(cell, bool):
        raise ValueError("neither true nor false is a number")
    if isinstance(cell, str):
        cell = cell.strip()
        cell = None if cell.lower() in _MISSING else int(cell) if cell.isdecimal() else float(cell)
    if cell is None or isinstance(cell, int):
        return cell
    return None if math.isnan(cell) else float(cell)


def _seconds(cell: Any) -> int | float | None:
    if isinstance(cell, str):
        try:
            return _number(cell)
        except ValueError:
            cell = datetime.fromisoformat(cell.strip().removesuffix(" UTC"))
    if not isinstance(cell, date):
        return _number(cell)
    time = cell if isinstance(cell, datetime) else datetime(cell.year, cell.month, cell.day)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def text(cell: Any) -> str:
    """Returns what a person wrote, "" for a missing cell. Raises ValueError for a list, an object, true or false."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, bytes):
        cell = cell.decode()
    if isinstance(cell, bool) or not isinstance(cell, str | int | float):
        raise ValueError("no text")
    plain = str(cell).replace("\r\n", "\n").replace("\u200b", "").replace("\xa0", " ").strip()
    return plain.encode("utf-8", "replace").decode("utf-8")  # A lone surrogate would not survive UTF-8.


def label(cell: Any) -> str | None:
    """Returns a name, a community or an id as text, None for a missing one; 12.0 (as pandas writes it) is "12"."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return text(cell) or None


def identifier(cell: Any) -> str:
    """Returns an id as text. Raises ValueError for a missing one."""
    found = label(cell)
    if found is None:
        raise ValueError("no id")
    return found


def gone(written: str, author: str | None) -> Gone | None:
    """Says whether a text was taken back: many forums leave a mark such as `[deleted]` in its place."""
    if written in _TAKEN_BACK:
        return _TAKEN_BACK[written]
    return "deleted" if author == "[deleted]" else None


def digest(*parts: str) -> str:
    """Returns an id for a reply that has none: the same text has the same one in every build."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=10).hexdigest()
