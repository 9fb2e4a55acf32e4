import corpus
import msgspec
import pytest

from data_pipelines.records import Post, Reply
from data_pipelines.sources import reddit_fields


def reply(**changes) -> Reply:
    return reddit_fields.reply(msgspec.convert(corpus.comment("c", "p", **changes), reddit_fields.Comment))


def post(**changes) -> Post:
    return reddit_fields.post(msgspec.convert(corpus.post("p", **changes), reddit_fields.Submission))


def test_a_post_and_a_reply():
    assert post(title="A &amp; B", over_18=True) == Post(
        id="p", community="invented", title="A & B", body="A post of enough length, called p.", author="poster_p",
        created=corpus.START, score=5, over_18=True,
    )  # fmt: skip
    assert reply(body=" a &lt;3 b &amp;amp; c\r\nd", score=-4.0) == Reply(
        id="c", post_id="p", text="a <3 b &amp; c\nd", author="replier_c", created=corpus.START + 60, score=-4,
        score_hidden=False, score_age=2 * corpus.DAY - 60, controversiality=0, by_poster=False,
    )  # fmt: skip


@pytest.mark.parametrize("created", [corpus.START, str(corpus.START), float(corpus.START)])
@pytest.mark.parametrize("edited", [False, True, 1700000000, 1700000000.5, None])
def test_types_that_drifted(created, edited):
    found = post(created_utc=created, edited=edited)
    assert (found.created, found.edited) == (corpus.START, bool(edited))


@pytest.mark.parametrize(
    ("seen", "age"),
    [
        ({"retrieved_on": corpus.START + 160}, 100),
        ({"retrieved_on": str(corpus.START + 160)}, 100),
        ({"retrieved_on": None, "retrieved_utc": corpus.START + 260}, 200),
        ({"retrieved_on": corpus.START + 61, "updated_on": corpus.START + 360}, 300),
        ({"retrieved_on": corpus.START + 61, "_meta": {"retrieved_2nd_on": corpus.START + 460}}, 400),
        *[({"retrieved_on": unknown}, None) for unknown in (None, 0, -1, "", "soon")],
    ],
)
def test_score_age_is_that_of_the_last_look(seen, age):
    assert reply(**seen).score_age == age


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        *[({"author": "[deleted]"}, "deleted"), ({"author": None}, "deleted"), ({"body": "[deleted]"}, "deleted")],
        *[({"body": "[removed]"}, "removed"), ({"body": None}, "removed"), ({}, None)],
        *[({"removed_by_category": "moderator"}, "removed"), ({"removed_by_category": "author"}, "deleted")],
        *[({"_meta": {"was_deleted_later": True}}, "restored"), ({"_meta": {"removal_type": "legal"}}, "restored")],
    ],
)
def test_texts_that_were_taken_back(changes, gone):
    assert reply(**changes).gone == gone


def test_who_wrote_it_may_be_unknown():
    assert [reply(is_submitter=flag).by_poster for flag in (True, False, None)] == [True, False, None]


def test_official_notes_and_nested_comments():
    assert reply(stickied=True).official and reply(distinguished="moderator").official
    assert not reply(parent_id="t1_x").top_level and reply(parent_id=None).top_level


def test_controversiality_means_nothing_in_early_years():
    assert reply(created_utc=1_400_000_000, controversiality=0).controversiality is None
    assert reply(controversiality=1).controversiality == 1


@pytest.mark.parametrize("changes", [{"created_utc": "soon"}, {"created_utc": "inf"}, {"score": 1e300}])
def test_numbers_that_are_none(changes):
    with pytest.raises((ValueError, OverflowError)):
        reply(**changes)
    assert reply(score=None).score is None
