"""Rows to batches: a tf.data input whose whole state is one integer, the number of rows consumed."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np


class Rows(Protocol):
    """Anything with a length whose items are dicts of arrays of fixed shapes."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, np.ndarray]: ...


def row_order(rows: int, seed: int, positions: np.ndarray) -> np.ndarray:
    """The row indices at the given positions of an endless stream: each epoch a shuffle of its own, without state.

    Args:
      rows: rows of the dataset.
      seed: of the run.
      positions: int64 positions in the stream, from 0.
    """
    import tensorflow as tf

    return np.array([int(_row_at(tf, rows, seed, tf.constant(p, tf.int64))) for p in positions], np.int64)


def batches(
    rows: Rows, batch_rows: int, seed: int, start: int, stop: int, share: tuple[int, int] = (0, 1)
) -> Iterator[dict]:
    """Yields batches of numpy arrays [batch_rows / processes, …] for the stream's rows from `start` to `stop`.

    Args:
      rows: the dataset's rows.
      batch_rows: rows of a global batch.
      seed: of the order.
      start: rows consumed so far, a multiple of `batch_rows`.
      stop: rows consumed at the end.
      share: (process index, process count): which part of each batch this process loads.

    A batch holds, beside the rows' arrays, `row` [batch]: the index of each row.
    """
    tf = _tensorflow()
    index, count = share
    local = batch_rows // count
    names, signature = _signature(tf, rows)

    def load(position):
        row = _row_at(tf, len(rows), seed, position)
        arrays = tf.numpy_function(lambda i: [rows[int(i)][n] for n in names], [row], [s.dtype for s in signature])
        for array, spec in zip(arrays, signature, strict=True):
            array.set_shape(spec.shape)
        return {**dict(zip(names, arrays, strict=True)), "row": row}

    first = tf.data.Dataset.range(start, stop, batch_rows, output_type=tf.int64)
    positions = first.flat_map(lambda b: tf.data.Dataset.range(b + index * local, b + (index + 1) * local))
    dataset = positions.map(load, num_parallel_calls=2, deterministic=True).batch(local, drop_remainder=True)
    yield from dataset.prefetch(2).as_numpy_iterator()


def sweep(rows: Rows, batch_rows: int, start: int = 0) -> Iterator[tuple[np.ndarray, dict]]:
    """Yields (row indices, batch) once over all rows from `start` on, in order; the last batch repeats its last row."""
    for first in range(start, len(rows), batch_rows):
        indices = np.minimum(np.arange(first, first + batch_rows), len(rows) - 1)
        items = [rows[int(i)] for i in indices]
        batch = {name: np.stack([item[name] for item in items]) for name in items[0]}
        yield np.arange(first, min(first + batch_rows, len(rows))), {**batch, "row": indices}


def _tensorflow():
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    return tf


def _row_at(tf: Any, rows: int, seed: int, position: Any) -> Any:
    """Epoch order by a stateless shuffle of the index, seeded by run and epoch."""
    epoch, index = position // rows, position % rows
    key = tf.cast(tf.stack([tf.cast(seed, tf.int64), epoch]), tf.uint32)
    return tf.random.experimental.index_shuffle(index, seed=key, max_index=tf.cast(rows - 1, tf.int64))


def _signature(tf: Any, rows: Rows) -> tuple[list[str], list[Any]]:
    example = rows[0]
    names = sorted(example)
    return names, [tf.TensorSpec(example[n].shape, example[n].dtype) for n in names]
