"""Feeds malformed dump lines to the reader and to ingest: python -m benchmarks.fuzz_lines --lines 1000000

Rows of a dump are mutated in every way that files break: bytes lost or flipped, wrong types, huge numbers, deep
nesting, text that is no UTF-8, NUL bytes, very long lines, half characters, nothing at all. Every line has to be
counted once, none may raise anything or take long. What passes is written to partitions and joined, as in a build.
"""

import json
import random
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.generate_dump import START
from data_pipelines import ingest, join, spool
from data_pipelines.eligibility import Options
from data_pipelines.funnel import Funnel
from data_pipelines.identity import Hasher
from data_pipelines.ingest import Kept, Tombstones
from data_pipelines.sources import lines, reddit_dump
from data_pipelines.sources.broken import BrokenLines
from llumi_jax import cli

LINES_PER_FILE = 20_000
PARTITIONS = 4
POSTS = 500
LONGEST = 1 << 20
_TEXT = "It has rained since you wrote, and the gate stands open; tell me more of it whenever you like to. "


def parser() -> cli.Parser:
    flags = cli.Parser(prog="python -m benchmarks.fuzz_lines", description=__doc__)
    flags.add_argument("--lines", type=int, default=1_000_000)
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--json", metavar="OUT", help="where to write the counts")
    return flags


def main(argv: Sequence[str]) -> int:
    flags = parser().parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        report = run(flags.lines, flags.seed, Path(folder))
    found: dict[str, Any] = {"lines": report.lines, "seconds": round(report.seconds, 1), "lines_per_s": report.rate()}
    found |= {
        "slowest_block_s": round(report.slowest, 2),
        "rows": report.rows,
        "kept": report.kept,
        "reasons": dict(report.reasons),
    }
    found |= {"kinds": dict(report.kinds), "threads": report.threads, "crashes": dict(report.crashes)}
    print(json.dumps(found, indent=1))
    if flags.json:
        Path(flags.json).write_text(json.dumps(found, indent=1) + "\n")
    return cli.EXIT_FAILURE if report.crashes else cli.EXIT_OK


@dataclass
class Report:
    """What came of the lines. `rows`: those that are not blank; each is kept or has one of the `reasons`."""

    lines: int = 0
    rows: int = 0
    kept: int = 0
    threads: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    crashes: Counter[str] = field(default_factory=Counter)

    def rate(self) -> int:
        return int(self.lines / self.seconds) if self.seconds else 0


class Patient(BrokenLines):
    """Counts as the others do, and lets any share of broken lines pass."""

    def finish(self) -> list[str]:
        return []


def run(count: int, seed: int, folder: Path, kinds: Sequence[str] = ()) -> Report:
    """Makes `count` lines of the given kinds (default: all) and reads them, one file after another."""
    report = Report()
    chance = random.Random(seed)
    makers = {name: KINDS[name] for name in kinds or KINDS}
    for number, start in enumerate(range(0, count, LINES_PER_FILE)):
        kind = reddit_dump.KINDS[number % 4 > 0]  # Three files of comments to one of posts.
        path = folder / f"{number}.{kind}"
        made = _lines(kind, min(LINES_PER_FILE, count - start), chance, makers, report.kinds)
        path.write_bytes(b"".join(line + b"\n" for line in made))
        _read(kind, path, folder / "spool", report)
        path.unlink()
    _join(folder / "spool", report)
    return report


def _lines(kind: str, count: int, chance: random.Random, makers: dict[str, "Maker"], kinds: Counter) -> Iterator[bytes]:
    names = list(makers)
    for _ in range(count):
        name = chance.choice(names)
        kinds[name] += 1
        yield makers[name](_row(kind, chance), chance).replace(b"\n", b" ")


def _read(kind: str, path: Path, folder: Path, report: Report) -> None:
    """Reads a file as a build does; a block that raises something is counted under its error."""
    traits, hasher = reddit_dump.TRAITS, Hasher(b"a key that protects nothing")
    writer = spool.Writer(folder, PARTITIONS)
    start = time.perf_counter()
    for number, block in lines.read_blocks(path):
        funnel, kept = Funnel(), Kept()
        broken = Patient(str(path))
        began = time.perf_counter()
        try:
            ingest.keep(
                reddit_dump.records(kind, block, number, funnel, broken), traits, Options(), Tombstones(), hasher, kept
            )
            whole = len(kept.posts) + len(kept.replies)
            writer.take(kept)
            writer.sizes()
        except Exception as error:
            report.crashes[f"{type(error).__name__}: {traceback.extract_tb(error.__traceback__)[-1].name}"] += 1
            continue
        finally:
            report.slowest = max(report.slowest, time.perf_counter() - began)
            report.lines += block.count(b"\n") + 1
        kept.funnel.add(funnel)
        _count(kept.funnel, whole, sum(bool(line.strip()) for line in block.split(b"\n")), report)
    report.seconds += time.perf_counter() - start
    writer.close()


