"""Pages as the API answers them, written here; counts by hand, and by a walk that knows nothing of the reader."""

import json

import corpus
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_pipelines.funnel import Funnel
from data_pipelines.records import Post
from data_pipelines.sources import reddit_api
from llumi_jax.cli import UserError


def listing(*children, **more) -> dict:
    return {"kind": "Listing", "data": {"after": None, "children": list(children), "dist": len(children)}} | more


def t3(name, **changes) -> dict:
    fields = {"name": f"t3_{name}", "retrieved_on": None, "num_comments": 3, "media": {"kind": "t1"}}
    return {"kind": "t3", "data": corpus.post(name) | fields | changes}


def t1(name, post="p", parent=None, replies="", **changes) -> dict:
    parent_id = f"t1_{parent}" if parent else f"t3_{post}"
    fields = {"name": f"t1_{name}", "retrieved_on": None, "parent_id": parent_id, "replies": replies, "depth": 0}
    return {"kind": "t1", "data": corpus.comment(name, post) | fields | changes}


def more(count, parent="t3_p", children=()) -> dict:
    return {"kind": "more", "data": {"count": count, "id": "_", "parent_id": parent, "children": list(children)}}


def page(name="p") -> list:
    """One post, two replies to it, three below those, and stubs for 7 + 2 others."""
    below = listing(t1(f"c{name}", name, f"a{name}"), t1(f"d{name}", name, f"a{name}"), more(2, f"t1_a{name}"))
    deep = listing(t1(f"e{name}", name, f"b{name}"))
    replies = (t1(f"a{name}", name, replies=below), t1(f"b{name}", name, replies=deep), more(7, f"t3_{name}"))
    return [listing(t3(name)), listing(*replies)]


def write(path, *documents, indent=None) -> str:
    lines = (item if isinstance(item, str) else json.dumps(item, indent=indent) for item in documents)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return str(path)


def read(*paths, **kwargs):
    """Returns the records, and the funnel after a check that it sums exactly."""
    funnel = Funnel()
    found = list(reddit_api.read(paths, funnel, **kwargs))
    assert funnel.table(kept=len(found))["kept"] == len(found)
    return found, funnel


@pytest.mark.parametrize("indent", [None, 1])
def test_a_thread_page_in_one_line_or_over_many(tmp_path, indent):
    found, funnel = read(write(tmp_path / "page.json", page(), indent=indent))
    assert [record.id for record in found] == ["p", "ap", "cp", "dp", "bp", "ep"]
    assert isinstance(found[0], Post) and found[0].created == corpus.START
    assert [(reply.top_level, reply.post_id) for reply in found[1:]] == [
        *[(True, "p"), (False, "p"), (False, "p")],
        *[(True, "p"), (False, "p")],
    ]
    assert (funnel.input, funnel["broken_line"]) == (6, 0)
    assert funnel.notes == [
        "'more' stubs stand for 9 comments that are not in the files, 7 of them in stubs directly below a post: fetch "
        "those too, or later replies are missing"
    ]


def test_a_document_a_line_and_several_files(tmp_path):
    first = write(tmp_path / "a", page("p"), "", page("q"))
    second = write(tmp_path / "b", listing(t3("r"), t3("s")), t1("x", "r"), {"json": {"data": {"things": [t1("y")]}}})
    found, funnel = read(first, second)
    assert funnel.input == len(found) == 6 + 6 + 4
    assert funnel.notes[0].startswith("'more' stubs stand for 18 comments")


def test_objects_of_praw_bear_their_fields_themselves(tmp_path):
    post = corpus.post("p") | {"name": "t3_p", "comments": ["unread"]}
    reply = t1("c")["data"] | {"replies": [t1("d", parent="c")["data"]], "_fetched": True}
    found, funnel = read(write(tmp_path / "f", post, corpus.post("q"), [reply], corpus.comment("e", "p")))
    assert [record.id for record in found] == ["p", "q", "c", "d", "e"]
    assert funnel.input == 5


def test_types_that_drifted(tmp_path):
    found, _ = read(
        write(
            tmp_path / "f",
            t3("p", created_utc=str(corpus.START), score="17", over_18="true", edited=1700000000.0, selftext=""),
            t1("c", score="-2", created_utc=float(corpus.START), score_hidden=None, author="None", is_submitter=None),
            t1("d", score=None, author=None, controversiality="1", edited="false"),
            {"kind": "t1", "data": {"id": "e", "created_utc": corpus.START}},
        )
    )
    assert (found[0].score, found[0].over_18, found[0].edited, found[0].is_text) == (17, True, True, True)
    assert (found[1].score, found[1].author, found[1].by_poster, found[1].gone) == (-2, "None", None, None)
    assert (found[2].score, found[2].gone, found[2].controversiality) == (None, "deleted", 1)
    assert (found[3].post_id, found[3].score, found[3].gone) == ("", None, "removed")


