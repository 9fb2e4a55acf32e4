"""What is learnt from the training split: percentiles per cell, pooled where a cell is small, and rates per view."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipelines import calibration
from data_pipelines.calibration import MIN_CELL, Calibration, Percentiles, Sums
from data_pipelines.confidence import Prior
from data_pipelines.records import Post, Reply, Thread
from data_pipelines.sources import counselchat, reddit_dump

YEARS = {2020: 1_590_000_000, 2021: 1_620_000_000}
POST = Post("p", "c", "t", "b")
REDDIT = reddit_dump.TRAITS


def reply(name: str, score: int, year: int = 2020, **changes) -> Reply:
    return Reply(name, "p", f"text {name}", **({"score": score, "created": YEARS[year], "score_age": 10**6} | changes))


def thread(*replies: Reply) -> Thread:
    return Thread(POST, replies)


def test_percentiles_are_those_of_the_cell_or_of_all_if_it_is_small():
    train = [
        thread(*(reply(str(i), i % 100) for i in range(MIN_CELL))),
        thread(*(reply("x", 1000, 2021) for _ in range(5))),
    ]
    learnt = calibration.fit(Sums.of(train), REDDIT)
    assert learnt.pooled_cells == 1
    assert learnt.is_high(POST, reply("a", 80), REDDIT) and not learnt.is_high(POST, reply("b", 78), REDDIT)
    # The small year is measured with everybody's percentile, which its own scores hardly move.
    assert learnt.is_high(POST, reply("c", 81, 2021), REDDIT) and not learnt.is_high(POST, reply("d", 70, 2021), REDDIT)


def test_nobody_is_high_without_a_vote():
    learnt = calibration.fit(Sums.of([thread(*(reply(str(i), 1) for i in range(20)))]), REDDIT)
    assert not learnt.is_high(POST, reply("a", 1), REDDIT)
    assert learnt.is_high(POST, reply("a", 2), REDDIT)


def test_views_count_where_they_are_known():
    learnt = Calibration(Prior(1.5, 565), high=Percentiles({}, 0.003))
    few, many = (reply("a", 1, views=views, created=None, score_age=None) for views in (50, 5000))
    assert learnt.rate(few, counselchat.TRAITS) == (1 + 1.5) / (50 + 565)
    assert learnt.is_high(POST, few, counselchat.TRAITS) and not learnt.is_high(POST, many, counselchat.TRAITS)


@given(st.lists(st.lists(st.integers(0, 50), max_size=30), min_size=1, max_size=5))
def test_sums_in_parts_say_what_all_replies_say(parts):
    """The quantiles of merged counts against numpy's on the plain list."""
    whole = Sums()
    for scores in parts:
        whole.merge(Sums.of([thread(*(reply(str(i), score) for i, score in enumerate(scores)))]))
    learnt = calibration.fit(whole, REDDIT, chosen_quantile=0.98, rejected_quantile=0.15)
    scores = [score for part in parts for score in part]
    if scores:
        expected = np.quantile(scores, [0.8, 0.98, 0.15])
        found = [learnt.high.pool, learnt.chosen_from.pool, learnt.rejected_to.pool]
        assert found == pytest.approx(expected.tolist())
    else:
        assert not learnt.is_high(POST, reply("a", 1000), REDDIT)
