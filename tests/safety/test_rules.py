"""The safety rules: measured on written texts, and their properties on texts nobody wrote."""

import random
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from llumi_jax.safety import rules
from llumi_jax.safety import spelling as spelling_
from llumi_jax.safety.context import Scan
from llumi_jax.safety.normalize import normalize
from llumi_jax.safety.spelling import spelling
from tests.safety import fixtures

DEVELOPMENT = fixtures.load("development")
SECONDS = 5.0  # on a machine that does other things, too; less than one on a quiet one
SIZE = 100_000
HARMLESS = (
    "It sounds as if the last months took everything out of you, and then the letter from the school came on top. "
    "I am glad that you wrote it down, even at three in the morning. You mention your sister twice. What is it like "
    "to sit in her kitchen for an hour? Maybe that could be the small thing for this week, or something else that you "
    "know better than I do. There is no need to answer all the questions at once. Some nights a list helps, other "
    "nights it is only one more task. If it gets louder in your head, could you tell somebody near you, in words or "
    "with a note on the table? I will look in again tomorrow evening."
)


def spans(text: str, **kind: str) -> dict[str, set[str]]:
    """Rule id -> the pieces of text that it found."""
    found: dict[str, set[str]] = {}
    for finding in rules.findings(text, **kind):
        found.setdefault(finding.rule, set()).add(text[finding.start : finding.end])
    return found


# Measured.


def test_development_half_is_wide_and_half_of_it_harmless():
    lines = {case.id: case for case in DEVELOPMENT}
    assert len(lines) >= 110
    assert sum(case.tier is None for case in lines.values()) >= len(lines) / 2
    assert {rule for case in lines.values() for rule in case.rules} == set(rules.RULES)
    assert all((case.tier is None) == (not case.rules) for case in lines.values())


def test_development_half_recall_and_false_drops():
    """The rules were written with these lines in view: a floor against getting worse, no estimate of anything."""
    rates = fixtures.score(DEVELOPMENT)
    print_rates("development", rates)
    assert rates[0]["recall"].value >= 0.95 and rates[0]["false_drops"].value <= 0.02
    assert rates[1]["recall"].value >= 0.95 and rates[1]["false_drops"].value <= 0.02
    assert rates[2]["recall"].value >= 0.90 and rates[2]["false_drops"].value <= 0.03


def test_development_half_finds_the_rule_that_a_line_was_written_for():
    harmful = [case for case in DEVELOPMENT if case.rules]
    assert sum(set(case.rules) <= fixtures.found(case) for case in harmful) >= 0.93 * len(harmful)


@pytest.mark.xfail(strict=True, reason="T0 recall on the held-out half is .81 [.67, .91]: the bar of .85 is missed")
def test_held_out_half():
    """Written by somebody who did not see the rules, scored after they were frozen.

    The bars were set before the file existed; the rules are not changed to reach them. New rules need a new half.
    """
    if not fixtures.path("held_out").exists():
        pytest.fail(
            "tests/safety/fixture_held_out.jsonl is missing: without it nothing is known about the rules' recall"
        )
    rates = fixtures.score(fixtures.load("held_out"))
    print_rates("held out", rates)
    assert rates[0]["recall"].value >= 0.85, f"T0 recall {rates[0]['recall']}"


def test_held_out_half_is_no_worse_than_it_was():
    rates = fixtures.score(fixtures.load("held_out"))
    assert rates[0]["recall"].value >= 0.81 and rates[1]["recall"].value >= 0.66 and rates[2]["recall"].value >= 0.91
    assert all(rates[tier]["false_drops"].value <= 0.10 for tier in rates)


def print_rates(name: str, rates: dict[int, dict[str, fixtures.Rate]]) -> None:
    for tier, rate in rates.items():
        print(f"{name}: T{tier} recall {rate['recall']}, false drops {rate['false_drops']}")


