"""Near-duplicates of posts and replies: against a slow second way, and across the splits."""

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from data_pipelines import checks, copies, names
from data_pipelines.funnel import Funnel
from data_pipelines.records import SPLITS, Pair, Post, Reply, Thread
from data_pipelines.selection import Selected, with_keys
from data_pipelines.sources import counselchat, reddit_dump

WORDS = "garden rain window letter river table morning winter music orange paper silver kitchen stone".split()


def text(number: int, changed: int = 0) -> str:
    """Forty words; `changed` of the last ones differ from those of the same number."""
    words = [f"{WORDS[(number * 7 + place * (number % 5 + 1)) % 14]}{(number * place) % 11}" for place in range(40)]
    return " ".join([*words[: 40 - changed], *(f"else{number}x{changed}x{place}" for place in range(changed))])


def thread(name: str, split: str, body: str, replies: list[str], created: int | None = 0) -> Selected:
    """A thread whose first reply is preferred to each of the others, and is to be imitated."""
    some = tuple(
        Reply(f"{name}r{place}", name, text, author=f"a{name}{place}", created=created, score=9 - place)
        for place, text in enumerate(replies)
    )
    post = Post(name, "c", "title", body, author=f"poster{name}", created=created)
    candidates = [(0, place, 0.9) for place in range(1, len(some))]
    return Selected(
        Thread(post, some), split, candidates, [0], [("T2-x",) if place else () for place in range(len(some))]
    )


def clean(found, traits=reddit_dump.TRAITS) -> tuple[list[Selected], Counter]:
    funnel = Funnel()
    left = copies.without_copies(with_keys(found), traits, funnel)
    return left, +funnel._dropped


def grams(text: str) -> set:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[at : at + 5]) for at in range(max(len(words) - 4, 1))}


def likeness(a: str, b: str) -> float:
    """Exact Jaccard index of 5-grams of words."""
    return len(grams(a) & grams(b)) / len(grams(a) | grams(b))


def groups(texts: list[str]) -> list[set[int]]:
    """Clusters by comparing each with each."""
    found = [{index} for index in range(len(texts))]
    for i in range(len(texts)):
        for j in range(i):
            if likeness(texts[i], texts[j]) >= 0.8:
                a, b = (next(g for g in found if index in g) for index in (i, j))
                if a is not b:
                    found.remove(b)
                    a |= b
    return found


# 1 changed word of 40 leaves a likeness of .946, 2 .895, 6 .714: MinHash misses neither, and .8 lies far from all.
TEXTS = st.builds(text, st.integers(0, 12), st.sampled_from([0, 0, 1, 2, 6]))
THREADS = st.lists(
    st.tuples(st.sampled_from(SPLITS), TEXTS, st.lists(TEXTS, min_size=1, max_size=4), st.integers(0, 5)), max_size=9
).map(lambda rows: [thread(f"p{index}", *row) for index, row in enumerate(rows)])


@settings(max_examples=150, deadline=None)
@given(THREADS)
def test_against_comparing_each_with_each(found):
    left, dropped = clean(found)
    expected, reasons = slowly(found)
    assert {one.thread.post.id: [reply.id for reply in one.thread.replies] for one in left} == expected
    assert dropped == reasons
    kept = sum(1 + len(one.thread.replies) for one in left)
    assert kept + sum(dropped.values()) == sum(1 + len(one.thread.replies) for one in found)


def slowly(found: list[Selected]) -> tuple[dict[str, list[str]], Counter]:
    reasons: Counter = Counter()
    bodies = [f"title {one.thread.post.body}" for one in found]
    stay = set(range(len(found)))
    for group in groups(bodies):
        oldest = min(group, key=lambda index: (found[index].thread.post.created, found[index].thread.post.id))
        stay -= {index for index in group if found[index].split != found[oldest].split}
    for index in set(range(len(found))) - stay:
        reasons["post_near_duplicate"] += 1
        reasons["reply_post_dropped"] += len(found[index].thread.replies)
    replies = [reply for index in sorted(stay) for reply in found[index].thread.replies]
    gone = set()
    for group in groups([reply.text for reply in replies]):
        some = sorted((replies[index] for index in group), key=lambda r: (r.created, r.post_id, replies.index(r)))
        template = len({reply.post_id for reply in some}) >= 3
        copied = some if template else some[1:]
        gone |= {reply.id for reply in copied}
        if copied:
            reasons["reply_template" if template else "reply_near_duplicate"] += len(copied)
    threads = {
        found[index].thread.post.id: [reply.id for reply in found[index].thread.replies if reply.id not in gone]
        for index in stay
    }
    reasons["post_without_replies"] = sum(not some for some in threads.values())
    return {name: some for name, some in threads.items() if some}, +reasons


