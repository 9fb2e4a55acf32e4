"""What must never be written is found in the finished rows, wherever it stands; and clean rows pass."""

import json
import re
from collections import Counter
from dataclasses import replace
from itertools import count

import corpus
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as with_changes

from data_pipelines import build, checks, pipeline, storage
from data_pipelines.funnel import Funnel
from data_pipelines.identity import Hasher
from data_pipelines.ingest import DAY
from data_pipelines.pairing import rule_for
from data_pipelines.pipeline import Plan
from data_pipelines.records import SPLITS, Example, Pair, Post, Reply
from data_pipelines.sources import reddit_dump
from llumi_jax.cli import RunFailure

# Lines of the kind that the rules' own fixtures hold; none names a means.
DEADLY = "We could die together, then neither of us has to be alone."
INSULT = "You are pathetic."
LIVED = "I have been there, and I know how it feels to be where you are."
KIND = "It sounds as if the {} has been heavy for you, and I am glad that you wrote about it."
NOUNS = "garden rain window letter river table morning winter music orange paper silver kitchen stone".split()
PURGED = {"gm": {"repliers_purged": True}, "im": {"repliers_purged": True}}
numbers = count()


def post(**changes) -> Post:
    number = next(numbers)
    words = " ".join(f"{noun}{number}" for noun in NOUNS)
    return with_changes(Post(f"p{number}", "c", f"Title {number}", words, author=f"poster{number}"), **changes)


def reply(text: str = KIND, **changes) -> Reply:
    number = next(numbers)
    text = text.format(NOUNS[number % len(NOUNS)])
    return with_changes(Reply(f"r{number}", "p", text, author=f"replier{number}", score=3), **changes)


def rows() -> tuple[dict[str, list[Pair]], dict[str, list[Example]]]:
    """A dataset without a fault: in every split a pair and a reply of each task."""
    pairs, replies = {}, {}
    for split in SPLITS:
        draft = reply()
        pairs[split] = [Pair("gm", post(), reply(), reply(), 0.9)]
        pairs[split].append(Pair("im", post(), reply(), draft, 0.9, draft=draft))
        replies[split] = [Example("gm", post(), reply()), Example("im", post(), reply(), draft=reply())]
    return pairs, replies


def test_clean_rows_pass():
    found = checks.check(*rows(), PURGED)
    assert set(found.values()) == {0}
    assert set(found) == {
        "posts_in_train", "near_duplicate_posts_in_train",
        "gm_posters_in_train", "im_posters_in_train", "gm_people_in_train", "im_people_in_train",
    }  # fmt: skip


def test_an_empty_dataset_passes():
    nothing: dict[str, list] = {split: [] for split in SPLITS}
    assert set(checks.check(nothing, nothing, PURGED).values()) == {0}


PLACES = [(kind, split, at, field) for split in SPLITS for kind, at, field in (
    ("pairs", 0, "chosen"), ("pairs", 0, "rejected"), ("pairs", 1, "chosen"), ("pairs", 1, "rejected"),
    ("pairs", 1, "draft"), ("replies", 0, "reply"), ("replies", 1, "reply"), ("replies", 1, "draft"),
)]  # fmt: skip


def put(place, found: Reply):
    """Clean rows but for one text."""
    kind, split, at, field = place
    pairs, replies = rows()
    some = (pairs if kind == "pairs" else replies)[split]
    some[at] = replace(some[at], **{field: found})
    return pairs, replies


@pytest.mark.parametrize("place", PLACES)
def test_a_deadly_text_is_found_everywhere(place):
    with pytest.raises(RunFailure, match="T0-pact.*nothing was written") as error:
        checks.check(*put(place, reply(DEADLY)), PURGED)
    assert "together" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", [INSULT, LIVED, "Thank you, [USER], for all that you wrote to us here today."])
def test_a_text_to_imitate_harms_nobody_and_hides_nothing(place, text):
    imitated = place[3] in ("chosen", "reply")
    if imitated:
        with pytest.raises(RunFailure, match="reached the output"):
            checks.check(*put(place, reply(text)), PURGED)
    else:
        checks.check(*put(place, reply(text)), PURGED)


