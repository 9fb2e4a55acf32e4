"""Packed rows read back token by token, and the packing plan against plain first-fit."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llumi_jax.cli import UserError
from llumi_jax.data import packing
from llumi_jax.data.dataset import Pair
from llumi_jax.data.packing import best_fit, pack
from llumi_jax.data.tokenization import TokenThread


def make_thread(name: str, prefix: int, replies: list[int], pairs: list[tuple[int, int]], rng) -> TokenThread:
    def ids(size):
        return rng.integers(1, 1000, size).astype(np.int32)

    made = tuple(
        Pair(f"{name}/{i}", c, r, float(rng.uniform(0.5, 1)), float(rng.uniform(0.1, 2)))
        for i, (c, r) in enumerate(pairs)
    )
    weights = tuple(0.0 if pairs else float(rng.integers(0, 3)) for _ in replies)
    return TokenThread(name, "", ids(prefix), tuple(ids(n) for n in replies), weights, made)


@st.composite
def threads_of(draw, with_pairs: bool) -> list[TokenThread]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    threads = []
    for i in range(draw(st.integers(1, 8))):
        replies = draw(st.lists(st.integers(1, 25), min_size=2 if with_pairs else 1, max_size=8))
        every = [(a, b) for a in range(len(replies)) for b in range(len(replies)) if a != b]
        pairs = draw(st.lists(st.sampled_from(every), min_size=1, max_size=6, unique=True)) if with_pairs else []
        threads.append(make_thread(f"t{i}", draw(st.integers(1, 14)), replies, pairs, rng))
    return threads


def read_row(row: dict) -> list[tuple]:
    """Reads a row without the packer's help: per segment, (prefix, {slot: (reply, weights)})."""
    result = []
    slot_tokens: dict[int, list] = {}
    for source, target, slot, weight in zip(*(row[n] for n in ("source", "target", "slot", "weight")), strict=True):
        slot_tokens.setdefault(int(slot), []).append((int(source), int(target), float(weight)))
    slot = 0
    for segment in range(1, row["segment"].max() + 1):
        here = row["segment"] == segment
        where = {b: np.flatnonzero(here & (row["branch"] == b)) for b in range(row["branch"][here].max() + 1)}
        prefix = where.pop(0)
        np.testing.assert_array_equal(row["positions"][prefix], np.arange(len(prefix)))
        replies = {}
        for branch in sorted(where):
            at = where[branch]
            np.testing.assert_array_equal(row["positions"][at], len(prefix) + np.arange(len(at)))
            listed = slot_tokens[slot][: len(at)]  # slot 0 also holds the padding, behind its own entries
            assert [target for _, target, _ in listed] == row["tokens"][at].tolist()
            assert [source for source, _, _ in listed] == [prefix[-1], *at[:-1]]
            replies[slot] = (tuple(row["tokens"][at].tolist()), {weight for *_, weight in listed})
            slot += 1
        result.append((tuple(row["tokens"][prefix].tolist()), replies))
    return result


def check_rows(rows: packing.PackedRows) -> tuple[list, list]:
    """Checks every row against its threads; returns the pairs and replies that were met, as comparable values."""
    pairs_met, replies_met = [], []
    for index in range(len(rows)):
        row, threads = rows[index], rows.threads_of(index)
        read = read_row(row)
        assert [prefix for prefix, _ in read] == [tuple(t.prefix.tolist()) for t in threads]
        used = sum(t.size for t in threads)
        assert (row["segment"] > 0).sum() == used <= rows.shape.tokens
        assert not row["segment"][used:].any() and not row["tokens"][used:].any()
        predicted = sum(len(r) for t in threads for r in t.replies)
        assert not row["weight"][predicted:].any()
        by_slot, pair = {}, 0
        for (prefix, replies), thread in zip(read, threads, strict=True):
            assert [ids for ids, _ in replies.values()] == [tuple(r.tolist()) for r in thread.replies]
            for (ids, weights), weight in zip(replies.values(), thread.reply_weights, strict=True):
                assert weights == {1.0 if thread.pairs else weight}
                replies_met.append((prefix, ids, weight))
            by_slot |= {slot: (prefix, ids) for slot, (ids, _) in replies.items()}
            for p in thread.pairs:
                chosen, rejected = by_slot[row["chosen"][pair]], by_slot[row["rejected"][pair]]
                assert chosen[0] == rejected[0] == prefix
                numbers = (row["probability"][pair], row["pair_weight"][pair])
                assert numbers == (np.float32(p.probability), np.float32(p.weight))
                pairs_met.append((p.pair_id, prefix, chosen[1], rejected[1], p.probability, p.weight))
                pair += 1
        assert not row["pair_weight"][pair:].any()
    return pairs_met, replies_met