def test_intervals_are_clopper_pearson():
    """At the ends of the interval the observed count is just as unlikely as it may be."""
    low, high = fixtures.Rate(18, 20).interval
    assert binom.sf(17, 20, low) == pytest.approx(0.025)
    assert binom.cdf(18, 20, high) == pytest.approx(0.025)
    assert fixtures.Rate(0, 10).interval[0] == 0 and fixtures.Rate(10, 10).interval[1] == 1


def test_expansion():
    assert list(fixtures.expand("plain")) == ["plain"]
    assert list(fixtures.expand("{DOSE} at {PLACE}")) == [
        "a whole bottle at a bridge",
        "N tablets at the roof",
        "a whole bottle at the tracks",
    ]
    with pytest.raises(ValueError, match=r"file:3: no words for \{NOPE\}"):
        list(fixtures.expand("{NOPE}", "file:3"))


# What is found where.


def test_spans_lie_in_the_original_text():
    assert spans("You are\u200b so PATHETIC, he said.")["T1-insult"] == {"You are\u200b so PATHETIC"}
    assert spans("You\u2019re p\u0430thetic.")["T1-insult"] == {"You\u2019re p\u0430thetic"}
    assert spans("\u201cI know.\u201d  k i l l  y o u r s e l f !")["T1-dare"] == {"k i l l  y o u r s e l f"}
    assert spans("I want to die with p1lls.", kind="post") == {"T0-means": {"p1lls"}}


def test_tiers_and_order():
    found = rules.findings("You are pathetic. You should go. I want to die and I have pills.")
    assert [finding.start for finding in found] == sorted(finding.start for finding in found)
    assert all(finding.rule in rules.RULES and finding.tier == int(finding.rule[1]) for finding in found)
    assert rules.worst_tier(found) == 0
    assert rules.worst_tier(finding for finding in found if finding.tier) == 1
    assert rules.worst_tier(()) is None


def test_tasks_and_kinds():
    assert "T1-lived-experience" in spans("I have been there.")
    assert not spans("I have been there.", task="im")
    assert not spans("You are pathetic, just do it already.", kind="post")
    with pytest.raises(ValueError, match="'draft'"):
        rules.findings("x", kind="draft")


def test_placeholder_of_a_masked_post_is_seen():
    assert spans("You wrote about [METHOD] and sleep.") == {"T2-placeholder": {"[METHOD]"}}


@pytest.mark.parametrize(
    ("post", "masked"),
    {
        "I have pills next to me and I want to die.": "I have [METHOD] next to me and I want to die.",
        "I want to die by overdosing, or with a gun.": "I want to die by [METHOD], or with a [METHOD].",
        "My mum locked the pills away.": "My mum locked the pills away.",
        "I want to die, but my sister is coming over.": "I want to die, but my sister is coming over.",
        "": "",
    }.items(),
)
def test_mask_post(post, masked):
    assert rules.mask_post(post) == masked


# Properties.

PIECES = [case.text for case in DEVELOPMENT[::7]] + [
    "[METHOD]",
    "\u200b",
    "\u2026",
    "\u0130",
    "\ufb01",
    "k1ll",
    "sooo",
    "x\u0301",
    "\n\n",
    "\U0001f622",
]
mixed = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=15)), max_size=5).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(mixed)
def test_masking_twice_changes_nothing_and_leaves_no_t0(text):
    once = rules.mask_post(text)
    assert rules.mask_post(once) == once
    assert all(once[f.start : f.end].strip("[]") == "METHOD" for f in rules.findings(once, kind="post"))


@settings(max_examples=150, deadline=None)
@given(mixed)
def test_masks_stand_for_whole_words(text):
    masked = rules.mask_post(text)
    pieces = masked.split(rules.METHOD)
    if masked != text and rules.METHOD not in text:
        assert all(not piece[:1].isalnum() for piece in pieces[1:])
        assert all(not piece[-1:].isalnum() for piece in pieces[:-1])


