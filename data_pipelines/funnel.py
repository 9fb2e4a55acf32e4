"""Where every input row went: one reason each, summing exactly to the input."""

from collections import Counter

KEPT = "kept"


class Funnel:
    """Counts rows read and rows dropped by reason. A row is dropped at most once; what is left is kept.

    `notes` are remarks of the reader for whoever builds, such as where the broken lines are. `merges` counts replies
    that stood in several dumps ("copies") and those of them whose scores differ ("other_score"). `unsafe` counts the
    rules for which replies were dropped, `not_chosen` those for which well-voted replies are not chosen.
    """

    def __init__(self) -> None:
        self.input = 0
        self.notes: list[str] = []
        self.merges: Counter[str] = Counter()
        self.unsafe: Counter[str] = Counter()
        self.not_chosen: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()

    def read(self, rows: int = 1) -> None:
        self.input += rows

    def drop(self, reason: str, rows: int = 1) -> None:
        self._dropped[reason] += rows

    def add(self, other: "Funnel") -> None:
        """Adds what another funnel has counted of other rows."""
        self.input += other.input
        self.notes += other.notes
        self.merges += other.merges
        self.unsafe += other.unsafe
        self.not_chosen += other.not_chosen
        self._dropped += other._dropped

    def __getitem__(self, reason: str) -> int:
        return self._dropped[reason]

    def table(self, kept: int) -> dict[str, int]:
        """Returns reason -> rows, largest first, `kept` last. Raises if `kept`, counted apart, does not fit."""
        rows = {reason: count for reason, count in sorted(self._dropped.items(), key=lambda r: (-r[1], r[0])) if count}
        rows[KEPT] = kept
        if sum(rows.values()) != self.input:
            raise AssertionError(f"funnel of {sum(rows.values())} rows does not sum to the input of {self.input}")
        return rows
