import csv
import io
import json
from datetime import UTC, datetime

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipelines.funnel import Funnel
from data_pipelines.records import Post, Reply
from data_pipelines.sources import table
from llumi_jax.cli import UserError

MINIMAL = {"post_id": "thread", "post": "question", "reply": "answer", "score": "likes"}
FULL = MINIMAL | {
    "title": "headline", "author": "who", "post_author": "asker", "created": "when", "views": "seen",
    "community": "room", "reply_id": "key",
}  # fmt: skip
ROW = {
    "thread": "7", "question": "A question", "answer": "An answer", "likes": "3", "headline": "A title", "who": "t1",
    "asker": "u1", "when": "2024-03-01 12:00:00", "seen": "150", "room": "grief", "key": "r1", "unused": "x",
}  # fmt: skip
NOON = int(datetime(2024, 3, 1, 12, tzinfo=UTC).timestamp())


def write(path, rows) -> str:
    if path.suffix == ".csv":
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def read(mapping, *paths):
    """Returns the records, and the funnel after a check that it sums exactly: posts are no rows of their own."""
    funnel = Funnel()
    found = list(table.read(paths, mapping, funnel))
    replies = sum(isinstance(record, Reply) for record in found)
    assert funnel.table(kept=replies)["kept"] == replies
    return found, funnel


TYPED = ROW | {"thread": 7, "likes": 3.0, "seen": 150, "when": NOON * 1000}


@pytest.mark.parametrize(
    ("name", "row"),
    [("f.csv", ROW), ("f.jsonl", ROW), ("f.parquet", ROW), ("f.jsonl", TYPED), ("f.parquet", TYPED)]
    + [("f.parquet", TYPED | {"when": datetime(2024, 3, 1, 12)}), ("f.jsonl", TYPED | {"when": f"{NOON}"})],
)
def test_every_field_from_every_form(tmp_path, name, row):
    found, funnel = read(FULL, write(tmp_path / name, [row]))
    reply = Reply("r1", "7", "An answer", "t1", NOON, 3, 150, by_poster=False)
    assert found == [Post("7", "grief", "A title", "A question", "u1"), reply]
    assert funnel.input == 1


def test_the_needed_fields_alone(tmp_path):
    rows = [ROW, ROW | {"answer": "Another"}, ROW, ROW | {"thread": "8", "likes": ""}]
    found, funnel = read(MINIMAL, write(tmp_path / "f.csv", rows))
    assert [type(record) for record in found] == [Post, Reply, Reply, Reply, Post, Reply]
    first, second, third = found[1:4]
    assert first == Reply(first.id, "7", "An answer", score=3) == third
    assert first.id != second.id != found[5].id != first.id
    assert found[0] == Post("7", "", "", "A question")
    assert found[5].score is None
    assert funnel.input == 4


def test_several_files_hold_one_thread(tmp_path):
    found, funnel = read(MINIMAL, write(tmp_path / "a.csv", [ROW]), write(tmp_path / "b.jsonl", [ROW | {"thread": 7}]))
    assert [type(record) for record in found] == [Post, Reply, Reply]
    assert funnel.input == 2


@pytest.mark.parametrize(
    ("author", "poster", "own"), [("a", "a", True), ("a", "b", False), ("", "b", None), ("a", "", None)]
)
def test_own_replies(tmp_path, author, poster, own):
    assert read(FULL, write(tmp_path / "f.csv", [ROW | {"who": author, "asker": poster}]))[0][1].by_poster is own


def test_texts_that_were_taken_back(tmp_path):
    rows = [ROW | {"question": "[deleted]"}, ROW | {"thread": "8", "asker": "[deleted]", "answer": "[removed]"}]
    found, _ = read(FULL, write(tmp_path / "f.csv", rows))
    assert [record.gone for record in found] == ["deleted", None, "deleted", "removed"]
    assert read(FULL, write(tmp_path / "f.csv", [ROW | {"who": "[deleted]"}]))[0][1].gone == "deleted"


@pytest.mark.parametrize(("views", "score", "seen"), [(0, 3, 3), (0, 0, 1), (9, 3, 9), (0, "", 1)])
def test_views_are_never_fewer_than_votes(tmp_path, views, score, seen):
    assert read(FULL, write(tmp_path / "f.csv", [ROW | {"seen": views, "likes": score}]))[0][1].views == seen


