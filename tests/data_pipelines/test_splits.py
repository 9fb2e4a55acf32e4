from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines import splits
from data_pipelines.identity import Hasher
from data_pipelines.near_duplicates import Clusters
from data_pipelines.records import Example, Pair, Post, Reply, Thread
from data_pipelines.sources.reddit_dump import TRAITS

HASHER = Hasher(b"a key")


def threads(count: int) -> list[Thread]:
    return [Thread(Post(f"p{i}", "c", "t", "b", created=i), ()) for i in range(count)]


def where(found: dict[str, list[Thread]]) -> dict[str, str]:
    return {thread.post.id: split for split, group in found.items() for thread in group}


def test_shares_are_those_asked_for():
    found = splits.assign(threads(6000), Clusters(6000), TRAITS, HASHER)
    shares = [len(found[split]) / 6000 for split in ("train", "validation", "test")]
    assert all(abs(share - wanted) < 0.015 for share, wanted in zip(shares, (0.9, 0.05, 0.05), strict=True))


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 200), st.integers(0, 200), st.lists(st.tuples(st.integers(0, 199), st.integers(0, 199)), max_size=20)
)
def test_later_posts_move_no_earlier_one(old, more, joins):
    traits = replace(TRAITS, fractions={"train": 0.5, "validation": 0.2, "test": 0.3})
    clusters, larger = Clusters(old), Clusters(old + more)
    for a, b in joins:
        if max(a, b) < old:
            clusters.join(a, b)
            larger.join(a, b)
        elif min(a, b) >= old and max(a, b) < old + more:
            larger.join(a, b)
    before = where(splits.assign(threads(old), clusters, traits, HASHER))
    after = where(splits.assign(threads(old + more), larger, traits, HASHER))
    assert before.items() <= after.items()
    for a, b in joins:
        if max(a, b) < old:
            assert after[f"p{a}"] == after[f"p{b}"]


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
