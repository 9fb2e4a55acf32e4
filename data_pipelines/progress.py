"""A progress bar with rate and time left on a terminal, a line now and then elsewhere; always on standard error."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 15


@contextmanager
def reading(what: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Yields a function to call with the number of bytes just read."""
    if sys.stderr.isatty():
        with _bar() as bar:
            task = bar.add_task(what, total=total_bytes)
            yield lambda read: bar.advance(task, read)
    else:
        yield _lines(what, total_bytes)


def _bar():
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _lines(what: str, total_bytes: int) -> Callable[[int], None]:
    start = said = time.monotonic()
    done = 0

    def advance(read: int) -> None:
        nonlocal said, done
        done += read
        now = time.monotonic()
        if now - said >= SECONDS_BETWEEN_LINES:
            said = now
            left = (now - start) * (total_bytes - done) / max(done, 1)
            print(f"{what}: {done / max(total_bytes, 1):.0%}, about {left:.0f} s left", file=sys.stderr, flush=True)

    return advance
