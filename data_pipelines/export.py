"""From pairs and replies to the flat examples of the dataset contract: keyed ids, no author, no raw id."""

import hashlib
import json
from collections.abc import Iterable, Mapping

from data_pipelines.identity import Hasher
from data_pipelines.records import Example, Pair, Post, Reply

KINDS = ("pairs", "replies")


def thread_id(post: Post, draft: Reply | None, hasher: Hasher) -> str:
    """Same post and draft, same thread: their replies share one prompt."""
    return hasher.id("thread", post.id, draft.id if draft else "")


def pair_example(pair: Pair, hasher: Hasher) -> dict[str, object]:
    draft = pair.draft.id if pair.draft else ""
    return {
        "pair_id": hasher.id("pair", pair.post.id, draft, pair.chosen.id, pair.rejected.id),
        **_prompt(pair.task, pair.post, pair.draft, hasher),
        "chosen": pair.chosen.text,
        "rejected": pair.rejected.text,
        "probability": pair.probability,
        "weight": pair.weight,
        "score_chosen": pair.chosen.score,
        "score_rejected": pair.rejected.score,
        "source": pair.source,
    }


def reply_example(example: Example, hasher: Hasher) -> dict[str, object]:
    draft = example.draft.id if example.draft else ""
    return {
        "reply_id": hasher.id("reply", example.post.id, draft, example.reply.id),
        **_prompt(example.task, example.post, example.draft, hasher),
        "reply": example.reply.text,
        "weight": example.weight,
        "source": example.source,
    }


def _prompt(task: str, post: Post, draft: Reply | None, hasher: Hasher) -> dict[str, object]:
    return {
        "thread_id": thread_id(post, draft, hasher),
        "task": task,
        "community": post.community,
        "title": post.title,
        "body": post.body,
        "draft": draft.text if draft else "",
    }


def fingerprint(splits: Mapping[str, Iterable[Mapping[str, object]]]) -> str:
    """Returns a hash of the content, whatever the order of the examples inside a split."""
    digest = hashlib.sha256()
    for split in sorted(splits):
        digest.update(f"{split}\n".encode())
        for one in sorted(hashlib.sha256(json.dumps(row, sort_keys=True).encode()).digest() for row in splits[split]):
            digest.update(one)
    return digest.hexdigest()
