import io
import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import zstandard
from scipy import special, stats

from data_pipelines import planted, planted_report, planted_world, privacy
from data_pipelines.eligibility import MAX_REPLIES, MAX_TOKENS, MIN_TOKENS, judge_post, tokens
from data_pipelines.near_duplicates import Clusters
from data_pipelines.planted_world import DEFAULT, WORLDS, simulate
from data_pipelines.records import Pair, Post, Reply
from data_pipelines.sources.reddit_dump import TRAITS
from llumi_jax.cli import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def corpus():
    return simulate(5000, 1)


@pytest.fixture(scope="module")
def found(corpus):
    return planted.threads(corpus)


def columns(corpus) -> dict[str, np.ndarray]:
    values = {field.name: getattr(corpus, field.name) for field in fields(corpus)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def test_the_seed_decides_everything(corpus):
    again, other = simulate(5000, 1), simulate(5000, 2)
    for name, value in columns(corpus).items():
        np.testing.assert_array_equal(value, columns(again)[name])
    assert not np.array_equal(corpus.quality[:50], other.quality[:50])
    assert planted.texts(corpus) == planted.texts(again) != planted.texts(other)


def test_views_without_position_bias_are_the_readers_who_came_later():
    """With nothing to feed back, exposure has a closed form: all readers from the reply's arrival on."""
    world = replace(DEFAULT, position_bias=0.0, attention_spread=0.0)
    corpus = simulate(2000, 3, world)
    delay = (corpus.created - corpus.post_created[corpus.post]) / 3600 + 0.5 / 3600
    before = special.ndtr(np.log(delay / world.attention_hours) / world.attention_sigma)
    readers = corpus.exposure / (1 - before)
    same = corpus.post[1:] == corpus.post[:-1]
    np.testing.assert_allclose(readers[1:][same], readers[:-1][same], rtol=0.02)


def test_votes_follow_quality_and_views():
    corpus = simulate(3000, 5, replace(DEFAULT, fuzz_chance=0.0, down_share=0.0))
    expected = corpus.quality * corpus.exposure
    # Groups by what was there before any vote: chosen by views, a group would hold the lucky or the unlucky.
    for group in np.array_split(np.argsort(corpus.quality), 4):
        assert (corpus.score[group] - 1).sum() == pytest.approx(expected[group].sum(), rel=0.03)


def test_a_higher_score_brings_more_views():
    """The same threads run again: where luck gave a reply more votes, its votes grew by more than chance."""
    for name, more in (("weak_herding", 1.0), ("strong_herding", 1.4)):
        votes = planted_world.vote_again(400, 0, WORLDS[name], 20)
        some = votes.mean(axis=0) > 2
        assert np.median(votes.var(axis=0, ddof=1)[some] / votes.mean(axis=0)[some]) > more


def test_the_world_has_the_shape_of_real_threads(corpus, found):
    """The counts that the world's description states."""
    wins, near = [], []
    for thread in found:
        for i, a in enumerate(thread.replies):
            for b in thread.replies[i + 1 :]:
                if a.score != b.score:
                    wins.append(a.score > b.score)
                    if b.created - a.created <= 3600:
                        near.append(a.score > b.score)
    assert np.mean(wins) == pytest.approx(0.81, abs=0.03)
    assert np.mean(near) == pytest.approx(0.64, abs=0.04)
    scores = np.array([reply.score for thread in found for reply in thread.replies])
    assert np.mean(scores == 1) > 0.25 and np.quantile(scores, 0.98) > 30
    delays = (corpus.created - corpus.post_created[corpus.post]) / 3600
    assert np.median(delays) == pytest.approx(DEFAULT.reply_hours, rel=0.15)


def test_quality_knows_nothing_of_time_and_length(corpus):
    words = planted.texts(corpus)
    quality = np.log(corpus.quality)
    delay = np.log(corpus.created - corpus.post_created[corpus.post])
    for other in (np.log([len(text) for text in words.replies]), delay):
        assert abs(np.corrcoef(quality, other)[0, 1]) < 0.03
    assert np.std(quality) == pytest.approx(DEFAULT.quality_sigma, rel=0.05)
    late = simulate(3000, 1, WORLDS["better_late"])
    assert np.corrcoef(np.log(late.quality), np.log(late.created - late.post_created[late.post]))[0, 1] > 0.2


def test_texts_are_long_enough_different_and_harmless(corpus):
    words = planted.texts(corpus)
    lengths = [tokens(text) for text in words.replies]
    assert min(lengths) >= MIN_TOKENS and max(lengths) <= MAX_TOKENS and np.std(lengths) > 20
    assert len(set(words.replies + words.bodies)) == len(words.replies) + len(words.bodies)
    assert Clusters.of(words.replies[:3000]).groups() == []
    assert all(privacy.mask(text) == text for text in words.replies[:500] + words.bodies[:500] + words.titles[:500])


def test_threads_are_eligible_and_sorted(corpus, found):
    assert sum(len(thread.replies) for thread in found) == np.minimum(np.bincount(corpus.post), MAX_REPLIES).sum()
    for thread in found[:500]:
        times = [reply.created for reply in thread.replies]
        assert times == sorted(times) and times[0] >= thread.post.created
        assert judge_post(thread.post, TRAITS) is None
        assert all(reply.score_age > 13 * 86_400 and reply.author != thread.post.author for reply in thread.replies)
    assert set(planted.truth(corpus)) >= {reply.id for thread in found for reply in thread.replies}


def lines(path: Path) -> list[dict]:
    raw = zstandard.ZstdDecompressor().stream_reader(path.open("rb")) if path.suffix == ".zst" else path.open("rb")
    return [json.loads(line) for line in io.TextIOWrapper(raw, encoding="utf-8")]


def test_the_dump_says_what_the_threads_say(tmp_path):
    corpus = simulate(300, 7)
    submissions, comments, hidden = planted.write(corpus, tmp_path)
    posts, replies = lines(submissions), lines(comments)
    for rows in (posts, replies):
        assert [row["created_utc"] for row in rows] == sorted(row["created_utc"] for row in rows)
    found = {thread.post.id: thread for thread in planted.threads(corpus)}
    for row in posts:
        assert row["num_comments"] == (len(found[row["id"]].replies) if row["id"] in found else 0)
    for row in replies:
        thread = found[row["link_id"].removeprefix("t3_")]
        (reply,) = (reply for reply in thread.replies if reply.id == row["id"])
        assert row["link_id"] == row["parent_id"] and row["subreddit"] == thread.post.community
        told = (row["body"], row["score"], row["retrieved_on"] - row["created_utc"], row["author"])
        assert told == (reply.text, reply.score, reply.score_age, reply.author)
    assert {row["id"]: row["quality"] for row in lines(hidden)} == planted.truth(corpus)


def test_the_command(tmp_path):
    def run(*flags: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "data_pipelines.planted", *flags]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    done = run("--out", str(tmp_path / "new"), "--posts", "50", "--seed", "3")
    assert done.returncode == 0 and "50 posts" in done.stdout
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(planted.FILES)
    wrong = run("--out", str(tmp_path), "--world", "weak_hording")
    assert wrong.returncode == 2 and "Did you mean 'weak_herding'?" in wrong.stderr


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UserError, match="at least 1 post"):
        planted.main(["--out", str(tmp_path), "--posts", "0"])
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Name a folder"):
        planted.main(["--out", str(tmp_path / "file")])
    with pytest.raises(UserError, match="unknown --world"):
        planted_report.main(["--world", "flat"])


