"""Rows counted by hand: each is written beside what must become of it, and goes through files and the real command."""

import csv
import json
import re
from collections import Counter
from itertools import count
from pathlib import Path

import corpus
import pytest
from corpus import comment, distinct

from data_pipelines import build
from data_pipelines.identity import Hasher
from data_pipelines.records import Post
from data_pipelines.sources import counselchat, reddit_dump
from data_pipelines.splits import Splitter

PACKAGE = Path(build.__file__).parent
KEY = b"0123456789abcdef0123456789abcdef"
DEADLY = "We could die together, then neither of us has to be alone, I mean it, {}."  # As in the fixtures of the rules.
GERMAN = "Ich weiß nicht, wie es weitergehen soll, und niemand hier hört mir noch zu, seit der Regen kam."
MINOR = "I am 15 years old and the rain has not stopped since I came here, what would you do?"
TEMPLATE = "The very same advice stands under each of these posts, so nobody wrote it for the person who asked."
TWICE = "These words of mine stand under two posts only, which makes the second of them a near-duplicate of it."
SEPTEMBER = 1_693_600_000  # 2023, two months before everything else.

Row = tuple[str, dict | str]


def post(name: str, **changes) -> dict:
    """An English post."""
    return corpus.post(name, **({"selftext": f"This is what I have been thinking about, and it is {name}."} | changes))


def name_in(split: str) -> str:
    """Returns a name for a post that the key puts into a split."""
    splitter = Splitter(reddit_dump.TRAITS.fractions, Hasher(KEY))
    names = (f"{split}{number}" for number in count())
    return next(name for name in names if splitter.split_of(Post(name, "", "", "")) == split)


TRAIN, TEST = name_in("train"), name_in("test")
COPIED = "A post that somebody wrote a second time under another name, with the rain and the gate and all the letters."


def later(seconds: int, name: str, thread: str, score: int, **changes) -> dict:
    """A comment so long after the posts."""
    return comment(name, thread, score, created_utc=corpus.START + seconds, **changes)


def dead(name: str) -> dict:
    return comment(name, "ok0", 1, created_utc=SEPTEMBER, retrieved_on=SEPTEMBER + 90_000)


def preferred(thread: str, low: str = "kept", high: str = "kept") -> list[Row]:
    """A poor reply and, later, a good one: the preference that keeps a thread."""
    return [
        (low, comment(f"{thread}_low", thread, 1)),
        (high, later(120, f"{thread}_high", thread, 40)),
    ]


POSTS: list[Row] = [
    *[("kept", post(f"ok{number}")) for number in range(5)],
    ("post_repeated", post("ok0", score=4)),
    ("post_deleted", post("gone", author="[deleted]")),
    ("post_deleted", post("gone2", removed_by_category="deleted")),
    ("post_removed", post("taken", selftext="[removed]")),
    ("post_removed", post("spam", removed_by_category="moderator")),
    ("post_restored", post("back", _meta={"was_deleted_later": True})),
    ("post_link", post("link", is_self=False)),
    ("post_bot", post("robot", author="AutoModerator")),
    ("post_short", post("short", selftext="nineteen characters")),
    ("post_edited", post("edited", edited=1_700_000_000.0)),
    ("post_over_18", post("adult", over_18=True)),
    ("post_not_english", post("german", selftext=GERMAN)),
    ("post_tombstone", post("forgotten")),
    ("post_tombstone", post("theirs", author="Quiet_Fox")),
    ("post_taken_back", post("twice")),  # Whole in one dump,
    ("post_removed", post("twice", selftext="[removed]")),  # removed in the other.
    ("post_without_replies", post("alone")),
    ("post_without_replies", post("contest", contest_mode=True)),  # Its scores are hidden.
    ("post_without_replies", post("deadly")),  # Nothing but T0 there.
    ("post_without_replies", post("pasted")),  # Nothing but a template there.
    ("post_without_preference", post("dull")),
    ("post_by_minor", post("young", selftext=MINOR)),
    ("kept", post(TRAIN, selftext=COPIED, title="A copy")),
    ("post_near_duplicate", post(TEST, selftext=f"{COPIED} Yes.", title="A copy", created_utc=corpus.START + 9)),
    ("kept", post("busy")),
    ("broken_line", '{"id": "cut", "created_utc": 17'),
]

