"""Posts in and replies out as JSON lines: checked before a model is loaded, and resumed after any kill."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from llumi_jax.cli import UserError

# What a post may be. Unknown keys are carried by other tools and left alone.
_TEXTS = ("title", "body", "draft")


def check_input(path: str | os.PathLike) -> None:
    """Refuses what cannot be read twice: once to find every mistake, once to write.

    Raises:
      UserError: it is missing, a folder or a pipe.
    """
    if not Path(path).exists():
        raise UserError(f"--input {path}: no such file. Check the path.")
    if not Path(path).is_file():
        raise UserError(f"--input {path} is a pipe or a folder, and is read more than once. Give a file of its own.")


def read_posts(path: str | os.PathLike, need_draft: bool = False) -> Iterator[dict[str, Any]]:
    """Yields {"id", "title", "body", "draft"} of each line, one at a time.

    Raises:
      UserError: naming file and line of what is wrong.
    """
    path, seen = Path(path), set()
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            post = _post(line, where)
            if need_draft and not post["draft"].strip():
                raise UserError(f'{where}: no "draft". Mode im revises drafts; --mode cascade has them written.')
            if post["id"] in seen:
                raise UserError(f"{where}: id {post['id']!r} was used before. Give every post its own id.")
            seen.add(post["id"])
            yield post


def _post(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not UTF-8 (byte {error.start} of the line). Save the file as UTF-8.") from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"{where}: not valid JSON ({error.msg}, column {error.colno}). Give one object a line."
        ) from None
    if not isinstance(record, dict):
        raise UserError(f'{where}: not a JSON object. A post is {{"id": …, "title": …, "body": …}}.')
    if not isinstance(record.get("id"), str | int) or isinstance(record["id"], bool):
        raise UserError(f'{where}: "id" is missing, or neither text nor a whole number.')
    texts = {key: record.get(key) or "" for key in _TEXTS}
    for key, value in texts.items():
        if not isinstance(value, str):
            raise UserError(f'{where}: "{key}" is not text.')
        if any(0xD800 <= ord(c) <= 0xDFFF for c in value):
            raise UserError(f'{where}: "{key}" holds half a character. Write the file again as UTF-8.')
    if not texts["body"].strip() and not texts["title"].strip():
        raise UserError(f'{where}: "title" and "body" are both empty. There is nothing to answer.')
    return {"id": record["id"], **texts}


class Output:
    """A JSON-lines file that grows in the order of the input. What a kill left half-written is cut off on opening.

    `done` counts the whole lines that are there already.
    """

    def __init__(self, file: IO[bytes], path: Path, done: int) -> None:
        self._file, self._path, self.done = file, path, done

    def write(self, records: list[dict[str, Any]]) -> None:
        """Appends lines; they are on the disk when this returns."""
        for record in records:
            self._file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.done += len(records)


@contextlib.contextmanager
def open_output(path: str | os.PathLike, settings: dict[str, Any], ids: Iterator[str | int]) -> Iterator[Output]:
    """Opens an output for appending after checking that it belongs to this input and these settings.

    Args:
      settings: what every line's "provenance" must hold.
      ids: the ids of the input, in order.

    Raises:
      UserError: another process writes it, it was made from other settings or another input, or it is not ours.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise UserError(f"--output {path} is no plain file. Choose another --output.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{path} is in use by another process. Wait for it, or choose another --output.") from None
        file.seek(0)
        whole, done = 0, 0
        for line in file:
            if not line.endswith(b"\n"):
                _check_tail(line, path, done, next(ids, None))
                break
            done += 1
            _check_line(line, f"{path}:{done}", settings, next(ids, None))
            whole += len(line)
        file.truncate(whole)
        file.seek(0, os.SEEK_END)
        yield Output(file, path, done)


_WAY_OUT = "Choose another --output, or remove the file."


def _check_tail(tail: bytes, path: Path, done: int, expected_id: str | int | None) -> None:
    """Lets a half-written last line go only where it can be ours: after whole lines of ours, or begun like one."""
    ours = f'{{"id": {json.dumps(expected_id, ensure_ascii=False)}, "gm": '.encode()
    if not done and not tail.startswith(ours) and not ours.startswith(tail):
        raise UserError(f"{path} holds something that this command did not write. {_WAY_OUT}")


def _check_line(line: bytes, where: str, settings: dict[str, Any], expected_id: str | int | None) -> None:
    try:
        record = json.loads(line)
        found, provenance = record["id"], record["provenance"]
        known = {key: provenance.get(key) for key in settings}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{where} is not a line that this command wrote. {_WAY_OUT}") from None
    if found != expected_id:
        raise UserError(f"{where} holds id {found!r}, the input has {expected_id!r}: another input made it. {_WAY_OUT}")
    for key, value in settings.items():
        if known[key] != value:
            raise UserError(f"{where} was made with another {key} ({known[key]!r}, now {value!r}). {_WAY_OUT}")