def test_interval_against_scipy():
    for hits, trials in ((0, 9), (9, 9), (3, 11), (940, 1000)):
        expected = stats.binomtest(hits, trials).proportion_ci(method="exact")
        assert planted_report.interval(hits, trials) == pytest.approx((expected.low, expected.high))


def test_score_by_hand():
    def pair(chosen: str, rejected: str, probability: float, earlier: bool) -> Pair:
        times = (0, 1) if earlier else (1, 0)
        ends = (Reply(name, "p", "x", created=at) for name, at in zip((chosen, rejected), times, strict=True))
        return Pair("gm", Post("p", "c", "t", "b"), *ends, probability)

    quality = {"good": 2.0, "bad": 1.0}
    pairs = [pair("good", "bad", 0.97, True)] * 3 + [pair("bad", "good", 0.96, False), pair("good", "bad", 0.62, False)]
    found = planted_report.score("test", pairs, quality, posts=10)
    assert (found.pairs, found.yield_per_1000, found.accuracy, found.chosen_earlier) == (5, 500.0, 0.8, 0.6)
    assert (found.accuracy_earlier, found.accuracy_later) == (1.0, 0.5)
    assert found.reliability == [
        pytest.approx((0.62, 1.0, 1)), pytest.approx((0.96, 0.0, 1)), pytest.approx((0.97, 1.0, 3)),
    ]  # fmt: skip
    assert found.calibration_error == pytest.approx((0.38 + 0.96 + 3 * 0.03) / 5)


def test_rules_against_the_truth():
    """The project's targets, on a corpus that no number was chosen on."""
    scores = {score.rule: score for score in planted_report.evaluate(simulate(9000, 90))}
    for name in ("strict", "exposure"):
        assert scores[name].accuracy >= 0.90 and scores[name].calibration_error <= 0.05
        assert scores[name].low <= scores[name].accuracy <= scores[name].high
    assert scores["exposure"].pairs > 500 and 0.45 <= scores["exposure"].chosen_earlier <= 0.55
    assert min(scores["exposure"].accuracy_earlier, scores["exposure"].accuracy_later) >= 0.90
    assert scores["strict"].chosen_earlier == 0
    assert scores["paper"].chosen_earlier > 0.95 and scores["paper"].accuracy < scores["strict"].accuracy
    assert scores["higher_score"].accuracy < 0.75
    assert "exposure" in planted_report.table(list(scores.values()))
