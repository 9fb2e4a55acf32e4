import pytest

from data_pipelines import audit
from data_pipelines.records import Pair, Post, Reply
from data_pipelines.sources import counselchat, reddit_dump


def pair(post: str, chosen: Reply, rejected: Reply) -> Pair:
    return Pair("gm", Post(post, "c", "t", "b"), chosen, rejected, 0.8)


def reply(length: int, author: str | None = None, views: int = 1, created: int = 0) -> Reply:
    return Reply("r", "p", "x" * length, author=author, views=views, created=created)


def test_a_length_that_tells_is_found_and_warned_of():
    pairs = [pair(f"p{i}", reply(30), reply(20)) for i in range(45)] + [
        pair(f"q{i}", reply(9), reply(20)) for i in range(5)
    ]
    found = audit.audit(pairs, reddit_dump.TRAITS, in_time_order=True)
    assert found["auc_length"]["auc"] == found["chosen_longer"] == 0.9
    assert 0.75 < found["auc_length"]["low"] < 0.9 < found["auc_length"]["high"] <= 1
    assert any("auc_length" in warning for warning in found["warnings"])


def test_what_tells_nothing_gives_no_warning():
    pairs = [pair(f"p{i}", reply(20 + i % 2), reply(21 - i % 2)) for i in range(40)]
    assert audit.audit(pairs, reddit_dump.TRAITS, in_time_order=True)["warnings"] == []


def test_columns_that_are_not_there_or_are_fixed_by_the_rule():
    pairs = [pair("p", reply(20, views=9, created=1), reply(20, views=3, created=5))]
    found = audit.audit(pairs, reddit_dump.TRAITS, in_time_order=True)
    assert found["auc_views"] is found["auc_earlier"] is None
    assert audit.audit(pairs, reddit_dump.TRAITS, in_time_order=False)["auc_earlier"]["auc"] == 1
    found = audit.audit(pairs, counselchat.TRAITS, in_time_order=False)
    assert found["auc_views"]["auc"] == 1 and found["chosen_earlier"] is None


def test_repliers_are_judged_by_other_posts_alone():
    """Each stands under one post only: nothing is known of anybody, however often they win there."""
    alone = [pair("p", reply(9, "winner"), reply(9, "loser"))] * 3
    assert audit.audit(alone, reddit_dump.TRAITS, True)["auc_replier_win_rate"]["auc"] == 0.5
    both = [pair(name, reply(9, "winner"), reply(9, "loser")) for name in "pq"]
    assert audit.audit(both, reddit_dump.TRAITS, True)["auc_replier_win_rate"]["auc"] == 1


def test_no_pairs_at_all():
    found = audit.audit([], counselchat.TRAITS, in_time_order=False)
    assert found["pairs"] == 0 and found["mean_probability"] is None and found["warnings"] == []


def test_bootstrap_is_over_posts():
    """Twenty pairs of one post weigh no more than that post: the interval is as wide as two posts make it."""
    pairs = [pair("p", reply(30), reply(20))] * 20 + [pair("q", reply(10), reply(20))] * 20
    found = audit.audit(pairs, reddit_dump.TRAITS, True)["auc_length"]
    assert (found["low"], found["auc"], found["high"]) == (0.0, pytest.approx(0.5), 1.0)