def pairs_of(threads) -> list:
    def text(ids):
        return tuple(ids.tolist())

    return [
        (p.pair_id, text(t.prefix), text(t.replies[p.chosen]), text(t.replies[p.rejected]), p.probability, p.weight)
        for t in threads
        for p in t.pairs
    ]


def replies_of(threads) -> list:
    return [
        (tuple(t.prefix.tolist()), tuple(r.tolist()), w)
        for t in threads
        for r, w in zip(t.replies, t.reply_weights, strict=True)
    ]


@settings(max_examples=60, deadline=None)
@given(threads_of(with_pairs=True), st.integers(64, 200))
def test_every_pair_is_in_exactly_one_row_at_the_right_place(threads, row_length):
    # 14 + 2 * 25 = 64: every pair fits a row, but many a thread does not and is split.
    rows = pack(threads, row_length)
    pairs, _ = check_rows(rows)
    assert sorted(pairs) == sorted(pairs_of(threads))
    assert rows.num_pairs == len(pairs) and rows.dropped == 0


@settings(max_examples=40, deadline=None)
@given(threads_of(with_pairs=False), st.integers(64, 300))
def test_every_reply_is_in_exactly_one_row_at_the_right_place(threads, row_length):
    rows = pack(threads, row_length)
    _, replies = check_rows(rows)
    assert sorted(replies) == sorted(replies_of(threads))
    assert rows.num_targets == sum(w > 0 for *_, w in replies_of(threads))


@settings(max_examples=40, deadline=None)
@given(threads_of(with_pairs=True))
def test_a_thread_that_fits_is_not_split(threads):
    rows = pack(threads, max(t.size for t in threads))
    assert sorted(t.thread_id for t in rows.threads) == sorted(t.thread_id for t in threads)
    _, replies = check_rows(rows)
    assert sorted(replies) == sorted(replies_of(threads))


def test_all_rows_have_one_shape_and_the_same_threads_give_the_same_rows():
    rng = np.random.default_rng(0)
    threads = [make_thread(f"t{i}", 9 + i, [12, 5, 30], [(0, 1), (2, 1)], rng) for i in range(9)]
    rows, again = pack(threads, 150), pack(threads, 150)
    assert rows.plan == again.plan and len(rows) > 1
    assert rows.shape.predictions % 128 == 0

    def shapes(row):
        return {name: (array.shape, array.dtype) for name, array in row.items()}

    for i in range(len(rows)):
        assert shapes(rows[i]) == shapes(rows[0])
        for name, array in rows[i].items():
            np.testing.assert_array_equal(array, again[i][name])


def test_fill_counts_tokens_that_are_not_padding():
    threads = [make_thread("t", 10, [20, 30], [(0, 1)], np.random.default_rng(0))]
    rows = pack(threads, 80)
    assert rows.used_tokens == 60 and rows.fill == pytest.approx(0.75)


# --- too long ------------------------------------------------------------------------------------------------------


@pytest.fixture
def long_thread():
    """Pairs of 10 + 20 + 30, 10 + 20 + 60 and 10 + 30 + 60 tokens."""
    return make_thread("abc", 10, [20, 30, 60], [(0, 1), (0, 2), (2, 1)], np.random.default_rng(0))


