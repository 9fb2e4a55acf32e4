"""Held-out accuracy and its interval, against brute force, scipy's bootstrap and cases worked out by hand."""

import dataclasses
import json
import math
import time

import numpy as np
import pytest
from scipy import stats

from llumi_jax.evaluation import preference


def make(pairs: int = 40, threads: int = 15, seed: int = 0, **changes) -> preference.HeldOut:
    rng = np.random.default_rng(seed)
    fields = dict(
        pair_id=[f"p{i}" for i in range(pairs)],
        thread_id=[f"t{i}" for i in rng.integers(threads, size=pairs)],
        community=["c"] * pairs,
        probability=rng.uniform(0.5, 1, pairs),
        weight=rng.uniform(0.3, 1, pairs),
        chosen_tokens=rng.integers(1, 60, pairs),
        rejected_tokens=rng.integers(1, 60, pairs),
        before_chosen=-rng.uniform(1, 200, pairs),
        before_rejected=-rng.uniform(1, 200, pairs),
        after_chosen=-rng.uniform(1, 200, pairs),
        after_rejected=-rng.uniform(1, 200, pairs),
    )
    return preference.HeldOut(**{**fields, **changes})


def test_ties_count_a_half():
    assert preference.pair_accuracy([2.0, 1.0, 0.0], [1.0, 1.0, 1.0]).tolist() == [1.0, 0.5, 0.0]


def test_interval_agrees_with_a_plain_loop_over_the_same_draws():
    rng = np.random.default_rng(3)
    before, after = rng.choice([0, 0.5, 1], 30), rng.choice([0, 0.5, 1], 30)
    thread = np.array([f"t{i}" for i in rng.integers(8, size=30)])
    names = sorted(set(thread))
    draws = np.random.default_rng(5).integers(len(names), size=(200, len(names)))
    means = []
    for draw in draws:
        values = [a - b for i in draw for a, b, t in zip(after, before, thread, strict=True) if t == names[i]]
        means.append(sum(values) / len(values))
    interval = preference.paired_interval(before, after, thread, seed=5, resamples=200)
    assert interval.difference == pytest.approx(np.mean(after - before))
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


def test_interval_agrees_with_scipy_when_every_post_has_one_pair():
    values = np.random.default_rng(1).normal(0.1, 1, 80)
    ours = preference.mean_interval(values, np.arange(80), resamples=20_000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=0).confidence_interval
    assert ours[1:] == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_interval_is_as_wide_as_the_posts_not_the_pairs():
    """Ten identical pairs a post are no more evidence than one: the interval must not shrink."""
    values = np.random.default_rng(2).choice([0.0, 1.0], 50)
    single = preference.mean_interval(values, np.arange(50))
    repeated = preference.mean_interval(np.repeat(values, 10), np.repeat(np.arange(50), 10))
    assert repeated == pytest.approx(single)


def test_interval_covers_as_often_as_it_says():
    """Posts of unequal size whose pairs agree within the post; 95 % of intervals should hold the true mean .3."""
    rng, hits = np.random.default_rng(4), 0
    for seed in range(300):
        sizes = rng.integers(1, 5, 60)
        values = np.repeat(rng.random(60) < 0.3, sizes).astype(float)
        _, low, high = preference.mean_interval(values, np.repeat(np.arange(60), sizes), seed=seed, resamples=400)
        hits += low <= 0.3 <= high
    assert stats.binomtest(hits, 300, 0.95).pvalue > 0.001


def test_chunks_do_not_change_the_interval(monkeypatch):
    values, thread = np.random.default_rng(6).random(30), np.arange(30) // 2
    whole = preference.mean_interval(values, thread, resamples=500)
    monkeypatch.setattr(preference, "_CHUNK", 40)
    assert preference.mean_interval(values, thread, resamples=500) == whole


def test_a_large_set_takes_little_time():
    thread = np.repeat(np.arange(2_000), 3)
    start = time.perf_counter()
    preference.mean_interval(np.random.default_rng(0).random(6_000), thread)
    assert time.perf_counter() - start < 10


def test_one_post_has_no_interval():
    mean, low, high = preference.mean_interval([1.0, 0.0], ["a", "a"])
    assert mean == 0.5 and math.isnan(low) and math.isnan(high)
    assert not preference.Interval(mean, low, high).excludes_zero


@pytest.mark.parametrize("low, high", [(0.1, 0.3), (-0.3, -0.1)])
def test_excludes_zero(low, high):
    assert preference.Interval(0.0, low, high).excludes_zero


