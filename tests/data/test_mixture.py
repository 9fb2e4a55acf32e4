"""Packed rows of several datasets behind one another, and a part of them."""

import numpy as np
import pytest

from llumi_jax.data import loader, mixture, packing, subset
from llumi_jax.data.dataset import Pair
from llumi_jax.data.tokenization import TokenThread


def some_rows(seed: int, count: int, longest: int) -> packing.PackedRows:
    rng = np.random.default_rng(seed)

    def ids():
        return rng.integers(1, 99, rng.integers(1, longest)).astype(np.int32)

    return packing.pack(
        [
            TokenThread(f"{seed}-{i}", "", ids(), (ids(), ids()), (0.0, 0.0), (Pair(f"{seed}-{i}", 0, 1, 1.0, 1.0),))
            for i in range(count)
        ],
        192,
    )


FIRST, SECOND = some_rows(0, 30, 20), some_rows(1, 25, 60)
BOTH = mixture.of_parts([FIRST, SECOND], [3.0, 1.0])


def test_rows_keep_what_they_hold():
    rows = BOTH.rows
    assert len(rows) == len(FIRST) + len(SECOND) and rows.num_pairs == 55
    assert BOTH.draw == loader.Draw((len(FIRST), len(SECOND)), (3.0, 1.0))
    for index in range(len(rows)):
        part, at = (FIRST, index) if index < len(FIRST) else (SECOND, index - len(FIRST))
        assert rows.threads_of(index) == part.threads_of(at)
        for name, array in part[at].items():
            np.testing.assert_array_equal(rows[index][name][: len(array)], array)
            assert not rows[index][name][len(array) :].any()


def test_one_dataset_stays_as_it_is():
    alone = mixture.of_parts([FIRST], [0.25])
    assert alone.rows is FIRST and alone.draw.sizes == (len(FIRST),)
    assert alone.tokens_per_row == pytest.approx(FIRST.used_tokens / len(FIRST))


def test_tokens_of_a_row_over_a_long_stream():
    order = loader.row_order(BOTH.draw, 0, np.arange(4 * loader.BLOCK))
    mean = np.mean([sum(t.size for t in BOTH.rows.threads_of(row)) for row in order])
    assert BOTH.tokens_per_row == pytest.approx(mean, rel=0.02)
    # The plain mean over all rows would be far off: long rows are drawn less often than they are there.
    assert abs(BOTH.rows.used_tokens / len(BOTH.rows) / mean - 1) > 0.001


def test_a_part_holds_its_rows_alone():
    part = subset.take(SECOND, [4, 0])
    assert len(part) == 2 and part.shape == SECOND.shape
    assert [part.threads_of(0), part.threads_of(1)] == [SECOND.threads_of(4), SECOND.threads_of(0)]
    assert len(part.threads) == len(SECOND.threads_of(4)) + len(SECOND.threads_of(0))
