"""What must never be written is found in the finished rows, wherever it stands; and clean rows pass."""

from dataclasses import replace
from itertools import count

import pytest
from msgspec.structs import replace as with_changes

from data_pipelines import checks
from data_pipelines.records import SPLITS, Example, Pair, Post, Reply
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