def test_replies_without_a_time_or_views_are_counted(tmp_path):
    rows = [ROW, ROW | {"when": ""}, ROW | {"seen": "", "thread": "8"}, ROW | {"when": "", "seen": ""}]
    found, funnel = read(FULL, write(tmp_path / "f.csv", rows))
    assert (funnel.input, funnel["reply_no_time"], funnel["reply_no_views"]) == (4, 2, 1)
    assert [record.id for record in found] == ["7", "r1", "8"]


def test_traits_follow_the_columns():
    has = table.traits(MINIMAL)
    assert (has.self_vote, has.fuzz, has.time, has.views, has.posts_are_rows) == (False,) * 5
    has = table.traits(FULL, self_vote=True, fuzz=True)
    assert (has.name, has.self_vote, has.fuzz, has.time, has.views, has.posts_are_rows) == ("table", *[True] * 4, False)


def test_broken_rows_and_the_column_to_blame(tmp_path):
    rows = [ROW | {"thread": str(number)} for number in range(300)]
    for number, changes in enumerate(({"likes": "4.5"}, {"thread": ""}, {"likes": "many"}), start=5):
        rows[number] = ROW | changes
    path = write(tmp_path / "f.csv", rows)
    _, funnel = read(FULL, path)
    assert (funnel.input, funnel["broken_line"]) == (300, 3)
    assert funnel.notes == ["f.csv: 3 broken lines skipped (line 7, 8, 9)"]
    rows[8] = ROW | {"seen": "-1"}
    message = (
        "4 of 300 lines are broken .* In 2 of them the column 'likes' does not hold a whole number of votes, as score"
    )
    with pytest.raises(UserError, match=message):
        read(FULL, write(tmp_path / "f.csv", rows))


def test_a_missing_column_is_named_with_the_near_one(tmp_path):
    path = write(tmp_path / "f.csv", [ROW])
    with pytest.raises(UserError, match="'answers' is missing. Is it 'answer' by.*Change --columns reply=answers"):
        read(MINIMAL | {"reply": "answers"}, path)
    (tmp_path / "f.csv").write_text("1,I have not slept,Talk to us,2\n")
    with pytest.raises(UserError, match="no header") as error:
        read(MINIMAL, path)
    assert "slept" not in str(error.value)


COLUMNS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)


@given(st.data())
def test_a_mapping_comes_back_from_its_flags(data):
    optional = data.draw(st.lists(st.sampled_from(table.OPTIONAL), unique=True))
    fields = data.draw(st.permutations([*table.NEEDED, *optional]))
    columns = data.draw(st.lists(COLUMNS, unique=True, min_size=len(fields), max_size=len(fields)))
    mapping = dict(zip(fields, columns, strict=True))
    cut = data.draw(st.integers(0, len(fields)))
    items = []
    for group in (fields[:cut], fields[cut:]):
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow([f"{field}={mapping[field]}" for field in group])
        items.append(line.getvalue())
    found = table.parse_mapping(items)
    assert found == mapping
    assert list(found) == [field for field in table.FIELDS if field in mapping]


def test_mappings_as_a_person_writes_them():
    assert table.parse_mapping(["post_id = thread, body=question", "text=answer,score=likes,"]) == MINIMAL
    assert table.parse_mapping(['post_id=q,post=q,reply_id=a,"reply=a, full",score=a=b'])["score"] == "a=b"


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "--columns lacks post_id, post, reply, score: say which column holds it, as in --columns post_id="),
        (["post_id=a,post=b,reply=c"], "--columns lacks score"),
        (["post_id=a,scores=b"], r"unknown field 'scores'. Fields are: post_id, .*Did you mean 'score'\?"),
        (["thread"], "--columns 'thread': write FIELD=COLUMN"),
        (["post_id="], "--columns 'post_id=': write FIELD=COLUMN"),
        (["=thread"], "--columns '=thread': write FIELD=COLUMN"),
        (["post_id=a", "post_id=b"], "post_id is already 'a'. Give each field once"),
        (["reply=a,text=b"], "reply is already 'a'"),
        (["post_id=a,post=b,reply=b,score=c"], "post and reply are both 'b'. Give each its own column"),
    ],
)
def test_mistakes_in_a_mapping(items, message):
    with pytest.raises(UserError, match=message):
        table.parse_mapping(items)


@given(st.lists(st.text(max_size=30), max_size=4))
def test_nothing_but_a_mapping_or_one_line(items):
    try:
        assert set(table.NEEDED) <= set(table.parse_mapping(items)) <= set(table.FIELDS)
    except UserError as error:
        assert str(error).startswith("--columns")
