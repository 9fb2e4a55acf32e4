"""Every row is judged once, by itself: nothing depends on the order of the rows or on how they are dealt out."""

from collections import Counter
from dataclasses import replace as changed

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from data_pipelines import eligibility, export, ingest
from data_pipelines.eligibility import Options
from data_pipelines.funnel import Funnel
from data_pipelines.identity import Hasher
from data_pipelines.ingest import DAY, Kept, Tombstones
from data_pipelines.records import Post, Reply
from data_pipelines.sources import counselchat, reddit_dump

HASHER = Hasher(b"a key")
DEFAULT, NOBODY = Options(), Tombstones()
LONG = "A text that is long enough to be a reply, and to be a post, since it has so many words. "
POST = Post("p", "c", "Title", LONG, author="poster", created=5 * DAY)
REPLY = Reply("r", "p", LONG, author="replier", created=6 * DAY, score=3, score_age=9 * DAY)

WORDS = st.sampled_from(
    [LONG, "short", LONG * 30, f"I am a bot. {LONG}", f"Es war nicht so, wie du denkst, oder? {LONG}"]
)
GONE = st.sampled_from([None] * 5 + ["deleted", "removed", "restored"])
POSTS = st.builds(
    Post,
    id=st.sampled_from("abcdef"),
    community=st.just("c"),
    title=st.just("t"),
    body=WORDS,
    author=st.sampled_from(["poster", "helper-bot", None]),
    created=st.none() | st.integers(0, 9 * DAY),
    is_text=st.booleans(),
    gone=GONE,
    edited=st.booleans(),
    over_18=st.booleans(),
)
REPLIES = st.builds(
    Reply,
    id=st.sampled_from("uvwxyz"),
    post_id=st.sampled_from("abcdef"),
    text=WORDS,
    author=st.sampled_from(["poster", "replier", None]),
    created=st.none() | st.integers(0, 9 * DAY),
    score=st.none() | st.integers(-3, 4),
    score_hidden=st.sampled_from([None, False, True]),
    score_age=st.none() | st.integers(0, 2 * DAY),
    top_level=st.booleans(),
    official=st.booleans(),
    gone=GONE,
)
RECORDS = st.lists(POSTS | REPLIES, max_size=40)
OPTIONS = st.builds(Options, english=st.booleans(), edited=st.booleans(), over_18=st.booleans())
NAMED = st.lists(st.sampled_from(["u/poster", "t3_a", "t1_u", "b", "x"]), max_size=2).map(Tombstones.of)


def keep(records, options=DEFAULT, tombstones=NOBODY, traits=reddit_dump.TRAITS) -> Kept:
    return ingest.keep(records, traits, options, tombstones, HASHER, Kept())


def counted(kept: Kept) -> tuple:
    """Everything that was kept, whatever its order."""
    some = [Counter(map(repr, rows)) for rows in (kept.posts, kept.replies, kept.gone)]
    return *some, kept.funnel._dropped, kept.votes_by_day, +kept.posts_by_day


