"""What is promised of the shipped sample."""

import re
from statistics import mean

import pytest

from data_pipelines.llumi_pairs import sample
from data_pipelines.llumi_pairs.sample import assemble
from data_pipelines.sources.lines import read_lines

THREADS = assemble.written_threads()
REPLIES = [reply for thread in THREADS for reply in thread["replies"]]
GOOD = [reply["text"] for reply in REPLIES if reply["tone"] in ("warm", "practical", "gentle_humour")]
POOR = [reply["text"] for reply in REPLIES if reply["tone"] not in ("warm", "practical", "gentle_humour", "ok")]


@pytest.fixture(scope="module")
def dataset():
    return sample.build()[0]


def test_size():
    assert len(THREADS) >= 120
    assert all(4 <= len(thread["replies"]) <= 7 for thread in THREADS)
    assert len({thread["topic"] for thread in THREADS}) >= 25


def test_dump_files_are_those_of_the_written_threads():
    for path, table in zip((sample.SUBMISSIONS, sample.COMMENTS), assemble.rows(THREADS), strict=True):
        assert list(read_lines(path)) == assemble.lines(table)


def test_enough_pairs_of_either_task(dataset):
    by_split = dataset.card["pairs_by_split"]
    assert by_split["test"]["gm"] >= 65 and by_split["train"]["gm"] >= 150
    assert by_split["test"]["im"] >= 25 and by_split["train"]["im"] >= 50
    assert dataset.card["posts_by_split"]["test"] >= 35
    assert dataset.card["overwritten_share"] >= 0.5


def test_most_replies_survive_near_duplicates_and_templates(dataset):
    funnel = dataset.card["funnel"]
    copies = funnel.get("reply_near_duplicate", 0) + funnel.get("reply_template", 0)
    assert copies <= 0.1 * len(REPLIES)
    assert funnel["kept"] >= 0.9 * len(REPLIES)
    assert not dataset.card["safety"]["dropped"]


def test_lengths_do_not_tell_good_from_poor(dataset):
    assert mean(map(len, GOOD)) == pytest.approx(mean(map(len, POOR)), rel=0.05)
    for split, pairs in dataset.pairs.items():
        gm = [pair for pair in pairs if pair.task == "gm"]
        assert gm or split == "test_later"
        assert not gm or 0.45 <= mean(pair.length_ratio > 1 for pair in gm) <= 0.55, split


def test_good_replies_come_later_in_most_threads_only():
    _, comments = assemble.rows(THREADS)
    created = {assemble.plain(row["body"]): row["created_utc"] for row in comments}
    later = [
        created[good["text"]] > created[poor["text"]]
        for thread in THREADS
        for good in thread["replies"]
        for poor in thread["replies"]
        if good["score"] >= 8 and poor["score"] <= 2
    ]
    assert 0.6 <= mean(later) <= 0.65


def test_every_kind_of_awkward_row_is_there(dataset):
    reasons = (
        "nested orphan deleted removed restored by_poster official bot score_hidden score_young post_dropped".split()
    )
    assert all(dataset.card["funnel"][f"reply_{reason}"] for reason in reasons)
    assert all(dataset.card["funnel"][f"post_{reason}"] for reason in ("deleted", "removed", "link", "short"))


SHARED_EXPERIENCE = re.compile(
    r"\b(same here|me too|been there myself|i know exactly|as someone who|when i lost|happened to me)\b", re.I
)
ORDERS = re.compile(r"\byou (should|must(?! feel)|have to stop)\b", re.I)


def test_well_voted_replies_claim_no_experience_and_give_no_orders():
    high = [reply["text"] for reply in REPLIES if reply["score"] >= 8 and reply["tone"] != "ok"]
    assert not [text for text in high if SHARED_EXPERIENCE.search(text) or ORDERS.search(text)]


HOPELESS = re.compile(r"(not|n't) (always )?(see|persuaded).{0,30}(point|purpose)|do not see it", re.I)
TAKEN_UP = re.compile(
    r"suicid|\b(dying|die|dead|your life|not living|being alive|not to be here)\b"
    r"|\b(doctor|GP|helpline|crisis line|listening line|ring a line)\b|\bnights just now\b|'any of it' line"
)


def test_no_well_voted_reply_steps_over_hopelessness():
    dark = [thread for thread in THREADS if HOPELESS.search(thread["body"])]
    assert len(dark) >= 9
    high = [reply["text"] for thread in dark for reply in thread["replies"] if reply["score"] >= 8]
    assert not [text for text in high if not TAKEN_UP.search(text)]


def test_no_sentence_stands_twice():
    sentences = [s.strip().lower() for text in GOOD + POOR for s in re.split(r"(?<=[.!?])\s+", text) if len(s) > 25]
    assert len(set(sentences)) >= 0.995 * len(sentences)


def test_nothing_had_to_be_masked(dataset):
    assert dataset.card["masked"] == {}
