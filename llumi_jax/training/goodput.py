"""How much of a run's wall time went into steps, and where the rest went: of this start, and of all its starts."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from llumi_jax.storage import files
from llumi_jax.training.report_text import duration

FILE = "goodput.json"
PARTS = ("steps", "loading", "compiling", "input", "saving", "evaluation")
T = TypeVar("T")


class Goodput:
    """Times the parts of a run; a part within another is taken out of it. For one thread.

    What is left over when all parts are taken from the wall time is called "other". A start that is killed is known up
    to its last save, and by the last line of its log: steps behind the save were lost, their time was not steps.

    Args:
      folder: the work directory, in which all starts are kept; None = nothing is read or written.
      began: of this start, by `clock`; None = now.
      clock: monotonic seconds.
      now: seconds since 1970.
    """

    def __init__(
        self,
        folder: Path | None = None,
        began: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._clock, self._folder = clock, folder
        self._began = clock() if began is None else began
        self._seconds = dict.fromkeys(PARTS, 0.0)
        self._open: list[str] = []
        self._since = self._began
        self._started = now() - (clock() - self._began)
        self._earlier = _starts(folder) if folder else []

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What happens within belongs to this part, and not to the one around it."""
        self._turn()
        self._open.append(name)
        try:
            yield
        finally:
            self._turn()
            self._open.pop()

    def within(self, name: str, function: Callable[..., T]) -> Callable[..., T]:
        """The function, every call of it a part."""

        def timed(*arguments: Any) -> T:
            with self.part(name):
                return function(*arguments)

        return timed

    def waiting(self, stream: Iterable[T]) -> Iterator[T]:
        """Yields what the stream yields; the time inside its `next()` is the part "input"."""
        items, nothing = iter(stream), object()
        while True:
            with self.part("input"):
                item = next(items, nothing)
            if item is nothing:
                return
            yield item  # type: ignore[misc]

    def loaded(self) -> None:
        """All that has been outside of parts until now was loading."""
        self._turn()
        self._seconds["loading"] += self._clock() - self._began - sum(self._seconds.values())

    def write(self, ended: bool = False) -> None:
        """Keeps this start beside the earlier ones."""
        if self._folder:
            files.write_json(self._folder / FILE, [*self._earlier, self._start(ended)])

    def line(self) -> str:
        """For the end of a run."""
        here = self._start(True)
        rest = {name: seconds for name, seconds in here["seconds"].items() if name != "steps"}
        rest["other"] = max(0.0, here["wall"] - sum(here["seconds"].values()))
        said = f"Goodput: {_share([here])} in steps; {', '.join(f'{name} {duration(s)}' for name, s in rest.items())}"
        starts = [*self._earlier, here]
        return f"{said}. All {len(starts)} starts: {_share(starts)}" if len(starts) > 1 else said

    def _turn(self) -> None:
        """Gives the time since the last turn to the part that is open."""
        now = self._clock()
        if self._open:
            self._seconds[self._open[-1]] += now - self._since
        self._since = now

    def _start(self, ended: bool) -> dict[str, Any]:
        self._turn()
        seconds = {name: round(value, 3) for name, value in self._seconds.items()}
        wall = round(self._clock() - self._began, 3)
        return {"started": round(self._started, 3), "wall": wall, "seconds": seconds, "ended": ended}


def _share(starts: list[dict[str, Any]]) -> str:
    wall = sum(start["wall"] for start in starts)
    return f"{sum(start['seconds']['steps'] for start in starts) / max(wall, 1e-9):.0%} of {duration(wall)}"


def _starts(folder: Path) -> list[dict[str, Any]]:
    """The starts before this one; of one that was killed the log tells how long it lived at least."""
    if not (folder / FILE).exists():
        return []
    starts = files.read_json(folder / FILE)
    if starts and not starts[-1]["ended"]:
        seen = [path.stat().st_mtime for path in folder.glob("*/metrics.jsonl")]
        starts[-1]["wall"] = max([starts[-1]["wall"], *(round(last - starts[-1]["started"], 3) for last in seen)])
        starts[-1]["ended"] = True
    return starts