def _count(funnel: Funnel, kept: int, rows: int, report: Report) -> None:
    table = funnel.table(kept)  # Raises if they do not sum to the rows that were read.
    if funnel.input != rows:
        report.crashes[f"{funnel.input} of {rows} rows were counted"] += 1
    report.rows += rows
    report.kept += table.pop("kept")
    report.reasons.update(table)


def _join(folder: Path, report: Report) -> None:
    for index in range(PARTITIONS):
        rows = spool.Rows([], [], [])
        for part in spool.frames(folder / f"{index}.rows", spool.Rows):
            rows.posts += part.posts
            rows.replies += part.replies
            rows.gone += part.gone
        report.threads += len(join.threads(rows.posts, rows.replies, rows.gone, reddit_dump.TRAITS, Funnel()))


# A row, and what may become of it.

Maker = Callable[[dict, random.Random], bytes]


def _row(kind: str, chance: random.Random) -> dict[str, Any]:
    """A row without a fault."""
    number = chance.randrange(POSTS)
    row: dict[str, Any] = {
        "id": f"p{number}" if kind == "submissions" else f"c{chance.randrange(10**7)}",
        "author": f"writer{number}", "created_utc": START + number, "retrieved_on": START + 10**6, "edited": False,
        "score": chance.randrange(50), "subreddit": "made_up", "distinguished": None, "stickied": False,
    }  # fmt: skip
    if kind == "submissions":
        return row | {"title": "A title", "selftext": _TEXT, "is_self": True, "over_18": False, "contest_mode": False}
    return row | {
        "body": _TEXT, "link_id": f"t3_p{number}", "parent_id": f"t3_p{number}", "is_submitter": False,
        "score_hidden": False, "controversiality": 0, "_meta": {"retrieved_2nd_on": START + 2 * 10**6},
    }  # fmt: skip


WRONG = (
    "null", "true", "false", "[]", "{}", '""', '"abc"', "0", "-1", "1.5", "[1,2]", '{"a":{"b":[]}}', '"0"', '"12"',
    '" 12 "', '"1_0"', '"-5"', '"nan"', '"inf"', '"\u0661\u0662"', '"[deleted]"', '"[removed]"', '"t1_x"', '"t3_"',
    '"\\u0000"', '"\\n"', '"\\u200b"', '"\ufeff"', '"\U0001f642"', '"&amp;#x110000;"', '"&#55296;"', '"&#9999999999;"',
)  # fmt: skip
HUGE = (
    "9" * 18, "9" * 19, "9" * 20, "-" + "9" * 19, "9" * 40, "-" + "9" * 40, "9" * 310, "9" * 4299, "9" * 5000,
    "1e15", "1e16", "1e308", "-1e308", "1e309", "1e400", "-1e99999", "1e-400", "0." + "0" * 400 + "1",
    "4102444799", "4102444800", "2147483647", "2147483648", "9007199254740992", "9007199254740993",
    "18446744073709551616", "NaN", "Infinity", "-Infinity", '"1e400"', f'"{"9" * 400}"', f'"{"9" * 5000}"',
    "-0", "00", "01", "1.", ".5", "+1", "0x10", "1e",
)  # fmt: skip


def _dump(row: dict) -> bytes:
    return json.dumps(row).encode()


def _with(row: dict, key: str, value: str) -> bytes:
    """The row with a value written as it is."""
    rest = json.dumps({name: old for name, old in row.items() if name != key})
    return f'{rest[:-1]}, "{key}": {value}}}'.encode("utf-8", "surrogatepass")


def _sound(row: dict, chance: random.Random) -> bytes:
    return _dump(row)


def _lost(row: dict, chance: random.Random) -> bytes:
    return _dump(row)[: chance.randrange(600)]


