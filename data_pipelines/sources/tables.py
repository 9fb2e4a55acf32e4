"""Rows of a CSV, JSONL or parquet file as dictionaries, one at a time: the kind is told by the file's first bytes."""

import csv
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from data_pipelines.funnel import Funnel
from data_pipelines.sources import parquet
from data_pipelines.sources.broken import BrokenLines
from data_pipelines.sources.broken_rows import BrokenRows
from data_pipelines.sources.lines import Progress, read_lines
from llumi_jax.cli import UserError, suggestion

# The keys of a JSONL file's objects are gathered from so many lines: one that is null may be left out of a line.
PEEK = 1000
MAX_FIELD = 1 << 24
MAX_NAMED = 30
# What the name of a column looks like; anything else in a first line may be what a person wrote, and is not printed.
_NAME = re.compile(r"(?:[A-Za-z_][\w.-]{0,31})?", re.ASCII)
_BOM = b"\xef\xbb\xbf"
_DELIMITERS = ",;\t"

Row = dict[str, Any]
T = TypeVar("T")


@dataclass
class Table:
    """One file's columns, and its rows with their numbers; a row that cannot be read is None.

    `broken` is for the reader to count such rows in, and those whose values make no sense.
    """

    path: str
    columns: list[str]
    rows: Iterator[tuple[int, Row | None]]
    broken: BrokenLines

    def missing(self, column: str) -> str | None:
        """Returns what to say if a column is missing or stands there twice, None if all is well."""
        count = Counter(self.columns)[column]
        if count == 1:
            return None
        if count > 1:
            return f"{self.path}: the column {column!r} stands there {count} times. Rename all but one."
        if not all(map(_NAME.fullmatch, self.columns)):
            return (
                f"{self.path}: the column {column!r} is missing: its first line is no header, or one with names that "
                "are more than letters, digits and underscores. Look there for the names of the columns."
            )
        more = ", …" if len(self.columns) > MAX_NAMED else ""
        near = suggestion(column, self.columns).replace("Did you mean", "Is it").removesuffix("?")
        return (
            f"{self.path}: the column {column!r} is missing.{near + ' by mistake?' if near else ''} "
            f"The file has: {', '.join(self.columns[:MAX_NAMED])}{more}."
        )


def open_table(path: str | Path, wanted: Collection[str], progress: Progress = lambda read: None) -> Table:
    """Opens a CSV (comma, semicolon or tab; a header first), JSONL (one object a line) or parquet file.

    Args:
      wanted: the columns that will be read; of a parquet file no others are loaded.

    Raises:
      UserError: no such file, an empty or damaged one, or another encoding than UTF-8, here or while rows are read.
    """
    if not Path(path).is_file():
        raise UserError(f"no such file: {path}. Check the path.")
    with Path(path).open("rb") as file:
        magic = file.read(len(parquet.MAGIC))
    if magic == parquet.MAGIC or Path(path).suffix == ".parquet":
        rows = enumerate(parquet.rows(path, wanted, progress), start=1)
        return Table(str(path), parquet.columns(path), rows, BrokenRows(str(path)))
    lines = read_lines(path, progress)
    start, first = _first_line(path, lines)
    numbered = enumerate(itertools.chain([first], lines), start)
    if first.lstrip().startswith(b"{"):
        return _json_lines(str(path), numbered)
    if first.lstrip().startswith(b"["):
        raise UserError(f"{path} is one JSON list. Write one object a line: jq -c '.[]' {path} > rows.jsonl")
    return _csv(str(path), numbered)


def converted(
    table: Table,
    convert: Callable[[Row], T],
    funnel: Funnel,
    rows: int = 1,
    explain: Callable[[], str] = lambda: "",
) -> Iterator[T]:
    """Yields what `convert` makes of each row of a table, and counts those that it cannot read as `broken_line`.

    Args:
      convert: raises ValueError, TypeError or OverflowError for values that make no sense.
      rows: how many rows of the input one row of the table stands for.
      explain: what to add, after a space, when too many rows are broken.

    Raises:
      UserError: more than 1 % broken rows.
    """
    broken = table.broken
    for number, row in table.rows:
        funnel.read(rows)
        broken.lines += 1
        try:
            if row is None:
                raise ValueError("no row")
            found = convert(row)
        except (TypeError, ValueError, OverflowError):
            funnel.drop("broken_line", rows)
            with _explained(explain):
                broken.add(number)
            continue
        yield found
    with _explained(explain):
        funnel.notes += broken.finish()


@contextmanager
def _explained(explain: Callable[[], str]) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"{error}{explain()}") from None


def _first_line(path: str | Path, lines: Iterator[bytes]) -> tuple[int, bytes]:
    for number, line in enumerate(lines, start=1):
        line = line.removeprefix(_BOM) if number == 1 else line
        if line.strip():
            return number, line
    raise UserError(f"{path}: the file is empty. It needs a header and rows, or one JSON object a line.")


def _json_lines(path: str, lines: Iterator[tuple[int, bytes]]) -> Table:
    rows = ((number, _object(line)) for number, line in lines if line and not line.isspace())
    first = list(itertools.islice(rows, PEEK))
    columns = dict.fromkeys(key for _, row in first if row for key in row)
    return Table(path, list(columns), itertools.chain(first, rows), BrokenLines(path))


def _object(line: bytes) -> Row | None:
    try:
        return msgspec.json.decode(line, type=Row)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:  # Python's own writer puts NaN for a missing number, which is no JSON.
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _csv(path: str, lines: Iterator[tuple[int, bytes]]) -> Table:
    csv.field_size_limit(MAX_FIELD)
    start, header = next(lines)
    delimiter = max(_DELIMITERS, key=_decoded(path, start, header).count)
    text = (_decoded(path, number, line) for number, line in itertools.chain([(start, header)], lines))
    rows = _cells(path, csv.reader(text, delimiter=delimiter, strict=True), start - 1)
    _, names = next(rows, (start, [""]))  # Delimiters and nothing else.
    names = [name.strip() for name in names]
    return Table(path, names, ((number, _named(names, cells)) for number, cells in rows), BrokenLines(path))


def _decoded(path: str, number: int, line: bytes) -> str:
    try:
        return line.decode() + "\n"
    except UnicodeDecodeError:
        raise UserError(f"{path}: line {number} is not UTF-8. Save the file again with the encoding UTF-8.") from None


def _cells(path: str, reader: Any, before: int) -> Iterator[tuple[int, list[str]]]:
    """Yields rows with the number of their last line; blank ones are no rows."""
    try:
        for row in reader:
            if any(row):
                yield before + reader.line_num, row
    except csv.Error as error:
        line = before + reader.line_num
        raise UserError(f"{path}: line {line} is not CSV ({error}). Save it again as comma-separated UTF-8.") from None


def _named(names: list[str], cells: list[str]) -> Row | None:
    """A row with fewer cells than the header, or with more that say something, has slipped: None."""
    if len(cells) < len(names) or any(cells[len(names) :]):
        return None
    return dict(zip(names, cells, strict=False))
