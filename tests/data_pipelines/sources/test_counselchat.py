import csv

import pytest

from data_pipelines.funnel import Funnel
from data_pipelines.records import Post, Reply
from data_pipelines.sources import counselchat
from llumi_jax.cli import UserError

ROW = {
    "question_id": "7", "title": "A title", "question": "A question,\nof two lines", "topic": "grief",
    "answerer": "t1", "answer": 'An "answer"', "upvotes": "2", "views": "150",
}  # fmt: skip


def write(path, rows, columns=counselchat.COLUMNS, encoding="utf-8"):
    with open(path, "w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def test_a_question_once_and_each_answer(tmp_path):
    funnel = Funnel()
    path = write(tmp_path / "file.csv", [ROW, ROW | {"answer": "Another", "upvotes": "0"}, ROW | {"question_id": "8"}])
    found = list(counselchat.read(path, funnel))
    assert [type(record) for record in found] == [Post, Reply, Reply, Post, Reply]
    assert found[0] == Post("7", "grief", "A title", "A question,\nof two lines")
    assert (found[1].text, found[1].score, found[1].views, found[1].author) == ('An "answer"', 2, 150, "t1")
    assert funnel.input == 3


def test_a_byte_order_mark_and_columns_in_any_order(tmp_path):
    path = write(tmp_path / "f.csv", [ROW | {"extra": "x"}], (*reversed(counselchat.COLUMNS), "extra"), "utf-8-sig")
    assert list(counselchat.read(path, Funnel()))[1].score == 2


def test_views_are_never_fewer_than_upvotes(tmp_path):
    path = write(tmp_path / "f.csv", [ROW | {"views": "0"}])
    assert list(counselchat.read(path, Funnel()))[1].views == 2


def test_a_missing_column_is_named_with_the_near_one(tmp_path):
    columns = [name.replace("upvotes", "up_votes") for name in counselchat.COLUMNS]
    path = write(tmp_path / "f.csv", [], columns)
    with pytest.raises(UserError, match="column 'upvotes' is missing. Is it 'up_votes' by mistake"):
        list(counselchat.read(path, Funnel()))


def test_other_kinds_of_bad_files(tmp_path):
    (tmp_path / "empty").write_text("")
    (tmp_path / "latin").write_bytes(b"question_id,title\n1,\xe9t\xe9\n")
    for name, message in (("empty", "is empty"), ("latin", "'question'|not UTF-8"), ("none", "no such file")):
        with pytest.raises(UserError, match=message):
            list(counselchat.read(str(tmp_path / name), Funnel()))


def test_broken_rows(tmp_path):
    rows = [ROW | {"question_id": str(i)} for i in range(250)]
    rows[3] = ROW | {"upvotes": "many"}
    funnel = Funnel()
    list(counselchat.read(write(tmp_path / "f.csv", rows), funnel))
    assert (funnel.input, funnel["broken_line"], len(funnel.notes)) == (250, 1, 1)
    rows[4:9] = [ROW | {"views": "-1"}] * 5
    with pytest.raises(UserError, match="6 of 250 lines are broken"):
        list(counselchat.read(write(tmp_path / "f.csv", rows), Funnel()))


def test_a_first_line_that_is_no_header_is_not_printed(tmp_path):
    (tmp_path / "f.csv").write_text('7,A title,"I have not slept, nobody knows",grief,t1,Talk to us,2,150\n')
    with pytest.raises(UserError, match="its first line is no header") as caught:
        list(counselchat.read(str(tmp_path / "f.csv"), Funnel()))
    assert not any(word in str(caught.value) for word in ("slept", "A title", "grief", "Talk"))
