"""Broken lines are counted and reported with file and number; too many of them stop the build."""

from collections.abc import Sequence
from pathlib import Path

from llumi_jax.cli import UserError

MAX_SHARE = 0.01
NAMED = 5
PLAIN = 10_000


class BrokenLines:
    """Counts the lines of one file that could not be read. Set `lines` to the number of lines seen so far."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lines = 0
        self.count = 0
        self.first: list[int] = []

    def add(self, number: int) -> None:
        """Notes a broken line. Gives up early on a file that is plainly of another kind: most of its lines are broken.

        Fewer are judged at the end alone: a stretch of broken lines may be less than 1 % of a large file.
        """
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append(number)
        if self.count >= PLAIN and self.count > self.lines / 2:
            self.finish()

    @classmethod
    def of(cls, path: str, lines: int, count: int, first: Sequence[int]) -> "BrokenLines":
        """Puts together what several readers of parts of one file have counted."""
        whole = cls(path)
        whole.lines, whole.count, whole.first = lines, count, sorted(first)[:NAMED]
        return whole

    def finish(self) -> list[str]:
        """Returns a remark if lines were broken. Raises UserError above 1 %; one alone never stops a build."""
        if self.count > 1 and self.count > MAX_SHARE * self.lines:
            raise UserError(
                f"{self.path}: {self.count:,} of {self.lines:,} lines are broken (first: {self.where()}), more than "
                f"{MAX_SHARE:.0%}. Is it the right kind of file, one JSON object or CSV row a line, and complete?"
            )
        return [f"{Path(self.path).name}: {self.count:,} broken lines skipped ({self.where()})"] if self.count else []

    def where(self) -> str:
        return "line " + ", ".join(str(number) for number in self.first) + (", …" if self.count > NAMED else "")
