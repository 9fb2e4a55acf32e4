"""Several datasets as one: their packed rows one behind the other, each with its share of the stream."""

import dataclasses
from collections.abc import Sequence

from llumi_jax.data.loader import Draw
from llumi_jax.data.packing import PackedRows, RowShape


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Rows of all datasets, of one shape, and how they are drawn.

    An epoch of a mixture is as many rows as all its datasets have together. In it a dataset of n rows with share s is
    gone through s * rows / n times, which may be less than once.
    """

    rows: PackedRows
    draw: Draw

    @property
    def tokens_per_row(self) -> float:
        """Tokens of a row of the stream that are not padding, on average."""
        means, first = [], 0
        for size in self.draw.sizes:
            of_dataset = [t for row in range(first, first + size) for t in self.rows.threads_of(row)]
            means.append(sum(t.size for t in of_dataset) / size)
            first += size
        return self.draw.mean(means)


def of_parts(parts: Sequence[PackedRows], shares: Sequence[float]) -> Mixture:
    """Joins the rows of datasets, at least one, which were packed to one length."""
    if len(parts) == 1:
        return Mixture(parts[0], Draw((len(parts[0]),)))
    threads: list = []
    plan: list[tuple[int, ...]] = []
    for part in parts:
        plan += [tuple(len(threads) + index for index in row) for row in part.plan]
        threads += part.threads
    most = lambda name: max(getattr(part.shape, name) for part in parts)
    shape = RowShape(*(most(field.name) for field in dataclasses.fields(RowShape)))
    dropped = sum(part.dropped for part in parts)
    rows = dataclasses.replace(parts[0], threads=tuple(threads), plan=tuple(plan), shape=shape, dropped=dropped)
    return Mixture(rows, Draw(tuple(map(len, parts)), tuple(shares)))
