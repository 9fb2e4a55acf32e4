"""Asks a run to stop at the next safe point: SIGTERM (preemption, a scheduler's limit) or Ctrl-C."""

import signal
from types import FrameType
from typing import Any


class Stopped(Exception):
    """The run was asked to stop, and what it had done is saved."""


class StopRequest:
    """Remembers that somebody asked to stop; a second Ctrl-C interrupts at once.

    Used as a context manager around a run.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True

    def check(self) -> None:
        """Raises Stopped if a stop was asked for: called where everything done so far is on disk."""
        if self.requested:
            raise Stopped
