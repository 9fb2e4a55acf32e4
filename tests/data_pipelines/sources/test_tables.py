"""One table in three forms, and the files that are none of them."""

import csv
import gzip
import json
import subprocess
import sys
from datetime import UTC, datetime

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_pipelines.funnel import Funnel
from data_pipelines.sources import parquet, tables
from llumi_jax.cli import UserError

CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\",;'"), max_size=20)


def as_csv(path, rows, delimiter=","):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def as_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def as_parquet(path, rows, **kwargs):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, **kwargs)
    return path


def rows_of(path, wanted=("name", "text")):
    return [row for _, row in tables.open_table(path, wanted).rows]


@given(st.lists(st.fixed_dictionaries({"name": CELLS.filter(bool), "text": CELLS}), min_size=1, max_size=5))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_same_rows_from_every_form(tmp_path, rows):
    for path in (
        as_csv(tmp_path / "comma.csv", rows),
        as_csv(tmp_path / "tab", rows, "\t"),
        as_jsonl(tmp_path / "f.jsonl", rows),
        as_parquet(tmp_path / "f.parquet", rows),
    ):
        assert rows_of(path) == rows, path.name


def test_compressed_with_a_byte_order_mark_and_blank_lines(tmp_path):
    (tmp_path / "f.csv").write_bytes(gzip.compress(b"\xef\xbb\xbf\n\nname; text\na; b,c\n\n"))
    table = tables.open_table(tmp_path / "f.csv", ())
    assert table.columns == ["name", "text"]
    assert list(table.rows) == [(4, {"name": "a", "text": " b,c"})]
    (tmp_path / "f.jsonl").write_bytes(b'\xef\xbb\xbf{"name": "a"}\n\n{"name": "b"}\n')
    assert list(tables.open_table(tmp_path / "f.jsonl", ()).rows) == [(1, {"name": "a"}), (3, {"name": "b"})]


def test_rows_that_slipped_and_lines_that_are_no_objects(tmp_path):
    (tmp_path / "f.csv").write_text("name,text\na\na,b\na,b,\na,b,c\n")
    assert rows_of(tmp_path / "f.csv") == [None, {"name": "a", "text": "b"}, {"name": "a", "text": "b"}, None]
    (tmp_path / "f.jsonl").write_text('{"name": NaN}\n{"name": \n[1]\nnull\n{"name": "\\ud800"}\n')
    first, *others = rows_of(tmp_path / "f.jsonl")
    assert first["name"] != first["name"]
    assert others == [None, None, None, {"name": "\ud800"}]


def test_broken_rows_are_counted_and_named(tmp_path):
    rows = [{"name": str(number)} for number in range(300)]
    rows[7] = rows[9] = {"name": "x"}
    for path, word in ((as_jsonl(tmp_path / "f.jsonl", rows), "line"), (as_parquet(tmp_path / "f.pq", rows), "row")):
        funnel = Funnel()
        found = list(tables.converted(tables.open_table(path, ["name"]), lambda row: int(row["name"]), funnel, rows=2))
        assert found == [number for number in range(300) if number not in (7, 9)]
        assert (funnel.input, funnel["broken_line"]) == (600, 4)
        assert funnel.notes == [f"{path.name}: 2 broken lines skipped ({word} 8, 10)"]
        with pytest.raises(UserError, match=rf"300 of 300 lines are broken \(first: {word} 1, 2.*complete\? And why"):
            list(tables.converted(tables.open_table(path, []), lambda row: int("x"), Funnel(), 1, lambda: " And why."))


def test_a_missing_column_is_named_with_the_near_one(tmp_path):
    for path in (as_jsonl(tmp_path / "f", [{"name": 1, "reply_text": ""}]), as_parquet(tmp_path / "g", [{"name": 1}])):
        assert tables.open_table(path, ()).missing("name") is None
    table = tables.open_table(tmp_path / "f", ())
    assert table.missing("reply_txt").endswith(
        "the column 'reply_txt' is missing. Is it 'reply_text' by mistake? The file has: name, reply_text."
    )
    (tmp_path / "twice").write_text("name,name\na,b\n")
    assert "stands there 2 times" in tables.open_table(tmp_path / "twice", ()).missing("name")


def test_a_first_line_that_is_no_header_is_not_printed(tmp_path):
    (tmp_path / "f.csv").write_text('7,"I have not slept, nobody knows",grief\n')
    message = tables.open_table(tmp_path / "f.csv", ()).missing("grieff")
    assert "its first line is no header" in message
    assert not any(word in message for word in ("slept", "'grief'", "7,"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none", None, "no such file"),
        ("empty", b"", "the file is empty"),
        ("blank", b"\n \n", "the file is empty"),
        ("list.json", b'[{"name": 1}]', r"one JSON list. Write one object a line: jq -c '\.\[\]'"),
        ("latin.csv", b"name\n\xe9\n", "line 2 is not UTF-8"),
        ("quotes.csv", b'name\n"a" b\n', "line 2 is not CSV"),
        ("text.parquet", b"name\na\n", "no parquet file or damaged"),
        ("cut", b"PAR1 and no more", "no parquet file or damaged"),
    ],
)
def test_other_kinds_of_bad_files(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        rows_of(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_column_of_parquet_that_is_not_utf8(tmp_path):
    texts = pyarrow.array([b"\xff"]).view(pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table({"name": texts}), tmp_path / "f")
    with pytest.raises(UserError, match="a column of text is not UTF-8"):
        rows_of(tmp_path / "f")


def test_times_of_parquet_need_no_pandas(tmp_path):
    moment = datetime(2024, 3, 1, 12, tzinfo=UTC)
    column = pyarrow.array([moment, None]).cast(pyarrow.timestamp("ns", tz="America/New_York"))
    pyarrow.parquet.write_table(pyarrow.table({"name": column, "other": [1, 2]}), tmp_path / "f")
    assert rows_of(tmp_path / "f") == [{"name": moment.replace(tzinfo=None)}, {"name": None}]


def test_a_large_row_group_is_read_in_small_parts(tmp_path):
    rows = [{"name": f"{number * 7919 % 104729:>2000}", "other": "x" * 500} for number in range(20_000)]
    as_parquet(tmp_path / "f", rows, row_group_size=20_000, use_dictionary=False, compression="none")
    size = (tmp_path / "f").stat().st_size
    read, peak, before = [], 0, pyarrow.total_allocated_bytes()
    for number, _ in enumerate(parquet.rows(tmp_path / "f", ["name"], read.append)):
        peak = max(peak, pyarrow.total_allocated_bytes() - before) if number % 500 == 0 else peak
    assert number == 19_999
    assert sum(read) == size > 40_000_000
    assert 0 < peak < size / 4


def test_without_pyarrow(tmp_path, monkeypatch):
    path = as_parquet(tmp_path / "f", [{"name": "a"}])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match="pip install pyarrow"):
        rows_of(path)


def test_pyarrow_is_loaded_for_parquet_alone(tmp_path):
    path = as_jsonl(tmp_path / "f", [{"name": "a"}])
    code = (
        "import sys; from data_pipelines.sources import tables, table, shp, convokit, reddit_api\n"
        f"list(tables.open_table({str(path)!r}, ()).rows); print('pyarrow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr
