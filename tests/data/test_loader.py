"""The input's order: a pure function of rows, seed and position."""

import numpy as np
import pytest

from llumi_jax.data import loader


class Squares:
    """Rows [0], [1], [4], … with a second, two-dimensional array."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {"square": np.array([index**2], np.int32), "grid": np.full((2, 3), index, np.float32)}


def rows_of(stream) -> list[int]:
    return [int(row) for batch in stream for row in batch["row"]]


def test_each_epoch_is_a_permutation_and_epochs_differ():
    order = loader.row_order(13, 3, np.arange(4 * 13)).reshape(4, 13)
    for epoch in order:
        assert sorted(epoch) == list(range(13))
    assert len({tuple(epoch) for epoch in order}) == 4
    assert tuple(order[0]) != tuple(range(13))


def test_seeds_differ_and_repeat():
    def order(seed):
        return tuple(loader.row_order(13, seed, np.arange(13)))

    assert order(0) == order(0) != order(1)


def test_batches_follow_the_order_across_the_end_of_an_epoch():
    # 5 rows a batch over 13 rows: no batch ends where an epoch does.
    assert rows_of(loader.batches(Squares(13), 5, 7, 0, 40)) == loader.row_order(13, 7, np.arange(40)).tolist()


def test_batches_hold_the_rows_arrays():
    for batch in loader.batches(Squares(13), 4, 0, 0, 12):
        assert batch["square"].shape == (4, 1) and batch["square"].dtype == np.int32
        assert batch["grid"].shape == (4, 2, 3) and batch["grid"].dtype == np.float32
        np.testing.assert_array_equal(batch["square"][:, 0], batch["row"] ** 2)
        np.testing.assert_array_equal(batch["grid"][:, 1, 2], batch["row"])


@pytest.mark.parametrize("start", [4, 12, 28])
def test_a_start_in_the_middle_gives_the_same_continuation(start):
    whole = rows_of(loader.batches(Squares(13), 4, 1, 0, 40))
    assert rows_of(loader.batches(Squares(13), 4, 1, start, 40)) == whole[start:]


def test_nothing_is_left_at_the_end():
    assert rows_of(loader.batches(Squares(13), 4, 1, 40, 40)) == []


@pytest.mark.parametrize("count", [2, 4])
def test_the_shares_of_processes_partition_each_batch(count):
    whole = list(loader.batches(Squares(13), 8, 2, 0, 32))
    shares = [list(loader.batches(Squares(13), 8, 2, 0, 32, (index, count))) for index in range(count)]
    for number, batch in enumerate(whole):
        parts = [share[number] for share in shares]
        assert all(len(part["row"]) == 8 // count for part in parts)
        for name in batch:
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), batch[name])


def test_a_dataset_of_one_row_repeats_it():
    assert rows_of(loader.batches(Squares(1), 2, 0, 0, 6)) == [0] * 6


@pytest.mark.parametrize(("size", "batch", "start"), [(12, 4, 0), (13, 4, 0), (13, 4, 8), (3, 8, 0), (13, 4, 13)])
def test_a_sweep_covers_every_row_once_in_order(size, batch, start):
    met = []
    for indices, arrays in loader.sweep(Squares(size), batch, start):
        assert arrays["square"].shape == (batch, 1)
        np.testing.assert_array_equal(arrays["square"][: len(indices), 0], indices**2)
        met += indices.tolist()
    assert met == list(range(start, size))
