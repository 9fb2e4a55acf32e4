"""What revisers wrote, kept between builds: JSON lines that their owner alone may read, one process at a time.

Asking is slow, so an answer is on disk before the next one is waited for; a failure too, if it would come again. A key
is a hash of everything that decides an answer; no id, post or draft stands here, but the revision of a draft says much
of what the draft says.
"""

import fcntl
import json
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from data_pipelines.revisers import Failed
from llumi_jax.cli import UserError

_BEGIN = b'{"key": "'
Outcome = str | Failed
Append = Callable[[str, Outcome], None]


@contextmanager
def opened(path: Path, only: Collection[str] | None = None) -> Iterator[tuple[dict[str, Outcome], Append]]:
    """Yields what is stored by key, and what stores a further one (in the dictionary too) before it returns.

    Args:
      path: made where it is missing, with its folder.
      only: the keys that may stay; every other line is deleted first. None keeps all.

    Raises:
      UserError: the file is another program's, or another process has it open.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no plain file. Choose another place for the revisions with --revisions FILE.")
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{path} is in use by another process. Wait for it, or choose another file with --revisions FILE."
            ) from None
        known = _read(file, path)
        os.fchmod(file.fileno(), 0o600)  # It may have been made by hand.
        if only is not None and not known.keys() <= set(only):
            known = {key: outcome for key, outcome in known.items() if key in only}
            _rewrite(file, known)

        def append(key: str, outcome: Outcome) -> None:
            _write(file, {key: outcome})
            known[key] = outcome

        yield known, append


def _write(file: IO[bytes], some: dict[str, Outcome]) -> None:
    for key, outcome in some.items():
        told = {"failed": outcome.reason} if isinstance(outcome, Failed) else {"revision": outcome}
        file.write(json.dumps({"key": key, **told}, ensure_ascii=False).encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())


def _rewrite(file: IO[bytes], known: dict[str, Outcome]) -> None:
    """In place, since the lock is on this very file. A kill here loses answers that can be asked again, no more."""
    file.truncate(0)
    _write(file, known)


def _read(file: IO[bytes], path: Path) -> dict[str, Outcome]:
    """Reads whole lines, and cuts off the one that a kill left half-written."""
    known: dict[str, Outcome] = {}
    whole = 0
    file.seek(0)
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n") and (line.startswith(_BEGIN) or _BEGIN.startswith(line)):
            break
        try:
            record = json.loads(line)
            failed = "failed" in record
            known[str(record["key"])] = Failed(str(record["failed"]), True) if failed else str(record["revision"])
        except (ValueError, LookupError, TypeError):
            raise UserError(
                f"{path}:{number} is not a line of stored revisions. Choose another file, or remove the line."
            ) from None
        whole += len(line)
    file.truncate(whole)
    return known
