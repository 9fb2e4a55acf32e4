"""Replies beside posts that they were not written to: every thread gets one, and nothing else changes."""

import dataclasses

import numpy as np

from llumi_jax.data import packing
from llumi_jax.data.dataset import Pair
from llumi_jax.data.mismatched import with_mismatched
from llumi_jax.data.tokenization import TokenThread
from llumi_jax.objectives import replies


def thread(name: int, lengths=(3, 4), prefix: int = 10) -> TokenThread:
    """Its tokens are its name, so that it is seen where they come from."""
    ids = lambda n: np.full(n, name, np.int32)
    pairs = (Pair(f"{name}/0", 0, 1, 0.9, 1.0),)
    return TokenThread(f"t{name}", "", ids(prefix), tuple(map(ids, lengths)), (0.0,) * len(lengths), pairs)


def test_every_thread_has_one_reply_of_the_next():
    threads = [thread(i) for i in range(5)]
    made = with_mismatched(threads, 64)
    for i, (before, after) in enumerate(zip(threads, made, strict=True)):
        assert after.replies[:2] == before.replies and len(after.replies) == len(after.reply_weights) == 3
        assert set(after.replies[2]) == {(i + 1) % 5}
        assert dataclasses.replace(after, replies=before.replies, reply_weights=before.reply_weights) == before
    # In turn: of threads that all have two replies, the first and the second are taken as often.
    assert sorted(len(t.replies[2]) for t in made) == [3, 3, 3, 4, 4]


def test_what_would_not_fit_a_row_stays_as_it_is():
    threads = [thread(0), thread(1, lengths=(40, 41)), thread(2)]
    made = with_mismatched(threads, 50)
    assert [len(t.replies) for t in made] == [2, 2, 3]
    assert len(with_mismatched([thread(0)], 64)[0].replies) == 2


def test_rows_know_them_again():
    threads = with_mismatched([thread(i, lengths=(2, 3, 4)[: 2 + i % 2]) for i in range(7)], 40)
    # A third reply is in no pair either: nothing but its pairs tells a reply that belongs from one that does not.
    threads = [t if i % 2 else dataclasses.replace(t, pairs=t.pairs * 2) for i, t in enumerate(threads)]
    rows = packing.pack(threads, 64)
    for index in range(len(rows)):
        row = {name: np.asarray(x)[None] for name, x in rows[index].items()}
        found = np.asarray(replies.mismatched_slots(row, rows.shape.slots))[0]
        expected = [i not in (0, 1) for t in rows.threads_of(index) for i in range(len(t.replies))]
        assert found.tolist() == expected + [False] * (rows.shape.slots - len(expected))


def test_pairs_of_weight_0_are_pairs():
    rows = {
        "chosen": np.array([[1, 0, 0]]), "rejected": np.array([[2, 0, 0]]), "pair_weight": np.array([[0.0, 0.0, 0.0]]),
        "slot": np.array([[0, 1, 2, 3, 0]]), "weight": np.array([[1.0, 1.0, 1.0, 1.0, 0.0]]),
    }  # fmt: skip
    assert replies.mismatched_slots(rows, 5)[0].tolist() == [True, False, False, True, False]