COMMENTS: list[Row] = [
    *[row for number in range(5) for row in preferred(f"ok{number}")],
    ("broken_line", '{"id": "x", "created_utc": "soon", "link_id": "t3_ok0"}'),
    ("reply_nested", comment("nested", "ok0", parent_id="t1_ok0_low")),
    ("reply_nested", comment("nested2", "nowhere", parent_id="t1_ok0_low", body="[removed]")),
    ("reply_orphan", comment("orphan", "nowhere")),
    ("reply_orphan", comment("under_broken", "cut")),
    ("reply_post_dropped", comment("under_gone", "gone")),
    ("reply_post_dropped", comment("under_short", "short")),
    ("reply_post_dropped", comment("under_twice", "twice")),
    ("reply_deleted", comment("deleted", "ok0", author="[deleted]")),
    ("reply_deleted", comment("deleted2", "ok0", body="[deleted]")),
    ("reply_removed", comment("removed", "ok0", body="[removed]")),
    ("reply_restored", comment("restored", "ok0", _meta={"removal_type": "deleted"})),
    ("reply_by_poster", comment("own", "ok0", is_submitter=True)),
    ("reply_by_poster", comment("own2", "ok0", author="poster_ok0", is_submitter=None)),
    ("reply_official", comment("sticky", "ok0", stickied=True)),
    ("reply_official", comment("moderator", "ok0", distinguished="moderator")),
    ("reply_bot", comment("bot", "ok0", author="quote-bot")),
    ("reply_bot", comment("bot2", "ok0", body="I am a bot, and this was said to you because you wrote of the rain.")),
    ("reply_no_score", comment("unknown", "ok0", score=None)),
    ("reply_score_hidden", comment("hidden", "ok0", score_hidden=True)),
    ("reply_score_hidden", comment("contested", "contest")),
    ("reply_score_young", comment("young", "ok0", retrieved_on=corpus.START + 60 + 86_399)),
    ("reply_short", comment("tiny", "ok0", body="x" * 63)),
    ("reply_long", comment("huge", "ok0", body="word " * 410)),
    ("reply_not_english", comment("german", "ok0", body=GERMAN)),
    ("reply_tombstone", comment("fox", "ok0", 90, author="quiet_fox")),
    ("reply_deleted", comment("fox", "ok0", 91, author="[deleted]")),  # Their reply in another dump,
    ("reply_taken_back", comment("fox", "ok0", 92, author=None) | {"author": "renamed"}),  # and in a third.
    ("reply_tombstone", comment("by_id", "ok1", 90)),
    ("reply_tombstone", comment("under_forgotten", "forgotten", 90)),
    ("reply_taken_back", comment("again", "ok1", 90)),
    ("reply_removed", comment("again", "ok1", 90, body="[removed]")),
    ("reply_repeated", later(120, "ok1_high", "ok1", 40)),
    ("reply_repeated", later(120, "ok1_high", "ok1", 44)),
    ("reply_unsafe", later(60, "deadly0", "deadly", 1, body=DEADLY.format("no"))),
    ("reply_unsafe", later(61, "deadly1", "deadly", 41, body=DEADLY.format("or not"))),
    ("reply_unsafe", later(130, "deadly2", "ok2", 40, body=DEADLY.format("yes"))),
    ("reply_without_preference", comment("dull", "dull", 1)),
    ("reply_without_preference", later(200, "late", "ok1", 1)),
    *preferred("young", "reply_by_minor", "reply_by_minor"),
    *preferred(TRAIN),
    *preferred(TEST, "reply_post_dropped", "reply_post_dropped"),
    *[("reply_template", later(300, f"template{n}", f"ok{n}", 60, body=TEMPLATE)) for n in (2, 3, 4)],
    ("reply_template", comment("template5", "pasted", 60, body=TEMPLATE)),  # Good enough to imitate, all alone.
    ("kept", later(301, "twice0", "ok3", 60, body=TWICE)),
    ("reply_near_duplicate", later(302, "twice1", "ok4", 60, body=TWICE)),
    ("kept", later(60, "busy00", "busy", 1)),
    ("kept", later(61, "busy01", "busy", 40)),
    *[("reply_without_preference", later(60 + n, f"busy{n}", "busy", 1)) for n in range(2, 50)],
    *[("reply_beyond_first_50", later(60 + n, f"busy{n}", "busy", 90)) for n in (50, 51)],
    # A month whose scores were never looked at again: 200 replies, all at 1.
    *[("reply_dead_month", dead(f"dead{n}")) for n in range(200)],
]  # fmt: skip

TOMBSTONES = "# people who asked\nu/Quiet_Fox\nt3_forgotten   # a post\n\nt1_by_id\n"
OPTIONS = ["--english", "--without_edited", "--without_over_18"]