@settings(max_examples=100, deadline=None)
@given(THREADS)
def test_nothing_alike_is_left_on_two_sides(found):
    left, _ = clean(found)
    for i, one in enumerate(left):
        for other in left[:i]:
            if one.split != other.split:
                assert likeness(one.thread.post.body, other.thread.post.body) < 0.8
    texts = [reply.text for one in left for reply in one.thread.replies]
    assert not [1 for i, a in enumerate(texts) for b in texts[:i] if likeness(a, b) >= 0.8]


@settings(max_examples=60, deadline=None)
@given(THREADS)
def test_indices_follow_the_replies_that_are_left(found):
    before = {one.thread.post.id: one for one in found}
    for one in clean(found)[0]:
        old = before[one.thread.post.id]
        ids = {reply.id for reply in one.thread.replies}
        pairs = lambda some: [(some.thread.replies[c].id, some.thread.replies[r].id) for c, r, _ in some.candidates]
        assert pairs(one) == [pair for pair in pairs(old) if set(pair) <= ids]
        assert [one.thread.replies[index].id for index in one.high] == [
            n for n in [f"{old.thread.post.id}r0"] if n in ids
        ]
        rules = dict(zip([reply.id for reply in old.thread.replies], old.found, strict=True))
        assert one.found == [rules[reply.id] for reply in one.thread.replies]
        assert len(one.reply_keys) == len(one.thread.replies)


def test_the_oldest_decides_on_which_side_copies_stand():
    for oldest, left in (("test", ["p0", "p2"]), ("train", ["p1"])):
        found = [
            thread(f"p{index}", split, text(1), [text(5 + index)], created=9)
            for index, split in enumerate(("test", "train", "test"))
        ]
        found = [
            one
            if one.split != oldest
            else replace(one, thread=replace(one.thread, post=replace(one.thread.post, created=1)))
            for one in found
        ]
        assert [one.thread.post.id for one in clean(found)[0]] == left


def test_without_times_the_smallest_id_is_the_oldest():
    found = [
        thread(name, split, text(1), [text(5 + index)], created=None)
        for index, (name, split) in enumerate((("b", "train"), ("a", "test")))
    ]
    left, dropped = clean(found, counselchat.TRAITS)
    assert [one.thread.post.id for one in left] == ["a"]
    assert dropped == {"reply_post_dropped": 1}  # Posts are no rows there.


def test_two_posts_bear_a_copy_and_three_a_template():
    two = [thread(f"p{index}", "train", text(index), [text(9), text(20 + index)]) for index in range(2)]
    assert clean(two)[1] == {"reply_near_duplicate": 1}
    three = [thread(f"p{index}", "train", text(index), [text(9), text(20 + index)]) for index in range(3)]
    assert clean(three)[1] == {"reply_template": 3}
    one = [thread("p", "train", text(0), [text(9), text(9, 1), text(9), text(20)])]  # Said three times to one person.
    assert clean(one)[1] == {"reply_near_duplicate": 2}


def test_posts_that_differ_in_a_masked_name_alone_are_copies():
    """Their keys were made before the names were masked, and do not agree in any band."""
    body = "I am {} and I wonder what to do about all of this rain"
    sides = enumerate(("train", "test"))
    found = with_keys([thread(f"p{i}", split, body.format(f"person{i}"), [text(i)]) for i, split in sides])
    assert clean(found)[1] == {}
    masked = [
        replace(one, thread=replace(one.thread, post=replace(one.thread.post, body=body.format(names.PLACEHOLDER))))
        for one in found
    ]
    funnel = Funnel()
    left = copies.without_copies(masked, reddit_dump.TRAITS, funnel)
    assert [one.thread.post.id for one in left] == ["p0"]
    assert funnel["post_near_duplicate"] == 1


@settings(max_examples=60, deadline=None)
@given(THREADS)
def test_the_check_at_the_end_finds_nothing_more(found):
    """What `checks` looks for in the finished rows has left here, so that no build fails at its end."""
    left, _ = clean(found)
    rows = {split: [pair(one) for one in left if one.split == split] for split in SPLITS}
    assert checks._near_duplicates([row for split in SPLITS[1:] for row in rows[split]], rows["train"]) == 0


def pair(one: Selected) -> Pair:
    return Pair("gm", one.thread.post, one.thread.replies[0], one.thread.replies[-1], 0.9)


@pytest.mark.parametrize("traits", [reddit_dump.TRAITS, counselchat.TRAITS])
def test_nothing(traits):
    assert clean([], traits) == ([], {})
