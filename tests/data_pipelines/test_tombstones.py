"""Who asks to be forgotten is forgotten: in pairs, replies to imitate and drafts, on every rebuild, in every dump."""

import json
from dataclasses import replace
from pathlib import Path

import corpus
import pytest
from corpus import comment, distinct, post

from data_pipelines import build, export, pairing, pipeline, storage
from data_pipelines.funnel import Funnel
from data_pipelines.identity import Hasher
from data_pipelines.ingest import Tombstones
from data_pipelines.pipeline import Dataset, Plan
from data_pipelines.sources import reddit_dump

KEY = b"0123456789abcdef0123456789abcdef"
HASHER = Hasher(KEY)
COUNT = 40


def spelt(number: int) -> str:
    """A word of its own for every number, in letters alone, each as long as the others."""
    return "".join("bcdfghjklm"[int(digit)] for digit in f"{number:07}")


def words(thread: int, side: str) -> str:
    """A reply. All but the second of a thread share words with its first, so that they may pass for its revision."""
    shared = [spelt(1000 * thread + place) for place in range(4)] if side != "b" else []
    own = [spelt(1_000_000 + 100 * (4 * thread + "abcd".index(side)) + place) for place in range(14 - len(shared))]
    return f"You say {' and '.join([*shared, *own])}, MARK{side}{thread}x."


def rows(folder: Path, again: bool = True) -> list[list[str]]:
    """Threads of a poor reply (a draft), a middling one and good ones; with `again`, some rows in another dump too."""
    posts, comments = [], []
    for i in range(COUNT):
        posts.append(post(f"p{i}", selftext=f"A post of enough length, {distinct(i)}, MARKpost{i}x"))
        for side, score, later in (("a", 1, 60), ("b", 9, 90), ("c", 40, 120), ("d", 55, 150)):
            name = f"{side}{i}"
            comments.append(comment(name, f"p{i}", score, body=words(i, side), created_utc=corpus.START + later))
    paths = [[corpus.write(folder / "RS1", posts)], [corpus.write(folder / "RC1", comments)]]
    if again:
        # Two years later everybody has another name.
        for some, name, group in zip(paths, ("RS2", "RC2"), (posts, comments), strict=True):
            later = corpus.START + 700 * corpus.DAY
            renamed = [row | {"author": f"now_{row['id']}", "retrieved_on": later} for row in group]
            some.append(corpus.write(folder / name, renamed))
    return paths


def make(paths: list[list[str]], *lines: str) -> Dataset:
    funnel = Funnel()
    traits = replace(reddit_dump.TRAITS, later=0.0)
    plan = Plan(traits, pairing.rule_for("strict", traits), HASHER, tombstones=Tombstones.of(lines))
    return pipeline.build_plan(reddit_dump.read(*paths, funnel), plan, funnel)


def texts(dataset: Dataset) -> dict[str, str]:
    """Every text of a dataset, by where it stands."""
    found: dict[str, str] = {}
    for pair in (pair for some in dataset.pairs.values() for pair in some):
        drafts = [pair.draft] if pair.draft else []
        for place, reply in (("chosen", pair.chosen), ("rejected", pair.rejected), *(("draft", one) for one in drafts)):
            found[place] = found.get(place, "") + reply.text
        found["post"] = found.get("post", "") + pair.post.body
    for row in (row for some in dataset.replies.values() for row in some):
        found["reply"] = found.get("reply", "") + row.reply.text
        found["reply draft"] = found.get("reply draft", "") + (row.draft.text if row.draft else "")
        found["reply post"] = found.get("reply post", "") + row.post.body
    return found


