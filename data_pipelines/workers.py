"""Jobs on all cores, with one progress bar. A job is a function of this package and its arguments, both picklable."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from data_pipelines import progress
from llumi_jax.cli import RunFailure

POLL_SECONDS = 0.2
_counter: Any = None


def advance(amount: int) -> None:
    """Called by jobs: this much more is done."""
    if _counter is not None:
        with _counter.get_lock():
            _counter.value += amount


_LOST = (
    "a worker process was ended from outside, most likely because memory ran out. Run the same command again: it will "
    "go on. If it happens again, give fewer --processes."
)


class WorkerLost(RunFailure):
    """A worker did not end by itself: what it had finished before stays good."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM (a scheduler, a shutdown) ends what runs inside as Ctrl-C does: with KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Only the main thread may, and need, look after signals.
        return

    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _start(counter, parent: int) -> None:
    global _counter
    _counter = counter
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """A worker whose parent was killed, perhaps before the worker was up, would wait for work for ever."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


class Workers:
    """A pool for all steps of a build. With one process, or one job, everything runs here."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None
        self._done: Any = None  # What the workers of the pool have counted.

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *error) -> None:
        self._end(now=error[0] is not None)

    def run(
        self,
        what: str,
        jobs: Sequence[tuple[Callable, tuple]],
        total: int,
        sizes: Sequence[int] = (),
        in_bytes: bool = False,
    ) -> Generator[tuple[int, Any], None, None]:
        """Yields (index, result) of each job as it ends. The first error stops the rest and is raised.

        Args:
          what: named on the bar.
          total: of what the jobs have to do, in bytes if `in_bytes`.
          sizes: what each job adds to the bar when it ends; without it the jobs call `advance` themselves.
        """
        with (progress.reading if in_bytes else progress.counting)(what, total) as advance:
            if self._processes == 1 or len(jobs) == 1:
                yield from self._run_here(jobs, sizes, advance)
            elif jobs:
                yield from self._run_apart(jobs, sizes, advance)

    def _run_here(self, jobs, sizes, advance) -> Iterator[tuple[int, Any]]:
        global _counter
        before, _counter = _counter, _Direct(advance)
        try:
            for index, (function, arguments) in enumerate(jobs):
                result = function(*arguments)
                advance(sizes[index] if sizes else 0)
                yield index, result
        finally:
            _counter = before

    def _run_apart(self, jobs, sizes, advance) -> Iterator[tuple[int, Any]]:
        if self._pool is None:
            # A fresh interpreter: a fork of one that has run threads (JAX, TensorFlow, a progress bar) may hang.
            context = multiprocessing.get_context("spawn")
            self._done = context.Value("q", 0)  # A worker that was killed may hold the lock of the one before.
            self._pool = ProcessPoolExecutor(self._processes, context, _start, (self._done, os.getpid()))
        pool, seen = self._pool, self._done.get_obj().value
        try:
            with _deaf():
                waiting = {pool.submit(function, *arguments): index for index, (function, arguments) in enumerate(jobs)}
            while waiting:
                ended, _ = wait(waiting, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                now = self._done.get_obj().value  # Without the lock, which a worker that was killed may hold for ever.
                advance(now - seen)
                seen = now
                for future in ended:
                    index = waiting.pop(future)
                    result = _result(future)
                    advance(sizes[index] if sizes else 0)
                    yield index, result
                # The pool itself does not look at all of its workers from the first.
                if waiting and any(worker.exitcode is not None for worker in _processes(pool)):
                    raise WorkerLost(_LOST)
        except BrokenProcessPool:  # One was lost while it had nothing to do.
            self._end(now=True)
            raise WorkerLost(_LOST) from None
        except BaseException:
            self._end(now=True)
            raise

    def _end(self, now: bool) -> None:
        """Ends the workers. `now`: in the middle of a job, which leaves its result whole or not at all."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        for worker in _processes(pool) if now else ():
            worker.kill()
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Processes started inside never hear of Ctrl-C, which a terminal sends to all: it is the parent that ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _processes(pool: ProcessPoolExecutor) -> list:
    return list((pool._processes or {}).values())


def _result(future) -> Any:
    try:
        return future.result()
    except BrokenProcessPool:
        raise WorkerLost(_LOST) from None


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
