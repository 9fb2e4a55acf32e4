"""Synthetic revisions: what is accepted, which rows come of it, what is stored, and that nothing is asked twice."""

import json
import math
import stat

import pytest
from corpus import distinct
from msgspec.structs import replace

from data_pipelines import revision_store
from data_pipelines.records import Example, Pair, Post, Reply, Thread
from data_pipelines.revisers import Failed
from data_pipelines.synthetic import (
    MAX_FAILURES_IN_A_ROW,
    RevisingStopped,
    content_kept,
    lowest_voted,
    synthetic_examples,
)
from llumi_jax.cli import UserError

WORDS = "Perhaps a walk with your neighbour would help a little, and tea afterwards, if you like tea and walks."


class Angles:
    """A text begins with its angle in degrees; the cosine is that of the angle between two. Unprepared texts fail."""

    name, threshold = "angles", 0.6

    def __init__(self):
        self.prepared = set()

    def prepare(self, texts):
        self.prepared |= set(texts)

    def cosine(self, a, b):
        assert {a, b} <= self.prepared
        return round(math.cos(math.radians(float(a.split()[0]) - float(b.split()[0]))), 9)


class Scripted:
    """A reviser that says what stands in a table, and remembers what it was asked."""

    name, identity = "scripted", "1"

    def __init__(self, answers):
        self.answers, self.asked = answers, []

    def revise(self, post, draft):
        self.asked.append((post.id, draft))
        answer = self.answers(draft) if callable(self.answers) else self.answers[draft]
        if isinstance(answer, Exception):
            raise answer
        return answer


def thread(name, *texts, scores=None):
    post = Post(name, "c", f"title of {name}", f"body of {name}")
    scores = scores or range(len(texts))
    replies = [
        Reply(f"{name}-{i}", name, text, author=f"author-{i}", score=score)
        for i, (text, score) in enumerate(zip(texts, scores, strict=True))
    ]
    return Thread(post, tuple(replies))


def draft(angle=0):
    return f"{angle} {WORDS}"


def run(threads, reviser, tmp_path, **settings):
    return synthetic_examples(threads, reviser, Angles(), tmp_path / "revisions.jsonl", **settings)


def length(text, characters):
    return text.ljust(characters, "x")


REVISIONS = {
    "kept": "20 What about a walk with your neighbour? It might help a little; and some tea after it, if you like.",
    "unchanged": f"  {draft().upper()}\n",
    "unsafe": f"0 You are pathetic. {WORDS}",
    "personal_detail": f"0 {WORDS} Call 0151 496 0123 first.",
    "talks_about_itself": f"Here's an improved version of the reply:\n\n{WORDS}",
    "over_twice_the_draft": length("0 ", 2 * len(draft()) + 1),
    "length": "0 A walk.",
    "content_lost": f"46 Something else. {WORDS}",  # cos 46° = .695
    "reviser_cut_off": Failed("cut_off"),
}


@pytest.mark.parametrize("reason", REVISIONS)
def test_every_reason(reason, tmp_path):
    made = run([thread("p", draft())], Scripted({draft(): REVISIONS[reason]}), tmp_path)
    assert {name: n for name, n in made.counts.items() if n} == {reason: 1}
    assert bool(made.rows) == (reason == "kept")


LIVED = "I have been there, and I know how it feels to be where you are."


@pytest.mark.parametrize(
    ("text", "revision", "counts"),
    [
        (WORDS, f"{WORDS} {LIVED}", {"unsafe": 1}),  # IM never adds an experience,
        (f"{WORDS} {LIVED}", f"{LIVED} {WORDS}", {"kept": 1}),  # and keeps the person's own.
        (WORDS, f"We could die together, then neither of us has to be alone. {WORDS}", {"unsafe": 1}),
        (f"You are pathetic. {WORDS}", f"{WORDS} All right?", {"kept": 1}),
        (WORDS, f"{WORDS} And not [METHOD], please.", {"unsafe": 1}),
    ],
)
def test_the_gate_is_that_of_im(text, revision, counts, tmp_path):
    made = run([thread("p", f"0 {text}")], Scripted(lambda _: f"0 {revision}"), tmp_path)
    assert {reason: n for reason, n in made.counts.items() if n} == counts


