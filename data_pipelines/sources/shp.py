"""Stanford Human Preferences (SHP, and the Reddit half of SHP-2): JSONL or parquet, two replies to a post a row.

Each side (A, B) of a row is one row of the input. A reply stands in several rows, against another one each time; every
time it is yielded, and counted as repeated where posts and replies meet. The published preference (`labels`) is left
aside: the rules here decide from scores and times. The title and the body of a post are joined in `history`.
"""

import re
from collections.abc import Iterable, Iterator

from data_pipelines.funnel import Funnel
from data_pipelines.records import Post, Reply, Traits
from data_pipelines.sources import reddit_fields, values
from data_pipelines.sources.lines import Progress
from data_pipelines.sources.tables import Row, converted, open_table
from llumi_jax.cli import UserError

TRAITS = Traits("shp", self_vote=True, fuzz=True, time=True, views=False, posts_are_rows=False)

SIDES = ("A", "B")
NEEDED = (
    "post_id",
    "history",
    "human_ref_A",
    "human_ref_B",
    "score_A",
    "score_B",
    "created_at_utc_A",
    "created_at_utc_B",
)
COLUMNS = (*NEEDED, "domain", "c_root_id_A", "c_root_id_B")
_SPLIT = re.compile(r"_(?:train|validation|test)$")
_OTHER_SITE = "stack_"


def read(paths: Iterable[str], funnel: Funnel, progress: Progress = lambda read: None) -> Iterator[Post | Reply]:
    """Yields each post once, before its first replies, and both replies of every row.

    A reply without a time is counted as `reply_no_time`. Nobody's name is in these files.

    Raises:
      UserError: a missing file or column, rows of Stack Exchange, or more than 1 % broken rows.
    """
    posts: set[str] = set()
    for path in paths:
        table = open_table(path, COLUMNS, progress)
        for column in NEEDED:
            if message := table.missing(column):
                raise UserError(f"{message} Files of SHP have it.")
        for post, replies in converted(table, _records, funnel, rows=len(SIDES)):
            if post.community.startswith(_OTHER_SITE):
                raise UserError(
                    f"{path} holds {post.community!r}, a site of Stack Exchange: votes start at 0 and are exact there, "
                    "not as on Reddit. Leave the files of SHP-2's folder stackexchange out."
                )
            if post.id not in posts:
                posts.add(post.id)
                yield post
            timed = [reply for reply in replies if reply.created is not None]
            funnel.drop("reply_no_time", len(replies) - len(timed))
            yield from timed


def _records(row: Row) -> tuple[Post, list[Reply]]:
    post_id = values.identifier(row["post_id"])
    community = _SPLIT.sub("", values.text(row.get("domain")))
    post = Post(post_id, community, title="", body=_text(row["history"]))
    return post, [_reply(row, side, post_id) for side in SIDES]


def _reply(row: Row, side: str, post_id: str) -> Reply:
    text = _text(row[f"human_ref_{side}"])
    return Reply(
        id=values.label(row.get(f"c_root_id_{side}")) or f"{post_id}/{values.digest(text)}",
        post_id=post_id,
        text=text,
        created=values.epoch(row.get(f"created_at_utc_{side}")),
        score=values.whole(row.get(f"score_{side}")),
    )


def _text(cell: object) -> str:
    return reddit_fields.text(values.text(cell))
