"""Thread-shared packing: many threads in one row, a post once, each reply once, pairs as indices.

    rows         tokens, positions, segment, branch  [T]
    predictions  source, target, slot, weight        [M]   logp of target from hidden[source], summed into its slot
    pairs        chosen, rejected, probability, pair_weight  [P]   chosen and rejected are slots

The last token of a prefix predicts the first token of every reply, hence the gather list. Everything has a static
size for a whole dataset, so a run compiles its step once. Padding: segment 0, weight 0.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from llumi_jax.cli import UserError
from llumi_jax.data.tokenization import TokenThread

_ROUND_PREDICTIONS = 128  # the chunk over which logits are made


@dataclasses.dataclass(frozen=True)
class RowShape:
    """Static sizes: T tokens, M predictions, S reply slots, P pairs."""

    tokens: int
    predictions: int
    slots: int
    pairs: int


@dataclasses.dataclass(frozen=True)
class PackedRows:
    """A dataset as rows that are built when they are asked for; `rows[i]` is a dict of numpy arrays."""

    threads: tuple[TokenThread, ...]
    plan: tuple[tuple[int, ...], ...]  # thread indices of each row
    shape: RowShape
    dropped: int = 0  # pairs or targets that fit no row and were left out on request

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return build_row(self.threads_of(index), self.shape)

    def threads_of(self, index: int) -> list[TokenThread]:
        return [self.threads[i] for i in self.plan[index]]

    @property
    def used_tokens(self) -> int:
        return sum(thread.size for thread in self.threads)

    @property
    def fill(self) -> float:
        """Share of the rows' tokens that is not padding."""
        return self.used_tokens / max(1, len(self) * self.shape.tokens)

    @property
    def num_pairs(self) -> int:
        return sum(len(thread.pairs) for thread in self.threads)

    @property
    def num_targets(self) -> int:
        return sum(weight > 0 for thread in self.threads for weight in thread.reply_weights)


def pack(threads: Sequence[TokenThread], row_length: int, *, drop_too_long: bool = False) -> PackedRows:
    """Plans rows by best-fit decreasing; the same threads always give the same rows.

    A thread larger than a row is split, pair by pair (or reply by reply), and its prefix repeated.

    Raises:
      UserError: a reply (for pairs: the two of a pair) does not fit a row beside its prompt, and `drop_too_long`
        is off; or there is nothing to pack.
    """
    parts: list[TokenThread] = []
    dropped = 0
    for thread in threads:
        split, lost = _split(thread, row_length, drop_too_long)
        parts += split
        dropped += lost
    if not parts:
        raise UserError(
            "the dataset has no thread that can be trained on. Check the split, the task and the rule it was built by."
        )
    plan = best_fit([part.size for part in parts], row_length)
    return PackedRows(tuple(parts), plan, _shape(parts, plan, row_length), dropped)


def best_fit(sizes: Sequence[int], capacity: int) -> tuple[tuple[int, ...], ...]:
    """Best-fit decreasing: each item, largest first, goes where it leaves the least room. O(items * distinct rooms)."""
    by_room: list[list[int]] = [[] for _ in range(capacity + 1)]  # room left -> bins with exactly that room
    bins: list[list[int]] = []
    occupied = np.zeros(capacity + 1, bool)
    for item in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        size = sizes[item]
        fitting = np.flatnonzero(occupied[size:])
        if fitting.size:
            room = size + int(fitting[0])
            index = by_room[room].pop()
            occupied[room] = bool(by_room[room])
        else:
            room, index = capacity, len(bins)
            bins.append([])
        bins[index].append(item)
        by_room[room - size].append(index)
        occupied[room - size] = True
    return tuple(tuple(sorted(contents)) for contents in bins)


def build_row(threads: Sequence[TokenThread], shape: RowShape) -> dict[str, np.ndarray]:
    """Writes threads into one row. Slots count through the row's replies in order."""
    row = _empty_row(shape)
    at = made = slot = pair = 0
    for segment, thread in enumerate(threads, start=1):
        prefix_end, first_slot = len(thread.prefix), slot
        last_of_prefix = at + prefix_end - 1
        at = _write(row, at, thread.prefix, 0, segment, 0)
        supervised = bool(thread.pairs)
        for branch, (reply, weight) in enumerate(zip(thread.replies, thread.reply_weights, strict=True), start=1):
            n = len(reply)
            row["source"][made : made + n] = [last_of_prefix, *range(at, at + n - 1)]
            row["target"][made : made + n] = reply
            row["slot"][made : made + n] = slot
            row["weight"][made : made + n] = 1.0 if supervised else weight
            at, made, slot = _write(row, at, reply, prefix_end, segment, branch), made + n, slot + 1
        for p in thread.pairs:
            row["chosen"][pair], row["rejected"][pair] = first_slot + p.chosen, first_slot + p.rejected
            row["probability"][pair], row["pair_weight"][pair] = p.probability, p.weight
            pair += 1
    return row


