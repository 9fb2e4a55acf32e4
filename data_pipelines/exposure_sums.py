"""What the exposure model is fitted on: sums over threads that can be added up in any order and any number of parts.

Every reply falls into a cell of (arrival rank, delay after the post, time since). For every two replies to one post the
votes of each are added to the entry (its own cell, the other's cell): from these alone follows how much more votes one
cell draws than another on the same post, whatever the post's popularity.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from data_pipelines import confidence
from data_pipelines.records import Thread, known

HOUR, DAY = 3600.0, 86_400.0
# Upper edges, the last bin is open: arrival rank (0 = first reply), hours after the post, days from reply to score.
RANK_EDGES = np.array([1, 2, 3, 4, 6, 9, 14, 24])
DELAY_EDGES = np.array([0.25, 0.5, 1, 2, 4, 7, 12, 20, 36, 72, 168]) * HOUR
AGE_EDGES = np.array([3, 14]) * DAY
RANKS, DELAYS, AGES = len(RANK_EDGES) + 1, len(DELAY_EDGES) + 1, len(AGE_EDGES) + 1
CELLS = RANKS * DELAYS * AGES
# Neighbours in arrival within an hour had nearly the same readers: how their votes are shared shows the spread.
NEIGHBOURS_WITHIN = HOUR
MAX_SHARED = 100
FLUSH_AFTER = 20_000
FINEST = 1 << 32  # Sums stay exact up to two million votes a cell.

Group = tuple[str, int]


@dataclass(frozen=True)
class Table:
    """Sums by a whole-numbered key: keys [K] sorted and different, values [K]."""

    keys: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    values: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def of(cls, keys: np.ndarray, values: np.ndarray) -> "Table":
        """Adds up the values of equal keys, any shape."""
        unique, place = np.unique(keys, return_inverse=True)
        return cls(unique, np.bincount(place.ravel(), np.ravel(values), len(unique)))

    def merged(self, other: "Table") -> "Table":
        return Table.of(np.r_[self.keys, other.keys], np.r_[self.values, other.values])

    def to_lists(self) -> list[list]:
        return [self.keys.tolist(), self.values.tolist()]

    @classmethod
    def from_lists(cls, lists: list[list]) -> "Table":
        return cls(np.array(lists[0], int), np.array(lists[1], float))


def group_of(thread: Thread) -> Group:
    """Returns community and year of a thread."""
    return thread.post.community, datetime.fromtimestamp(start_of(thread), UTC).year


def start_of(thread: Thread) -> int:
    """Returns when the post began to be seen; a source without that time has its first reply's."""
    return known(thread.replies[0].created) if thread.post.created is None else thread.post.created


def cells_of(rank: np.ndarray, delay: np.ndarray, age: np.ndarray) -> np.ndarray:
    """Returns the index of each reply's cell; delay and age in seconds, age infinite where it is unknown."""
    parts = (np.digitize(rank, RANK_EDGES), np.digitize(delay, DELAY_EDGES), np.digitize(age, AGE_EDGES))
    return np.ravel_multi_index(parts, (RANKS, DELAYS, AGES))


@dataclass(frozen=True)
class GroupSums:
    """Sums of one community and year: its replies, their votes, replies by cell, and `pairs`: votes of a reply of cell
    a in pairs with one of cell b, weighed by post, under the key a * CELLS + b.
    """

    replies: int = 0
    votes: float = 0.0
    cells: Table = Table()
    pairs: Table = Table()

    def merged(self, other: "GroupSums") -> "GroupSums":
        return GroupSums(
            self.replies + other.replies,
            self.votes + other.votes,
            self.cells.merged(other.cells),
            self.pairs.merged(other.pairs),
        )

    def to_dict(self) -> dict:
        tables = {"cells": self.cells.to_lists(), "pairs": self.pairs.to_lists()}
        return {"replies": self.replies, "votes": self.votes, **tables}

    @classmethod
    def from_dict(cls, content: dict) -> "GroupSums":
        tables = (Table.from_lists(content[name]) for name in ("cells", "pairs"))
        return cls(content["replies"], content["votes"], *tables)


