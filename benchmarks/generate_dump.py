"""Writes a synthetic dump with all the drifts of real ones: python -m benchmarks.generate_dump --out DIR

A year in monthly files.
Texts are words in random order, so nothing in them means anything. Shares of nested, deleted, short, young and hidden
rows and the tail of the votes follow what dumps of support communities look like; a row has about 1.8 kB.
"""

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import zstandard

from data_pipelines import progress
from llumi_jax import cli

START_YEAR, MONTHS = 2021, 12
START = 1_609_459_200  # 1 January 2021
YEAR = 365 * 86_400
_SENTENCES = 40_000
_FILLER = {
    "all_awardings": [], "associated_award": None, "author_created_utc": 1412345678,
    "author_flair_background_color": "",
    "author_flair_css_class": None, "author_flair_richtext": [], "author_flair_template_id": None,
    "author_flair_text": None, "author_flair_text_color": None, "author_flair_type": "text", "author_fullname": "t2_x",
    "author_is_blocked": False, "author_patreon_flair": False, "author_premium": False, "awarders": [],
    "can_gild": True, "can_mod_post": False, "collapsed": False, "collapsed_because_crowd_control": None,
    "collapsed_reason": None, "collapsed_reason_code": None, "comment_type": None, "downs": 0, "gilded": 0,
    "gildings": {}, "is_root": None, "likes": None, "locked": False, "mod_note": None, "mod_reason_by": None,
    "mod_reason_title": None, "mod_reports": [], "name": "t1_x", "no_follow": True, "num_reports": 0,
    "permalink": "/r/made_up/comments/x/y/z/", "replies": "", "report_reasons": [], "saved": False,
    "send_replies": True, "subreddit_id": "t5_x", "subreddit_name_prefixed": "r/made_up", "subreddit_type": "public",
    "top_awarded_type": None, "total_awards_received": 0, "treatment_tags": [], "unrepliable_reason": None,
    "user_reports": [], "ups": 1,
}  # fmt: skip


def parser() -> cli.Parser:
    flags = cli.Parser(prog="python -m benchmarks.generate_dump", description=__doc__)
    flags.add_argument("--out", required=True, metavar="DIR", help="folder for RS_YYYY-MM.zst and RC_YYYY-MM.zst")
    flags.add_argument("--comments", type=int, default=5_000_000, help="how many; there is one post to ten of them")
    flags.add_argument("--seed", type=int, default=0)
    return flags


def main(argv: Sequence[str]) -> None:
    flags = parser().parse_args(argv)
    out = Path(flags.out)
    out.mkdir(parents=True, exist_ok=True)
    posts = max(flags.comments // 10, 1)
    words = _Words(random.Random(flags.seed))
    _write(out, "RS", posts, _posts(posts, random.Random(flags.seed + 1), words))
    _write(out, "RC", flags.comments, _comments(flags.comments, posts, random.Random(flags.seed + 2), words))


class _Words:
    """Sentences made beforehand; a text is a few of them in random order, so that no two are near-duplicates."""

    def __init__(self, chance: random.Random) -> None:
        vocabulary = ["".join(chance.choices("abcdefghiklmnoprstuvw", k=chance.randint(2, 9))) for _ in range(20_000)]
        self._sentences = [
            " ".join(chance.choices(vocabulary, k=chance.randint(4, 20))) + "." for _ in range(_SENTENCES)
        ]

    def text(self, chance: random.Random, mean: float) -> str:
        return " ".join(chance.choices(self._sentences, k=1 + int(chance.expovariate(1 / mean))))


def _write(folder: Path, prefix: str, count: int, lines: Iterator[bytes]) -> None:
    with progress.counting(f"Writing {prefix}", count) as advance:
        for month in range(MONTHS):
            name = f"{prefix}_{START_YEAR + month // 12}-{month % 12 + 1:02d}.zst"
            share = (month + 1) * count // MONTHS - month * count // MONTHS
            with (folder / name).open("wb") as file, zstandard.ZstdCompressor(level=3).stream_writer(file) as stream:
                for line in itertools.islice(lines, share):
                    stream.write(line + b"\n")
            advance(share)


def _posts(count: int, chance: random.Random, words: _Words) -> Iterator[bytes]:
    encode = msgspec.json.Encoder().encode
    for index in range(count):
        created = START + index * YEAR // count
        draw = chance.random()
        row = _FILLER | {
            "id": f"p{index}", "author": f"writer{index % 400_001}", "created_utc": _drift(created, draw),
            "retrieved_on": created + 40 * 86_400, "subreddit": f"made_up_{index % 3}", "score": int(draw * 50),
            "title": words.text(chance, 0.5), "selftext": words.text(chance, 7), "is_self": draw > 0.03,
            "over_18": False, "edited": False if draw > 0.1 else created + 5.0, "upvote_ratio": 0.9,
        }  # fmt: skip
        if draw > 0.95:
            row |= {"selftext": "[removed]"} if draw > 0.97 else {"author": "[deleted]", "selftext": "[deleted]"}
        yield encode(row)


def _comments(count: int, posts: int, chance: random.Random, words: _Words) -> Iterator[bytes]:
    encode = msgspec.json.Encoder().encode
    for index in range(count):
        # Mostly the posts of that time, and a few that are in no file.
        post = min(int(index * posts / count + chance.expovariate(1 / 300)), posts + posts // 100)
        created = START + post * YEAR // posts + 60 + int(chance.expovariate(1 / 20_000))
        draw, tail = chance.random(), chance.random()
        row = _FILLER | {
            "id": f"c{index}", "author": f"writer{chance.randrange(400_001)}", "created_utc": _drift(created, draw),
            "retrieved_on": created + (40 * 86_400 if tail < 0.97 else 3600), "subreddit": f"made_up_{post % 3}",
            "body": words.text(chance, 4), "score": _score(post, chance), "link_id": f"t3_p{post}",
            "parent_id": f"t3_p{post}" if draw < 0.45 else f"t1_c{index - 1}", "controversiality": int(tail < 0.03),
            "stickied": False, "distinguished": None, "is_submitter": 0.40 < draw < 0.45, "score_hidden": tail < 0.01,
            "edited": False if tail > 0.05 else created + 9.0,
        }  # fmt: skip
        if tail > 0.94:
            row |= {"body": "[removed]"} if tail > 0.96 else {"author": "[deleted]", "body": "[deleted]"}
        yield encode(row) if tail > 1e-4 else b'{"id": "cut off'


def _score(post: int, chance: random.Random) -> int:
    """Most of a score is its post's: half of all stay at 1 or 2, one in a hundred passes 80."""
    popularity = random.Random(post).gauss(0.7, 1.2)
    return int(math.exp(chance.gauss(popularity, 0.8))) - (chance.random() < 0.05) * 3


def _drift(created: int, draw: float) -> int | str | float:
    """The three types that `created_utc` has had."""
    return str(created) if draw < 0.05 else float(created) if draw < 0.07 else created


if __name__ == "__main__":
    cli.run(main)