def _empty_row(shape: RowShape) -> dict[str, np.ndarray]:
    ints = {"tokens": shape.tokens, "positions": shape.tokens, "segment": shape.tokens, "branch": shape.tokens}
    ints |= {"source": shape.predictions, "target": shape.predictions, "slot": shape.predictions}
    ints |= {"chosen": shape.pairs, "rejected": shape.pairs}
    floats = {"weight": shape.predictions, "probability": shape.pairs, "pair_weight": shape.pairs}
    row = {name: np.zeros(size, np.int32) for name, size in ints.items()}
    return row | {name: np.zeros(size, np.float32) for name, size in floats.items()}


def _write(row: dict[str, np.ndarray], at: int, ids: np.ndarray, position: int, segment: int, branch: int) -> int:
    end = at + len(ids)
    row["tokens"][at:end] = ids
    row["positions"][at:end] = np.arange(position, position + len(ids))
    row["segment"][at:end] = segment
    row["branch"][at:end] = branch
    return end


def rounded_predictions(count: int) -> int:
    """M of a row with `count` predictions: whole chunks of them."""
    return -(-count // _ROUND_PREDICTIONS) * _ROUND_PREDICTIONS


def _shape(parts: Sequence[TokenThread], plan: Sequence[Sequence[int]], row_length: int) -> RowShape:
    most = lambda count: max(sum(count(parts[i]) for i in row) for row in plan)
    predictions = rounded_predictions(most(lambda t: sum(map(len, t.replies))))
    return RowShape(row_length, predictions, most(lambda t: len(t.replies)), max(1, most(lambda t: len(t.pairs))))


def _split(thread: TokenThread, row_length: int, drop_too_long: bool) -> tuple[list[TokenThread], int]:
    """Cuts a thread into parts that fit a row, and counts what does not fit anywhere."""
    if thread.size <= row_length:
        return [thread], 0
    units: list[tuple[int, ...]] = [(p.chosen, p.rejected) for p in thread.pairs]
    units = units or [(i,) for i in range(len(thread.replies))]
    names = [p.pair_id for p in thread.pairs] or [f"reply {i}" for i in range(len(thread.replies))]
    groups: list[tuple[list[int], set[int]]] = []  # (units, replies) of each part
    dropped = 0
    for unit, (needs, name) in enumerate(zip(units, names, strict=True)):
        size = lambda replies: len(thread.prefix) + sum(len(thread.replies[r]) for r in replies)
        if size(set(needs)) > row_length:
            if not drop_too_long:
                raise UserError(_too_long(thread, name, size(set(needs)), row_length))
            dropped += 1
            continue
        for members, replies in groups:
            if size(replies | set(needs)) <= row_length:
                members.append(unit)
                replies |= set(needs)
                break
        else:
            groups.append(([unit], set(needs)))
    return [_part(thread, members, sorted(replies)) for members, replies in groups], dropped


def _too_long(thread: TokenThread, name: str, size: int, row_length: int) -> str:
    longest = max(map(len, thread.replies))
    return (
        f"thread {thread.thread_id}, {name}: its prompt ({len(thread.prefix)} tokens) and replies (longest: {longest}) "
        f"need {size} tokens, a row has {row_length}. Raise config.row_length, or set config.drop_too_long=True."
    )


def _part(thread: TokenThread, members: Sequence[int], replies: Sequence[int]) -> TokenThread:
    """The sub-thread of some pairs (or, without pairs, of some replies)."""
    new = {old: i for i, old in enumerate(replies)}
    pairs = tuple(
        dataclasses.replace(thread.pairs[i], chosen=new[thread.pairs[i].chosen], rejected=new[thread.pairs[i].rejected])
        for i in (members if thread.pairs else ())
    )
    return dataclasses.replace(
        thread,
        replies=tuple(thread.replies[r] for r in replies),
        reply_weights=tuple(thread.reply_weights[r] for r in replies),
        pairs=pairs,
    )
