"""Votes first, then texts: what a thread is cut down to, and where its other rows went."""

import pytest

from data_pipelines import pairing, selection
from data_pipelines.calibration import Calibration, Percentiles
from data_pipelines.eligibility import Options
from data_pipelines.funnel import Funnel
from data_pipelines.records import Post, Reply, Thread
from data_pipelines.selection import Preferred
from data_pipelines.sources import reddit_dump

TRAITS = reddit_dump.TRAITS
STRICT = pairing.rule_for("strict", TRAITS)
HIGH_FROM_10 = Calibration(high=Percentiles({}, 10.0))
POST = Post("p", "c", "title", "body")
KIND = "That sounds like a long week, and it makes sense that you are worn out. What would help tonight?"
HARSH = "You are such an idiot for asking this, and everybody who reads along here thinks the same of you."


def reply(name: str, score: int, created: int = 0, text: str = KIND) -> Reply:
    return Reply(name, "p", f"{text} ({name})", author=f"author_{name}", created=created, score=score)


def preferred(*replies: Reply, candidates=(), high=(), post: Post = POST) -> Preferred:
    return Preferred(Thread(post, replies), "train", list(candidates), list(high), [])


def test_votes_cut_a_thread_down_to_those_they_speak_of():
    thread = Thread(Post("p", "c", "t", "b"), (reply("a", 1, 0), reply("b", 3, 1), reply("c", 40, 2), reply("d", 3, 3)))
    funnel = Funnel()
    found = selection.prefer(thread, "train", STRICT, TRAITS, HIGH_FROM_10, funnel)
    assert [one.id for one in found.thread.replies] == ["a", "b", "c"]  # d came after c, which can be preferred to none
    assert [(found.thread.replies[c].id, found.thread.replies[r].id) for c, r, _ in found.candidates] == [
        ("c", "a"),
        ("c", "b"),
    ]
    assert found.high == [2] and funnel["reply_without_preference"] == 1
    assert found.people == ["author_a", "author_b", "author_c", "author_d"]


def test_a_thread_without_a_preference_leaves_whole():
    funnel = Funnel()
    thread = Thread(Post("p", "c", "t", "b"), (reply("a", 2), reply("b", 2)))
    assert selection.prefer(thread, "train", STRICT, TRAITS, HIGH_FROM_10, funnel) is None
    assert (funnel["post_without_preference"], funnel["reply_without_preference"]) == (1, 2)


def test_texts_to_imitate_are_looked_at_until_there_are_enough():
    """Of five well-voted replies the best is harmful: it stays (it may be rejected), two are taken, two never read."""
    some = [reply("harsh", 50, text=HARSH), *(reply(f"r{i}", 40 - i) for i in range(4))]
    funnel = Funnel()
    found = selection.clean(preferred(*some, high=range(5)), TRAITS, Options(), funnel)
    assert [one.id for one in found.thread.replies] == ["harsh", "r0", "r1"]
    assert found.high == [1, 2] and "T1-insult" in found.found[0]
    assert funnel["reply_without_preference"] == 2 and funnel.not_chosen["T1-insult"] == 1


def test_what_harms_is_rejected_and_never_chosen():
    some = (reply("harsh", 50, text=HARSH), reply("kind", 5), reply("short", 1))
    found = selection.clean(preferred(*some, candidates=[(0, 1, 0.9), (1, 0, 0.8)]), TRAITS, Options(), Funnel())
    assert found.candidates == [(1, 0, 0.8)]


@pytest.mark.parametrize(
    ("title", "body"),
    [
        ("I am", "16 and nobody at school likes me"),
        ("I feel so lost and I am", "17 years old"),
        ("I am 15", "It has been a hard year."),
        ("Tired", "I'm 14 and in my first year."),
    ],
)
def test_posts_of_minors_stay_out(title, body):
    thread = preferred(reply("a", 30), high=[0], post=Post("p", "c", title, body))
    funnel = Funnel()
    assert selection.clean(thread, TRAITS, Options(), funnel) is None
    assert (funnel["post_by_minor"], funnel["reply_by_minor"]) == (1, 1)
    assert selection.clean(thread, TRAITS, Options(minors=True), Funnel()) is not None
