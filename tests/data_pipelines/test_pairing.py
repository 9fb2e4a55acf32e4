import itertools
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines import calibration as calibrations
from data_pipelines import confidence, pairing
from data_pipelines.calibration import Calibration, Sums
from data_pipelines.confidence import Prior
from data_pipelines.pairing import Rule
from data_pipelines.records import Pair, Post, Reply, Thread
from data_pipelines.sources import counselchat, reddit_dump, shp
from llumi_jax.cli import UserError

POST = Post("p", "c", "t", "b")
STRICT = pairing.rule_for("strict", reddit_dump.TRAITS)


def reply(name: str, score: int, created: int = 0, **changes) -> Reply:
    fields = {"author": name, "created": created, "score": score, "controversiality": 0} | changes
    return Reply(name, "p", f"the text of {name}", **fields)


def found(*replies: Reply, rule=STRICT, traits=reddit_dump.TRAITS, calibration=None) -> list[tuple[str, str]]:
    calibration = calibration or Calibration(Prior())
    pairs = pairing.candidates(Thread(POST, replies), rule, traits, calibration)
    return sorted((replies[c].id, replies[r].id) for c, r, _ in pairs)


def test_chosen_is_never_the_earlier_one():
    assert found(reply("low", 1, 5), reply("high", 30, 5)) == [("high", "low")]
    assert found(reply("low", 1, 6), reply("high", 30, 5)) == []


def test_contested_replies_stay_out():
    assert found(reply("low", 1, controversiality=1), reply("high", 30)) == []
    assert found(reply("low", 1, controversiality=None), reply("high", 30)) == [("high", "low")]


def test_views_decide_where_votes_are_few():
    traits, calibration = counselchat.TRAITS, Calibration(Prior(1.5, 565))
    rule = pairing.rule_for("strict", traits)
    one_of_few, none_of_many = reply("few", 1, views=60), reply("many", 0, views=3000)
    assert found(one_of_few, none_of_many, rule=rule, traits=traits, calibration=calibration) == [("few", "many")]
    one_of_many, none_of_few = reply("many", 1, views=9000), reply("few", 0, views=20)
    assert found(one_of_many, none_of_few, rule=rule, traits=traits, calibration=calibration) == []


def test_paper_takes_the_ends_of_the_scores():
    rule = pairing.rule_for("paper", reddit_dump.TRAITS)
    train = [reply(f"r{i}", score) for i, score in enumerate([1] * 20 + [5] * 75 + [60] * 5)]
    sums = Sums.of([Thread(POST, tuple(train))])
    calibration = calibrations.fit(sums, reddit_dump.TRAITS, rule.chosen_quantile, rule.rejected_quantile)
    replies = (reply("early", 60, 0), reply("middle", 20, 1), reply("late", 1, 2))
    assert found(*replies, rule=rule, calibration=calibration) == [("early", "late")]


def test_paper_refuses_scores_that_lie_too_close():
    rule = pairing.rule_for("paper", counselchat.TRAITS)
    with pytest.raises(UserError, match="gap 15 needed, highest score 9"):
        pairing.check_reach(rule, [0, 9])


SCORED = st.lists(
    st.tuples(st.integers(-5, 60), st.integers(0, 3), st.integers(0, 1), st.integers(1, 900)), min_size=1, max_size=7
)


@given(
    SCORED, st.sampled_from([reddit_dump.TRAITS, shp.TRAITS, counselchat.TRAITS]), st.sampled_from(["strict", "paper"])
)
def test_candidates_against_every_clause_asked_of_every_pair(rows, traits, name):
    rule = pairing.rule_for(name, traits)
    replies = [
        msgspec.structs.replace(reply(str(i), score, created), controversiality=calm, views=views)
        for i, (score, created, calm, views) in enumerate(rows)
    ]
    thread = Thread(POST, tuple(replies))
    calibration = calibrations.fit(Sums.of([thread]), traits, rule.chosen_quantile, rule.rejected_quantile)
    prior, wanted = calibration.prior, {}
    for (i, high), (j, low) in itertools.permutations(enumerate(replies), 2):
        seen = (high.views, low.views) if traits.views else (1.0, 1.0)
        votes = [max(one.score - traits.self_vote, 0) for one in (high, low)]
        posterior = after = confidence.probability_preferred(*votes, prior, *seen)
        if traits.fuzz:
            after = confidence.after_fuzz(high.score, low.score, prior, traits.self_vote)
        clauses = [
            high.score - low.score >= rule.min_gap,
            high.score >= rule.min_ratio * max(low.score, 1),
            posterior >= rule.min_posterior,
            after >= rule.min_after_fuzz,
            not rule.time_order or high.created >= low.created,
            not rule.calm or not (high.controversiality or low.controversiality),
            name != "paper" or high.score >= calibration.chosen_from.pool,
            name != "paper" or low.score <= calibration.rejected_to.pool,
        ]
        if all(clauses):
            wanted[i, j] = max(float(after), 0.5)
    made = {(c, r): p for c, r, p in pairing.candidates(thread, rule, traits, calibration)}
    assert made == pytest.approx(wanted, abs=1e-12)


def test_unknown_rules():
    with pytest.raises(UserError, match="Did you mean 'strict'"):
        pairing.rule_for("strickt", reddit_dump.TRAITS)
    with pytest.raises(UserError, match="already counts the views of this source. Use --rule strict"):
        pairing.rule_for("exposure", counselchat.TRAITS)


def test_clauses_without_their_column_are_listed():
    assert STRICT.clauses_off(reddit_dump.TRAITS) == ["views"]
    assert pairing.rule_for("strict", counselchat.TRAITS).clauses_off(counselchat.TRAITS) == [
        "time",
        "fuzz",
        "ratio and gap",
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8), st.integers(0, 8)), max_size=150))
def test_caps_hold_and_the_surest_come_first(edges):
    pairs = [
        Pair(
            "gm",
            Post(f"p{p}", "c", "t", "b"),
            reply(f"{p}/{a}", 1, author=f"a{a % 2}"),
            reply(f"{p}/{b}", 1),
            0.8 + i / 1000,
        )
        for i, (p, a, b) in enumerate(edges)
    ]
    rule = Rule("test", max_chosen_per_author=7)
    taken = pairing.cap(pairing.best_first(pairs, lambda pair: 0.0), rule)
    uses = Counter(reply.id for pair in taken for reply in (pair.chosen, pair.rejected))
    assert max(Counter(pair.post.id for pair in taken).values(), default=0) <= rule.max_pairs_per_post
    assert max(Counter(pair.chosen.author for pair in taken).values(), default=0) <= 7
    assert all(
        count <= rule.max_uses or any(p.chosen.id == p.rejected.id == name for p in taken)
        for name, count in uses.items()
    )
    assert [pair.probability for pair in taken] == sorted((pair.probability for pair in taken), reverse=True)


def test_weights_share_a_post():
    pairs = [
        Pair("gm", Post(name, "c", "t", "b"), reply("a", 9), reply("b", 1), 0.9) for name in ("p", "p", "p", "p", "q")
    ]
    assert [pair.weight for pair in pairing.weighted(pairs)] == [0.5] * 4 + [1.0]
    assert [pair.weight for pair in pairing.weighted(pairs, 0.5)] == [0.25] * 4 + [0.5]
