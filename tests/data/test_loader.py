"""The input's order: a pure function of rows, seed and position."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llumi_jax.data import loader
from llumi_jax.data.loader import BLOCK, Draw


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
    shares = [list(loader.batches(Squares(13), 8, 2, 0, 32, part)) for part in np.split(np.arange(8), count)]
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


# --- mixtures ------------------------------------------------------------------------------------------------------

MIXED = Draw((40, 700, 5), (0.5, 0.3, 0.2))


@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=9))
def test_a_block_is_divided_by_shares(shares):
    counts = np.array(Draw((1,) * len(shares), tuple(shares)).counts)
    assert counts.sum() == BLOCK and counts.min() >= 1
    exact = np.array(shares) / sum(shares) * BLOCK
    tiny = int((exact < 1).sum())  # datasets that get a row although their share is less
    assert np.abs(counts - exact).max() < 1 + tiny


def test_the_mean_over_a_mixture():
    assert MIXED.counts == (512, 307, 205)
    assert MIXED.mean([1.0, 2.0, 4.0]) == pytest.approx((512 + 2 * 307 + 4 * 205) / BLOCK)


def test_every_block_holds_its_shares_in_a_drawn_order():
    order = loader.row_order(MIXED, 3, np.arange(3 * BLOCK))
    which = np.searchsorted(np.cumsum(MIXED.sizes), order, side="right").reshape(3, BLOCK)
    for block in which:
        assert np.bincount(block).tolist() == [512, 307, 205]
        assert len(set(block[:20].tolist())) > 1 and (block[:256] == 0).sum() not in (0, 256)
    assert (which[0] != which[1]).any()


def test_each_dataset_goes_through_epochs_of_its_own():
    """In the blocks up to any point a row of a dataset has come as often as its neighbours, give or take a block."""
    order = loader.row_order(MIXED, 3, np.arange(4 * BLOCK))
    firsts = np.cumsum(MIXED.sizes) - MIXED.sizes
    for size, first, count in zip(MIXED.sizes, firsts, MIXED.counts, strict=True):
        for blocks in (1, 2, 3, 4):
            met = order[: blocks * BLOCK]
            times = np.bincount(met[(met >= first) & (met < first + size)] - first, minlength=size)
            assert times.sum() == blocks * count
            assert set(times) <= {blocks * count // size, blocks * count // size + 1}


@pytest.mark.parametrize("start", [6, 1020, 1026, 3000])
def test_a_mixture_goes_on_from_any_position(start):
    rows, stop = Squares(745), 3000 + 30
    whole = loader.row_order(MIXED, 7, np.arange(stop)).tolist()
    assert rows_of(loader.batches(rows, 6, 7, start, stop, draw=MIXED)) == whole[start:]


def test_processes_share_a_mixture():
    rows = Squares(745)
    whole = rows_of(loader.batches(rows, 8, 2, 0, 64, draw=MIXED))
    shares = [list(loader.batches(rows, 8, 2, 0, 64, part, MIXED)) for part in np.split(np.arange(8), 2)]
    assert [int(row) for pair in zip(*shares, strict=True) for part in pair for row in part["row"]] == whole


def test_one_dataset_is_drawn_as_ever():
    positions = np.arange(60)
    assert (loader.row_order(13, 3, positions) == loader.row_order(Draw((13,), (0.4,)), 3, positions)).all()
