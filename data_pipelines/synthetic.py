"""Synthetic revisions: drafts that a local model improved, kept only where they are safe and still say the same.

What a reviser wrote is stored as it came and judged on every build anew: asking is slow, judging is not, and the
rules may change. The store holds texts about people's posts, so it is readable by its owner alone.
"""

import fcntl
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from data_pipelines import eligibility, privacy, progress
from data_pipelines.balance import comparable
from data_pipelines.embeddings import Embeddings
from data_pipelines.records import Example, Pair, Post, Reply, Thread
from data_pipelines.revisers import Failed, Reviser, revise_all
from data_pipelines.revisions import MAX_GROWTH
from data_pipelines.similarity import Similarity
from llumi_jax import prompts
from llumi_jax.cli import UserError

SOURCE = "synthetic"
OVERWRITTEN = "_overwritten"
MIN_COSINE = 0.7
DRAFTS_PER_POST = 2
# That a revision is better than its draft is an assumption, with no votes behind it: as sure as the least sure votes
# that the rule `strict` admits.
PROBABILITY = 0.8
MAX_FAILURES_IN_A_ROW = 20
_PREAMBLE = re.compile(
    r"\A[\s*#>\"“]*(?:(?:sure|certainly|of course|okay|absolutely)\b[^\n]{0,40}?)?"
    r"(?:here(?:'s|’s| is| are)\b[^\n]{0,60}\b(?:reply|response|draft|version|revision|message)\b[^\n]{0,40}:|"
    r"(?:the )?(?:improved|revised|edited|rewritten) (?:reply|response|draft|version|message)\b)",
    re.I,
)
Drafts = Callable[[Thread], Sequence[Reply]]
Safe = Callable[[str], bool]


@dataclass(frozen=True)
class Synthetic:
    """What came of the drafts: `counts` has "kept", and a reason for each of the others; they sum to the drafts."""

    rows: list[Example | Pair] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Revised:
    """A draft and what the reviser made of it."""

    thread: Thread
    draft: Reply
    text: str


def lowest_voted(thread: Thread) -> list[Reply]:
    """Returns at most two replies to be drafts: those with the fewest votes, never the best of several.

    A text with a masked detail is left out, since its revision could not be learnt.
    """
    clean = [reply for reply in thread.replies if not privacy.has_placeholder(reply.text)]
    clean.sort(key=lambda reply: (reply.score or 0, reply.id))
    return clean[: min(DRAFTS_PER_POST, max(1, len(clean) - 1))]


def synthetic_examples(
    threads: Sequence[Thread],
    reviser: Reviser,
    similarity: Embeddings,
    safe: Safe,
    store: str | Path,
    *,
    drafts: Drafts = lowest_voted,
    min_cosine: float = MIN_COSINE,
    probability: float = PROBABILITY,
) -> Synthetic:
    """Has drafts revised, and returns what to imitate and to prefer: an `Example` each, and one or two `Pair`s.

    Args:
      threads: of one split.
      similarity: on sentence embeddings; `min_cosine` is on their scale.
      safe: whether the rules allow a text as a target.
      store: JSON lines of the revisions, made where it is missing. What stands there is not asked again; an
        interrupted run goes on with it.
      drafts: which replies of a thread are revised.
      probability: of the pairs, that the revision is the better one.

    Raises:
      UserError: the reviser is not there or answers nothing, or the store is another program's file.
    """
    found = [(thread, draft) for thread in threads for draft in drafts(thread)]
    revised, counts = _revised(found, reviser, Path(store))
    revised = _without(revised, lambda item: why_not(item.draft.text, item.text, safe), counts)
    similarity.prepare([text for item in revised for text in (item.draft.text, item.text)])
    alike = lambda item: similarity.cosine(item.draft.text, item.text) >= min_cosine
    revised = _without(revised, lambda item: None if alike(item) else "content_lost", counts)
    counts["kept"] = len(revised)
    similarity.prepare([reply.text for item in revised for reply in item.thread.replies])
    source = f"{SOURCE}:{reviser.name}"
    rows = [row for item in revised for row in _rows(item, source, similarity, probability)]
    return Synthetic(rows, dict(counts))


def _without(
    revised: Sequence[Revised], reason_of: Callable[[Revised], str | None], counts: Counter[str]
) -> list[Revised]:
    """Returns those without a reason against them, and counts the reasons of the others."""
    reasons = [reason_of(item) for item in revised]
    counts.update(reason for reason in reasons if reason is not None)
    return [item for item, reason in zip(revised, reasons, strict=True) if reason is None]


def content_kept(draft: str, revision: str, reply: str, similarity: Similarity) -> float:
    """Returns cos(draft, revision) - cos(draft, reply), `reply` being GM's own to the same post.

    Above 0 the revision is one of this draft; at 0 it might as well have been written without it.
    """
    return similarity.cosine(draft, revision) - similarity.cosine(draft, reply)


def why_not(draft: str, revision: str, safe: Safe) -> str | None:
    """Returns why a revision cannot be a target whatever it says, None if it can."""
    if _words(revision) == _words(draft):
        return "unchanged"
    if not safe(revision):
        return "unsafe"
    if privacy.has_placeholder(revision) or privacy.mask(revision) != revision:
        return "personal_detail"
    if _PREAMBLE.match(revision):
        return "talks_about_itself"
    if len(revision) > MAX_GROWTH * len(draft):
        return "over_twice_the_draft"
    if not eligibility.MIN_TOKENS <= eligibility.tokens(revision) <= eligibility.MAX_TOKENS:
        return "length"
    return None


