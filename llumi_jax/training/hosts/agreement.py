"""What several processes must know alike, told through JAX's key-value store: no device waits for it.

All processes call these functions in the same order. Where a process is alone they do nothing.
"""

import contextlib
import itertools
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from llumi_jax.cli import UserError
from llumi_jax.storage import files

_WAIT_MS = 7 * 24 * 3600 * 1000  # a process that is gone ends the others: nothing waits for it that long
_SEEN_SECONDS = 90.0  # within which a file that one host wrote must be seen by the others
_number = itertools.count()


def from_first(value: Callable[[], Any]) -> Any:
    """The value, ready for JSON, as process 0 finds it: hosts may see the same folder differently for some seconds."""
    if jax.process_count() == 1:
        return value()
    key = f"llumi/first/{next(_number)}"
    if jax.process_index() == 0:
        _store().key_value_set(key, json.dumps(value()))
    return json.loads(_store().blocking_key_value_get(key, _WAIT_MS))


def meet() -> None:
    """Waits until all processes are here: where one may be minutes late, a collective would give up sooner."""
    if jax.process_count() > 1:
        _store().wait_at_barrier(f"llumi/meet/{next(_number)}", _WAIT_MS)


@contextlib.contextmanager
def first_goes_first() -> Iterator[None]:
    """Process 0 goes through before the others: what it leaves on a disk that they share, they find."""
    if jax.process_index() == 0:
        yield
        from_first(lambda: None)
    else:
        from_first(lambda: None)
        yield
    meet()


def same(what: str, parts: Mapping[str, Any], difference: Callable[[Any, Any], str | None]) -> None:
    """Holds all processes to the parts that process 0 has.

    Args:
      what: they are of, for people.
      parts: ready for JSON.
      difference: (there, here) -> what differs, in words, or None.

    Raises:
      UserError: in a process that has others.
    """
    here = json.loads(json.dumps(dict(parts)))
    there = from_first(lambda: here)
    if there != here:
        raise UserError(f"this process has another {what} than process 0: {difference(there, here)}. Make them equal.")


def share_folder(folder: Path) -> None:
    """Makes sure that all processes write to, and read from, one folder.

    Raises:
      UserError: a process does not see what process 0 wrote there.
    """
    if jax.process_count() == 1:
        return
    path = folder / ".processes"
    mark = from_first(lambda: _marked(path))
    deadline = time.monotonic() + _SEEN_SECONDS
    while not (path.exists() and files.read_json(path) == mark):
        if time.monotonic() > deadline:
            raise UserError(
                f"this process does not see the {folder} of process 0. Give a --workdir on storage that all share."
            )
        time.sleep(0.2)
    meet()


def _marked(path: Path) -> str:
    mark = uuid.uuid4().hex
    files.write_json(path, mark)
    return mark


def _store() -> Any:
    from jax._src import distributed

    return distributed.global_state.client