def test_rules_are_counted_and_doubtful_revisions_weigh_half(tmp_path):
    one, other = f"0 {WORDS} {distinct(1)}", f"0 {WORDS} {distinct(2)}"
    answers = {one: f"{one} You should see people.", other: f"{other} You are pathetic."}
    made = run([thread("p", one), thread("q", other)], Scripted(answers), tmp_path)
    assert made.broken == {"T2-you-should": 1, "T1-insult": 1}
    assert made.rows and {row.weight for row in made.rows} == {0.5}


def test_what_is_said_to_everybody_is_a_template(tmp_path):
    """Under three posts it is one; of two revisions alike the first stays."""
    texts = [f"0 {WORDS} {distinct(number)}" for number in range(6)]
    said = [f"0 I hear you. {WORDS}"] * 3 + [f"0 {WORDS} All right?"] * 2 + [f"0 {distinct(9)} {distinct(8)}"]
    made = run([thread(f"p{i}", text) for i, text in enumerate(texts)], Scripted(dict(zip(texts, said, strict=True))),
               tmp_path)  # fmt: skip
    assert made.counts == {"template": 3, "near_duplicate": 1, "kept": 2}
    assert [row.post.id for row in made.rows if isinstance(row, Example)] == ["p3", "p5"]


def test_nothing_is_preferred_in_one_of_two_texts_that_hardly_differ(tmp_path):
    """Jaccard by hand: a draft of n words has n - 4 grams, a word more at its end makes one more: (n - 4)/(n - 3)."""
    for n in (12, 13):
        text = " ".join(["0", *distinct(1).split(), *distinct(2).split()][:n])
        made = run([thread(f"p{n}", text)], Scripted(lambda draft: f"{draft} zebra"), tmp_path)
        alike = (n - 4) / (n - 3) >= 0.9
        assert [type(row) for row in made.rows] == ([Example] if alike else [Example, Pair])


@pytest.mark.parametrize(
    "revision",
    [
        length("0 ", 2 * len(draft())),  # twice the draft, no more
        f"45 Something near. {WORDS}",  # cos 45° = .707
        f"0 {WORDS} You can always call 988.",
        f"0 Here is a thought: {WORDS}",
        f"0 Sure, it is hard. {WORDS}",
    ],
)
def test_at_the_edge_and_inside(revision, tmp_path):
    assert run([thread("p", draft())], Scripted({draft(): revision}), tmp_path).counts["kept"] == 1


def test_counts_sum_to_the_drafts_whatever_becomes_of_them(tmp_path):
    threads, answers = [], {}
    for number, answer in enumerate([*REVISIONS.values()] * 3):
        text = f"0 {WORDS} {number}"
        answers[text] = f"{answer} {distinct(number)}" if isinstance(answer, str) else answer
        threads.append(thread(f"p{number}", text, f"90 {WORDS}"))
    made = run(threads, Scripted(answers), tmp_path)
    assert sum(made.counts.values()) == len(threads)
    assert made.counts["kept"] == sum(isinstance(row, Example) for row in made.rows) > 0


def test_rows_are_an_example_and_pairs_against_draft_and_another_reply(tmp_path):
    other, near, low = f"80 {WORDS}", f"5 {WORDS}", f"85 {WORDS}"
    one = thread("p", draft(), near, other, low, scores=[2, 3, 3, 1])
    pick = lambda t: t.replies[:1]
    example, plain, overwritten = run([one], Scripted({draft(): REVISIONS["kept"]}), tmp_path, drafts=pick).rows
    assert isinstance(example, Example) and isinstance(plain, Pair) and isinstance(overwritten, Pair)
    assert example.reply == plain.chosen == overwritten.chosen and example.reply.text == REVISIONS["kept"]
    assert example.draft == plain.draft == plain.rejected == overwritten.draft == one.replies[0]
    assert overwritten.rejected == one.replies[2]  # least alike of those voted no lower than the draft
    assert (example.source, plain.source) == ("synthetic:scripted", "synthetic:scripted")
    assert overwritten.source == "synthetic_overwritten:scripted"
    assert {row.task for row in (example, plain, overwritten)} == {"im"} and plain.probability == 0.8
    target = example.reply
    assert target.id != one.replies[0].id and (target.author, target.score) == ("author-0", 2)


