"""Malformed input of every source: each row is counted once, and nothing crashes or hangs."""

import csv
import itertools
import json
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import fuzz_lines
from data_pipelines import pairing, pipeline, scale, sources, spool
from data_pipelines.funnel import Funnel
from data_pipelines.identity import Hasher
from data_pipelines.pipeline import Plan
from data_pipelines.records import Post
from data_pipelines.sources import Settings, broken, convokit, counselchat, lines
from data_pipelines.sources.broken import BrokenLines
from llumi_jax.cli import UserError

LINES = 2000
TEXT = "It has rained since you wrote, and the gate stands open; tell me more of it whenever you like to. "
NOON = 1_700_000_000


@pytest.mark.parametrize("kind", fuzz_lines.KINDS)
def test_lines_of_a_dump(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(fuzz_lines, "LINES_PER_FILE", LINES // 8)  # Two files of posts, six of comments.
    start = time.monotonic()
    report = fuzz_lines.run(LINES, seed=3, folder=tmp_path, kinds=[kind])
    assert report.crashes == {}
    assert report.lines == LINES == report.kinds[kind]
    assert report.rows == report.kept + sum(report.reasons.values())
    assert report.rows == LINES or kind in ("cut off", "other")  # Blank ones are no rows.
    assert time.monotonic() - start < 30


def test_sound_lines_are_kept(tmp_path, monkeypatch):
    """The rows that are mutated are good ones: what becomes of the others has to do with the mutation."""
    monkeypatch.setattr(fuzz_lines, "LINES_PER_FILE", LINES // 8)
    report = fuzz_lines.run(LINES, seed=3, folder=tmp_path, kinds=["sound"])
    assert (report.kept, report.reasons) == (LINES, {})


def plan_for(source: str, given: Settings) -> Plan:
    traits = sources.traits(source, given)
    return Plan(traits, pairing.rule_for("strict", traits), Hasher(b"a key"))


def test_a_whole_build_of_lines_of_every_kind(tmp_path, monkeypatch):
    """Through files and steps to a card that sums to the input, however many lines are broken."""
    monkeypatch.setattr(broken, "MAX_SHARE", 1.0)
    chance, counted = random.Random(5), {}
    files = []
    for kind, count in (("submissions", 2000), ("comments", 6000)):
        made = list(fuzz_lines._lines(kind, count, chance, fuzz_lines.KINDS, Counter()))
        (tmp_path / kind).write_bytes(b"\n".join(made))
        files.append((kind, str(tmp_path / kind)))
        counted[kind] = sum(bool(line.strip()) for line in made)
    monkeypatch.setattr(lines, "CHUNK_BYTES", 50_000)
    monkeypatch.setattr(scale, "BYTES_PER_PARTITION", 1 << 20)
    plan = plan_for("reddit_dump", Settings())
    card = scale.build(sources.parts("reddit_dump", files, 1), plan, tmp_path / "un", 1).card
    assert card["input"] == sum(card["funnel"].values()) == sum(counted.values())
    assert card["funnel"]["broken_line"] > 2000


# The other sources: any JSON in the place of any field.

HUGE = [
    10**18,
    2**31,
    2**53,
    2**53 + 1,
    2**63,
    2**64,
    10**30,
    -(10**30),
    10**400,
    1e308,
    -1e308,
    float("inf"),
    float("nan"),
]
ODD = [
    "",
    " ",
    "x",
    "12",
    "1e400",
    "-1",
    "nan",
    "9" * 5000,
    "[deleted]",
    "[removed]",
    "t3_p1",
    "t1_x",
    "2024-01-01",
    TEXT,
]
ODD += ["\0", "\ud800", "\u0661", "\ufeff", "\u2028", "&#55296;", "p1", "c1", "1_0", "0x10"]
LEAF = st.none() | st.booleans() | st.integers(-5, 2**32) | st.floats() | st.sampled_from(HUGE) | st.sampled_from(ODD)
KEYS = st.sampled_from("kind data children replies meta body title id name retrieved_utc count parent_id x".split())
VALUE = st.recursive(
    LEAF | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=5,
)


def like(row: dict, value=VALUE, changes: int = 4):
    """The row with some of its fields replaced."""
    return st.dictionaries(st.sampled_from(list(row)), value, max_size=changes).map(lambda changed: row | changed)


def jsonl(path: Path, rows) -> Path:
    path.write_bytes(b"\n".join(json.dumps(row).encode("utf-8", "surrogatepass") for row in rows))
    return path


def survives(source: str, path: Path, given: Settings) -> None:
    """Reads a file, spools it and builds from it; only a mistake that is told in one line may stop that."""
    plan = plan_for(source, given)
    traits, funnel = plan.traits, Funnel()
    try:
        blocks = [block for part in sources.parts(source, [("", str(path))], 1, given) for block in read(part, funnel)]
    except UserError as error:
        assert "\n" not in str(error) and TEXT not in str(error)
        return
    records = list(itertools.chain.from_iterable(blocks))
    posts = sum(isinstance(record, Post) for record in records)
    rows = len(records) - (0 if traits.posts_are_rows else posts)
    assert rows + sum(funnel._dropped.values()) == funnel.input
    for record in records:
        spool.frame(record)
    card = pipeline.build_plan(records, plan, funnel).card
    assert sum(card["funnel"].values()) == card["input"]
    json.dumps(card)


def read(part, funnel: Funnel) -> list[list]:
    return [list(block) for block in part.read(funnel, BrokenLines(part.path), lambda read: None)]


@pytest.fixture(autouse=True)
def any_share(monkeypatch):
    monkeypatch.setattr(broken, "MAX_SHARE", 1.0)


FUZZ = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)

COMMENT = {
    "id": "c1", "created_utc": NOON, "author": "a", "score": 5, "body": TEXT, "link_id": "t3_p1", "parent_id": "t3_p1",
    "name": "t1_c1", "replies": "", "controversiality": 0, "edited": False, "stickied": False, "is_submitter": None,
}  # fmt: skip
SUBMISSION = {
    "id": "p1", "created_utc": NOON, "author": "b", "score": 5, "selftext": TEXT, "title": "t", "is_self": True,
    "name": "t3_p1", "over_18": False, "retrieved_utc": NOON + 10**6,
}  # fmt: skip
THING = st.one_of(
    like({"kind": "t1", "data": COMMENT}, like(COMMENT) | VALUE, 1),
    like({"kind": "t3", "data": SUBMISSION}, like(SUBMISSION) | VALUE, 1),
    like(COMMENT),
    like(SUBMISSION),
    like({"kind": "more", "data": {"count": 3, "children": ["x"], "parent_id": "t3_p1"}}),
    VALUE,
)
LISTING = st.lists(THING, max_size=3).map(lambda things: {"kind": "Listing", "data": {"children": things}})


@FUZZ
@given(st.lists(st.lists(THING | LISTING, max_size=3) | THING | LISTING, min_size=1, max_size=5))
def test_pages_of_the_api(tmp_path, documents):
    survives("reddit_api", jsonl(tmp_path / "api.jsonl", documents), Settings())


SHP = {
    "post_id": "p1", "history": TEXT, "human_ref_A": TEXT, "human_ref_B": f"{TEXT} Yes.", "score_A": 5, "score_B": 50,
    "created_at_utc_A": NOON, "created_at_utc_B": NOON + 5, "domain": "x_train", "c_root_id_A": "a", "c_root_id_B": "b",
}  # fmt: skip


@FUZZ
@given(st.lists(like(SHP), min_size=1, max_size=5))
def test_rows_of_shp(tmp_path, rows):
    survives("shp", jsonl(tmp_path / "shp.jsonl", rows), Settings())


TABLE = {
    "post_id": "p1", "post": TEXT, "reply": TEXT, "score": 5, "title": "t", "author": "x", "post_author": "y",
    "created": NOON, "views": 50, "community": "z", "reply_id": "r1",
}  # fmt: skip


@FUZZ
@given(st.lists(like(TABLE), min_size=1, max_size=5), st.sets(st.sampled_from(list(TABLE)[4:])))
def test_rows_of_a_table(tmp_path, rows, unmapped):
    columns = {field: field for field in TABLE if field not in unmapped}
    survives("table", jsonl(tmp_path / "t.jsonl", rows), Settings(columns=columns))


UTTERANCE = {"id": "p1", "text": TEXT, "timestamp": NOON, "conversation_id": "p1", "speaker": "a", "meta": {"score": 5}}
OLD_UTTERANCE = {"id": "c1", "text": TEXT, "timestamp": NOON, "root": "p1", "user": "b", "reply-to": "p1", "meta": {}}
ABOUT = like({"title": "t", "subreddit": "s", "domain": "self.s", "meta": {}})


@FUZZ
@given(
    st.lists(like(UTTERANCE) | like(OLD_UTTERANCE) | VALUE, min_size=1, max_size=5),
    st.dictionaries(st.sampled_from(["p1", "x"]), ABOUT | VALUE, max_size=2) | VALUE,
)
def test_a_corpus_of_convokit(tmp_path, rows, conversations):
    jsonl(tmp_path / convokit.UTTERANCES, rows)
    jsonl(tmp_path / convokit.CONVERSATIONS, [conversations])
    survives("convokit", tmp_path, Settings())


as_cell = lambda value: "" if value is None else str(value).encode("utf-8", "replace").decode()
CELL = LEAF.map(as_cell)
COUNSEL = dict(zip(counselchat.COLUMNS, ("q1", "t", TEXT, "rain", "a", TEXT, "5", "50"), strict=True))


def test_huge_counts_of_counselchat(tmp_path):
    write(tmp_path / "c.csv", [COUNSEL | {"upvotes": "1e30"}, COUNSEL | {"views": "9" * 30}, COUNSEL])
    survives("counselchat", tmp_path / "c.csv", Settings())


@FUZZ
@given(st.lists(like(COUNSEL, CELL), min_size=1, max_size=5))
def test_rows_of_counselchat(tmp_path, rows):
    write(tmp_path / "c.csv", rows)
    survives("counselchat", tmp_path / "c.csv", Settings())


@FUZZ
@given(st.lists(like(COUNSEL, CELL), min_size=1, max_size=5))
def test_rows_of_a_table_as_csv(tmp_path, rows):
    columns = {"post_id": "question_id", "post": "question", "reply": "answer", "score": "upvotes", "views": "views"}
    write(tmp_path / "c.csv", rows)
    survives("table", tmp_path / "c.csv", Settings(columns=columns))


def write(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, counselchat.COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def opens(content: bytes, source: str, folder: Path) -> None:
    """Reads a file of another kind altogether, which may be a mistake told in one line, and nothing worse."""
    (folder / "file").write_bytes(content)
    given = Settings(columns={field: field for field in ("post_id", "post", "reply", "score")})
    for kind in ("submissions", "comments") if source == "reddit_dump" else ("",):
        try:
            for part in sources.parts(source, [(kind, str(folder / "file"))], 1, given):
                read(part, Funnel())
        except UserError as error:
            assert "\n" not in str(error)


@FUZZ
@given(
    st.sampled_from(
        [b"", b"PAR1", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xef\xbb\xbf", b"{", b"[", b"a,b\n", b"\xff\xfe"]
    ),
    st.binary(max_size=300),
    st.sampled_from(["reddit_dump", "reddit_api", "shp", "counselchat", "table"]),
)
def test_any_bytes(tmp_path, magic, content, source):
    content = magic + content
    opens(content, source, tmp_path)


@pytest.mark.parametrize("source", ["shp", "table"])
def test_a_header_without_names(tmp_path, source):
    opens(b",,\n\n", source, tmp_path)


@FUZZ
@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 30), st.sampled_from(["plain", "gzip", "zstd"]))
def test_blocks_are_the_lines_of_the_file(tmp_path, made, chunk, form):
    import gzip

    import zstandard

    compress = {"plain": bytes, "gzip": gzip.compress, "zstd": zstandard.ZstdCompressor().compress}[form]
    plain = b"".join(line + b"\n" for line in made)
    if form == "plain" and plain[:2] in (b"\x1f\x8b", b"\x28\xb5"):
        return
    (tmp_path / "file").write_bytes(compress(plain))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "CHUNK_BYTES", chunk)
        blocks = list(lines.read_blocks(tmp_path / "file"))
    assert b"\n".join(block for _, block in blocks) == plain.removesuffix(b"\n")
    number = 1
    for first, block in blocks:
        assert first == number
        number += block.count(b"\n") + 1


@pytest.mark.parametrize("source", ["reddit_dump", "reddit_api", "shp", "convokit", "table", "counselchat"])
def test_a_score_that_no_dataset_can_hold_is_no_score(tmp_path, source):
    """The dataset's scores are int32."""
    score = 2**31
    paths = {
        "reddit_dump": jsonl(tmp_path / "RC", [COMMENT | {"score": score}]),
        "reddit_api": jsonl(tmp_path / "api.jsonl", [COMMENT | {"score": score}]),
        "shp": jsonl(tmp_path / "shp.jsonl", [SHP | {"score_A": score}]),
        "table": jsonl(tmp_path / "t.jsonl", [TABLE | {"score": score}]),
        "convokit": jsonl(tmp_path / convokit.UTTERANCES, [OLD_UTTERANCE | {"meta": {"score": score}}]).parent,
        "counselchat": tmp_path / "c.csv",
    }
    jsonl(tmp_path / convokit.CONVERSATIONS, [{}])
    write(tmp_path / "c.csv", [COUNSEL | {"upvotes": str(score)}])
    files = [("comments" if source == "reddit_dump" else "", str(paths[source]))]
    funnel = Funnel()
    for part in sources.parts(source, files, 1, Settings(columns={field: field for field in TABLE})):
        read(part, funnel)
    assert funnel["broken_line"] == funnel.input > 0


def test_a_line_without_an_end(tmp_path, monkeypatch):
    """Long lines cost time in proportion, and one that is longer than any row is another kind of file."""
    (tmp_path / "RC").write_bytes(b"x" * (48 << 20) + b"\nshort\n")
    start = time.monotonic()
    assert [len(line) for line in lines.read_lines(tmp_path / "RC")] == [48 << 20, 5]
    assert time.monotonic() - start < 5
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1 << 20)
    with pytest.raises(UserError, match="RC: line 1 is longer than 1 MiB. Is this a file with one JSON object a line?"):
        list(lines.read_lines(tmp_path / "RC"))
