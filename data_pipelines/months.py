"""Dead months: the dumps of some months hold scores as they were at creation, which say nothing."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from data_pipelines.ingest import DAY

MIN_MEAN = 1.2
MAX_ONES = 0.95
MIN_ROWS = 200  # Fewer replies may well have a mean below 1.2 by themselves.


def month_of(day: int) -> str:
    return datetime.fromtimestamp(day * DAY, UTC).strftime("%Y-%m")


def refused(votes_by_day: Mapping[int, Sequence[int]]) -> dict[str, dict[str, float]]:
    """Returns the months whose scores cannot be used: month -> rows, mean score, share of scores that are 1.

    Args:
      votes_by_day: as in `ingest.Kept`.
    """
    months: dict[str, list[int]] = {}
    for day, sums in votes_by_day.items():
        total = months.setdefault(month_of(day), [0, 0, 0])
        for place, value in enumerate(sums):
            total[place] += value
    found = {}
    for month, (rows, score, ones) in sorted(months.items()):
        if rows >= MIN_ROWS and (score < MIN_MEAN * rows or ones > MAX_ONES * rows):
            found[month] = {"rows": rows, "mean": round(score / rows, 3), "share_of_ones": round(ones / rows, 3)}
    return found