# The same, as totals.
TOTALS = {
    "broken_line": 2,
    "post_repeated": 1, "post_deleted": 2, "post_removed": 3, "post_restored": 1, "post_link": 1, "post_bot": 1,
    "post_short": 1, "post_edited": 1, "post_over_18": 1, "post_not_english": 1, "post_tombstone": 2,
    "post_taken_back": 1, "post_without_replies": 4, "post_without_preference": 1, "post_by_minor": 1,
    "post_near_duplicate": 1,
    "reply_nested": 2, "reply_orphan": 2, "reply_post_dropped": 5, "reply_deleted": 3, "reply_removed": 2,
    "reply_restored": 1, "reply_by_poster": 2, "reply_official": 2, "reply_bot": 2, "reply_no_score": 1,
    "reply_score_hidden": 2, "reply_score_young": 1, "reply_short": 1, "reply_long": 1, "reply_not_english": 1,
    "reply_tombstone": 3, "reply_taken_back": 2, "reply_repeated": 2, "reply_unsafe": 3,
    "reply_without_preference": 50, "reply_by_minor": 2, "reply_template": 4, "reply_near_duplicate": 1,
    "reply_beyond_first_50": 2, "reply_dead_month": 200,
    "kept": 7 + 10 + 2 + 1 + 2,
}  # fmt: skip


def command(tmp_path: Path, *argv: str) -> dict:
    """Runs the command and returns its card."""
    (tmp_path / "key").write_bytes(KEY)
    build.main([*argv, "--key_file", str(tmp_path / "key"), "--out", str(tmp_path / "data")])
    return json.loads((tmp_path / "data" / "card.json").read_text())


def check(card: dict, rows: list[Row]) -> None:
    expected = Counter(reason for reason, _ in rows)
    assert card["funnel"] == expected
    assert list(card["funnel"])[-1] == "kept"
    assert card["input"] == len(rows) == sum(card["funnel"].values())


