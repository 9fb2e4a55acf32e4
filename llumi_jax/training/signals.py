"""Asks a run to stop at the next safe point: a signal, Ctrl-C, a time limit, or a notice of maintenance."""

import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

_POLL = 1.0  # seconds between two looks at the clock and the file


class Stopped(Exception):
    """The run was asked to stop, and what it had done is saved."""


class StopRequest:
    """Remembers that somebody asked to stop; a second Ctrl-C interrupts at once.

    Used as a context manager around a run. `requested`: this process was asked. `reason`: by what. `due`: the next safe
    point is to be the last, which is the same thing, unless there are several processes: they stop when all know.

    Args:
      together: there are several processes.
      until: a `time.monotonic()` at which the run must have saved and ended; None = no limit.
      notice: a file whose appearance, or change, asks to stop; "NONE" in it does not. None = no such file.
    """

    def __init__(self, together: bool = False, until: float | None = None, notice: Path | None = None) -> None:
        self.requested, self.reason = False, "a signal"
        self._together, self._agreed = together, False
        self._until, self._notice, self._margin = until, notice, 0.0
        self._previous: dict[int, Any] = {}
        self._over = threading.Event()

    @property
    def due(self) -> bool:
        return self._agreed if self._together else self.requested

    def heard(self, votes: float) -> None:
        """So many devices belong to processes that were asked to stop."""
        self._agreed = self._agreed or votes > 0

    def takes(self, seconds: float) -> None:
        """From one safe point to the next, with its save, it has taken so long: a time limit leaves room for three."""
        self._margin = max(self._margin, 3 * seconds)

    def ask(self, reason: str) -> None:
        if not self.requested:
            self.requested, self.reason = True, reason

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._handle)
        if self._until is not None or self._notice is not None:
            threading.Thread(target=self._watch, args=(_seen(self._notice),), name="stop", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.ask("a signal")

    def _watch(self, old: Any) -> None:
        while not self.requested and not self._over.wait(_POLL):
            if self._until is not None and time.monotonic() + self._margin + _POLL >= self._until:
                self.ask("the time limit")
            elif self._notice is not None and _seen(self._notice) not in (None, old):
                self.ask(f"the notice {self._notice}")

    def check(self) -> None:
        """Raises Stopped if a stop is due: called where everything done so far is on disk."""
        if self.due:
            raise Stopped


def _seen(notice: Path | None) -> Any:
    """What tells one notice from another; None where there is none."""
    try:
        text = notice.read_text(errors="replace").strip() if notice else "NONE"
        return None if text.upper() == "NONE" or notice is None else (text, notice.stat().st_mtime_ns)
    except OSError:
        return None
