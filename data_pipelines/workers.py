"""Jobs on all cores, with one progress bar. A job is a function of this package and its arguments, both picklable."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from typing import Any

from data_pipelines import progress

POLL_SECONDS = 0.2
_counter: Any = None


def advance(amount: int) -> None:
    """Called by jobs: this much more is done."""
    if _counter is not None:
        with _counter.get_lock():
            _counter.value += amount


def _start(counter) -> None:
    global _counter
    _counter = counter
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """A worker whose parent was killed would wait for work for ever."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


class Workers:
    """A pool for one step. With one process, or one job, everything runs here."""

    def __init__(self, what: str, processes: int, total: int, in_bytes: bool = False) -> None:
        self._processes = processes
        self._bar = progress.reading(what, total) if in_bytes else progress.counting(what, total)

    def __enter__(self) -> "Workers":
        self._advance = self._bar.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self._bar.__exit__(*error)

    def run(self, jobs: Sequence[tuple[Callable, tuple]], sizes: Sequence[int] = ()) -> Iterator[tuple[int, Any]]:
        """Yields (index, result) of each job as it ends. The first error stops the rest and is raised.

        Args:
          sizes: what each job adds to the bar when it ends; without it the jobs call `advance` themselves.
        """
        if self._processes == 1 or len(jobs) == 1:
            yield from self._run_here(jobs, sizes)
        elif jobs:
            yield from self._run_apart(jobs, sizes)

    def _run_here(self, jobs, sizes) -> Iterator[tuple[int, Any]]:
        global _counter
        before, _counter = _counter, _Direct(self._advance)
        try:
            for index, (function, arguments) in enumerate(jobs):
                result = function(*arguments)
                self._advance(sizes[index] if sizes else 0)
                yield index, result
        finally:
            _counter = before

    def _run_apart(self, jobs, sizes) -> Iterator[tuple[int, Any]]:
        # A fresh interpreter: a fork of one that has run threads (JAX, TensorFlow, a progress bar) may hang.
        context = multiprocessing.get_context("spawn")
        counter = context.Value("q", 0)
        pool = ProcessPoolExecutor(min(self._processes, len(jobs)), context, _start, (counter,))
        try:
            waiting = {pool.submit(function, *arguments): index for index, (function, arguments) in enumerate(jobs)}
            seen = 0
            while waiting:
                ended, _ = wait(waiting, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                now = counter.value
                self._advance(now - seen)
                seen = now
                for future in ended:
                    index = waiting.pop(future)
                    result = future.result()
                    self._advance(sizes[index] if sizes else 0)
                    yield index, result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Direct:
    """Stands for the shared counter where there is one process."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance = advance
        self._lock = threading.Lock()

    def get_lock(self):
        return self._lock

    @property
    def value(self) -> int:
        return 0

    @value.setter
    def value(self, amount: int) -> None:
        self._advance(amount)
