"""A planted corpus: threads of an invented site on which every reply's quality is known.

Votes cannot be judged by votes. Here it is known what every reply is worth, so what a rule makes of the scores can be
compared with it (`planted_report`). Written as a dump, it goes through the whole pipeline like any other:

    python -m data_pipelines.planted --out planted --posts 20000 --seed 0
    python -m data_pipelines.build --source reddit_dump --submissions planted/planted_RS.zst \\
        --comments planted/planted_RC.zst --rule strict --out planted/data

truth.jsonl has the quality of each reply. Texts are filler, and their length has nothing to do with quality.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zstandard

from data_pipelines import planted_texts
from data_pipelines.eligibility import MAX_REPLIES
from data_pipelines.planted_world import DAY, READ_AFTER_DAYS, WORLDS, Corpus, World, simulate
from data_pipelines.records import Post, Reply, Thread
from llumi_jax import cli
from llumi_jax.cli import UserError

FILES = ("planted_RS.zst", "planted_RC.zst", "truth.jsonl")


@dataclass(frozen=True)
class Texts:
    """Every text of a corpus, by index of post and of reply."""

    titles: list[str]
    bodies: list[str]
    replies: list[str]


def texts(corpus: Corpus) -> Texts:
    """Returns the corpus's filler; it depends on the seed alone, never on quality or votes."""
    random = np.random.default_rng([corpus.seed, 1])
    posts, replies = len(corpus.community), len(corpus.post)
    return Texts(
        planted_texts.titles(random, posts),
        planted_texts.paragraphs(random, posts),
        planted_texts.paragraphs(random, replies),
    )


def threads(corpus: Corpus) -> list[Thread]:
    """Returns the posts with at least one reply as threads of their first 50 replies, as the collector would."""
    words = texts(corpus)
    groups = np.split(np.arange(len(corpus.post)), np.flatnonzero(np.diff(corpus.post)) + 1)
    return [
        Thread(
            _post(corpus, words, int(corpus.post[group[0]])),
            tuple(_reply(corpus, words, index) for index in group[:MAX_REPLIES].tolist()),
        )
        for group in groups
        if len(group)
    ]


def truth(corpus: Corpus) -> dict[str, float]:
    """Returns the hidden quality by id of reply."""
    return {_reply_id(index): value for index, value in enumerate(corpus.quality.tolist())}


def _post_id(index: int) -> str:
    return f"p{index:07d}"


def _reply_id(index: int) -> str:
    return f"r{index:07d}"


def _post(corpus: Corpus, words: Texts, index: int) -> Post:
    return Post(
        id=_post_id(index),
        community=corpus.world.communities[corpus.community[index]].name,
        title=words.titles[index],
        body=words.bodies[index],
        author=f"poster{index:07d}",
        created=int(corpus.post_created[index]),
        score=int(corpus.post_score[index]),
    )


def _reply(corpus: Corpus, words: Texts, index: int) -> Reply:
    return Reply(
        id=_reply_id(index),
        post_id=_post_id(int(corpus.post[index])),
        text=words.replies[index],
        author=f"writer{corpus.author[index]:07d}",
        created=int(corpus.created[index]),
        score=int(corpus.score[index]),
        score_hidden=False,
        score_age=int(corpus.age[index]),
        controversiality=int(corpus.controversial[index]),
        by_poster=False,
    )


def write(corpus: Corpus, out: Path) -> tuple[Path, Path, Path]:
    """Writes posts and comments as a dump has them (sorted by time, zstd) and the hidden quality of each reply.

    Returns the paths of submissions, comments and truth.
    """
    submissions, comments, hidden = (out / name for name in FILES)
    words = texts(corpus)
    _compress(submissions, (_submission(corpus, words, int(i)) for i in np.argsort(corpus.post_created, kind="stable")))
    _compress(comments, (_comment(corpus, words, int(i)) for i in np.argsort(corpus.created, kind="stable")))
    with hidden.open("w", encoding="utf-8") as file:
        for name, quality in truth(corpus).items():
            file.write(json.dumps({"id": name, "quality": quality}) + "\n")
    return submissions, comments, hidden


def _compress(path: Path, rows: Iterator[dict]) -> None:
    with path.open("wb") as file, zstandard.ZstdCompressor(level=3).stream_writer(file) as writer:
        for row in rows:
            writer.write(json.dumps(row).encode() + b"\n")


def _submission(corpus: Corpus, words: Texts, index: int) -> dict:
    post = _post(corpus, words, index)
    return {
        "id": post.id,
        "author": post.author,
        "created_utc": post.created,
        "retrieved_on": int(corpus.post_created[index]) + READ_AFTER_DAYS[1] * DAY,
        "score": post.score,
        "subreddit": post.community,
        "is_self": True,
        "title": post.title,
        "selftext": post.body,
        "over_18": False,
        "edited": False,
        "num_comments": int(np.searchsorted(corpus.post, index + 1) - np.searchsorted(corpus.post, index)),
    }


def _comment(corpus: Corpus, words: Texts, index: int) -> dict:
    reply = _reply(corpus, words, index)
    return {
        "id": reply.id,
        "author": reply.author,
        "created_utc": reply.created,
        "retrieved_on": int(corpus.created[index] + corpus.age[index]),
        "score": reply.score,
        "subreddit": corpus.world.communities[corpus.community[corpus.post[index]]].name,
        "link_id": f"t3_{reply.post_id}",
        "parent_id": f"t3_{reply.post_id}",
        "body": reply.text,
        "is_submitter": False,
        "score_hidden": False,
        "controversiality": reply.controversiality,
        "stickied": False,
        "distinguished": None,
        "edited": False,
    }


def parser() -> cli.Parser:
    flags = cli.Parser(prog="python -m data_pipelines.planted", description=__doc__)
    flags.add_argument("--out", required=True, metavar="DIR", help=f"folder for {', '.join(FILES)}")
    flags.add_argument("--posts", type=int, default=20_000, metavar="N", help="how many posts (default: 20,000)")
    flags.add_argument("--seed", type=int, default=0, help="the same seed gives the same corpus")
    flags.add_argument("--world", default="default", help=f"what the site is like: {', '.join(WORLDS)}")
    return flags


def world_named(name: str) -> World:
    """Returns a world. Raises UserError with the nearest name if there is none."""
    if name not in WORLDS:
        raise UserError(f"unknown --world {name!r}. Choose from: {', '.join(WORLDS)}.{cli.suggestion(name, WORLDS)}")
    return WORLDS[name]


def main(argv: Sequence[str]) -> None:
    flags = parser().parse_args(argv)
    world, out = world_named(flags.world), Path(flags.out)
    if flags.posts < 1:
        raise UserError(f"--posts {flags.posts}: a corpus has at least 1 post.")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: this is a file. Name a folder.")
    out.mkdir(parents=True, exist_ok=True)
    corpus = simulate(flags.posts, flags.seed, world)
    submissions, comments, hidden = write(corpus, out)
    print(f"{len(corpus.community):,} posts and {len(corpus.post):,} replies of the world '{flags.world}':")
    print(f"  posts    {submissions}\n  replies  {comments}\n  quality  {hidden}")


if __name__ == "__main__":
    cli.run(main)
