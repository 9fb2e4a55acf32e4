"""What the page shows as the cascade writes, is stopped, takes back and ends."""

import threading

from demo import words
from demo.conversation import Stops, views
from llumi_jax.inference.events import Began, Cleared, Ended, Finding, Reply, Said, Triaged

EVENTS = [
    Triaged(()),
    Began("gm"),
    Said("gm", "I hear "),
    Said("gm", "you. "),
    Ended(Reply("gm", "I hear you.", "stop", 1)),
    Began("im"),
    Said("im", "I hear you well."),
    Ended(Reply("im", "I hear you well.", "stop", 1)),
]


def test_draft_then_revision():
    seen = list(views(EVENTS, "", threading.Event()))
    assert [v.draft for v in seen if v.draft][:2] == ["I hear ", "I hear you. "]
    assert seen[0].status == words.WAITING and words.WRITING["gm"] in [v.status for v in seen]
    assert [v.finished for v in seen] == [False] * (len(seen) - 1) + [True]
    assert (seen[-1].draft, seen[-1].revision) == ("I hear you.", "I hear you well.")


def test_own_draft_stays_as_it_is():
    seen = list(views(EVENTS[5:], "mine", threading.Event()))
    assert {v.draft for v in seen} == {"mine"} and seen[-1].revision == "I hear you well."


def test_stop_keeps_what_was_written_and_says_so():
    stop = threading.Event()
    steps = views(iter(EVENTS), "", stop)
    while next(steps).draft != "I hear ":
        pass
    stop.set()
    last = list(steps)[-1]
    assert last.finished and last.status == words.STOPPED and last.draft.startswith("I hear") and not last.revision


def test_what_is_taken_back_leaves_the_page():
    finding = Finding("T1-test", "gm", "planted", "rewrite")
    events = [Began("gm"), Said("gm", "bad"), Cleared("gm", (finding,)), Said("gm", "good")]
    seen = list(views([*events, Ended(Reply("gm", "good", "stop", 2))], "", threading.Event()))
    assert [v.draft for v in seen if v.status == words.AGAIN] == ["", "good", "good"]
    withheld = Reply("gm", "withheld text", "withheld", 3, (finding,))
    assert "T1-test" in list(views([Ended(withheld)], "", threading.Event()))[-1].status


def test_one_flag_for_each_page():
    stops = Stops()
    first, other = stops.begin("a"), stops.begin("b")
    stops.stop("a")
    second = stops.begin("a")
    assert first.is_set() and not second.is_set() and not other.is_set()
    stops.forget("a")
    assert second.is_set() and not other.is_set()
    stops.stop("unknown")