def test_no_other_reply_that_is_less_like_the_draft_than_its_revision(tmp_path):
    one = thread("p", draft(), f"10 {WORDS}", scores=[0, 1])
    made = run([one], Scripted({draft(): REVISIONS["kept"]}), tmp_path)
    assert [type(row) for row in made.rows] == [Example, Pair]


def test_drafts_are_the_lowest_voted_never_the_best_nor_a_masked_one():
    one = thread("p", "a", "b [USER]", "c", "d", "e", scores=[5, 0, 9, 3, 7])
    assert [reply.text for reply in lowest_voted(one)] == ["d", "a"]
    assert [reply.text for reply in lowest_voted(thread("p", "a", "b", scores=[4, 2]))] == ["b"]
    assert [reply.text for reply in lowest_voted(thread("p", "a"))] == ["a"]
    assert lowest_voted(thread("p", "[URL]")) == []


def test_content_kept_by_hand():
    angles = Angles()
    texts = ["0 draft", "60 revision", "90 reply"]
    angles.prepare(texts)
    assert content_kept(*texts, angles) == pytest.approx(0.5)
    assert content_kept(texts[0], texts[2], texts[1], angles) == pytest.approx(-0.5)


def test_content_kept_is_told_of_what_is_kept_where_there_is_another_reply(tmp_path):
    """By hand: the best-voted other reply counts, not the one nearest to the draft."""
    alone, beside = f"0 {WORDS} {distinct(1)}", f"10 {WORDS} {distinct(2)}"
    answers = {alone: f"20 {distinct(3)} {distinct(4)}", beside: f"40 {distinct(5)} {distinct(6)}"}
    threads = [thread("p", alone), thread("q", beside, "70 best", "11 near", scores=[0, 9, 5])]
    made = run(threads, Scripted(answers), tmp_path, drafts=lambda one: one.replies[:1])
    assert made.counts == {"kept": 2}
    assert made.content_kept == [pytest.approx(math.cos(math.radians(30)) - math.cos(math.radians(60)))]


def many(count):
    return [thread(f"p{i}", f"0 {distinct(i)} {distinct(1000 + i)} {i}") for i in range(count)]


def improved(text):
    return f"{text} Would that be all right?"


def test_nothing_is_asked_twice(tmp_path):
    first, second = Scripted(improved), Scripted(improved)
    made = run(many(5), first, tmp_path)
    again = run(many(7), second, tmp_path)
    assert len(first.asked) == 5 and [post for post, _ in second.asked] == ["p5", "p6"]
    assert again.rows[: len(made.rows)] == made.rows
    other = Scripted(improved)
    other.identity = "2"
    run(many(7), other, tmp_path)
    assert len(other.asked) == 7


def test_failures_are_asked_again(tmp_path):
    assert run(many(2), Scripted(lambda text: Failed("no_answer")), tmp_path).counts["reviser_no_answer"] == 2
    assert run(many(2), Scripted(improved), tmp_path).counts == {"kept": 2}


def test_a_failure_that_would_come_again_is_kept(tmp_path):
    first = Scripted(lambda text: Failed("cut_off", final=True) if text.endswith(" 1") else improved(text))
    assert run(many(3), first, tmp_path).counts == {"reviser_cut_off": 1, "kept": 2}
    silent = Scripted({})
    again = run(many(3), silent, tmp_path)
    assert again.counts == {"reviser_cut_off": 1, "kept": 2} and silent.asked == []


def test_goes_on_after_an_interruption_and_a_torn_line(tmp_path):
    def breaks(text):
        if text.endswith(" 3"):
            raise KeyboardInterrupt
        return improved(text)

    with pytest.raises(KeyboardInterrupt):
        run(many(6), Scripted(breaks), tmp_path)
    path = tmp_path / "revisions.jsonl"
    assert len(path.read_text().splitlines()) == 3
    path.write_bytes(path.read_bytes()[:-9])  # the machine went down in the middle of a line
    rest = Scripted(improved)
    assert run(many(6), rest, tmp_path).counts == {"kept": 6}
    assert [post for post, _ in rest.asked] == ["p2", "p3", "p4", "p5"]
    assert all(set(json.loads(line)) == {"key", "revision"} for line in path.read_text().splitlines())