def _words(text: str) -> list[str]:
    return text.casefold().split()


def _rows(item: Revised, source: str, similarity: Similarity, probability: float) -> list[Example | Pair]:
    post, draft = item.thread.post, item.draft
    target = _as_reply(item)
    rows: list[Example | Pair] = [Example("im", post, target, draft=draft, source=source)]
    pairs = [Pair("im", post, target, draft, probability, draft=draft, source=source)]
    other = _overwritten(item, similarity)
    if other is not None:
        pairs.append(Pair("im", post, target, other, probability, draft=draft, source=source + OVERWRITTEN))
    return rows + [pair for pair in pairs if comparable(pair)]


def _as_reply(item: Revised) -> Reply:
    """The revision as a reply of whoever wrote the draft, with its votes: it has none of its own."""
    draft = item.draft
    name = f"{draft.id}:{hashlib.sha256(item.text.encode()).hexdigest()[:16]}"
    return Reply(
        name,
        draft.post_id,
        item.text,
        author=draft.author,
        created=draft.created,
        score=draft.score,
        views=draft.views,
        score_age=draft.score_age,
    )


def _overwritten(item: Revised, similarity: Similarity) -> Reply | None:
    """The reply least like the draft among those voted no lower; None if none is less like it than the revision."""
    draft = item.draft
    others = [
        (similarity.cosine(draft.text, reply.text), reply.id, reply)
        for reply in item.thread.replies
        if reply.id != draft.id and (reply.score or 0) >= (draft.score or 0)
    ]
    least = min(others, default=None, key=lambda other: other[:2])
    if least is None or least[0] >= similarity.cosine(draft.text, item.text):
        return None
    return least[2]


def _revised(
    found: Sequence[tuple[Thread, Reply]], reviser: Reviser, store: Path
) -> tuple[list[Revised], Counter[str]]:
    """Returns the revisions in the order of the drafts, and the asks without one by reason."""
    keys = [_key(thread.post, draft.text, reviser) for thread, draft in found]
    with _opened(store) as (known, append):
        missing = {key: item for key, item in zip(keys, found, strict=True) if key not in known}
        failures = _ask(missing, reviser, store, append)
    texts = [known.get(key) for key in keys]
    revised = [Revised(*item, text) for item, text in zip(found, texts, strict=True) if text is not None]
    return revised, Counter(failures[key] for key, text in zip(keys, texts, strict=True) if text is None)


def _ask(
    missing: dict[str, tuple[Thread, Reply]], reviser: Reviser, store: Path, append: Callable[[str, str], None]
) -> dict[str, str]:
    """Asks for every missing revision, stores those that come, and returns the reasons of the others."""
    keys, failures, in_a_row = list(missing), {}, 0
    if not keys:
        return {}
    with progress.counting("Revising drafts", len(keys)) as advance:
        for index, outcome in revise_all(reviser, [(thread.post, draft.text) for thread, draft in missing.values()]):
            advance(1)
            if isinstance(outcome, str):
                in_a_row = 0
                append(keys[index], outcome)
                continue
            failures[keys[index]] = f"reviser_{outcome.reason}"
            in_a_row += 1
            if in_a_row == MAX_FAILURES_IN_A_ROW:
                raise _nothing_comes(reviser, outcome, store)
    return failures


def _nothing_comes(reviser: Reviser, last: Failed, store: Path) -> UserError:
    return UserError(
        f"{reviser.name} failed {MAX_FAILURES_IN_A_ROW} times in a row, last with {last.reason!r}. Look at its log; "
        f"what it wrote is kept in {store}, and the same command goes on with it."
    )


def _key(post: Post, draft: str, reviser: Reviser) -> str:
    """All that decides what the reviser writes; texts only, so that the store holds nobody's id."""
    parts = [reviser.name, reviser.identity, prompts.VERSION, post.title, post.body, draft]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


_BEGIN = b'{"key": "'


@contextmanager
def _opened(path: Path) -> Iterator[tuple[dict[str, str], Callable[[str, str], None]]]:
    """Yields the stored revisions by key, and what stores a further one (in the dictionary too) before it returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no plain file. Choose another place for the revisions.")
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{path} is in use by another process. Wait for it, or choose another file.") from None
        known = _read(file, path)

        def append(key: str, text: str) -> None:
            file.write(json.dumps({"key": key, "revision": text}, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
            known[key] = text

        yield known, append


def _read(file: IO[bytes], path: Path) -> dict[str, str]:
    """Reads whole lines, and cuts off the one that a kill left half-written."""
    known: dict[str, str] = {}
    whole = 0
    file.seek(0)
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n") and (line.startswith(_BEGIN) or _BEGIN.startswith(line)):
            break
        try:
            record = json.loads(line)
            known[str(record["key"])] = str(record["revision"])
        except (ValueError, LookupError, TypeError):
            raise UserError(
                f"{path}:{number} is not a line of stored revisions. Choose another file, or remove the line."
            ) from None
        whole += len(line)
    file.truncate(whole)
    return known