@settings(max_examples=150, deadline=None)
@given(mixed)
def test_spans_are_never_empty_and_stay_inside(text):
    assert all(0 <= finding.start < finding.end <= len(text) for finding in rules.findings(text))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_every_character_of_the_normalised_text_comes_from_somewhere(text):
    """Spans grow with their ends, stay inside, and what needs no change maps to itself."""
    read = normalize(text, frozenset({"kill", "yourself"}), {})
    places = [read.original(i, i + 1) for i in range(len(read.text))]
    assert all(0 <= start < end <= len(text) for start, end in places)
    assert places == sorted(places)
    for character, (start, end) in zip(read.text, places, strict=True):
        if (
            character.isascii()
            and character.isalpha()
            and end - start == 1
            and text[start].isascii()
            and text[start].isalpha()
        ):
            assert character == text[start].lower()


DISGUISES = {
    "zero width": lambda word, n: word[:n] + "\u200b" + word[n:],
    "soft hyphen": lambda word, n: word[:n] + "\u00ad" + word[n:],
    "capitals": lambda word, n: word[:n] + word[n:].upper(),
    "full width": lambda word, n: "".join(chr(ord(letter) + 0xFEE0) for letter in word),
    "bold": lambda word, n: "".join(chr(ord(letter) - ord("a") + 0x1D41A) for letter in word),
    "accent": lambda word, n: word[:n] + "\u0301" + word[n:],
    "stretched": lambda word, n: word[:n] + word[n] * 4 + word[n + 1 :].lstrip(word[n]),
    "spaced": lambda word, n: " ".join(word),
    "dotted": lambda word, n: ".".join(word),
    "digits": lambda word, n: word.translate(str.maketrans("oeas", "034$")),
    "look-alikes": lambda word, n: word.translate(str.maketrans("aeopc", "\u0430\u0435\u043e\u0440\u0441")),
}


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(sorted(DISGUISES)),
    st.sampled_from(["worthless", "pathetic", "coward", "stupid"]),
    st.integers(1, 5),
)
def test_disguises_are_seen_through_and_spans_cover_them(disguise, word, place):
    written = DISGUISES[disguise](word, place)
    text = f"Well, you are {written}, so there."
    assert f"you are {written}" in spans(text).get("T1-insult", set()), (disguise, written)


def test_disguises_are_undone_only_where_a_known_word_appears():
    read = normalize("At 15 I'm sooo tired, b4 8pm, 20F, e.g. p.m., a b c, $50 & 1st", frozenset({"kill"}), {})
    assert read.text == "at 15 i'm sooo tired, b4 8pm, 20f, e.g. p.m., a b c, $50 & 1st" and not read.layers


def test_slips_of_the_keys_are_no_other_rules_words():
    anchors = {word for rule in rules._gate("gm").rules for group in rule.anchors for a in group for word in a.split()}
    assert not anchors & (spelling().keys() - spelling_._SHORT.keys())


# The gate and the clock.


def test_the_gate_hides_nothing():
    """What a rule finds in the whole text it finds behind the gate, too."""
    for case in DEVELOPMENT[::3]:
        read = rules._read(case.text)
        behind = {
            (id(rule), span) for rule, *span in ((r, (a, b)) for r, a, b in rules._found(read, "gm")) for span in span
        }
        for rule in rules._gate("gm").rules:
            for span in rule.find(Scan(read.text), 0, len(read.text)):
                assert (id(rule), span) in behind, (case.text, rule.id, rule.anchors)


def test_harmless_text_is_harmless():
    assert not rules.findings(HARMLESS)
    assert 110 <= len(HARMLESS.split()) <= 130


