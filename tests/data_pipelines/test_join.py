"""Posts meet replies: against a slow second way of doing it, in any order of the rows and any number of parts."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from data_pipelines import eligibility, join, spool
from data_pipelines.funnel import Funnel
from data_pipelines.ingest import DAY
from data_pipelines.records import Post, Reply, Thread
from data_pipelines.sources import counselchat, reddit_dump

REDDIT, TABLE = reddit_dump.TRAITS, counselchat.TRAITS
IDS = "abcd"
POSTS = st.builds(
    Post,
    id=st.sampled_from(IDS),
    community=st.sampled_from(["c", "C"]),
    title=st.sampled_from(["t", "u"]),
    body=st.sampled_from(["body", "another"]),
    author=st.sampled_from(["poster", "other", None]),
    score=st.none() | st.integers(0, 2),
    contest=st.sampled_from([False, False, True]),
)
REPLIES = st.builds(
    Reply,
    id=st.sampled_from("rstuvw"),
    post_id=st.sampled_from([*IDS, "nowhere"]),
    text=st.sampled_from(["one", "two"]),
    author=st.sampled_from(["poster", "replier", None]),
    created=st.integers(0, 40).map(lambda day: day * DAY),
    score=st.integers(-2, 2),
    score_age=st.none() | st.integers(0, 2),
    controversiality=st.sampled_from([None, 0, 1]),
    by_poster=st.sampled_from([None, None, False, True]),
)
GONE = st.tuples(st.sampled_from([*IDS, "nowhere"]), st.sampled_from(["", "r", "s"]))
ROWS = st.tuples(st.lists(POSTS, max_size=8), st.lists(REPLIES, max_size=30), st.lists(GONE, max_size=3))


def joined(rows, traits=REDDIT, refused=()) -> tuple[list[Thread], Funnel]:
    funnel = Funnel()
    posts, replies, gone = rows
    return join.threads(posts, replies, gone, traits, funnel, refused), funnel


def slowly(rows, refused) -> tuple[dict[str, list[str]], Counter]:
    """Ids of the replies of each thread and the reasons, one row after another and looking at all others each time."""
    posts, replies, gone = rows
    reasons: Counter = Counter()
    there = {}
    for post in posts:
        if (post.id, "") in gone:
            reasons["post_taken_back"] += 1
        elif post.id in there:
            reasons["post_repeated"] += 1
        else:
            same = [other for other in posts if other.id == post.id]
            best = max((other.score or 0, other.body) for other in same)
            there[post.id] = max((o for o in same if (o.score or 0, o.body) == best), key=repr)
    threads: dict[str, list[Reply]] = {}
    for reply in replies:
        post = there.get(reply.post_id)
        if post is None:
            reasons["reply_post_dropped" if (reply.post_id, "") in gone else "reply_orphan"] += 1
        elif (reply.post_id, reply.id) in gone:
            reasons["reply_taken_back"] += 1
        elif reply.created < 31 * DAY and "1970-01" in refused:
            reasons["reply_dead_month"] += 1
        elif reply.by_poster or (reply.by_poster is None and post.author and reply.author == post.author):
            reasons["reply_by_poster"] += 1
        elif post.contest:
            reasons["reply_score_hidden"] += 1
        else:
            threads.setdefault(post.id, []).append(reply)
    found = {}
    for post_id, some in threads.items():
        by_id = {reply.id: [other for other in some if other.id == reply.id] for reply in some}
        reasons["reply_repeated"] += sum(len(copies) - 1 for copies in by_id.values())
        kept = [
            max(copies, key=lambda r: ((r.score_age or 0), abs(r.score), r.text, repr(r))) for copies in by_id.values()
        ]
        found[post_id] = [reply.id for reply in sorted(kept, key=lambda reply: (reply.created, reply.id))]
    reasons["post_without_replies"] = len(there) - len(found)
    return found, +reasons


@settings(max_examples=250, deadline=None)
@given(ROWS, st.sampled_from([(), ("1970-01",)]))
def test_against_the_slow_way(rows, refused):
    threads, funnel = joined(rows, refused=refused)
    expected, reasons = slowly(rows, refused)
    assert {thread.post.id: [reply.id for reply in thread.replies] for thread in threads} == expected
    assert +funnel._dropped == reasons
    assert [thread.post.id for thread in threads] == sorted(expected)
    kept = sum(1 + len(thread.replies) for thread in threads)
    assert kept + sum(reasons.values()) == len(rows[0]) + len(rows[1])


@settings(max_examples=250, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_no_order_of_rows_matters(rows, chance):
    """Every field of what comes out, and what is said about copies."""
    threads, funnel = joined(rows)
    shuffled, again = joined([chance.sample(some, len(some)) for some in rows])
    assert shuffled == threads
    assert +again._dropped == +funnel._dropped
    assert +again.merges == +funnel.merges


@settings(max_examples=100, deadline=None)
@given(ROWS, st.integers(1, 5))
def test_parts_by_post_give_the_whole(rows, partitions):
    whole, funnel = joined(rows)
    threads, together = [], Funnel()
    for index in range(partitions):
        mine = lambda post_id, index=index: spool.partition_of(post_id, partitions) == index
        posts, replies, gone = rows
        part = (
            [post for post in posts if mine(post.id)],
            [reply for reply in replies if mine(reply.post_id)],
            [entry for entry in gone if mine(entry[0])],
        )
        found, counted = joined(part)
        threads += found
        together.add(counted)
    assert sorted(threads, key=lambda thread: thread.post.id) == whole
    assert +together._dropped == +funnel._dropped and +together.merges == +funnel.merges


POST = Post("p", "c", "t", "b", author="poster")
REPLY = Reply("r", "p", "x", author="replier", created=DAY, score=3, score_age=5)


@pytest.mark.parametrize(
    ("one", "other", "kept"),
    [
        ({"score": 9, "score_age": 2}, {"score": 3, "score_age": 7}, 3),  # Looked at later.
        ({"score": 4, "score_age": None}, {"score": 2, "score_age": 1}, 2),
        ({"score": 5, "score_age": 1}, {"score": -6, "score_age": 1}, -6),  # As merged dumps do.
        ({"score": 5}, {"score": -5}, 5),
    ],
)
def test_which_of_two_copies_counts(one, other, kept):
    copies = [replace(REPLY, **one), replace(REPLY, **other)]
    for order in (copies, copies[::-1]):
        threads, funnel = joined(([POST], order, []))
        assert [reply.score for reply in threads[0].replies] == [kept]
        assert (funnel["reply_repeated"], funnel.merges["copies"], funnel.merges["other_score"]) == (1, 1, 1)


def test_copies_with_the_same_score_are_no_disagreement():
    _, funnel = joined(([POST], [REPLY, replace(REPLY, text="y"), replace(REPLY, score=4), REPLY], []))
    assert (funnel.merges["copies"], funnel.merges["other_score"]) == (3, 1)


def test_the_oldest_fifty_stay_whatever_their_order():
    replies = [replace(REPLY, id=f"{n:03}", created=DAY + n * 7 % 60) for n in range(60)]
    threads, funnel = joined(([POST], replies[::-1], []))
    assert [reply.created - DAY for reply in threads[0].replies] == list(range(eligibility.MAX_REPLIES))
    assert funnel["reply_beyond_first_50"] == 10


def test_without_times_the_order_of_the_rows_stays():
    replies = [replace(REPLY, id=name, created=None) for name in "zayb"]
    threads, _ = joined(([POST], [*replies, replies[2]], []), TABLE)
    assert [reply.id for reply in threads[0].replies] == list("zayb")


def test_posts_of_a_table_are_no_rows():
    _, funnel = joined(([POST, POST, replace(POST, id="q")], [], [("q", "")]), TABLE)
    assert not +funnel._dropped