@pytest.fixture(scope="module")
def dump(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("dump")
    (folder / "forget").write_text(TOMBSTONES)
    paths = [corpus.write(folder / name, [row for _, row in rows]) for name, rows in (("RS", POSTS), ("RC", COMMENTS))]
    files = ["--submissions", paths[0], "--comments", paths[1], "--tombstones", str(folder / "forget")]
    return command(folder, "--source", "reddit_dump", *files, *OPTIONS)


def test_every_row_of_a_dump(dump):
    assert len(POSTS) + len(COMMENTS) - 200 >= 120
    check(dump, POSTS + COMMENTS)
    assert dump["funnel"] == TOTALS


def test_what_the_card_of_a_dump_says_besides(dump):
    assert dump["warnings"][:2] == [
        f"RS: 1 broken lines skipped (line {len(POSTS)})",
        "RC: 1 broken lines skipped (line 11)",
    ]
    assert dump["months_refused"] == [{"month": "2023-09", "rows": 200, "mean": 1.0, "share_of_ones": 1.0}]
    assert dump["score_merge"] == {"copies": 2, "other_score": 1}
    assert dump["safety"]["dropped"] == {"T0-pact": 3}
    assert sum(dump["leakage"].values()) == 0


# A table in which answers have views, as CounselChat's: posts are no rows of their own.


def answer(question: str, text: str, upvotes, views=100, who: str = "somebody", body: str | None = None) -> dict:
    row = (
        question,
        f"Title {question}",
        body or f"What would you do if it was you, and it is {question}?",
        "rain",
        who,
        text,
        upvotes,
        views,
    )
    return dict(zip(counselchat.COLUMNS, row, strict=True))


def long(number: int) -> str:
    return f"{distinct(number)} {corpus.LONG_ENOUGH.format(number)}"


COUNSEL: list[Row] = [
    *[("kept", answer(f"q{n}", long(2 * n + place), 40 * place)) for n in range(5) for place in (0, 1)],
    ("broken_line", answer("q0", long(50), "many")),
    ("reply_post_dropped", answer("short", long(51), 5, body="Hm") | {"title": "Eh"}),
    ("reply_post_dropped", answer("german", long(52), 5, body=GERMAN)),
    ("reply_short", answer("q0", "x" * 63, 50)),
    ("reply_long", answer("q0", "word " * 410, 50)),
    ("reply_bot", answer("q0", f"I am a bot. {long(53)}", 50)),
    ("reply_not_english", answer("q0", GERMAN, 50)),
    ("reply_tombstone", answer("q0", long(54), 50, who="Dr. Fox")),
    ("reply_unsafe", answer("q1", DEADLY.format(long(55)), 50)),
    ("reply_without_preference", answer("dull", long(56), 0)),
    ("reply_without_preference", answer("dull", long(57), 0)),
    ("reply_by_minor", answer("young", long(58), 0, body=MINOR)),
    ("reply_by_minor", answer("young", long(59), 40, body=MINOR)),
    *[("reply_template", answer(f"q{n}", TEMPLATE, 50)) for n in (2, 3, 4)],
    ("kept", answer("q2", TWICE, 50)),
    ("reply_near_duplicate", answer("q3", f"{TWICE} Yes.", 50)),
    ("kept", answer("busy", long(100), 0)),
    ("kept", answer("busy", long(101), 60)),
    *[("kept", answer("busy", long(100 + n), 0)) for n in range(2, 50)],  # Each a poorer one than the second.
    *[("reply_beyond_first_50", answer("busy", long(100 + n), 60)) for n in (50, 51)],
]  # fmt: skip


def write_csv(path: Path, rows: list[dict]) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def test_every_row_of_counselchat(tmp_path):
    path = write_csv(tmp_path / "counsel.csv", [row for _, row in COUNSEL])
    (tmp_path / "forget").write_text("dr. fox\n")
    card = command(
        tmp_path, "--source", "counselchat", "--input", path, "--english", "--tombstones", str(tmp_path / "forget")
    )
    check(card, COUNSEL)
    assert card["warnings"][0] == "counsel.csv: 1 broken lines skipped (line 12)"


# A table by its columns: with times, views and both people.


def cells(thread: str, text: str, likes, **changes) -> dict:
    row = {
        "thread": thread, "question": f"A question of enough length, {thread}", "answer": text, "likes": likes,
        "seen": 100, "when": "2024-03-01T10:00:00Z", "asker": f"asker {thread}", "writer": "somebody", "forum": "rain",
    }  # fmt: skip
    return row | changes


TABLE: list[Row] = [
    *[("kept", cells(f"t{n}", long(2 * n + place), 40 * place)) for n in range(4) for place in (0, 1)],
    ("broken_line", cells("t0", long(60), "a few")),
    ("reply_no_time", cells("t0", long(61), 50, when="")),
    ("reply_no_views", cells("t0", long(62), 50, seen="")),
    ("reply_no_score", cells("t0", long(63), "")),
    ("reply_deleted", cells("t0", "[deleted]", 50)),
    ("reply_removed", cells("t0", "[removed]", 50)),
    ("reply_by_poster", cells("t0", long(64), 50, writer="asker t0")),
    ("reply_post_dropped", cells("gone", long(65), 50, question="[deleted]")),
    ("reply_repeated", cells("t0", long(1), 40)),  # The same text under the same post is the same reply.
    ("reply_bot", cells("t0", long(66), 50, writer="helper-bot")),
    ("reply_short", cells("t0", "Too short.", 50)),
    ("reply_tombstone", cells("t1", long(67), 50, writer="Dr. Fox")),
    ("reply_post_dropped", cells("fox", long(68), 50, asker="Dr. Fox")),
    ("reply_unsafe", cells("t1", DEADLY.format(long(69)), 50)),
    ("reply_without_preference", cells("dull", long(70), 0)),
]  # fmt: skip
COLUMNS = (
    "post_id=thread,post=question,reply=answer,score=likes,views=seen,created=when,"
    "post_author=asker,author=writer,community=forum"
)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_every_row_of_a_table(tmp_path, kind):
    rows = [row for _, row in TABLE]
    path = write_csv(tmp_path / "t.csv", rows) if kind == "csv" else corpus.write(tmp_path / "t.jsonl", rows)
    (tmp_path / "forget").write_text("Dr. Fox\n")
    card = command(
        tmp_path, "--source", "table", "--input", path, "--columns", COLUMNS, "--tombstones", str(tmp_path / "forget")
    )
    check(card, TABLE)


NOT_REASONS = {"post_id", "post_author", "reply_id", "post_key", "reply_keys", "reply_to"}
# Put together where they are counted.
BUILT = {
    'f"post_{post.gone}"': ("deleted", "removed", "restored"),
    'f"reply_{reply.gone}"': ("deleted", "removed", "restored"),
    'f"post_{reason}"': ("without_preference", "by_minor"),
    'f"reply_{reason}"': ("without_preference", "by_minor"),
}


def test_every_reason_in_the_code_is_counted_here():
    files = [PACKAGE / f"{name}.py" for name in ("eligibility", "ingest", "join", "selection", "copies", "pipeline")]
    code = "\n".join(path.read_text() for path in [*files, *PACKAGE.glob("sources/*.py")])
    found = set(re.findall(r'(?<!f)"((?:post|reply)_[a-z0-9_]+|broken_line)"', code)) - NOT_REASONS
    pieces = set(re.findall(r'f"(?:post|reply)_\{[a-z.]+\}"', code))
    assert pieces == set(BUILT)
    found |= {f"{piece[2:].split('_')[0]}_{end}" for piece in pieces for end in BUILT[piece]}
    counted = {reason for rows in (POSTS, COMMENTS, COUNSEL, TABLE) for reason, _ in rows} - {"kept"}
    assert found == counted
    assert len(found) == 44
