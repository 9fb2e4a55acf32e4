import random

from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines import balance
from data_pipelines.records import Pair, Post, Reply

POST = Post("p", "c", "t", "b")


def pair(chosen: int, rejected: int, name: int = 0) -> Pair:
    replies = (Reply(f"{side}{name}", "p", "x" * length) for side, length in (("c", chosen), ("r", rejected)))
    return Pair("gm", POST, *replies, 0.9)


def order(item: Pair) -> float:
    return random.Random(item.chosen.id).random()


def test_share_by_hand():
    assert balance.chosen_longer([pair(2, 1), pair(1, 2), pair(3, 3), pair(9, 1)]) == 0.625


def test_ratio_limits():
    assert balance.comparable(pair(30, 10)) and balance.comparable(pair(10, 30))
    assert not balance.comparable(pair(31, 10)) and not balance.comparable(pair(10, 31))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(20, 60), st.integers(20, 60)), max_size=120))
def test_lengths_end_up_balanced(lengths):
    pairs = [pair(chosen, rejected, i) for i, (chosen, rejected) in enumerate(lengths)]
    left = balance.balance_length(pairs, order)
    signs = [(len(p.chosen.text) > len(p.rejected.text)) - (len(p.chosen.text) < len(p.rejected.text)) for p in left]
    assert balance.LOW <= 0.5 + 0.5 * sum(signs) / max(len(left), 1) <= balance.HIGH or abs(sum(signs)) <= 1
    assert [p for p in pairs if p in left] == left
    longer = sum(len(p.chosen.text) > len(p.rejected.text) for p in pairs)
    shorter = sum(len(p.chosen.text) < len(p.rejected.text) for p in pairs)
    assert len(left) >= 0 if min(longer, shorter) == 0 else len(left) >= 1


def test_what_is_balanced_stays():
    pairs = [pair(20 + i, 30, i) for i in range(10)] + [pair(30, 20 + i, 10 + i) for i in range(10)]
    assert balance.balance_length(pairs, order) == pairs


def test_every_ratio_is_balanced_by_itself():
    """Long ratios all to one side and short ones to the other would still give the answer away."""
    pairs = [pair(25, 10, i) for i in range(40)] + [pair(10, 11, i) for i in range(40, 80)]
    assert len(balance.balance_length(pairs, order)) <= 2
