"""Corpora in the old and the new spelling of the keys, written here."""

import json

import pytest

from data_pipelines.funnel import Funnel
from data_pipelines.records import Post, Reply
from data_pipelines.sources import convokit
from llumi_jax.cli import UserError

START = 1_500_000_000
CONVERSATIONS = {
    "p1": {"title": "A &amp; B", "subreddit": "invented", "domain": "self.invented", "num_comments": 3},
    "p2": {"title": "A link", "subreddit": "invented", "domain": "example.org"},
}


def utterance(name, root="p1", parent=None, **changes) -> dict:
    meta = {"score": 5, "top_level_comment": None, "retrieved_on": START + 100_000, "gilded": 0, "stickied": False}
    meta |= {"permalink": "", "author_flair_text": ""} | changes.pop("meta", {})
    row = {"id": name, "conversation_id": root, "reply_to": parent, "speaker": f"who_{name}", "timestamp": START}
    return row | {"text": f"Text of {name}", "vectors": [], "meta": meta} | changes


def old(row) -> dict:
    names = {"conversation_id": "root", "speaker": "user", "reply_to": "reply-to"}
    return {names.get(key, key): value for key, value in row.items()}


def corpus(folder, utterances, conversations=CONVERSATIONS) -> str:
    folder.mkdir(exist_ok=True)
    lines = (row if isinstance(row, str) else json.dumps(row) for row in utterances)
    (folder / "utterances.jsonl").write_text("".join(line + "\n" for line in lines))
    (folder / "conversations.json").write_text(json.dumps(conversations))
    (folder / "index.json").write_text("{}")
    return str(folder)


def read(*folders):
    funnel = Funnel()
    found = list(convokit.read(folders, funnel))
    assert funnel.table(kept=len(found))["kept"] == len(found)
    return found, funnel


ROWS = [
    utterance("c1", parent="p1", meta={"score": -3, "top_level_comment": "c1"}),
    utterance("p1", text="A body &gt; nothing"),
    utterance("c2", parent="c1", meta={"top_level_comment": "c1"}),
    utterance("p2", root="p2", text=""),
]


@pytest.mark.parametrize("form", [dict, old])
@pytest.mark.parametrize("deeper", [False, True])
def test_posts_and_replies_in_any_order(tmp_path, form, deeper):
    about = {name: {"meta": meta, "vectors": []} if deeper else meta for name, meta in CONVERSATIONS.items()}
    found, funnel = read(corpus(tmp_path / "f", map(form, ROWS), about))
    assert found == [
        Reply("c1", "p1", "Text of c1", "who_c1", START, -3, score_age=100_000, controversiality=None),
        Post("p1", "invented", "A & B", "A body > nothing", "who_p1", START, 5),
        Reply("c2", "p1", "Text of c2", "who_c2", START, 5, score_age=100_000, top_level=False),
        Post("p2", "invented", "A link", "", "who_p2", START, 5, is_text=False),
    ]
    assert (funnel.input, funnel.notes) == (4, [])


def one(tmp_path, *args, **changes):
    return read(corpus(tmp_path / "f", [utterance(*args, **changes), utterance("p1")]))[0][0]


def test_types_that_drifted(tmp_path):
    found = one(tmp_path, "c", parent="t3_p1", timestamp=f"{START}.0", meta={"score": "7", "retrieved_on": "soon"})
    assert (found.created, found.score, found.score_age, found.top_level) == (START, 7, None, True)
    found = one(tmp_path, 12, parent=None, speaker=None, meta={"score": None, "top_level_comment": 12})
    assert (found.id, found.score, found.gone, found.top_level) == ("12", None, "deleted", True)
    assert not one(tmp_path, "c", parent=None).top_level
    assert one(tmp_path, "c", parent="p1", meta={"stickied": True}).official
    assert one(tmp_path, "c", parent="p1", text="[removed]").gone == "removed"
    assert one(tmp_path, "c", parent="p1").by_poster is None


def test_what_is_missing(tmp_path):
    bare = [{"id": "p1", "timestamp": START, "text": "A body"}, {"id": "c", "root": "p1", "timestamp": START}]
    post, reply = read(corpus(tmp_path / "f", bare, {"p1": 7}))[0]
    assert (post.title, post.community, post.score, post.is_text) == ("", "", None, True)
    assert (reply.score, reply.gone) == (None, "removed")


def test_several_corpora_and_broken_lines(tmp_path):
    rows = [utterance(f"c{number}", parent="p1") for number in range(400)]
    rows[3], rows[5], rows[6] = "{", utterance("x", timestamp=None), utterance("x", meta={"score": "many"})
    rows[7] = utterance("x", parent="p1", root=None)
    folders = corpus(tmp_path / "a", rows), corpus(tmp_path / "b", ROWS)
    found, funnel = read(*folders)
    assert (len(found), funnel.input, funnel["broken_line"]) == (400, 404, 4)
    assert funnel.notes == [
        "utterances.jsonl: no utterance has the id of its conversation, so there are no posts",
        "utterances.jsonl: 4 broken lines skipped (line 4, 6, 7, 8)",
    ]
    with pytest.raises(UserError, match="utterances.jsonl: 4 of 40 lines are broken"):
        read(corpus(tmp_path / "a", rows[:40]))


def test_progress_covers_both_files(tmp_path):
    folder, read = corpus(tmp_path / "f", ROWS), []
    list(convokit.read([folder], Funnel(), read.append))
    utterances, conversations = convokit.files(folder)
    assert sum(read) == utterances.stat().st_size + conversations.stat().st_size
    assert list(convokit.read([str(utterances)], Funnel())) == list(convokit.read([folder], Funnel()))


def test_folders_that_are_no_corpus(tmp_path):
    folder = tmp_path / "f"
    corpus(folder, ROWS)
    for path, message in ((folder / "index.json", "is a file, not a folder"), (tmp_path / "g", "does not exist")):
        with pytest.raises(UserError, match=message):
            read(str(path))
    (folder / "conversations.json").write_text('{"p1": {')
    with pytest.raises(UserError, match="no JSON object of conversations, or cut short"):
        read(str(folder))
    (folder / "conversations.json").unlink()
    with pytest.raises(UserError, match="has no conversations.json"):
        read(str(folder))
    (folder / "utterances.jsonl").rename(folder / "utterances.json")
    with pytest.raises(UserError, match=r"is of an old form. Write one utterance a line: jq -c"):
        read(str(folder))