@pytest.mark.parametrize("low, high", [(-0.1, 0.2), (0.0, 0.2), (-0.2, 0.0)])
def test_holds_zero(low, high):
    assert not preference.Interval(0.0, low, high).excludes_zero


def test_summary_by_brute_force():
    held = make()
    summary = preference.summarize(held, beta=0.2)
    columns = dataclasses.asdict(held)
    rows = [{name: columns[name][i] for name in columns} for i in range(40)]

    def wins(score) -> float:
        return sum(1.0 if score(r, "chosen") > score(r, "rejected") else 0.0 for r in rows) / len(rows)

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    accuracy = summary["accuracy"]
    for when in ("before", "after"):
        per_token = wins(lambda r, side, w=when: r[f"{w}_{side}"] / r[f"{side}_tokens"])
        assert accuracy["mean_logp"][when]["value"] == pytest.approx(per_token)
        assert accuracy["sum_logp"][when]["value"] == pytest.approx(wins(lambda r, side, w=when: r[f"{w}_{side}"]))
    gains = [{side: r[f"after_{side}"] - r[f"before_{side}"] for side in ("chosen", "rejected")} for r in rows]
    assert summary["implicit_reward"]["value"] == pytest.approx(np.mean([g["chosen"] > g["rejected"] for g in gains]))
    margins = [0.2 * (g["chosen"] - g["rejected"]) for g in gains]
    assert summary["reward_margin"] == pytest.approx(sum(margins) / len(rows))
    loss = 0.0
    for r, m in zip(rows, margins, strict=True):
        p = r["probability"]
        loss -= r["weight"] * (p * math.log(sigmoid(m)) + (1 - p) * math.log(sigmoid(-m)))
    assert summary["sigmoid_loss"] == pytest.approx(loss / sum(r["weight"] for r in rows))
    ties = sum(r["chosen_tokens"] == r["rejected_tokens"] for r in rows) / len(rows)
    assert summary["length_only"] == pytest.approx(wins(lambda r, side: r[f"{side}_tokens"]) + ties / 2)
    assert summary["ceiling"] == pytest.approx(sum(r["probability"] for r in rows) / len(rows))
    assert summary["pairs"] == 40 and summary["threads"] == len(set(held.thread_id)) and summary["communities"] == 1
    difference = preference.paired_interval(
        preference.pair_accuracy(held.before_chosen, held.before_rejected),
        preference.pair_accuracy(held.after_chosen, held.after_rejected),
        held.thread_id,
    )
    assert tuple(accuracy["sum_logp"]["difference"].values()) == dataclasses.astuple(difference)


def test_an_untrained_stage_is_a_tie_by_reward_and_log_2_by_loss():
    held = make()
    same = dataclasses.replace(held, after_chosen=held.before_chosen, after_rejected=held.before_rejected)
    summary = preference.summarize(same, beta=0.1)
    assert summary["implicit_reward"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert summary["accuracy"]["sum_logp"]["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert summary["sigmoid_loss"] == pytest.approx(math.log(2))


def test_summary_goes_through_strict_json_even_without_pairs():
    empty = make(pairs=0)
    for held in (make(), make(pairs=1), empty):
        summary = preference.summarize(held, beta=0.1)
        assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["pairs"] == 0 and summary["ceiling"] is None


def test_bad_arrays_are_refused():
    with pytest.raises(ValueError, match="one common length"):
        make(weight=np.ones(3))
    with pytest.raises(ValueError, match="pair p7 .* not finite"):
        make(after_chosen=np.where(np.arange(40) == 7, np.nan, -1.0))
    with pytest.raises(ValueError, match="at least one token"):
        make(chosen_tokens=np.zeros(40))


def test_what_is_logged_while_training_is_what_the_evaluation_says():
    made = make()
    brief, whole = preference.brief(made, 0.2), preference.summarize(made, 0.2)
    assert brief.keys() == preference.BRIEF.keys()
    assert brief["held_out_loss"] == whole["sigmoid_loss"] and brief["held_out_margin"] == whole["reward_margin"]
    assert brief["held_out_accuracy"] == pytest.approx(whole["implicit_reward"]["value"])
    nats = -made.after_chosen.sum() / made.chosen_tokens.sum()
    assert brief["held_out_nll"] == whole["chosen_nll"]["after"] == pytest.approx(nats)
    assert whole["chosen_nll"]["before"] == pytest.approx(-made.before_chosen.sum() / made.chosen_tokens.sum())
    assert all(math.isnan(value) for value in preference.brief(make(pairs=0), 0.2).values())
