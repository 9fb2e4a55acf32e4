from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from data_pipelines import splits
from data_pipelines.identity import Hasher
from data_pipelines.ingest import DAY
from data_pipelines.records import Example, Pair, Post, Reply
from data_pipelines.sources.reddit_dump import TRAITS
from data_pipelines.splits import Splitter

HASHER = Hasher(b"a key")
HALVES = {"train": 0.5, "validation": 0.2, "test": 0.3}


def post(number: int, **changes) -> Post:
    return Post(f"p{number}", title="t", body="b", **({"community": "c", "created": number * DAY} | changes))


def test_shares_are_those_asked_for():
    splitter = Splitter(TRAITS.fractions, HASHER)
    found = [splitter.split_of(post(number)) for number in range(6000)]
    shares = [found.count(split) / 6000 for split in ("train", "validation", "test")]
    assert all(abs(share - wanted) < 0.015 for share, wanted in zip(shares, (0.9, 0.05, 0.05), strict=True))


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=60, unique=True), st.sets(st.integers(0, 3000)))
def test_more_posts_move_no_post_once_the_cutoff_is_fixed(old, more):
    """What a first build decides, the cut-off that it inherits keeps."""
    traits = replace(TRAITS, fractions=HALVES)
    first = splits.cutoff(Counter(old), traits)
    before = {number: Splitter(HALVES, HASHER, first).split_of(post(number)) for number in old}
    after = {number: Splitter(HALVES, HASHER, first).split_of(post(number)) for number in [*more, *old]}
    assert before.items() <= after.items()
    assert not [number for number, split in after.items() if split == "train" and number * DAY >= first]
    assert sum(number * DAY >= first for number in old) <= traits.later * len(old)


def test_no_cutoff_without_times_or_posts():
    assert splits.cutoff({5: 10}, replace(TRAITS, time=False)) is None
    assert splits.cutoff({}, TRAITS) is None
    assert splits.cutoff({5: 100}, TRAITS) == 6 * DAY
    assert splits.cutoff({5: 95, 7: 5}, TRAITS) == 7 * DAY


def test_a_community_left_out_is_all_test():
    splitter = Splitter(HALVES, HASHER, left_out=("elsewhere",))
    assert {splitter.split_of(post(number, community="elsewhere")) for number in range(50)} == {"test"}
    assert len({splitter.split_of(post(number)) for number in range(50)}) == 3


def pair(poster: str, chosen: str, rejected: str) -> Pair:
    replies = (Reply(name, "p", "text", author=name) for name in (chosen, rejected))
    return Pair("gm", Post("p", "c", "t", "b", author=poster), *replies, 0.9)


def test_purge_of_posters_and_repliers():
    held_out = {"test": [pair("a", "r1", "r2"), pair("b", "r3", "r4"), pair("b", "r3", "r5")], "validation": []}
    left, report = splits.purge(held_out, {"a", "r5"})
    assert left == {"test": [held_out["test"][1]], "validation": []} or report["repliers_purged"] is False
    left, report = splits.purge({"test": held_out["test"] * 2, "validation": []}, {"r5"})
    assert len(left["test"]) == 4
    assert report == {"held_out_pairs": 6, "poster_in_train": 0, "replier_in_train": 2, "repliers_purged": True}


def test_people_of_replies_to_imitate_are_known_too():
    post, reply, draft = Post("p", "c", "t", "b", author="a"), Reply("1", "p", "x", "b"), Reply("2", "p", "x", "c")
    assert splits.people([Example("gm", post, reply), Example("im", post, reply, draft=draft)]) == {"a", "b", "c"}


def test_repliers_of_a_small_site_stay():
    held_out = {"test": [pair("a", "r1", "r2"), pair("b", "r1", "r3"), pair("c", "r4", "r5")]}
    left, report = splits.purge(held_out, {"r1"})
    assert left == held_out
    assert report["repliers_purged"] is False
