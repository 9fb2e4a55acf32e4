"""Rows to batches: a tf.data input whose whole state is one integer, the number of rows consumed."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np


class Rows(Protocol):
    """Anything with a length whose items are dicts of arrays of fixed shapes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]: ...


BLOCK = 1024  # rows of a mixture within which the shares of its datasets hold exactly


@dataclasses.dataclass(frozen=True)
class Draw:
    """How rows are drawn from datasets that lie one behind the other.

    Of every `BLOCK` rows of the stream each dataset gives its share, at least one row; within the block they come in a
    drawn order. Each dataset goes through epochs of its own: all its rows once, then all of them again.

    Attributes:
      sizes: rows of each dataset.
      shares: of the stream, above 0; they are divided by their sum.
    """

    sizes: tuple[int, ...]
    shares: tuple[float, ...] = (1.0,)

    @functools.cached_property
    def counts(self) -> tuple[int, ...]:
        """Rows of each dataset in a block: the largest remainders round up."""
        if len(self.sizes) == 1:
            return (BLOCK,)
        exact = np.array(self.shares) / sum(self.shares) * BLOCK
        counts = np.maximum(np.floor(exact).astype(int), 1)
        for index in np.argsort(-(exact - counts), kind="stable")[: max(0, BLOCK - int(counts.sum()))]:
            counts[index] += 1
        counts[np.argmax(counts)] += BLOCK - int(counts.sum())  # where a tiny share took a row that was not its own
        return tuple(counts.tolist())

    def mean(self, values: list[float]) -> float:
        """The mean of one number a dataset over the rows of the stream."""
        return float(np.dot(values, self.counts)) / BLOCK


def row_order(rows: int | Draw, seed: int, positions: np.ndarray) -> np.ndarray:
    """The row indices at the given positions of an endless stream: each epoch a shuffle of its own, without state.

    Args:
      rows: rows of the dataset, or how they are drawn from several.
      seed: of the run.
      positions: int64 positions in the stream, from 0.
    """
    tf = _tensorflow()
    draw = Draw((rows,)) if isinstance(rows, int) else rows
    dataset = tf.data.Dataset.from_tensor_slices(np.asarray(positions, np.int64))
    return np.fromiter(dataset.map(lambda p: _row_at(tf, draw, seed, p)).as_numpy_iterator(), np.int64)


def batches(
    rows: Rows,
    batch_rows: int,
    seed: int,
    start: int,
    stop: int,
    mine: np.ndarray | None = None,
    draw: Draw | None = None,
) -> Iterator[dict]:
    """Yields batches of numpy arrays [rows, …] for the stream's rows from `start` to `stop`.

    Args:
      rows: the dataset's rows.
      batch_rows: rows of a global batch.
      seed: of the order.
      start: rows consumed so far, a multiple of `batch_rows`.
      stop: rows consumed at the end.
      mine: which rows of each batch this process loads, from 0 to `batch_rows` - 1; None = all.
      draw: how rows are drawn, where they are those of several datasets.

    A batch holds, beside the rows' arrays, `row` [batch]: the index of each row.
    """
    tf = _tensorflow()
    own = np.arange(batch_rows, dtype=np.int64) if mine is None else np.asarray(mine, np.int64)
    names, signature = _signature(tf, rows)
    drawn = draw or Draw((len(rows),))

    def load(position):
        row = _row_at(tf, drawn, seed, position)
        arrays = tf.numpy_function(lambda i: [rows[int(i)][n] for n in names], [row], [s.dtype for s in signature])
        for array, spec in zip(arrays, signature, strict=True):
            array.set_shape(spec.shape)
        return {**dict(zip(names, arrays, strict=True)), "row": row}

    first = tf.data.Dataset.range(start, stop, batch_rows, output_type=tf.int64)
    positions = first.flat_map(lambda b: tf.data.Dataset.from_tensor_slices(b + own))
    dataset = positions.map(load, num_parallel_calls=2, deterministic=True).batch(len(own), drop_remainder=True)
    yield from dataset.prefetch(2).as_numpy_iterator()


def sweep(
    rows: Rows, batch_rows: int, start: int = 0, mine: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, dict]]:
    """Yields (row indices, batch) once over all rows from `start` on, in order; the last batch repeats its last row.

    With `mine` a batch holds these rows of it alone; the indices are those of the whole batch.
    """
    own = slice(None) if mine is None else mine
    for first in range(start, len(rows), batch_rows):
        indices = np.minimum(np.arange(first, first + batch_rows), len(rows) - 1)
        items = [rows[int(i)] for i in indices[own]]
        batch = {name: np.stack([item[name] for item in items]) for name in items[0]}
        yield np.arange(first, min(first + batch_rows, len(rows))), {**batch, "row": indices[own]}


def _tensorflow():
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    return tf


def _row_at(tf: Any, draw: Draw, seed: int, position: Any) -> Any:
    """The row at a position: a pure function of it, so that the position is the whole state of the input."""
    if len(draw.sizes) == 1:
        return _shuffled(tf, draw.sizes[0], seed, position)
    # Slots of a block are shuffled; those of a dataset lie side by side, and count on through its own stream of rows.
    block, slot = position // BLOCK, _shuffled(tf, BLOCK, seed + _MIXING, position)
    ends = np.cumsum(draw.counts)
    which = tf.searchsorted(tf.constant(ends, tf.int64), slot[None], side="right")[0]
    pick = lambda values: tf.gather(tf.constant(values, tf.int64), which)
    own = block * pick(draw.counts) + slot - pick(ends - draw.counts)
    firsts = np.cumsum(draw.sizes) - draw.sizes
    rows = [lambda i=i: _shuffled(tf, draw.sizes[i], seed + i * _DATASET, own) for i in range(len(draw.sizes))]
    return pick(firsts) + tf.switch_case(which, rows)


# Far apart, so that neighbouring seeds of runs share nothing.
_MIXING, _DATASET = 0x5BD1E995, 0x1B873593


def _shuffled(tf: Any, rows: int, seed: int, position: Any) -> Any:
    """Epoch order by a stateless shuffle of the index, seeded by run and epoch."""
    epoch, index = position // rows, position % rows
    key = tf.cast(tf.stack([tf.cast(seed, tf.int64), epoch]), tf.uint32)
    return tf.random.experimental.index_shuffle(index, seed=key, max_index=tf.cast(rows - 1, tf.int64))


def _signature(tf: Any, rows: Rows) -> tuple[list[str], list[Any]]:
    example = rows[0]
    names = sorted(example)
    return names, [tf.TensorSpec(example[n].shape, example[n].dtype) for n in names]
