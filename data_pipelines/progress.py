"""A progress bar with rate and time left on a terminal, a line now and then elsewhere; always on standard error.

What took a second or more says at its end how long.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 15
SAID_FROM = 1.0  # Seconds.


@contextmanager
def reading(what: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Yields a function to call with the number of bytes just read."""
    with _showing(what, total_bytes, in_bytes=True) as advance:
        yield advance


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yields a function to call with how many things were just finished."""
    with _showing(what, total, in_bytes=False) as advance:
        yield advance


@contextmanager
def _showing(what: str, total: int, in_bytes: bool) -> Iterator[Callable[[int], None]]:
    start = time.monotonic()
    if sys.stderr.isatty():
        with _bar(in_bytes) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.advance(task, done)
    else:
        yield _lines(what, total)
    seconds = time.monotonic() - start
    if seconds >= SAID_FROM:
        print(f"{what}: done in {seconds:.1f} s", file=sys.stderr, flush=True)


def _bar(in_bytes: bool):
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        *((DownloadColumn(), TransferSpeedColumn()) if in_bytes else (MofNCompleteColumn(),)),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _lines(what: str, total: int) -> Callable[[int], None]:
    start = said = time.monotonic()
    done = 0

    def advance(new: int) -> None:
        nonlocal said, done
        done += new
        now = time.monotonic()
        if now - said >= SECONDS_BETWEEN_LINES:
            said = now
            left = (now - start) * (total - done) / max(done, 1)
            print(f"{what}: {done / max(total, 1):.0%}, about {left:.0f} s left", file=sys.stderr, flush=True)

    return advance
