"""Says where a run hangs: a collective that waits for a lost host, a deadlock in the input, a disk that is gone."""

import faulthandler
import sys
import threading
import time
from typing import Any, TextIO

_TICK = 0.2  # at most this part of the limit passes between two looks at the clock


class Watchdog:
    """Prints the stacks of all threads when no step has ended for `seconds`, once for each hang; the run goes on.

    Used as a context manager around a loop that calls `beat` after every step.

    Args:
      name: of the stage.
      seconds: the limit; 0 switches it off.
      unit: what a step is called.
      file: where to print, with a file descriptor; standard error unless told.
    """

    def __init__(self, name: str, seconds: float, unit: str = "step", file: TextIO | None = None) -> None:
        self._name, self._seconds, self._unit, self._file = name, seconds, unit, file
        self._last, self._step, self._told = time.monotonic(), 0, False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def beat(self, step: int) -> None:
        """Steps have ended: `step` in all."""
        self._last, self._step, self._told = time.monotonic(), step, False

    def __enter__(self) -> "Watchdog":
        self.beat(self._step)
        if self._seconds > 0:
            self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(self._seconds * _TICK):
            if not self._told and time.monotonic() - self._last > self._seconds:
                self._told = True
                self._tell()

    def _tell(self) -> None:
        file = self._file or sys.__stderr__
        if file is None:
            return
        after = f"after {self._unit} {self._step}" if self._step else f"before the first {self._unit}"
        print(
            f"{self._name}: nothing for {self._seconds:g} seconds {after}. The stacks of all threads follow; the run "
            "goes on. Another limit: --hang_seconds N (0 = none).",
            file=file,
            flush=True,
        )
        faulthandler.dump_traceback(file, all_threads=True)