def places(dataset: Dataset, mark: str) -> set[str]:
    return {place for place, text in texts(dataset).items() if f"MARK{mark}x" in text}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return rows(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def whole(paths):
    return make(paths)


@pytest.fixture(scope="module")
def one(whole):
    """The number of a thread whose poor reply is a draft, of a pair and of a reply to imitate."""
    numbers = (i for i in range(COUNT) if {"draft", "reply draft", "rejected"} <= places(whole, f"a{i}"))
    return next(i for i in numbers if {"chosen", "reply"} <= places(whole, f"d{i}"))


@pytest.mark.parametrize("side", "ad")
@pytest.mark.parametrize(
    "form", ["u/{author}", "{author}", "/u/{AUTHOR}", "t1_{id}", "{id}", "{author_hash}", "{id_hash}"]
)
def test_a_person_or_a_reply_is_gone_from_everywhere(paths, whole, one, side, form):
    name = f"{side}{one}"
    author = f"replier_{name}"
    line = form.format(
        author=author,
        AUTHOR=author.upper(),
        id=name,
        author_hash=HASHER.id("author", author),
        id_hash=HASHER.id("reply", name),
    )
    dataset = make(paths, line)
    assert places(dataset, name) == set()
    assert places(dataset, f"post{one}") and places(dataset, f"b{one}")  # The others stay.
    # One row goes by name or id. Its copy, which bears another name, goes since the first was taken back.
    funnel = dataset.card["funnel"]
    by_id = "author" not in form.lower()
    assert (funnel["reply_tombstone"], funnel.get("reply_taken_back", 0)) == ((2, 0) if by_id else (1, 1))
    assert sum(funnel.values()) == dataset.card["input"] == whole.card["input"]


@pytest.mark.parametrize(
    "form", ["u/{author}", "t3_{id}", "{id}", "{id_hash}", "{thread}", "https://reddit.com/comments/{id}/x/"]
)
def test_a_post_takes_its_thread_along(paths, one, form):
    name = f"p{one}"
    line = form.format(
        author=f"poster_{name}", id=name, id_hash=HASHER.id("post", name), thread=HASHER.id("thread", name, "")
    )
    dataset = make(paths, line)
    for mark in (f"post{one}", *(f"{side}{one}" for side in "abcd")):
        assert places(dataset, mark) == set()
    rest = {pair.post.id for some in dataset.pairs.values() for pair in some}
    assert name not in rest and len(rest) > COUNT / 2
    # Of the post one row goes and one is taken back, or both go; so do its eight replies.
    funnel = dataset.card["funnel"]
    assert funnel["post_tombstone"] + funnel.get("post_taken_back", 0) == 2
    assert funnel.get("reply_tombstone", 0) + funnel.get("reply_post_dropped", 0) == 8


def test_somebody_who_wrote_much_is_gone_as_a_whole(tmp_path):
    paths = rows(tmp_path, again=False)
    comments = [json.loads(line) for line in Path(paths[1][0]).read_text().splitlines()]
    for row in comments:
        if row["id"] in ("a1", "b2", "c3", "d4", "d5"):
            row["author"] = "Quiet_Fox"
    posts = [json.loads(line) for line in Path(paths[0][0]).read_text().splitlines()]
    posts[6]["author"] = "Quiet_Fox"
    paths = [[corpus.write(tmp_path / "RS", posts)], [corpus.write(tmp_path / "RC", comments)]]
    dataset = make(paths, "quiet_fox")
    for mark in ("a1", "b2", "c3", "d4", "d5", "post6", "a6", "b6", "c6", "d6"):
        assert places(dataset, mark) == set()
    assert dataset.card["funnel"]["reply_tombstone"] == 5
    assert dataset.card["funnel"]["post_tombstone"] == 1
    assert dataset.card["funnel"]["reply_post_dropped"] == 4


def test_nobody_else_moves(paths, whole, one):
    """Without one person the others stay in their splits, under their ids."""
    dataset = make(paths, f"u/replier_d{one}")
    splits = [
        {HASHER.id("post", pair.post.id): split for split, pairs in some.pairs.items() for pair in pairs}
        for some in (whole, dataset)
    ]
    assert len(splits[1]) > COUNT / 2
    assert splits[1].items() <= (splits[0] | splits[1]).items()
    assert all(splits[0][name] == split for name, split in splits[1].items() if name in splits[0])


def naming(tmp_path: Path, named_in: str) -> list[list[str]]:
    """Threads in one of which a reply names the person who wrote the second one, Quiet_Fox."""
    paths = rows(tmp_path, again=False)
    comments = [json.loads(line) for line in Path(paths[1][0]).read_text().splitlines()]
    for row in comments:
        row["body"] += " Quiet_Fox said so." if row["id"] == named_in else ""
        row["author"] = "Quiet_Fox" if row["id"] == "b7" else row["author"]
    return [paths[0], [corpus.write(tmp_path / "RC", comments)]]


def test_a_person_whose_name_others_write_is_masked_there(tmp_path):
    dataset = make(naming(tmp_path, named_in="a7"))
    assert places(dataset, "a7") and "[USER] said so." in str(texts(dataset)) and "Quiet_Fox" not in str(texts(dataset))


def test_the_name_of_a_forgotten_person_does_not_stay_in_what_others_wrote(tmp_path):
    dataset = make(naming(tmp_path, named_in="a7"), "u/quiet_fox")
    assert places(dataset, "a7") and "Quiet_Fox" not in str(texts(dataset))


def test_a_reply_that_names_somebody_is_not_chosen_and_does_not_stop_the_build(tmp_path):
    dataset = make(naming(tmp_path, named_in="d7"))
    assert places(dataset, "d7") <= {"rejected", "draft", "reply draft"}


# Through the command, down to the bytes.


def command(paths: list[list[str]], out: Path, *lines: str) -> dict:
    argv = ["--source", "reddit_dump"]
    for flag, some in zip(("--submissions", "--comments"), paths, strict=True):
        argv += [word for path in some for word in (flag, path)]
    if lines:
        (out.parent / "forget").write_text("\n".join(lines), encoding="utf-8")
        argv += ["--tombstones", str(out.parent / "forget")]
    (out.parent / "key").write_bytes(KEY)
    build.main([*argv, "--key_file", str(out.parent / "key"), "--out", str(out)])
    return json.loads((out / "card.json").read_text())


def content(data: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file())


def test_a_rebuild_forgets(tmp_path, paths, one):
    """By the hash that the dataset shows of one reply, the name of another's author, and the id of a post."""
    data = tmp_path / "data"
    command(paths, data)
    before = content(data)
    other, post_name = ((one + step) % COUNT for step in (1, 2))
    gone = [f"d{one}", f"c{other}", *(f"{side}{post_name}" for side in "abcd"), f"post{post_name}"]
    assert all(f"MARK{name}x".encode() in before for name in (f"d{one}", f"post{post_name}"))
    tfds = storage.quiet_tfds()
    builder = tfds.builder_from_directory(next((data / "llumi_pairs" / "reddit_dump_strict_replies").iterdir()))
    shown = [row for split in builder.info.splits for row in tfds.as_numpy(builder.as_dataset(split=split))]
    ours = {
        row["reply_id"].decode() for row in shown if f"MARKd{one}x".encode() in row["reply"] and row["task"] == b"gm"
    }
    assert ours == {HASHER.id("reply", f"p{one}", "", f"d{one}")}
    card = command(paths, data, *ours, f"u/replier_c{other}", f"t3_p{post_name}")
    after = content(data)
    assert not [name for name in gone if f"MARK{name}x".encode() in after]
    assert f"MARKd{other}x".encode() in after
    assert card["funnel"]["reply_tombstone"] >= 3
    # Who is named there is named nowhere.
    assert f"replier_c{other}".encode() not in after and not [name for name in ours if name.encode() in after]
    assert not list(data.glob(".*"))


def test_the_hash_of_a_thread_is_that_of_the_dataset():
    from data_pipelines.records import Post

    assert export.thread_id(Post("p", "", "", ""), None, HASHER) == HASHER.id("thread", "p", "")
