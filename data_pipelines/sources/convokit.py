"""ConvoKit's Reddit corpora: a folder with `utterances.jsonl` and `conversations.json`.

Every utterance is one row of the input. The post is the utterance whose id is that of its conversation; what else is
known of it (title, community) stands in `conversations.json`. Both spellings of the keys are read: `conversation_id`
or `root`, `speaker` or `user`, `reply_to` or `reply-to`. Source: the data format in ConvoKit's documentation.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from data_pipelines.funnel import Funnel
from data_pipelines.records import Post, Reply, Traits
from data_pipelines.sources import reddit_fields, values
from data_pipelines.sources.broken import BrokenLines
from data_pipelines.sources.lines import Progress, read_lines
from llumi_jax.cli import UserError

TRAITS = Traits("convokit", self_vote=True, fuzz=True, time=True, views=False, posts_are_rows=True)

UTTERANCES, CONVERSATIONS = "utterances.jsonl", "conversations.json"


class _Meta(msgspec.Struct):
    """What is known of an utterance beside its text."""

    score: Any = None
    top_level_comment: Any = None
    retrieved_on: Any = None
    stickied: Any = None
    subreddit: Any = None


class _Utterance(msgspec.Struct, rename={"old_reply_to": "reply-to"}):
    id: Any
    text: str | None = None
    timestamp: Any = None
    conversation_id: Any = None
    root: Any = None
    speaker: Any = None
    user: Any = None
    reply_to: Any = None
    old_reply_to: Any = None
    meta: _Meta | None = None


class _About(msgspec.Struct):
    """What `conversations.json` knows of a post. Newer corpora keep it one level deeper, under `meta`."""

    title: Any = None
    subreddit: Any = None
    domain: Any = None
    meta: "_About | None" = None


# Decoded one by one when their post comes: of a large corpus most memory is the text of the file itself.
Conversations = dict[str, msgspec.Raw]


def read(folders: Iterable[str], funnel: Funnel, progress: Progress = lambda read: None) -> Iterator[Post | Reply]:
    """Yields every utterance as a post or a reply, in the order of the files; nested replies are not `top_level`.

    Raises:
      UserError: a missing folder or file, or more than 1 % broken lines.
    """
    for folder in folders:
        utterances, conversations = files(folder)
        yield from _records(utterances, _conversations(conversations, progress), funnel, progress)


def files(folder: str | Path) -> tuple[Path, Path]:
    """Returns the two files of a corpus that are read: utterances (which may stand for the folder), conversations.

    Raises:
      UserError: one of them is not there.
    """
    if Path(folder).name == UTTERANCES:
        folder = Path(folder).parent
    if not Path(folder).is_dir():
        kind = "is a file, not a folder" if Path(folder).exists() else "does not exist"
        raise UserError(f"{folder} {kind}. Give the corpus folder that holds {UTTERANCES} and {CONVERSATIONS}.")
    utterances, conversations = Path(folder, UTTERANCES), Path(folder, CONVERSATIONS)
    old = utterances.with_suffix(".json")
    if not utterances.is_file() and old.is_file():
        raise UserError(f"{old} is of an old form. Write one utterance a line: jq -c '.[]' {old} > {utterances}")
    for path in (utterances, conversations):
        if not path.is_file():
            raise UserError(f"{folder} has no {path.name}. Give the corpus folder that ConvoKit wrote or unpacked.")
    return utterances, conversations


def _conversations(path: Path, progress: Progress) -> Conversations:
    data = path.read_bytes()
    progress(len(data))
    try:
        return msgspec.json.decode(data, type=Conversations)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UserError(f"{path} is no JSON object of conversations, or cut short. Unpack the corpus again.") from None


def _records(path: Path, about: Conversations, funnel: Funnel, progress: Progress) -> Iterator[Post | Reply]:
    decoder = msgspec.json.Decoder(_Utterance)
    broken = BrokenLines(str(path))
    posts = replies = 0
    for number, line in enumerate(read_lines(path, progress), start=1):
        if not line or line.isspace():
            continue
        funnel.read()
        broken.lines += 1
        try:
            record = _record(decoder.decode(line), about)
        except (msgspec.DecodeError, TypeError, ValueError, OverflowError, RecursionError):
            funnel.drop("broken_line")
            broken.add(number)
            continue
        posts += isinstance(record, Post)
        replies += isinstance(record, Reply)
        yield record
    if replies and not posts:
        funnel.notes.append(f"{path.name}: no utterance has the id of its conversation, so there are no posts")
    funnel.notes += broken.finish()


def _record(row: _Utterance, about: Conversations) -> Post | Reply:
    name, parent = values.identifier(row.id), _parent(row)
    root = values.label(row.conversation_id) or values.label(row.root)
    if root is None and parent is None:
        root = name  # Whoever answers nobody begins a conversation.
    created = values.epoch(row.timestamp)
    if root is None or created is None:
        raise ValueError("no conversation or no time")
    meta = row.meta or _Meta()
    return _post(row, meta, name, created, about) if name == root else _reply(row, meta, name, root, parent, created)


def _parent(row: _Utterance) -> str | None:
    parent = values.label(row.reply_to) or values.label(row.old_reply_to)
    return parent.removeprefix("t1_").removeprefix("t3_") if parent else None


def _post(row: _Utterance, meta: _Meta, name: str, created: int, about: Conversations) -> Post:
    known = _about(about.get(name))
    domain = values.label(known.domain)
    submission = reddit_fields.Submission(
        id=name,
        created_utc=created,
        author=_author(row),
        score=values.whole(meta.score),
        subreddit=values.label(known.subreddit) or values.label(meta.subreddit),
        title=values.text(known.title),
        selftext=row.text,
        # A post that is a text has the domain self.COMMUNITY, a link the domain that it leads to.
        is_self=domain.startswith("self.") if domain else None,
    )
    return reddit_fields.post(submission)


def _reply(row: _Utterance, meta: _Meta, name: str, root: str, parent: str | None, created: int) -> Reply:
    top_level = parent == root if parent else values.label(meta.top_level_comment) == name
    comment = reddit_fields.Comment(
        id=name,
        created_utc=created,
        author=_author(row),
        score=values.whole(meta.score),
        stickied=meta.stickied is True,
        retrieved_on=meta.retrieved_on if isinstance(meta.retrieved_on, int | float | str) else None,
        body=row.text,
        link_id=f"t3_{root}",
        parent_id=f"t3_{root}" if top_level else f"t1_{parent}",
    )
    return reddit_fields.reply(comment)


def _author(row: _Utterance) -> str | None:
    return values.label(row.speaker) or values.label(row.user)


def _about(raw: msgspec.Raw | None) -> _About:
    if raw is None:
        return _About()
    try:
        found = msgspec.json.decode(raw, type=_About)
    except msgspec.DecodeError:
        return _About()
    return found.meta or found