def test_store_is_the_owners_alone_and_names_nobody(tmp_path):
    run(many(2), Scripted(improved), tmp_path)
    path = tmp_path / "revisions.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not any(word in path.read_text() for word in ("p0", "p1", "author", "title", "body"))


@pytest.mark.parametrize("content", ["some notes\n", '{"id": 1}\n', "[1]\n", "notes without an end"])
def test_another_programs_file_stays_as_it_is(tmp_path, content):
    path = tmp_path / "revisions.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=r"revisions.jsonl:1 is not a line"):
        run(many(1), Scripted(improved), tmp_path)
    assert path.read_text() == content


def test_what_may_be_somebodys_is_deleted_where_people_asked_to_be_forgotten(tmp_path):
    path = tmp_path / "revisions.jsonl"
    whole = run(many(5), Scripted(improved), tmp_path)
    run(many(3), Scripted(improved), tmp_path)
    assert len(path.read_text().splitlines()) == 5
    silent = Scripted({})
    fewer = run(many(3), silent, tmp_path, forget=True)
    assert len(path.read_text().splitlines()) == 3 and silent.asked == []
    assert fewer.rows == whole.rows[: len(fewer.rows)] and fewer.counts == {"kept": 3}
    assert run(many(3), silent, tmp_path).counts == {"kept": 3}


def test_a_store_made_by_hand_is_closed_to_others(tmp_path):
    path = tmp_path / "revisions.jsonl"
    path.touch(0o644)
    run(many(1), Scripted(improved), tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_store_that_is_rewritten_goes_on_taking_revisions(tmp_path):
    path = tmp_path / "deep" / "er" / "r.jsonl"
    with revision_store.opened(path) as (known, append):
        append("a", "one\ntwo\u2028")
        append("b", "three")
    with revision_store.opened(path, only=["b", "c"]) as (known, append):
        assert known == {"b": "three"}
        append("c", "four")
    with revision_store.opened(path) as (known, _):
        assert known == {"b": "three", "c": "four"}


def test_two_runs_do_not_share_a_store(tmp_path):
    def second_run(text):
        with pytest.raises(UserError, match="in use by another process"):
            run(many(1), Scripted(improved), tmp_path)
        return improved(text)

    assert run(many(1), Scripted(second_run), tmp_path).counts == {"kept": 1}


def test_a_reviser_that_answers_nothing_is_given_up(tmp_path):
    silent = Scripted(lambda text: Failed("no_answer"))
    with pytest.raises(UserError, match=r"scripted failed 20 times.*no_answer.*kept in .*revisions.jsonl"):
        run(many(50), silent, tmp_path)
    assert len(silent.asked) == MAX_FAILURES_IN_A_ROW
    for reason, way_out in (("cut_off", "choose another model"), ("refused", "a longer context")):
        with pytest.raises(UserError, match=f"last with '{reason}'. .*{way_out}"):
            run(many(20), Scripted(lambda text, reason=reason: Failed(reason)), tmp_path)
    now_and_then = Scripted(lambda text: improved(text) if text.endswith("0") else Failed("refused"))
    assert run(many(50), now_and_then, tmp_path).counts == {"reviser_refused": 45, "kept": 5}


def test_a_reviser_that_goes_away_stops_the_asking_as_a_full_disk_would(tmp_path):
    """Both a mistake with one line, and an `OSError`: whoever builds keeps what was read."""
    gone = Scripted(lambda text: UserError("nobody listens at port 1.") if text.endswith(" 2") else improved(text))
    with pytest.raises(RevisingStopped, match="^nobody listens at port 1. What it wrote is kept in ") as error:
        run(many(4), gone, tmp_path)
    assert isinstance(error.value, OSError) and isinstance(error.value, UserError) and "\n" not in str(error.value)
    rest = Scripted(improved)
    assert run(many(4), rest, tmp_path).counts == {"kept": 4} and len(rest.asked) == 2


def test_same_draft_under_the_same_words_is_asked_once(tmp_path):
    (one,) = many(1)
    twin = Thread(replace(one.post, id="twin"), one.replies)
    reviser = Scripted(improved)
    made = run([one, twin], reviser, tmp_path)
    assert len(reviser.asked) == 1 and made.counts == {"near_duplicate": 1, "kept": 1}
