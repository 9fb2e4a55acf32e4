"""Writes the sample's two dump files from the threads in `threads/`.

  python -m data_pipelines.llumi_pairs.sample.assemble

The texts and votes are the authors'; this adds what a dump has around them: ids, invented authors, times, second
retrievals, and the rows that a builder must survive (deleted, removed, hidden, orphaned, nested, by bots). The same
threads and seed give the same rows.
"""

import json
import random
from pathlib import Path

import zstandard

FOLDER = Path(__file__).parent
SEED = 2024
COMMUNITY = "the_small_lantern"
MARCH = 1709251200  # 2024-03-01 00:00 UTC
HOUR = 3600
# A builder that trusts order would learn "later is better": in most threads good replies come later, not in all.
SHARE_GOOD_LATER = 0.80
LEAD = 0.9
REGULARS = 24
SHARE_REGULARS = 0.05
GOOD_FROM = 8

ASIDES = json.loads((FOLDER / "asides.json").read_text(encoding="utf-8"))


def _id(number: int) -> str:
    """Base 36, as the site writes its ids."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = digits[digit] + text
    return text


class Assembler:
    """Grows the two lists of rows thread by thread."""

    def __init__(self, seed: int = SEED) -> None:
        self.random = random.Random(seed)
        self.submissions: list[dict] = []
        self.comments: list[dict] = []
        self._post_number = 0x1B3C0000
        self._comment_number = 0x7A1D00000
        self._regulars = [self._new_author() for _ in range(REGULARS)]

    def _new_author(self) -> str:
        return f"invented_{self.random.getrandbits(40):010x}"

    def _author(self) -> str:
        return self.random.choice(self._regulars) if self.random.random() < SHARE_REGULARS else self._new_author()

    def _seen(self, created: int, hours: float = 36) -> dict:
        second = created + int(hours * HOUR) + self.random.randrange(2 * HOUR)
        return {"retrieved_on": created + self.random.randrange(20, 90), "_meta": {"retrieved_2nd_on": second}}

    def post(self, title: str, body: str, **changes) -> dict:
        """Adds a post and returns its row."""
        self._post_number += self.random.randrange(40, 4000)
        created = MARCH + self.random.randrange(28 * 24 * HOUR)
        name = _id(self._post_number)
        row = {
            "author": self._new_author(), "contest_mode": False, "created_utc": created, "distinguished": None,
            "domain": f"self.{COMMUNITY}", "edited": False, "id": name, "is_self": True, "locked": False,
            "name": f"t3_{name}", "num_comments": 0, "over_18": False, "permalink": f"/r/{COMMUNITY}/comments/{name}/",
            "removed_by_category": None, "score": self.random.randrange(4, 140), "selftext": _escaped(body),
            "stickied": False, "subreddit": COMMUNITY, "title": _escaped(title),
            "upvote_ratio": round(self.random.uniform(0.82, 1.0), 2), **self._seen(created),
        }  # fmt: skip
        self.submissions.append(row | changes)
        return self.submissions[-1]

    def comment(self, post: dict, text: str, created: int, score: int, parent: str | None = None, **changes) -> dict:
        """Adds a comment to a post, at top level unless `parent` names another comment."""
        self._comment_number += self.random.randrange(40, 90000)
        name = _id(self._comment_number)
        row = {
            "author": self._author(), "body": _escaped(text), "controversiality": 0, "created_utc": created,
            "distinguished": None, "edited": False, "id": name, "is_submitter": False, "link_id": post["name"],
            "name": f"t1_{name}", "parent_id": parent or post["name"], "score": score, "score_hidden": False,
            "stickied": False, "subreddit": COMMUNITY, **self._seen(created),
        }  # fmt: skip
        self.comments.append(row | changes)
        post["num_comments"] += 1
        return self.comments[-1]

    def thread(self, written: dict) -> dict:
        """Adds a written thread: its replies in an order that favours the good ones, though not always."""
        post = self.post(written["title"], written["body"])
        lead = LEAD if self.random.random() < SHARE_GOOD_LATER else -LEAD
        replies = sorted(
            written["replies"],
            key=lambda reply: self.random.gauss(0, 1) + lead * (reply["score"] >= GOOD_FROM),
        )
        created = post["created_utc"]
        for reply in replies:
            created += self.random.randrange(4 * 60, 3 * HOUR)
            contested = -3 <= reply["score"] <= 2 and self.random.random() < 0.04
            self.comment(post, reply["text"], created, reply["score"], controversiality=int(contested))
        return post

    def awkward_rows(self, posts: list[dict]) -> None:
        """Adds the rows that carry no votes worth having."""
        pick = self.random.sample(posts, len(posts))
        for number, text in enumerate(ASIDES["nested"]):
            self._nested(pick[number % len(pick)], text)
        for text in ASIDES["by_poster"]:
            post = pick.pop()
            self._late(post, text, author=post["author"], is_submitter=True)
        for text in ASIDES["hidden"]:
            self._late(pick.pop(), text, score_hidden=True)
        for text in ASIDES["young"]:
            self._late(pick.pop(), text, retrieved_on=0, _meta={"retrieved_2nd_on": 0})
        for text in ASIDES["restored"]:
            self._late(pick.pop(), text, extra={"was_deleted_later": True})
        for _ in range(9):
            self._late(pick.pop(), "[deleted]", author="[deleted]")
            self._late(pick.pop(), "[removed]")
        for post in self.random.sample(posts, 12):
            self._late(post, ASIDES["bot"], author="AutoModerator", stickied=True, distinguished="moderator")
        for text in ASIDES["helper_bot"]:
            self._late(pick.pop(), text, author="breathing_reminder_bot")
        for text in ASIDES["orphan"]:
            missing = {
                "name": f"t3_{_id(0x1A000000 + self.random.randrange(9999))}",
                "created_utc": MARCH,
                "num_comments": 0,
            }
            self._late(missing, text)
        self._awkward_posts()

    def _late(self, post: dict, text: str, extra: dict | None = None, **changes) -> None:
        created = post["created_utc"] + self.random.randrange(HOUR, 20 * HOUR)
        row = self.comment(post, text, created, self.random.randrange(1, 6), **changes)
        row["_meta"] = row["_meta"] | (extra or {})
        if not row["retrieved_on"]:
            row["retrieved_on"] = created + 3 * HOUR
            row["_meta"] = {"retrieved_2nd_on": created + 5 * HOUR}

    def _nested(self, post: dict, text: str) -> None:
        parent = self.random.choice([row for row in self.comments if row["link_id"] == post["name"]])
        by_poster = self.random.random() < 0.5
        changes = {"author": post["author"], "is_submitter": True} if by_poster else {}
        created = parent["created_utc"] + self.random.randrange(300, 9 * HOUR)
        self.comment(post, text, created, self.random.randrange(1, 12), parent=parent["name"], **changes)

    def _awkward_posts(self) -> None:
        self.post("[deleted by user]", "[deleted]", author="[deleted]")
        removed = self.post("Not a post for here", "[removed]", removed_by_category="moderator")
        self._late(removed, ASIDES["under_removed"])
        self.post("A picture of my kettle", "", is_self=False, domain="i.example.org")
        self.post("hi", "anyone up?")
        for title, body in ASIDES["unanswered"]:
            self.post(title, body)


def _escaped(text: str) -> str:
    """The dumps carry the three escapes of HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def plain(text: str) -> str:
    """Undoes `_escaped`."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def written_threads(folder: Path = FOLDER / "threads") -> list[dict]:
    """Returns the authored threads, files in the order of their names."""
    return [
        json.loads(line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip()
    ]


def rows(threads: list[dict], seed: int = SEED) -> tuple[list[dict], list[dict]]:
    """Returns the rows of both dump files, oldest first."""
    assembler = Assembler(seed)
    posts = [assembler.thread(thread) for thread in threads]
    assembler.awkward_rows(posts)
    return _by_time(assembler.submissions), _by_time(assembler.comments)


def _by_time(table: list[dict]) -> list[dict]:
    return sorted(table, key=lambda row: (row["created_utc"], row["id"]))


def lines(table: list[dict]) -> list[bytes]:
    """Returns the rows as lines of JSON, keys sorted."""
    return [json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode() for row in table]


def write(path: Path, table: list[dict]) -> None:
    """Writes one dump file: an object a line, zstd."""
    path.write_bytes(zstandard.ZstdCompressor(level=19).compress(b"".join(line + b"\n" for line in lines(table))))


def main() -> None:
    submissions, comments = rows(written_threads())
    write(FOLDER / "RS_2024-03.zst", submissions)
    write(FOLDER / "RC_2024-03.zst", comments)
    print(f"{len(submissions)} posts and {len(comments)} comments written to {FOLDER}")


if __name__ == "__main__":
    main()
