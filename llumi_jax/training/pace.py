"""How long steps take, and how long they wait for data."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Lap(NamedTuple):
    """Of one step: its own seconds, and the share of the time since the step before that was spent waiting for data."""

    seconds: float
    data_wait: float


class Pace:
    """Times the steps of a loop that sends a step off while the one before it is still running.

    Waiting for data is the time inside `next()` of the input, all of it, also while the device was busy meanwhile.
    Over the wall time between two looks at the device it is the most that a quicker input could save.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._waited = 0.0

    def __call__(self) -> float:
        return self._clock()

    def timed(self, stream: Iterable[T]) -> Iterator[T]:
        """Yields what the stream yields, and counts the time inside its `next()`."""
        items, nothing = iter(stream), object()
        while True:
            began = self._clock()
            item = next(items, nothing)
            self._waited += self._clock() - began
            if item is nothing:
                return
            yield item  # type: ignore[misc]

    def lap(self, started: float) -> Lap:
        """Called when the step that was sent off at `started` has ended."""
        now = self._clock()
        # Sent off while the one before it was still running: its own time begins where that one ended.
        seconds = now - max(started, self._last)
        share = self._waited / max(now - self._last, 1e-9)
        self.skip()
        return Lap(max(seconds, 1e-9), min(share, 1.0))

    def skip(self) -> None:
        """Leaves out what has passed since the last lap: a save, an evaluation."""
        self._last, self._waited = self._clock(), 0.0