def hostile() -> dict[str, str]:
    words = sorted({a for rule in rules._gate("gm").rules for group in rule.anchors for a in group})
    random.seed(0)
    units = {
        "one letter": "a",
        "zero width": "\u200b",
        "accents": "e\u0301",
        "spaced": "k i l l ",
        "quotes": "\"' ",
        "newlines": "\n \n",
        "means": "gun kill myself ",
        "doses": "take a whole bottle of ",
        "hidden": "hide the gun from ",
        "fillers": "you are so so so ",
        "stars": "k*ll ",
        "stretched": "kiiill ",
        "brackets": "[METHOD] ",
        "ages": "I'm 15 ",
        "lines": "call 988. ",
    }
    texts = {name: unit * (SIZE // len(unit)) for name, unit in units.items()}
    texts["anchors"] = " ".join(random.choice(words) for _ in range(SIZE // 7))
    texts["sentences"] = " ".join(random.choice(words) + random.choice(["", "", ".", ","]) for _ in range(SIZE // 7))
    return texts


@pytest.mark.parametrize(("name", "text"), hostile().items(), ids=hostile().keys())
def test_hostile_text_takes_linear_time(name, text):
    rules.findings("warm up: kill myself with pills")
    for ask in (rules.findings, rules.is_minor):
        begin = time.process_time()
        ask(text)
        assert time.process_time() - begin < SECONDS


# Minors.

MINORS = (
    "I'm 15 and I hate school",
    "im 16 and tired",
    "I am 14 years old",
    "I am fifteen",
    "15F here, nobody listens",
    "(16m) my dad hates me",
    "I (17F) told my mom",
    "I just turned 15 last week",
    "as a 16 year old I can't leave",
    "As a sophomore in high school I feel invisible",
    "I'm a freshman in high school",
    "I'm in 8th grade and have no friends",
    "i'm still in middle school",
    "I'm a minor so I can't decide",
    "I'm 12 y/o",
    "14 here. my life is over",
    "Hi, I'm a 15 year old girl",
    "I turn 17 next month",
    "I'm under 18 so my parents have to sign",
    "F16, living with my aunt",
    "I'm not even 18 yet",
    "I am a high school student",
    "I\u2019m 15",
    "I'll be 16 in May",
    "I'm a 17-year-old from the north",
)
GROWN = (
    "my daughter is 15",
    "when I was 15 I moved",
    "I'm 15 weeks pregnant",
    "I waited 15 minutes",
    "I'm 15 minutes away",
    "I'm 34 and have a son (15M)",
    "my sister (16F) hates me",
    "I have a 15 year old daughter",
    "I've been sober for 15 years",
    "I'm 15 years sober",
    "I teach high school",
    "since I was 14",
    "I was a sophomore in high school when it began",
    "I'm 5'10 and weigh 150",
    "I'm 10/10 tired",
    "I'm 16 hours in",
    "I'm 25",
    "I (25F) live with my son (12M)",
    "as a mother of a 16 year old",
    "At 15 I ran away",
    "I'm 15% sure",
    "I feel like I'm 12 again",
    "I'm a high school teacher",
    "I graduated high school last year",
    "I am 17 years older than her",
    "When I was a 15 year old I was alone",
    "16 here and there",
    "he treats me like I'm 12",
    "I look 15 but I'm 30",
    "",
)


@pytest.mark.parametrize("text", MINORS)
def test_minors_are_seen(text):
    assert rules.is_minor(text)


@pytest.mark.parametrize("text", GROWN)
def test_others_ages_past_ages_and_other_numbers_are_not(text):
    assert not rules.is_minor(text)


def test_leaving_a_text_early_changes_no_finding(monkeypatch):
    """The fixtures, and their sentences in random company, with the early exit and without it."""
    chance = random.Random(0)
    texts = [case.text for name in ("development", "held_out") for case in fixtures.load(name)]
    sentences = [part for text in texts for part in re.split(r"(?<=[.!?])\s+", text) if part]
    joins = (" ", "\n", "\n\n", "... ", ", ")
    texts += [chance.choice(joins).join(chance.sample(sentences, chance.randint(1, 5))) for _ in range(1000)]
    asked = [(text, task, kind) for text in texts for task, kind in (("gm", "reply"), ("gm", "post"))]
    early = [rules.findings(*one) for one in asked]
    left = sum(not found for found in early)
    monkeypatch.setattr(rules._Gate, "possible", lambda gate, anywhere: True)
    assert [rules.findings(*one) for one in asked] == early
    assert 100 < left < len(asked) - 100
