"""Where every input row went: one reason each, summing exactly to the input."""

from collections import Counter

KEPT = "kept"


class Funnel:
    """Counts rows read and rows dropped by reason. A row is dropped at most once; what is left is kept.

    `notes` are remarks of the reader for whoever builds, such as where the broken lines are.
    """

    def __init__(self) -> None:
        self.input = 0
        self.notes: list[str] = []
        self._dropped: Counter[str] = Counter()

    def read(self, rows: int = 1) -> None:
        self.input += rows

    def drop(self, reason: str, rows: int = 1) -> None:
        self._dropped[reason] += rows

    def __getitem__(self, reason: str) -> int:
        return self._dropped[reason]

    def table(self, kept: int) -> dict[str, int]:
        """Returns reason -> rows, largest first, `kept` last. Raises if `kept`, counted apart, does not fit."""
        rows = {reason: count for reason, count in sorted(self._dropped.items(), key=lambda r: (-r[1], r[0])) if count}
        rows[KEPT] = kept
        if sum(rows.values()) != self.input:
            raise AssertionError(f"funnel of {sum(rows.values())} rows does not sum to the input of {self.input}")
        return rows