def _mutated(row: dict, chance: random.Random) -> bytes:
    line = bytearray(_dump(row))
    for _ in range(chance.randint(1, 6)):
        at, many = chance.randrange(len(line)), chance.randrange(9)
        change = chance.randrange(4)
        if change == 0:
            line[at] = chance.randrange(256)
        elif change == 1 and len(line) > 20:
            del line[at : at + many]
        elif change == 2:
            line[at:at] = chance.choice([b'"', b"\\", b"{", b"}", b"[", b",", b":", b"\\u", b"\\x", b"-", b"e"]) * many
        else:
            line[at:at] = line[at : at + 30]
    return bytes(line)


def _wrong_type(row: dict, chance: random.Random) -> bytes:
    return _with(row, chance.choice(list(row)), chance.choice(WRONG))


def _wrong_types(row: dict, chance: random.Random) -> bytes:
    pairs = [f'"{key}":{chance.choice(WRONG) if chance.random() < 0.4 else json.dumps(row[key])}' for key in row]
    return ("{" + ",".join(chance.sample(pairs, chance.randint(1, len(pairs)))) + "}").encode("utf-8", "surrogatepass")


def _huge_number(row: dict, chance: random.Random) -> bytes:
    return _with(row, chance.choice(list(row)), chance.choice(HUGE))


def _deep(row: dict, chance: random.Random) -> bytes:
    depth = chance.choice([10, 100, 900, 1100, 3000, 20_000]) if chance.random() < 0.1 else 50
    opening, closing = chance.choice([("[", "]"), ('{"a":', "}")])
    closing *= chance.choice([0, depth, depth])
    return _with(row, chance.choice([*row, "unknown"]), opening * depth + ("" if opening == "[" else "1") + closing)


def _no_utf8(row: dict, chance: random.Random) -> bytes:
    line = bytearray(_dump(row))
    at = chance.randrange(len(line))
    line[at:at] = chance.choice(
        [
            b"\xff",
            b"\xc3",
            b"\xc0\xaf",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xe2\x28\xa1",
            b"\xf0\x9f\x99",
            b"\x80" * 9,
        ]
    )
    return bytes(line)


def _nul(row: dict, chance: random.Random) -> bytes:
    line = bytearray(_dump(row))
    at = chance.randrange(len(line))
    line[at:at] = chance.choice(
        [b"\0", b"\0" * 100, b"\\u0000", b"\x1a", b"\r", b"\x0b\x0c\x1c\x85", "\u2028\u2029".encode()]
    )
    return bytes(line)


def _half_character(row: dict, chance: random.Random) -> bytes:
    half = chance.choice(
        ["\\ud800", "\\udfff", "\\ud83d\\ud83d", "\\ude42\\ud83d", "\\ud83d\\u0041", "\\ud83d", "\\uD83"]
    )
    return _with(row, chance.choice([*row, "\\ud800"]), f'"{_TEXT}{half}{_TEXT}"')


def _long(row: dict, chance: random.Random) -> bytes:
    size = chance.randrange(LONGEST) if chance.random() < 0.002 else chance.randrange(9000)
    key = chance.choice([*row, "unknown"])
    return _with(row, key, f'"{(chance.choice(["x", "&amp;", "http://", "@a.b ", "u/", "1 ", "é"]) * size)[:size]}"')


def _many_keys(row: dict, chance: random.Random) -> bytes:
    again = [f'"{chance.choice([*row, "k"])}": {chance.choice(WRONG)}' for _ in range(chance.randrange(60))]
    return f"{json.dumps(row)[:-1]}, {', '.join([*again, chr(34) + 'k' + chr(34) + ': 0'])}}}".encode()


def _other(row: dict, chance: random.Random) -> bytes:
    nothing = [b"", b" ", b"\t\t", b"\r", b"null", b"[]", b"{}", b"true", b"12", b'"text"', b"[", b"{" * 30]
    elsewhere = [b"id,author,body", b"<html>", b"\x28\xb5\x2f\xfd\x00", b"\xff\xfe{\x00}\x00"]
    line = _dump(row)
    dressed = [b"\xef\xbb\xbf" + line, line + b"\r", b"  " + line, line * 2, b"[" + line + b"]"]
    return chance.choice(nothing + elsewhere + dressed)


KINDS: dict[str, Maker] = {
    "sound": _sound,
    "cut off": _lost,
    "mutated": _mutated,
    "wrong type": _wrong_type,
    "wrong types": _wrong_types,
    "huge number": _huge_number,
    "deep": _deep,
    "no utf-8": _no_utf8,
    "nul": _nul,
    "half character": _half_character,
    "long": _long,
    "many keys": _many_keys,
    "other": _other,
}


if __name__ == "__main__":
    cli.run(main)
