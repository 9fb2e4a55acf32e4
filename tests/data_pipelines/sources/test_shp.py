import json

import pyarrow
import pyarrow.parquet
import pytest

from data_pipelines.funnel import Funnel
from data_pipelines.records import Post, Reply
from data_pipelines.sources import shp
from llumi_jax.cli import UserError

ROW = {
    "post_id": "p1", "domain": "invented_train", "upvote_ratio": 0.98, "history": "A title. A body &amp; more",
    "c_root_id_A": "a", "c_root_id_B": "b", "created_at_utc_A": 1_700_000_600, "created_at_utc_B": 1_700_000_000,
    "score_A": 40, "score_B": 7, "human_ref_A": "What A wrote", "human_ref_B": "What B wrote", "labels": 1,
    "seconds_difference": 600.0, "score_ratio": 5.71,
}  # fmt: skip


def write(path, rows) -> str:
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def read(*paths):
    """Returns the records, and the funnel after a check that it sums exactly: posts are no rows of their own."""
    funnel = Funnel()
    found = list(shp.read(paths, funnel))
    replies = sum(isinstance(record, Reply) for record in found)
    assert funnel.table(kept=replies)["kept"] == replies
    return found, funnel


@pytest.mark.parametrize("name", ["train.json", "train.parquet"])
def test_a_row_is_a_post_and_two_replies(tmp_path, name):
    found, funnel = read(write(tmp_path / name, [ROW]))
    assert found == [
        Post("p1", "invented", "", "A title. A body & more"),
        Reply("a", "p1", "What A wrote", created=1_700_000_600, score=40),
        Reply("b", "p1", "What B wrote", created=1_700_000_000, score=7),
    ]
    assert funnel.input == 2


def test_a_post_once_and_a_reply_as_often_as_it_stands_there(tmp_path):
    rows = [ROW, ROW | {"c_root_id_B": "c", "human_ref_B": "What C wrote"}]
    other = ROW | {"post_id": "p2", "domain": "elsewhere_validation"}
    found, funnel = read(write(tmp_path / "a.json", rows), write(tmp_path / "b.json", [ROW, other]))
    assert [record.id for record in found] == ["p1", "a", "b", "a", "c", "a", "b", "p2", "a", "b"]
    assert found[7].community == "elsewhere"
    assert funnel.input == 8


@pytest.mark.parametrize("name", ["f.json", "f.parquet"])
def test_types_that_drifted(tmp_path, name):
    texts = {key: str(value) for key, value in ROW.items()} | {"score_B": "", "c_root_id_A": None}
    missing = {key: value for key, value in ROW.items() if key not in ("domain", "c_root_id_A", "c_root_id_B")}
    found, funnel = read(write(tmp_path / name, [texts]))
    assert (found[1].score, found[1].created, found[2].score) == (40, 1_700_000_600, None)
    assert funnel.input == 2
    post, *replies = read(write(tmp_path / name, [missing, missing]))[0]
    assert post.community == ""
    assert [reply.id for reply in replies] == [replies[0].id, replies[1].id] * 2
    assert replies[0].id != replies[1].id and replies[0].id == found[1].id


def test_a_reply_without_a_time_is_counted(tmp_path):
    found, funnel = read(write(tmp_path / "f", [ROW, ROW | {"created_at_utc_A": None}]))
    assert [record.id for record in found] == ["p1", "a", "b", "b"]
    assert (funnel.input, funnel["reply_no_time"]) == (4, 1)


def test_broken_rows_count_for_both_sides(tmp_path):
    rows: list = [ROW | {"post_id": f"p{number}"} for number in range(400)]
    rows[3], rows[4], rows[5], rows[6] = "{", ROW | {"score_A": "many"}, ROW | {"post_id": None}, ROW | {"history": []}
    found, funnel = read(write(tmp_path / "f", rows))
    assert (len(found), funnel.input, funnel["broken_line"]) == (3 * 396, 800, 8)
    assert funnel.notes == ["f: 4 broken lines skipped (line 4, 5, 6, 7)"]
    with pytest.raises(UserError, match="4 of 40 lines are broken"):
        read(write(tmp_path / "f", rows[:40]))


@pytest.mark.parametrize("name", ["f.json", "f.parquet"])
def test_a_missing_column_is_named_with_the_near_one(tmp_path, name):
    row = {key.replace("score_A", "scores_A"): value for key, value in ROW.items()}
    with pytest.raises(UserError, match="column 'score_A' is missing. Is it 'scores_A' by mistake"):
        read(write(tmp_path / name, [row]))


def test_the_half_of_stack_exchange_is_refused(tmp_path):
    with pytest.raises(UserError, match="f holds 'stack_invented', a site of Stack Exchange"):
        read(write(tmp_path / "f", [ROW | {"domain": "stack_invented_train"}]))
