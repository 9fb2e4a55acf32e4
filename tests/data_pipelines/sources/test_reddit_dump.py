import corpus
import pytest

from data_pipelines.funnel import Funnel
from data_pipelines.records import Post, Reply
from data_pipelines.sources import reddit_dump
from llumi_jax.cli import UserError


def read(tmp_path, posts, comments, funnel=None):
    submissions = corpus.write(tmp_path / "RS", posts)
    replies = corpus.write(tmp_path / "RC", comments)
    return list(reddit_dump.read([submissions], [replies], funnel or Funnel()))


def reply(tmp_path, **changes) -> Reply:
    return read(tmp_path, [corpus.post("p")], [corpus.comment("c", "p", **changes)])[-1]


def post(tmp_path, **changes) -> Post:
    return read(tmp_path, [corpus.post("p", **changes)], [])[0]


@pytest.mark.parametrize("created", [corpus.START, str(corpus.START), float(corpus.START)])
@pytest.mark.parametrize("edited", [False, True, 1700000000, 1700000000.5, None])
def test_types_that_drifted(tmp_path, created, edited):
    found = post(tmp_path, created_utc=created, edited=edited)
    assert found.created == corpus.START
    assert found.edited is bool(edited)


@pytest.mark.parametrize(
    ("seen", "age"),
    [
        ({"retrieved_on": corpus.START + 160}, 100),
        ({"retrieved_on": str(corpus.START + 160)}, 100),
        ({"retrieved_on": None, "retrieved_utc": corpus.START + 260}, 200),
        ({"retrieved_on": corpus.START + 61, "updated_on": corpus.START + 360}, 300),
        ({"retrieved_on": corpus.START + 61, "_meta": {"retrieved_2nd_on": corpus.START + 460}}, 400),
        ({"retrieved_on": None}, None),
    ],
)
def test_score_age_is_that_of_the_last_look(tmp_path, seen, age):
    assert reply(tmp_path, **seen).score_age == age


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"author": "[deleted]"}, "deleted"),
        ({"body": "[deleted]"}, "deleted"),
        ({"body": "[removed]"}, "removed"),
        ({"removed_by_category": "moderator"}, "removed"),
        ({"_meta": {"was_deleted_later": True}}, "restored"),
        ({"_meta": {"removal_type": "removed by reddit"}}, "restored"),
        ({"_meta": {"note": "no_2nd_retrieval"}}, None),
        ({}, None),
    ],
)
def test_texts_that_were_taken_back(tmp_path, changes, gone):
    assert reply(tmp_path, **changes).gone == gone


def test_own_replies_with_and_without_the_flag(tmp_path):
    assert reply(tmp_path, is_submitter=True).by_poster
    assert reply(tmp_path, is_submitter=None, author="poster_p").by_poster is None
    assert not reply(tmp_path, is_submitter=None).by_poster


def test_official_notes(tmp_path):
    assert reply(tmp_path, stickied=True).official
    assert reply(tmp_path, distinguished="moderator").official


def test_controversiality_means_nothing_in_early_years(tmp_path):
    assert reply(tmp_path, created_utc=1_400_000_000, controversiality=0).controversiality is None
    assert reply(tmp_path, controversiality=1).controversiality == 1


def test_escapes_are_undone_once(tmp_path):
    assert reply(tmp_path, body="a &lt;3 b &amp;amp; c\r\nd").text == "a <3 b &amp; c\nd"


def test_a_null_score_stays_unknown(tmp_path):
    assert reply(tmp_path, score=None).score is None


def test_nested_comments_are_counted_without_decoding(tmp_path):
    funnel = Funnel()
    compact = '{"id":"n2","parent_id":"t1_c", broken'
    read(tmp_path, [corpus.post("p")], [corpus.comment("n", "p", parent_id="t1_c"), compact], funnel)
    assert (funnel.input, funnel["reply_nested"], funnel["broken_line"]) == (3, 2, 0)


def test_a_quoted_parent_id_in_the_text_is_no_parent(tmp_path):
    funnel = Funnel()
    read(tmp_path, [corpus.post("p")], [corpus.comment("c", "p", body='it said "parent_id": "t1_x" there')], funnel)
    assert funnel["reply_nested"] == 0


def test_few_broken_lines_are_counted_and_named(tmp_path):
    funnel = Funnel()
    comments = [corpus.comment(f"c{i}", "p") for i in range(300)]
    comments[7] = '{"id": "x", "created_utc": '
    comments[9] = '{"id": "x", "created_utc": "soon"}'
    found = read(tmp_path, [corpus.post("p")], comments, funnel)
    assert len(found) == 299
    assert funnel["broken_line"] == 2
    assert funnel.notes == ["RC: 2 broken lines skipped (line 8, 10)"]


def test_many_broken_lines_stop_the_build(tmp_path):
    comments = [corpus.comment(f"c{i}", "p") for i in range(300)]
    comments[:4] = ["{", "[1]", "null", "nonsense"]
    with pytest.raises(UserError, match=r"RC: 4 of 300 lines are broken \(first: line 1, 2, 3, 4\), more than 1%"):
        read(tmp_path, [corpus.post("p")], comments)


def test_blank_lines_are_no_rows(tmp_path):
    funnel = Funnel()
    read(tmp_path, [corpus.post("p"), "", "  "], [], funnel)
    assert funnel.input == 1
