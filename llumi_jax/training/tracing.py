"""A profiler trace of some steps of a stage."""

from pathlib import Path
from typing import Any

import jax

FOLDER = "profile"


class Trace:
    """Records the steps A to B of a stage into `<stage>/profile`, to be opened in TensorBoard, XProf or Perfetto.

    Used as a context manager around the loop. The device must be idle at `before` of step A, and is at `after` of
    step B, so that the trace holds these steps and nothing else; `edge` says where the loop has to wait for it.
    `missed`: a trace was asked for, and its steps have not come yet.

    Args:
      folder: of the stage.
      steps: the first and the last step, counted from 1; None = no trace.
    """

    def __init__(self, folder: Path, steps: tuple[int, int] | None) -> None:
        self._folder, self._steps = folder / FOLDER, steps or (0, -1)
        self._running, self.missed = False, steps is not None

    def edge(self, step: int) -> bool:
        """Whether a trace begins after this step, or ends with it."""
        first, last = self._steps
        return first <= last and step in (first - 1, last)

    def before(self, step: int) -> Any:
        """Begins where it is time to; returns a context to send the step off in."""
        first, last = self._steps
        if first <= step <= last and not self._running:
            self._running, self.missed = True, False
            if jax.process_index() == 0:
                jax.profiler.start_trace(self._folder)
        return jax.profiler.StepTraceAnnotation("train", step_num=step)

    def after(self, step: int) -> Path | None:
        """Ends where it is time to; returns the folder then."""
        if not self._running or step < self._steps[1]:
            return None
        self._stop()
        return self._folder

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, *_: Any) -> None:
        if self._running:  # the stage ended, or broke, within the trace
            self._stop()

    def _stop(self) -> None:
        self._running = False
        if jax.process_index() == 0:
            jax.profiler.stop_trace()
