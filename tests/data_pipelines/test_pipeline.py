"""From rows to a dataset in memory: splits, people, seeds, orders. Where every row goes: `test_funnel_by_hand`."""

import corpus
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from data_pipelines import pipeline
from data_pipelines.funnel import Funnel
from data_pipelines.identity import Hasher
from data_pipelines.records import Post, Reply
from data_pipelines.sources import counselchat, reddit_dump

HASHER = Hasher(b"a key")


def build(tmp_path, posts, comments, seed=0, hasher=HASHER) -> pipeline.Dataset:
    funnel = Funnel()
    paths = [[corpus.write(tmp_path / name, rows)] for name, rows in (("RS", posts), ("RC", comments))]
    records = reddit_dump.read(*paths, funnel)
    return pipeline.build(records, reddit_dump.TRAITS, "strict", funnel, hasher, seed)


def strong_threads(count: int) -> tuple[list, list]:
    """Threads with two poor replies and, later, two good ones."""
    posts = [corpus.post(f"p{i}") for i in range(count)]
    comments = [
        corpus.comment(f"{side}{i}", f"p{i}", score=score, created_utc=corpus.START + later)
        for i in range(count)
        for side, score, later in (("a", 1, 60), ("b", 0, 90), ("c", 40, 120), ("d", 55, 150))
    ]
    return posts, comments


def flat(dataset: pipeline.Dataset) -> list:
    return [(split, pair) for split, pairs in dataset.pairs.items() for pair in pairs]


def test_pairs_lie_in_the_split_of_their_post_and_replies_too(tmp_path):
    dataset = build(tmp_path, *strong_threads(120))
    posts = {split: {pair.post.id for pair in pairs} for split, pairs in dataset.pairs.items()}
    assert posts["train"] and posts["test"]
    assert not posts["train"] & (posts["test"] | posts["validation"])
    examples = {example.post.id for example in dataset.replies["train"]}
    assert examples and not examples & (posts["test"] | posts["validation"])


def test_who_stands_in_train_only_through_a_reply_to_imitate_leaves_the_held_out_pairs(tmp_path):
    posts, comments = strong_threads(120)
    split_of = {post.id: split for split, pair in flat(build(tmp_path, posts, comments)) for post in [pair.post]}
    ids = {split: next(name for name, where in split_of.items() if where == split) for split in ("train", "test")}
    lonely = next(post["id"] for post in posts if split_of.get(post["id"]) == "train" and post["id"] != ids["train"])
    # Only one reply stands under this post: it makes no pair, though it is good enough to imitate.
    comments = [row for row in comments if row["link_id"] != f"t3_{lonely}" or row["id"].startswith("d")]
    for row in comments:
        if row["id"] in (f"d{lonely[1:]}", f"d{ids['test'][1:]}"):
            row["author"] = "twice_here"
    dataset = build(tmp_path, posts, comments)
    assert "twice_here" in {example.reply.author for example in dataset.replies["train"]}
    pairs = flat(dataset)
    assert not [p for _, p in pairs if "twice_here" in (p.chosen.author, p.rejected.author)]
    assert dataset.card["purge"]["gm"]["replier_in_train"] > 0


def test_same_input_key_and_seed_give_the_same_pairs(tmp_path):
    rows = strong_threads(60)
    assert flat(build(tmp_path, *rows)) == flat(build(tmp_path, *rows))
    assert flat(build(tmp_path, *rows)) != flat(build(tmp_path, *rows, seed=1))


def test_the_order_of_the_rows_does_not_matter(tmp_path):
    posts, comments = strong_threads(40)
    one, other = build(tmp_path, posts, comments), build(tmp_path, posts[::-1], comments[::-1])
    assert sorted(map(repr, flat(one))) == sorted(map(repr, flat(other)))


def test_probability_is_that_after_the_fuzz(tmp_path):
    pairs = [pair for _, pair in flat(build(tmp_path, *strong_threads(20)))]
    assert all(0.8 <= pair.probability <= 1 for pair in pairs)


TEXT = st.text(alphabet="ab cd\n", min_size=0, max_size=120)
REPLIES = st.builds(
    Reply,
    id=st.integers(0, 40).map(str),
    post_id=st.integers(0, 12).map(str),
    text=TEXT,
    author=st.sampled_from(["x", "y", "helper_bot", None]),
    score=st.one_of(st.none(), st.integers(0, 9)),
    views=st.integers(9, 900),
    gone=st.sampled_from([None, None, None, "deleted"]),
)
POSTS = st.builds(Post, id=st.integers(0, 10).map(str), community=st.just("c"), title=TEXT, body=TEXT)


@settings(max_examples=80, deadline=None)
@given(st.lists(POSTS, max_size=15), st.lists(REPLIES, max_size=80))
def test_the_funnel_sums_to_any_input(posts, replies):
    for traits, rows in ((reddit_dump.TRAITS, len(posts) + len(replies)), (counselchat.TRAITS, len(replies))):
        timed = traits.time
        records = [*posts, *(r if not timed else _timed(r) for r in replies)]
        funnel = Funnel()
        funnel.read(rows)
        card = pipeline.build(records, traits, "strict", funnel, HASHER).card
        assert sum(card["funnel"].values()) == card["input"] == rows


def _timed(reply: Reply) -> Reply:
    return replace(reply, created=corpus.START + int(reply.id))


def test_a_funnel_that_does_not_sum_is_an_error():
    funnel = Funnel()
    funnel.read(3)
    funnel.drop("some_reason")
    with pytest.raises(AssertionError, match="does not sum"):
        funnel.table(kept=1)