@pytest.mark.parametrize("at", [0, 1])
def test_a_writers_own_experience_may_stay_in_a_revision_but_is_never_added(at):
    pairs, replies = rows()
    pairs["train"][1] = replace(pairs["train"][1], chosen=reply(LIVED), draft=reply(LIVED))
    replies["test"][1] = replace(replies["test"][1], reply=reply(LIVED), draft=reply(LIVED))
    checks.check(pairs, replies, PURGED)
    (pairs["train"] if at else replies["test"])[1] = replace(
        (pairs["train"] if at else replies["test"])[1], draft=reply()
    )
    with pytest.raises(RunFailure, match="T1-lived-experience"):
        checks.check(pairs, replies, PURGED)


@pytest.mark.parametrize("kind", ["pairs", "replies"])
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("field", ["title", "body"])
def test_a_post_is_masked(kind, split, field):
    pairs, replies = rows()
    some = (pairs if kind == "pairs" else replies)[split]
    some[0] = replace(some[0], post=post(**{field: f"[METHOD] is in my mind. {KIND.format('rain')}"}))
    checks.check(pairs, replies, PURGED)
    some[0] = replace(some[0], post=post(**{field: f"{KIND.format('rain')} {DEADLY}"}))
    with pytest.raises(RunFailure, match="a post with a T0 text"):
        checks.check(pairs, replies, PURGED)


SIDES = [
    (kind, other, split) for kind in ("pairs", "replies") for other in ("pairs", "replies") for split in SPLITS[1:]
]


def leak(kind, other, split, change):
    """Rows where a post of train (in `kind`) stands changed in a held-out split (in `other`)."""
    pairs, replies = rows()
    ours = (pairs if kind == "pairs" else replies)["train"][0].post
    there = (pairs if other == "pairs" else replies)[split]
    there[0] = replace(there[0], post=change(ours))
    return pairs, replies


@pytest.mark.parametrize("side", SIDES)
def test_a_post_on_two_sides(side):
    with pytest.raises(RunFailure, match="'posts_in_train': 1"):
        checks.check(*leak(*side, lambda ours: ours), PURGED)


@pytest.mark.parametrize("side", SIDES)
def test_a_near_duplicate_on_two_sides(side):
    alike = lambda ours: post(title=ours.title, body=f"{ours.body} too")
    with pytest.raises(RunFailure, match="'posts_in_train': 0, 'near_duplicate_posts_in_train': 1"):
        checks.check(*leak(*side, alike), PURGED)


PEOPLE = {
    "poster": lambda row, name: replace(row, post=with_changes(row.post, author=name)),
    "chosen": lambda row, name: replace(row, chosen=with_changes(row.chosen, author=name)),
    "rejected": lambda row, name: replace(row, rejected=with_changes(row.rejected, author=name)),
    "draft": lambda row, name: replace(row, draft=with_changes(row.draft, author=name)),
    "reply": lambda row, name: replace(row, reply=with_changes(row.reply, author=name)),
}


@pytest.mark.parametrize("ours", ["poster", "chosen", "rejected", "draft", "reply"])
@pytest.mark.parametrize("theirs", ["poster", "chosen", "rejected", "draft"])
@pytest.mark.parametrize("task", ["gm", "im"])
def test_a_person_on_two_sides(ours, theirs, task):
    if task == "gm" and theirs == "draft":
        return
    pairs, replies = rows()
    if ours == "reply":
        replies["train"][1] = PEOPLE[ours](replies["train"][1], "somebody")
    else:
        pairs["train"][1] = PEOPLE[ours](pairs["train"][1], "somebody")
    place = 0 if task == "gm" else 1
    pairs["test"][place] = PEOPLE[theirs](pairs["test"][place], "somebody")
    with pytest.raises(RunFailure, match=rf"'{task}_people_in_train': 1"):
        checks.check(pairs, replies, PURGED)
    kept = PURGED | {task: {"repliers_purged": False}}  # A small site: there posters alone are kept apart.
    if theirs == "poster":
        with pytest.raises(RunFailure, match=rf"'{task}_posters_in_train': 1"):
            checks.check(pairs, replies, kept)
    else:
        assert set(checks.check(pairs, replies, kept).values()) == {0}