def ages(path, **kwargs):
    found, _ = read(path, **kwargs)
    return [record.score_age for record in found if not isinstance(record, Post)]


def test_the_age_of_scores_is_known_where_a_retrieval_time_is(tmp_path):
    day, later = corpus.START + 60 + corpus.DAY, corpus.START + 60 + 2 * corpus.DAY
    own = t1("own", retrieved_on=corpus.START + 61)
    plain = write(tmp_path / "plain", listing(t1("c"), own))
    assert ages(plain) == [None, 1]
    assert ages(plain, retrieved_utc=day) == [corpus.DAY, 1]
    inside = write(tmp_path / "inside", listing(t1("c"), own, retrieved_utc=day), t1("d"))
    assert ages(inside) == [corpus.DAY, 1, None]
    wrapped = write(tmp_path / "wrapped", {"retrieved_utc": str(day), "page": page()}, t1("d"))
    assert ages(wrapped, retrieved_utc=later) == [corpus.DAY] * 5 + [2 * corpus.DAY]
    header = write(tmp_path / "header", {"retrieved_utc": day}, t1("c"), own, {"retrieved_utc": later}, t1("d"))
    assert ages(header) == [corpus.DAY, 1, 2 * corpus.DAY]
    assert ages(write(tmp_path / "odd", {"retrieved_utc": {}}, t1("c"), t1("d"))) == [None, None]


def test_few_broken_rows_are_counted_and_named(tmp_path):
    lines = [t1(f"c{number}") for number in range(298)]
    lines[3] = listing(t1("x"), {"kind": "t1", "data": None}, t1("y", created_utc="soon"))
    path = write(tmp_path / "f", *lines)
    found, funnel = read(path)
    assert (len(found), funnel.input, funnel["broken_line"]) == (298, 300, 2)
    assert funnel.notes == ["f: 2 broken lines skipped (line 4, 4)"]
    many = write(tmp_path / "f", *lines, "{", '{"error": 404}', "null", "[]", "[" * 5000 + "]" * 5000, '"text"')
    with pytest.raises(UserError, match=r"8 of 306 lines are broken \(first: line 4, 4, 299, 300, 301, …\)"):
        read(many)


def test_a_broken_row_of_a_document_over_many_lines(tmp_path):
    children = [t1(f"c{number}") for number in range(150)]
    children[1] = t1("x", id=None)
    _, funnel = read(write(tmp_path / "f", listing(*children), indent=2))
    assert (funnel["broken_line"], funnel.notes) == (1, ["f: 1 broken lines skipped (row 2)"])
    (tmp_path / "f").write_text(json.dumps(page(), indent=2)[:-5])
    with pytest.raises(UserError, match="no complete JSON document, nor one document a line"):
        read(str(tmp_path / "f"))


def test_a_document_too_large_for_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(reddit_api, "MAX_DOCUMENT_BYTES", 1000)
    with pytest.raises(UserError, match="one JSON document of more than .* Write one page a line"):
        read(write(tmp_path / "f", page(), indent=2))


def test_nothing_to_read(tmp_path):
    (tmp_path / "empty").write_text("\n")
    assert read(str(tmp_path / "empty"))[1].input == 0
    assert read(write(tmp_path / "f", listing(), {"kind": "t5", "data": {"title": "x"}}))[1].input == 0
    with pytest.raises(UserError, match="no such file"):
        read(str(tmp_path / "none"))


NAMES = st.integers(0, 50).map("n{}".format)
STUBS = st.integers(0, 9).map(more)
COMMENTS = st.recursive(
    st.builds(t1, NAMES), lambda inner: st.builds(t1, NAMES, replies=st.lists(inner | STUBS).map(lambda c: listing(*c)))
)


def by_walking(node) -> tuple[int, int]:
    """Comments in a tree, and comments that its stubs stand for."""
    if node["kind"] == "more":
        return 0, node["data"]["count"]
    replies = node["data"]["replies"]
    inside = [by_walking(child) for child in replies["data"]["children"]] if replies else []
    return 1 + sum(rows for rows, _ in inside), sum(stubs for _, stubs in inside)


@given(st.lists(COMMENTS, max_size=4))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_comment_at_every_depth_is_a_row(tmp_path, comments):
    found, funnel = read(write(tmp_path / "f", [listing(t3("p")), listing(*comments)]))
    rows, stubs = (sum(column) for column in zip((0, 0), *map(by_walking, comments), strict=False))
    assert funnel.input == len(found) == 1 + rows
    assert (f"stand for {stubs:,} comments" in "".join(funnel.notes)) == bool(stubs)
