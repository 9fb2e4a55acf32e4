"""The terminal's view: the right pairs, the true reasons, and no text where none was asked for."""

import json
import re
from collections import Counter

import corpus
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipelines import build, reasons, show, storage
from llumi_jax.cli import UserError

STRICT = {"name": "strict", "min_ratio": 2.0, "min_gap": 3, "min_posterior": 0.9, "min_after_fuzz": 0.8,
          "time_order": True, "calm": True}  # fmt: skip
REDDIT = {"source": "reddit_dump", "rule": "strict", "settings": STRICT, "prior": {"shape": 1.0, "rate": 0.5}}
COUNSEL = {"source": "counselchat", "rule": "strict", "settings": {"min_gap": 1, "min_posterior": 0.6},
           "prior": {"shape": 1.5, "rate": 565.0}}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Sixty threads with two poor replies and, later, two good ones, built by the command."""
    folder = tmp_path_factory.mktemp("show")
    posts = [corpus.post(f"p{i}") for i in range(60)]
    comments = [
        corpus.comment(f"{side}{i}", f"p{i}", score=score, created_utc=corpus.START + later)
        for i in range(60)
        for side, score, later in (("a", 1, 60), ("b", 0, 90), ("c", 40, 120), ("d", 55, 150))
    ]
    key = folder / "key"
    key.write_bytes(b"0123456789abcdef0123456789abcdef")
    paths = corpus.write(folder / "RS", posts), corpus.write(folder / "RC", comments)
    out = folder / "data"
    build.main(["--source", "reddit_dump", "--submissions", paths[0], "--comments", paths[1], "--key_file", str(key),
                "--out", str(out)])  # fmt: skip
    return out


def shown(capsys, *argv: str) -> str:
    capsys.readouterr()
    show.main(list(map(str, argv)))
    return capsys.readouterr().out


def row(high: int, low: int, **changes) -> dict:
    made = {"score_chosen": high, "score_rejected": low, "chosen": "x" * 60, "rejected": "y" * 50, "source": "votes",
            "probability": 0.9, "weight": 1.0, "task": "gm", "title": "t", "body": "b", "draft": ""}  # fmt: skip
    return made | changes


def by_name(found: list[reasons.Clause]) -> dict[str, reasons.Clause]:
    return {clause.name: clause for clause in found}


# The smallest chosen score that every clause of `strict` admits, and the smallest that the posterior alone admits.
SMALLEST = {1: (8, 4), 2: (9, 6), 3: (10, 7), 5: (13, 10), 8: (17, 14), 10: (20, 17), 15: (30, 23), 20: (40, 29)}


@pytest.mark.parametrize(("low", "high", "posterior"), [(low, *both) for low, both in SMALLEST.items()])
def test_votes_to_spare_are_counted_from_the_smallest_score_that_a_rule_admits(low, high, posterior):
    for spare in (0, 1, 7, 300):
        found = reasons.clauses(row(high + spare, low), REDDIT)
        assert all(clause.holds is not False for clause in found)
        assert reasons.tightest(found) == spare
        assert by_name(found)["posterior"].spare == high + spare - posterior
        assert by_name(found)["score gap"].spare == high + spare - low - 3
        assert by_name(found)["score ratio"].spare == high + spare - 2 * low
    below = reasons.clauses(row(high - 1, low), REDDIT)
    assert any(clause.holds is False for clause in below)


@given(st.integers(-50, 400), st.integers(1, 900))
def test_spare_agrees_with_trying_every_score(low, gap):
    found = reasons.clauses(row(low + gap, low), REDDIT)
    for clause in found:
        if clause.holds and clause.spare is not None and clause.name != "score gap":
            at = lambda score, name=clause.name: by_name(reasons.clauses(row(score, low), REDDIT))[name].holds
            fewer = low + gap - clause.spare
            assert at(fewer) and (fewer == low or not at(fewer - 1))


def test_measures_of_a_pair():
    found = reasons.measure(row(8, 1), REDDIT)
    assert (found.gap, found.ratio, found.length_ratio) == (7, 8, 1.2)
    # Of two Gammas of shapes a, b and one rate the first wins as often as a + b - 1 coins show b heads or more.
    assert found.posterior == pytest.approx(1 - 1 / 2**8)  # shapes 8 and 1
    assert found.after_fuzz == pytest.approx(1 - (1 + 8 + 28) / 2**8)  # 6 and 3: both margins are 2


def test_with_views_the_stored_probability_is_the_posterior():
    found = by_name(reasons.clauses(row(1, 0, probability=0.683), COUNSEL))
    assert found["posterior"].here == "0.683" and found["posterior"].spare is None and found["posterior"].holds
    assert found["score gap"].spare == 0
    assert reasons.measure(row(1, 0), COUNSEL).posterior is None
    assert by_name(reasons.clauses(row(1, 0, probability=0.55), COUNSEL))["posterior"].holds is False


def test_what_a_pair_does_not_carry_is_not_claimed():
    found = by_name(reasons.clauses(row(40, 1), REDDIT))
    assert found["chosen not the earlier"].holds is None and found["neither controversial"].holds is None
    overwritten = reasons.clauses(row(40, 30, source="votes_overwritten", task="im"), REDDIT)
    assert [clause.name for clause in overwritten] == ["length ratio"]
    assert reasons.clauses(row(1, 9, source="ratings_round_1"), REDDIT) == []
    paper = {"min_gap": 15, "chosen_quantile": 0.98, "rejected_quantile": 0.15, "min_posterior": 0.5}
    found = by_name(reasons.clauses(row(40, 1), REDDIT | {"settings": paper}))
    assert found["chosen at or above quantile 0.98"].holds is None and "posterior" not in found
    assert found["score gap"].spare == 24


def test_a_source_that_nobody_knows_has_no_posterior():
    unknown = REDDIT | {"source": "elsewhere"}
    assert reasons.measure(row(8, 1), unknown).posterior is None
    traits = {"name": "elsewhere", "self_vote": True, "fuzz": True, "time": True, "views": False, "new": 1}
    stored = reasons.measure(row(8, 1), unknown | {"traits": traits})
    assert stored == reasons.measure(row(8, 1), REDDIT)


def test_pairs_come_with_their_reasons(data, capsys):
    told = shown(capsys, data, "--pairs", "2")
    assert told.count("why ") == 2 and "300 rows read" in told
    for words in ("score gap", "score ratio", "posterior", "after fuzz", "length ratio", "tightest", "probability",
                  "weight", "not kept"):  # fmt: skip
        assert words in told, words
    assert not re.search(r"^│ no ", told, re.M)
    assert "why " not in shown(capsys, data, "--pairs", "0")


def test_every_pair_of_a_build_holds_its_clauses(data):
    card = storage.read_card(data, "reddit_dump_strict")
    seen = 0
    for task in ("gm", "im"):
        for split in ("train", "validation", "test"):
            for pair in show._rows(data, "reddit_dump_strict", split, task):
                seen += 1
                assert all(clause.holds is not False for clause in reasons.clauses(pair, card))
                if pair["source"] == "votes":
                    assert reasons.measure(pair, card).after_fuzz == pytest.approx(pair["probability"], abs=1e-6)
    assert seen == sum(card["pairs"].values()) > 40


def test_a_seed_draws_and_draws_the_same(data, capsys):
    first = shown(capsys, data, "--pairs", "3")
    assert shown(capsys, data, "--pairs", "3") == first
    drawn = {seed: shown(capsys, data, "--pairs", "3", "--seed", seed) for seed in (1, 2)}
    assert drawn[1] == shown(capsys, data, "--pairs", "3", "--seed", "1")
    assert len({first, *drawn.values()}) == 3


def test_every_row_is_as_likely_to_be_drawn():
    rows = [{"n": n} for n in range(8)]
    counts = Counter(taken["n"] for seed in range(4000) for taken in show._take(rows, 3, seed))
    # Binomial(4000, 3/8): mean 1500, deviation 31.
    assert all(abs(counts[n] - 1500) < 5 * 31 for n in range(8))
    assert [taken["n"] for taken in show._take(rows, 3, None)] == [0, 1, 2]
    assert show._take(rows, 0, 5) == [] and len(show._take(rows, 99, 5)) == 8


def test_the_summary_is_the_whole_card_without_a_text(data, capsys):
    told = shown(capsys, data, "--summary")
    card = json.loads((data / "card.json").read_text())
    for words in ("Rows", "GM pairs", "Splits", "Audits", "Rule strict", "rows read", "= rows read", "Votes say"):
        assert words in told, words
    for reason, count in card["funnel"].items():
        assert f"{count:,}" in told, reason
    assert "number" in told and "garden gate" not in told
    assert "garden gate" in shown(capsys, data, "--pairs", "1")


def test_a_text_cannot_act_on_the_terminal(capsys):
    from rich.console import Console

    nasty = "\x1b[2J\x07 [bold]not bold[/] \u202e text"
    pair = row(40, 1, title=nasty, body=nasty, chosen=nasty, rejected=nasty, draft=nasty, source=nasty)
    console = Console(width=100, force_terminal=False)
    console.print(show._panel(pair, REDDIT))
    console.print(show._panel(pair | {"source": "votes"}, REDDIT))
    told = capsys.readouterr().out
    assert not re.search("[\x1b\x07\u202e]", told) and told.count("[bold]not bold[/]") >= 9


def test_an_absent_split_is_explained(data, capsys):
    told = shown(capsys, data, "--split", "test_later")
    card = json.loads((data / "card.json").read_text())
    if not sum(card["pairs_by_split"].get("test_later", {}).values()):
        assert "no such pairs: the split test_later has no gm pairs" in told and "note: test_later" in told


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nowhere"], "no such folder"),
        ([".", "--pairs", "-1"], "--pairs -1: give 0 or more"),
        ([".", "--pairs", "x"], "invalid int value"),
        ([".", "--splti", "test"], "Did you mean '--split'"),
        (["tests"], "no dataset here"),
    ],
)
def test_mistakes_are_one_line_with_a_way_out(argv, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").mkdir()
    with pytest.raises(UserError, match=message) as caught:
        show.main(argv)
    assert "\n" not in str(caught.value)
