"""Rows of small invented dumps, for the tests of this folder."""

import json
from pathlib import Path

START = 1_700_000_000
DAY = 86_400
LONG_ENOUGH = "You wrote about the garden gate and the rain, and I wonder who else knows about it, number {}."


def post(name: str, **changes) -> dict:
    """A submission that passes every check, with changes."""
    row = {
        "id": name, "author": f"poster_{name}", "created_utc": START, "retrieved_on": START + 2 * DAY, "score": 5,
        "is_self": True, "title": f"Title {name}", "selftext": f"A post of enough length, called {name}.",
        "subreddit": "invented", "over_18": False, "edited": False,
    }  # fmt: skip
    return row | changes


def comment(name: str, post_name: str, score: int = 5, **changes) -> dict:
    """A top-level comment that passes every check, with changes."""
    number = sum(ord(letter) * 31**place for place, letter in enumerate(name)) % 99_991
    row = {
        "id": name, "author": f"replier_{name}", "created_utc": START + 60, "retrieved_on": START + 2 * DAY,
        "score": score, "link_id": f"t3_{post_name}", "parent_id": f"t3_{post_name}", "subreddit": "invented",
        "body": f"{distinct(number)} {LONG_ENOUGH.format(number)}", "score_hidden": False, "controversiality": 0,
        "stickied": False, "distinguished": None, "is_submitter": False, "edited": False,
    }  # fmt: skip
    return row | changes


def distinct(number: int) -> str:
    """Eight words that hardly any other number shares, so that no two texts are near-duplicates."""
    return " ".join(f"w{number * step % 7919}x{step}" for step in (3, 5, 7, 11, 13, 17, 19, 23))


def write(path: Path, rows: list[dict | str]) -> str:
    """Writes rows as lines of JSON; strings go in as they are. Returns the path."""
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return str(path)
