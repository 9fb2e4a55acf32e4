"""CounselChat: a CSV of questions with therapists' answers, their upvotes and views.

An upvote is rare and views differ tenfold between answers of one question, so views serve as exposure.
"""

import csv
import io
import re
from collections.abc import Iterator

from data_pipelines.funnel import Funnel
from data_pipelines.records import Post, Reply, Traits
from data_pipelines.sources import values
from data_pipelines.sources.broken import BrokenLines
from data_pipelines.sources.lines import Progress, read_lines
from llumi_jax.cli import UserError, suggestion

TRAITS = Traits(
    "counselchat",
    self_vote=False,
    fuzz=False,
    time=False,
    views=True,
    posts_are_rows=False,
    fractions={"train": 0.75, "validation": 0.10, "test": 0.15},
)
COLUMNS = ("question_id", "title", "question", "topic", "answerer", "answer", "upvotes", "views")
# What the name of a column looks like; anything else in the first line may be what a person wrote.
_NAME = re.compile(r"(?:[A-Za-z_][\w.-]{0,31})?", re.ASCII)


def read(path: str, funnel: Funnel, progress: Progress = lambda read: None) -> Iterator[Post | Reply]:
    """Yields each question once, before its first answer, and every answer.

    Raises:
      UserError: a missing file or column, another encoding than UTF-8, or more than 1 % broken rows.
    """
    csv.field_size_limit(1 << 24)
    rows = csv.reader(_text_lines(path, progress), strict=True)
    try:
        header = next(rows, None)
        columns = _columns(path, header)
        yield from _records(path, rows, columns, funnel)
    except csv.Error as error:
        raise UserError(
            f"{path}: line {rows.line_num} is not CSV ({error}). Save it again as comma-separated UTF-8."
        ) from None


def _text_lines(path: str, progress: Progress) -> Iterator[str]:
    for number, line in enumerate(read_lines(path, progress), start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8") + "\n"
        except UnicodeDecodeError:
            raise UserError(
                f"{path}: line {number} is not UTF-8. Save the file again with the encoding UTF-8."
            ) from None


def _columns(path: str, header: list[str] | None) -> dict[str, int]:
    if not header:
        raise UserError(f"{path}: the file is empty. It needs a first line with the columns {', '.join(COLUMNS)}.")
    names = [name.strip() for name in header]
    for column in COLUMNS:
        if column in names:
            continue
        if not all(map(_NAME.fullmatch, names)):
            raise UserError(
                f"{path}: the column {column!r} is missing: its first line is no header. "
                f"Put a first line above it with the columns {', '.join(COLUMNS)}."
            )
        near = suggestion(column, names).replace("Did you mean", "Is it").removesuffix("?")
        raise UserError(
            f"{path}: the column {column!r} is missing.{near + ' by mistake? ' if near else ' '}"
            f"Rename or add it in the first line, which has: {', '.join(names)}."
        )
    return {column: names.index(column) for column in COLUMNS}


def _records(path: str, rows, columns: dict[str, int], funnel: Funnel) -> Iterator[Post | Reply]:
    broken = BrokenLines(path)
    questions: set[str] = set()
    for row in rows:
        if not any(row):
            continue
        funnel.read()
        broken.lines += 1
        try:
            value = {column: row[index] for column, index in columns.items()}
            upvotes, views = values.whole(value["upvotes"]), values.whole(value["views"])
            if upvotes is None or views is None or views < 0 or not value["question_id"]:
                raise ValueError("no votes, views or question")
        except (IndexError, ValueError, OverflowError):
            funnel.drop("broken_line")
            broken.add(rows.line_num)
            continue
        question = value["question_id"]
        if question not in questions:
            questions.add(question)
            yield Post(question, value["topic"].strip(), _text(value["title"]), _text(value["question"]))
        yield Reply(
            # Not the row's number: rows of another file have it too, and it changes when the file grows.
            id=f"{question}/{values.digest(value['answerer'], value['answer'])}",
            post_id=question,
            text=_text(value["answer"]),
            author=value["answerer"].strip() or None,
            score=upvotes,
            # An upvote is a view at least, and an exposure of 0 would know nothing.
            views=max(views, upvotes, 1),
        )
    funnel.notes += broken.finish()


def _text(raw: str) -> str:
    return "\n".join(line.strip() for line in io.StringIO(raw.replace("\xa0", " ").strip()))