@settings(max_examples=150, deadline=None)
@given(RECORDS, OPTIONS, NAMED, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(records, options, tombstones, chance):
    shuffled = chance.sample(records, len(records))
    assert counted(keep(shuffled, options, tombstones)) == counted(keep(records, options, tombstones))


@settings(max_examples=150, deadline=None)
@given(RECORDS, OPTIONS, NAMED)
def test_every_row_is_kept_or_has_one_reason(records, options, tombstones):
    for traits in (reddit_dump.TRAITS, counselchat.TRAITS):
        kept = keep(records, options, tombstones, traits)
        dropped = sum(kept.funnel._dropped.values())
        posts = sum(isinstance(record, Post) for record in records)
        replies = len(records) - posts
        assert len(kept.replies) + (len(kept.posts) if traits.posts_are_rows else 0) + dropped == (
            replies + (posts if traits.posts_are_rows else 0)
        )
        gone_posts = sum(entry[1] == "" for entry in kept.gone)
        assert len(kept.posts) + gone_posts == posts


@settings(max_examples=100, deadline=None)
@given(RECORDS)
def test_sums_by_hand(records):
    kept = keep(records)
    replies = [reply for reply in kept.replies if reply.created is not None]
    assert kept.votes_by_day == {
        day: [len(some), sum(reply.score for reply in some), sum(reply.score == 1 for reply in some)]
        for day in {reply.created // DAY for reply in replies}
        for some in [[reply for reply in replies if reply.created // DAY == day]]
    }
    assert kept.posts_by_day == Counter(post.created // DAY for post in kept.posts if post.created is not None)


def test_a_dropped_post_and_a_reply_that_was_taken_back_are_remembered():
    records = [
        replace(POST, id="short", body="short"),
        replace(POST, id="gone", gone="deleted"),
        replace(REPLY, id="gone", gone="removed"),
        replace(REPLY, id="nested", gone="deleted", top_level=False),  # Nested here, perhaps not in another dump.
        replace(REPLY, id="young", score_age=60),  # Another dump may have looked later.
        REPLY,
    ]
    assert keep(records).gone == [("short", ""), ("gone", ""), ("p", "gone"), ("p", "nested")]


# Tombstones.

NAME = "Quiet_Fox"
WRITTEN = [
    *[f"{before}{NAME}" for before in ("", "u/", "/u/", "U/", "user/", "/user/", "@", "\ufeffu/", "  ")],
    *[f"{before}{NAME}" for before in ("https://www.reddit.com/user/", "http://old.reddit.com/u/", "reddit.com/u/")],
    *[f"u/{NAME}{after}" for after in ("  ", "/", "\t", " # asked on Monday")],
    *[NAME.lower(), f"u/{NAME.upper()}", HASHER.id("author", NAME), HASHER.id("author", NAME).upper()],
]


@pytest.mark.parametrize("line", WRITTEN)
def test_a_person_is_known_however_the_name_is_written(line):
    tombstones = Tombstones.of(["# people who asked", "", line])
    assert tombstones.cover(replace(POST, author=NAME), HASHER)
    assert tombstones.cover(replace(REPLY, author=NAME), HASHER)
    assert not tombstones.cover(POST, HASHER) and not tombstones.cover(REPLY, HASHER)


@pytest.mark.parametrize(
    "line", ["r7", "t1_r7", "T1_R7", "https://www.reddit.com/r/c/comments/p7/some_title/r7/", HASHER.id("reply", "r7")]
)
def test_a_reply_is_known_by_its_id(line):
    tombstones = Tombstones.of([line])
    assert tombstones.cover(Reply("r7", "p7", LONG), HASHER)
    assert not tombstones.cover(Reply("r8", "p7", LONG), HASHER)
    assert not tombstones.cover(replace(POST, id="p7"), HASHER)


@pytest.mark.parametrize(
    "line",
    ["p7", "t3_p7", "https://www.reddit.com/r/c/comments/p7/some_title/", "reddit.com/r/c/comments/p7"]
    + [HASHER.id("post", "p7"), HASHER.id("thread", "p7", "")],
)
def test_a_post_is_known_by_its_id_and_takes_its_replies_along(line):
    tombstones = Tombstones.of([line])
    assert tombstones.cover(replace(POST, id="p7"), HASHER)
    assert tombstones.cover(Reply("r7", "p7", LONG), HASHER)
    assert not tombstones.cover(replace(POST, id="p8"), HASHER)
    assert not tombstones.cover(Reply("r7", "p8", LONG), HASHER)


def test_the_hashes_that_a_dataset_shows():
    from data_pipelines.records import Example

    row = export.reply_example(Example("gm", POST, REPLY), HASHER)
    assert Tombstones.of([row["reply_id"]]).cover(REPLY, HASHER)
    assert not Tombstones.of([row["reply_id"]]).cover(POST, HASHER)
    assert Tombstones.of([row["thread_id"]]).cover(POST, HASHER)
    assert not Tombstones.of([row["reply_id"]]).cover(REPLY, Hasher(b"another key"))


def test_names_that_look_like_ids_and_odd_lines():
    assert Tombstones.of(["t1_t1_x", "t1_y"]).cover(replace(REPLY, author="t1_y"), HASHER)
    assert Tombstones.of(["Jo A. Smith"]).cover(replace(REPLY, author="Jo A. Smith"), HASHER)
    for lines in ([], ["", "  ", "#", "# u/poster"], ["u/", "t1_", "@", "/"]):
        assert not Tombstones.of(lines).cover(POST, HASHER) and not Tombstones.of(lines).cover(REPLY, HASHER)
    assert not Tombstones.of(["none", "None"]).cover(replace(REPLY, author=None), HASHER)


def test_rows_are_hashed_only_for_hashes(monkeypatch):
    asked = []
    monkeypatch.setattr(Hasher, "id", lambda *names: asked.append(names) or "")
    keep([POST, REPLY], tombstones=Tombstones.of(["u/somebody", "t3_else"]))
    assert not asked
    keep([POST, REPLY], tombstones=Tombstones.of(["0123456789abcdef01234567"]))
    assert asked


def test_a_tombstone_is_the_first_reason():
    for record in (replace(POST, gone="deleted"), replace(REPLY, gone="deleted", top_level=False)):
        kept = keep([record], tombstones=Tombstones.of(["p"]))
        assert kept.funnel[f"{'post' if isinstance(record, Post) else 'reply'}_tombstone"] == 1
        assert sum(kept.funnel._dropped.values()) == 1


def test_posts_of_a_table_are_no_rows():
    traits = changed(counselchat.TRAITS)
    kept = keep([replace(POST, title="", body="short")], traits=traits)
    assert (sum(kept.funnel._dropped.values()), kept.gone) == (0, [("p", "")])
    assert eligibility.judge_post(replace(POST, title="", body="short"), traits) == "post_short"
    assert isinstance(kept.funnel, Funnel)
