"""Useful FLOPs against a count by hand: every product of a tiny decoder, every pair of tokens that may attend."""

import numpy as np
import pytest

from llumi_jax.data import packing
from llumi_jax.data.dataset import Pair
from llumi_jax.data.tokenization import TokenThread
from llumi_jax.models.config import DecoderConfig
from llumi_jax.training import flops
from llumi_jax.training.flops import Work

# vocabulary 11, hidden 6, feed-forward 10, 3 layers, 4 query heads, 2 key heads, head size 5
SIZES = DecoderConfig("llama", 11, 6, 10, 3, 4, 2, 5)


def thread(name: str, prefix: int, *replies: int, pairs=((0, 1),)) -> TokenThread:
    ids = lambda n: np.arange(n, dtype=np.int32)
    made = tuple(Pair(f"{name}/{c}{r}", c, r, 1.0, 1.0) for c, r in pairs)
    return TokenThread(name, "", ids(prefix), tuple(map(ids, replies)), (0.0,) * len(replies), made)


def batch() -> dict[str, np.ndarray]:
    threads = [thread("a", 7, 3, 2, 5, pairs=((0, 1), (0, 2))), thread("b", 1, 4, 1), thread("c", 9, 6, 2)]
    rows = packing.pack(threads, 24)
    assert len(rows) == 2  # one of them with two threads and padding
    return {name: np.stack([rows[i][name] for i in range(2)]) for name in rows[0]}


@pytest.mark.parametrize("window", [None, 4])
def test_work_of_rows_is_what_a_look_at_every_pair_of_tokens_finds(window):
    rows = batch()
    attended = 0
    for segment, branch, position in zip(rows["segment"], rows["branch"], rows["positions"], strict=True):
        for q in range(24):
            for k in range(q + 1):
                same = segment[q] == segment[k] != 0 and branch[k] in (0, branch[q])
                attended += bool(same and (window is None or position[q] - position[k] < window))
    assert flops.of_rows(rows, window) == Work(17 + 6 + 17, 10 + 5 + 8, attended)


def test_forward_is_the_sum_over_every_product_of_every_token():
    work, counted = Work(tokens=13, predictions=5, attended=40), 0
    product = lambda n, i, o: 2 * n * i * o
    for _ in range(3):
        for inputs, outputs in ((6, 20), (6, 10), (6, 10), (20, 6), (6, 10), (6, 10), (10, 6)):
            counted += product(13, inputs, outputs)  # q, k, v, o, gate, up, down
        for _ in range(4):
            counted += product(40, 5, 1) + product(40, 1, 5)  # scores, and weighted sums of values
    counted += product(5, 6, 11)
    assert flops.forward(SIZES, work) == counted
    assert flops.training(SIZES, work) == 3 * counted  # each product has two in the backward pass


def test_an_adapter_spares_the_gradients_of_the_frozen_matrices():
    work = Work(tokens=13, predictions=5, attended=40)
    dense = flops.forward(SIZES, Work(13, 5, 0))
    attention = flops.forward(SIZES, work) - dense
    factors = 3 * (6 * 2 + 2 * 20)  # rank 2 on q
    assert flops.training(SIZES, work, factors) == 2 * dense + 3 * attention + 3 * 2 * factors * 13


def test_a_pair_without_sharing_is_two_sequences():
    alone = packing.pack([thread("a", 7, 3, pairs=()), thread("b", 7, 5, pairs=())], 12)
    rows = {name: np.stack([alone[i][name] for i in range(2)]) for name in alone[0]}
    rows["weight"] = (rows["target"] >= 0) * (np.arange(rows["weight"].shape[1]) < [[5], [3]]).astype(np.float32)
    assert flops.of_sequence(7, 3) + flops.of_sequence(7, 5) == flops.of_rows(rows)
    assert Work.total([]) == Work()