def test_a_pair_that_fits_no_row_is_an_error_with_its_name_and_sizes(long_thread):
    with pytest.raises(UserError, match=r"thread abc, abc/1: .* \(10 tokens\).*need 90 tokens, a row has 80") as e:
        pack([long_thread], 80)
    assert "config.row_length" in str(e.value) and "config.drop_too_long" in str(e.value) and "\n" not in str(e.value)


def test_pairs_that_fit_no_row_can_be_dropped_and_are_counted(long_thread):
    rows = pack([long_thread], 80, drop_too_long=True)
    assert rows.dropped == 2
    assert sorted(check_rows(rows)[0]) == pairs_of([long_thread])[:1]


def test_a_reply_that_fits_no_row_is_an_error_or_counted():
    thread = make_thread("abc", 10, [20, 75], [], np.random.default_rng(0))
    with pytest.raises(UserError, match="thread abc, reply 1: .* need 85 tokens"):
        pack([thread], 80)
    rows = pack([thread], 80, drop_too_long=True)
    assert rows.dropped == 1 and [len(r) for t in rows.threads for r in t.replies] == [20]


def test_a_pair_of_exactly_a_row_fits(long_thread):
    only = dataclasses.replace(long_thread, pairs=long_thread.pairs[1:2])
    rows = pack([only], 90)
    assert rows.dropped == 0 and rows.fill == 1.0
    check_rows(rows)


@pytest.mark.parametrize("threads", ["none", "all too long"])
def test_nothing_to_pack_is_an_error(threads, long_thread):
    with pytest.raises(UserError, match="no thread that can be trained on"):
        pack([] if threads == "none" else [long_thread], 40, drop_too_long=True)


# --- the plan ------------------------------------------------------------------------------------------------------


def first_fit_decreasing(sizes: list[int], capacity: int) -> int:
    room: list[int] = []
    for size in sorted(sizes, reverse=True):
        fitting = next((i for i, left in enumerate(room) if left >= size), None)
        if fitting is None:
            room.append(capacity - size)
        else:
            room[fitting] -= size
    return len(room)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 100), min_size=1, max_size=60))
def test_best_fit_holds_each_item_once_and_never_overfills(sizes):
    plan = best_fit(sizes, 100)
    assert sorted(i for contents in plan for i in contents) == list(range(len(sizes)))
    loads = [sum(sizes[i] for i in contents) for contents in plan]
    assert max(loads) <= 100
    # No two rows could be one: each was opened because nothing else had room.
    assert len(plan) == 1 or sum(sorted(loads)[:2]) > 100
    assert len(plan) <= math.ceil(11 / 9 * math.ceil(sum(sizes) / 100) + 4)


@pytest.mark.parametrize("seed", range(20))
def test_best_fit_needs_no_more_rows_than_first_fit(seed):
    sizes = np.random.default_rng(seed).lognormal(4.5, 0.8, 150).clip(5, 600).astype(int).tolist()
    assert len(best_fit(sizes, 700)) <= first_fit_decreasing(sizes, 700)


def test_best_fit_takes_the_tightest_row():
    # 7 leaves room for 3, 6 for 4: the 3 must not take the place of the 4.
    assert set(best_fit([6, 7, 3, 4], 10)) == {(0, 3), (1, 2)}


@pytest.mark.parametrize("seed", range(3))
def test_rows_of_2048_are_95_percent_full_on_threads_of_usual_lengths(seed):
    rng = np.random.default_rng(seed)

    def draw(median, sigma, low, high):
        return int(np.clip(rng.lognormal(np.log(median), sigma), low, high))

    threads = [
        make_thread(
            f"t{i}", draw(180, 0.7, 20, 600), [draw(60, 0.8, 8, 300) for _ in range(rng.integers(2, 6))], [(0, 1)], rng
        )
        for i in range(400)
    ]
    assert pack(threads, 2048).fill >= 0.95