def test_people_without_a_name_are_nobody():
    pairs, replies = rows()
    for split in ("train", "test"):
        pairs[split][0] = PEOPLE["chosen"](PEOPLE["poster"](pairs[split][0], None), None)
    assert set(checks.check(pairs, replies, PURGED).values()) == {0}


# Random corpora through the whole pipeline: what `checks` says of itself, seen from outside.

BODIES = [
    " ".join(f"{noun}{number}" for noun in NOUNS) + " is what the days are like, and nights too" for number in range(9)
]
# Near-duplicates (Jaccard .87 and more of 5-grams), and the same text.
VARIANTS = [*BODIES, *(f"{body} now" for body in BODIES), *(body.upper() for body in BODIES)]
TRAITS = replace(reddit_dump.TRAITS, fractions={"train": 0.5, "validation": 0.2, "test": 0.3}, later=0.3)
DAYS = st.integers(0, 40)


@st.composite
def corpora(draw, prefix: str = "p", first: int = 0) -> list:
    """Threads of two replies whose scores make a preference, some of people who wrote elsewhere too."""
    records = []
    for index, body in enumerate(draw(st.lists(st.sampled_from(VARIANTS), min_size=3, max_size=14))):
        name, start = f"{prefix}{index}", (first + draw(DAYS)) * DAY
        people = draw(st.lists(st.sampled_from([*"abcdef", *[None] * 9]), min_size=3, max_size=3))
        people = [person or f"{name} alone {place}" for place, person in enumerate(people)]
        records.append(Post(name, "c", "Title", body, author=people[0], created=start))
        for place, score in enumerate((1, 40)):
            text = f"{name} {NOUNS[place]} {' '.join(f'{name}{word}' for word in NOUNS[:9])} it is as you say."
            records.append(
                Reply(f"{name}r{place}", name, text, people[place + 1], start + 60 + place, score, score_age=9 * DAY)
            )
    return records


def built(records, cutoff=None):
    funnel = Funnel()
    funnel.read(len(records))
    return pipeline.build_plan(records, Plan(TRAITS, rule_for("strict", TRAITS), Hasher(b"k"), cutoff=cutoff), funnel)


def sides(dataset) -> dict[str, list]:
    """Pairs and replies by split."""
    return {split: [*dataset.pairs[split], *dataset.replies[split]] for split in SPLITS}


def grams(post: Post) -> set:
    words = re.findall(r"\w+", f"{post.title} {post.body}".lower())
    return {tuple(words[at : at + 5]) for at in range(len(words) - 4)}


def people_of(row) -> set[str]:
    replies = (row.chosen, row.rejected, row.draft) if isinstance(row, Pair) else (row.reply, row.draft)
    return {row.post.author, *(one.author for one in replies if one)}


@settings(max_examples=60, deadline=None)
@given(corpora())
def test_train_shares_nothing_with_the_rest(records):
    dataset = built(records)
    rows = sides(dataset)
    train = {row.post.id: row.post for row in rows["train"]}
    known = set().union(*(people_of(row) for row in rows["train"]))
    for split in SPLITS[1:]:
        for row in rows[split]:
            assert row.post.id not in train
            assert not [1 for other in train.values() if jaccard(grams(row.post), grams(other)) >= 0.8]
        for pair in dataset.pairs[split]:
            assert pair.post.author not in known
            if dataset.card["purge"][pair.task]["repliers_purged"]:
                assert not people_of(pair) & known


def jaccard(a: set, b: set) -> float:
    return len(a & b) / len(a | b)


def split_of(dataset) -> dict[str, str]:
    found: dict[str, str] = {}
    for split, some in sides(dataset).items():
        for row in some:
            assert found.setdefault(row.post.id, split) == split
    return found