class ExposureSums:
    """Sums over threads of the training split.

    Args:
      self_vote: whether a reply starts with its author's own vote.
    """

    def __init__(self, self_vote: bool = True) -> None:
        self.self_vote = self_vote
        self._groups: dict[Group, GroupSums] = {}
        self._shared = Table()
        self._waiting: dict[Group, list[tuple]] = {}
        self._waiting_replies = 0

    def add(self, thread: Thread) -> None:
        """Adds a thread whose replies are sorted by time and have times and scores."""
        replies = thread.replies
        if not replies:
            return
        weight = 1.0 / max(thread.post.score or 1, 1)
        rows = [(reply.created, reply.score, reply.score_age) for reply in replies]
        self._waiting.setdefault(group_of(thread), []).append((start_of(thread), weight, rows))
        self._waiting_replies += len(rows)
        if self._waiting_replies >= FLUSH_AFTER:
            self._flush()

    def merge(self, other: "ExposureSums") -> "ExposureSums":
        """Adds what another part of the data has found, and returns itself."""
        for group, sums in other.groups().items():
            self._take(group, sums, Table())
        self._shared = self._shared.merged(other.shared())
        return self

    def groups(self) -> dict[Group, GroupSums]:
        self._flush()
        return dict(sorted(self._groups.items()))

    def shared(self) -> Table:
        """Returns how often neighbours shared votes so; key: first's votes * (MAX_SHARED + 1) + second's."""
        self._flush()
        return self._shared

    def to_dict(self) -> dict:
        """Returns the sums as what JSON can hold."""
        groups = [
            {"community": community, "year": year, **sums.to_dict()}
            for (community, year), sums in self.groups().items()
        ]
        return {"self_vote": self.self_vote, "groups": groups, "shared": self.shared().to_lists()}

    @classmethod
    def from_dict(cls, content: dict) -> "ExposureSums":
        sums = cls(content["self_vote"])
        for group in content["groups"]:
            sums._groups[group["community"], group["year"]] = GroupSums.from_dict(group)
        sums._shared = Table.from_lists(content["shared"])
        return sums

    def _flush(self) -> None:
        waiting, self._waiting, self._waiting_replies = self._waiting, {}, 0
        for group, threads in waiting.items():
            columns = _columns(threads, self.self_vote)
            self._take(group, _group_sums(columns), _shared(columns))

    def _take(self, group: Group, sums: GroupSums, shared: Table) -> None:
        self._groups[group] = self._groups.get(group, GroupSums()).merged(sums)
        self._shared = self._shared.merged(shared)


@dataclass(frozen=True)
class _Columns:
    """Replies of many threads, all [R]: index of the thread, its weight and size, time, votes and cell of the reply."""

    thread: np.ndarray
    weight: np.ndarray
    size: np.ndarray
    created: np.ndarray
    votes: np.ndarray
    cell: np.ndarray

    def later(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields all pairs (first, second) of replies to one post, by how far they lie apart in arrival."""
        for step in range(1, int(self.size.max())):
            first = np.flatnonzero(self.thread[:-step] == self.thread[step:])
            yield first, first + step


def _columns(threads: list[tuple], self_vote: bool) -> _Columns:
    sizes = np.array([len(rows) for _, _, rows in threads])
    thread = np.repeat(np.arange(len(threads)), sizes)
    start = np.array([start for start, _, _ in threads])[thread]
    rows = [row for _, _, group in threads for row in group]
    created = np.array([created for created, _, _ in rows])
    age = np.array([np.inf if age is None else age for _, _, age in rows])
    rank = np.arange(len(thread)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return _Columns(
        thread,
        np.array([weight for _, weight, _ in threads])[thread],
        sizes[thread],
        created,
        confidence.votes([score for _, score, _ in rows], self_vote),
        cells_of(rank, created - start, age),
    )


def _group_sums(columns: _Columns) -> GroupSums:
    ones = np.ones(len(columns.cell))
    pairs = Table()
    for first, second in columns.later():
        # A busy post has many pairs of one reply, and a popular one many votes: neither may drown the others. The
        # weight must not depend on the replies' own votes, or it would favour whoever got them.
        weight = columns.weight[first] / (columns.size[first] - 1)
        # Binary fractions add up exactly, so that neither the order nor the number of parts shows in the last digits.
        weight = np.round(weight * FINEST) / FINEST
        a, b = columns.cell[first], columns.cell[second]
        votes = np.r_[weight * columns.votes[first], weight * columns.votes[second]]
        pairs = pairs.merged(Table.of(np.r_[a * CELLS + b, b * CELLS + a], votes))
    return GroupSums(len(columns.cell), float(columns.votes.sum()), Table.of(columns.cell, ones), pairs)


def _shared(columns: _Columns) -> Table:
    first = np.flatnonzero(columns.thread[:-1] == columns.thread[1:])
    total = columns.votes[first] + columns.votes[first + 1]
    near = columns.created[first + 1] - columns.created[first] <= NEIGHBOURS_WITHIN
    first = first[near & (total > 0) & (total <= MAX_SHARED)]
    return Table.of(columns.votes[first] * (MAX_SHARED + 1) + columns.votes[first + 1], np.ones(len(first)))