@settings(max_examples=60, deadline=None)
@given(corpora(), corpora("q", first=20), corpora("o", first=-400))
def test_another_month_moves_no_post(records, newer, older):
    """Nor do posts that are older than all of the first build, which change who is the oldest of its copies."""
    first = built([*records])
    before, cutoff = split_of(first), first.card["cutoff"]
    older = [with_changes(one, created=one.created + 400 * DAY) for one in older]
    second = built([*newer, *records, *older], cutoff)
    after = split_of(second)
    assert {name: after[name] for name in before if name in after} == {n: s for n, s in before.items() if n in after}
    assert second.card["cutoff"] == cutoff
    # Nobody's post that was held out is trained on in another text's place.
    held_out = [row.post for split in SPLITS[1:] for row in sides(first)[split]]
    again = [row.post for row in sides(second)["train"]]
    assert not {post.id for post in held_out} & {post.id for post in again}


def test_corpora_have_what_the_tests_are_about():
    """Copies that leave, people who are purged, later posts: in several of sixty random corpora."""
    seen: Counter = Counter()

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(corpora())
    def look(records):
        card = built(records).card
        seen["copies"] += card["funnel"].get("post_near_duplicate", 0) > 0
        seen["posters"] += card["purge"]["gm"]["poster_in_train"] > 0
        seen["repliers"] += card["purge"]["gm"]["replier_in_train"] > 0 and card["purge"]["gm"]["repliers_purged"]
        seen["held out"] += sum(card["pairs_by_split"][split]["gm"] for split in SPLITS[1:]) > 0
        seen["later"] += card["posts_by_split"]["test_later"] > 0
        seen["train"] += card["pairs_by_split"]["train"]["gm"] > 0

    look()
    assert min(seen[what] for what in ("copies", "posters", "repliers", "held out", "later", "train")) >= 3, seen


def threads_of(month: int, count: int) -> tuple[list, list]:
    """Rows of threads that begin over thirty days."""
    posts, comments = [], []
    for index in range(count):
        name, start = f"m{month}p{index}", corpus.START + (30 * month + index * 30 // count) * DAY
        posts.append(
            corpus.post(name, created_utc=start, selftext=f"A post of enough length, {corpus.distinct(index)}.")
        )
        comments += [
            corpus.comment(f"{name}{side}", name, score, created_utc=start + 60 + place, retrieved_on=start + 9 * DAY)
            for place, (side, score) in enumerate((("a", 1), ("b", 40)))
        ]
    return posts, comments


def test_another_month_through_the_command(tmp_path):
    """The same key and folder: the cut-off is inherited from the card, and no thread changes sides."""
    (tmp_path / "key").write_bytes(b"0123456789abcdef0123456789abcdef")
    argv = ["--source", "reddit_dump", "--key_file", str(tmp_path / "key"), "--out", str(tmp_path / "data")]
    found, cards = [], []
    for month in (1, 0, 2):  # An older one comes late.
        for flag, rows in zip(("submissions", "comments"), threads_of(month, 60), strict=True):
            argv += [f"--{flag}", corpus.write(tmp_path / f"{flag}{month}", rows)]
        build.main(argv)
        cards.append(json.loads((tmp_path / "data" / "card.json").read_text()))
        found.append(shown(tmp_path / "data"))
    assert cards[0]["cutoff"] == cards[1]["cutoff"] == cards[2]["cutoff"] is not None
    for before, after in zip(found, found[1:], strict=False):
        assert len(after) > len(before) + 20
        moved = {name: (split, after[name]) for name, split in before.items() if after.get(name, split) != split}
        assert not moved
    assert cards[2]["posts_by_split"]["test_later"] > 40  # All of the last month that would be in train.


def shown(data) -> dict[str, str]:
    """The split of every thread, as the dataset on disk has it."""
    tfds = storage.quiet_tfds()
    found: dict[str, str] = {}
    for kind in ("pairs", "replies"):
        builder = tfds.builder_from_directory(next((data / "llumi_pairs" / f"reddit_dump_strict_{kind}").iterdir()))
        for split in builder.info.splits:
            for row in tfds.as_numpy(builder.as_dataset(split=split)):
                if row["task"] == b"gm":
                    assert found.setdefault(row["thread_id"].decode(), split) == split
    return found
