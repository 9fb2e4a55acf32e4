"""Synthetic revisions: drafts that a local model improved, kept only where they are safe and still say the same.

What a reviser wrote is stored as it came and judged on every build anew: asking is slow, judging is not, and the
rules may change.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_pipelines import eligibility, gate, privacy, progress, revision_store
from data_pipelines.balance import comparable
from data_pipelines.copies import TEMPLATE_POSTS
from data_pipelines.embeddings import Embeddings
from data_pipelines.near_duplicates import Clusters, jaccard, shingles
from data_pipelines.records import Example, Pair, Post, Reply, Thread
from data_pipelines.revisers import Failed, Reviser, revise_all
from data_pipelines.revisions import MADE, MADE_OVERWRITTEN, MAX_GROWTH
from data_pipelines.similarity import Similarity
from llumi_jax import prompts
from llumi_jax.cli import UserError
from llumi_jax.safety import rules

MIN_COSINE = 0.7
DRAFTS_PER_POST = 2
# That a revision is better than its draft is an assumption, with no votes behind it: as sure as the least sure votes
# that the rule `strict` admits.
PROBABILITY = 0.8
SAME_TEXT = 0.9  # Jaccard index of 5-grams: from here on there is nothing to prefer in one of two texts.
MAX_FAILURES_IN_A_ROW = 20
_WAYS_OUT = {
    "cut_off": "Its revisions do not come to an end: choose another model.",
    "withheld": "Its own rules let nothing through: choose another model.",
    "refused": "Its server takes no such asks: give it a longer context, or see its log.",
}
_PREAMBLE = re.compile(
    r"\A[\s*#>\"“]*(?:(?:sure|certainly|of course|okay|absolutely)\b[^\n]{0,40}?)?"
    r"(?:here(?:'s|’s| is| are)\b[^\n]{0,60}\b(?:reply|response|draft|version|revision|message)\b[^\n]{0,40}:|"
    r"(?:the )?(?:improved|revised|edited|rewritten) (?:reply|response|draft|version|message)\b)",
    re.I,
)
Drafts = Callable[[Thread], Sequence[Reply]]


class RevisingStopped(UserError, ConnectionError):
    """Nothing will come of any ask. An `OSError` too: as after a full disk, what was read of the input is kept."""


@dataclass(frozen=True)
class Synthetic:
    """What came of the drafts.

    counts: "kept", and a reason for each of the others; they sum to the drafts.
    broken: how many revisions broke each rule of the safety gate, those that only weigh down included.
    content_kept: as the function of that name says, of every revision kept where the thread has another reply.
    """

    rows: list[Example | Pair] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    broken: dict[str, int] = field(default_factory=dict)
    content_kept: list[float] = field(default_factory=list)


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
    store: str | Path,
    *,
    drafts: Drafts = lowest_voted,
    min_cosine: float = MIN_COSINE,
    probability: float = PROBABILITY,
    forget: bool = False,
) -> Synthetic:
    """Has drafts revised, and returns what to imitate and to prefer: an `Example` each, and up to two `Pair`s.

    Args:
      threads: of all splits; a row belongs where its post does.
      similarity: on sentence embeddings; `min_cosine` is on their scale.
      store: where revisions are kept (`revision_store`). What stands there is not asked again; an interrupted run
        goes on with it.
      drafts: which replies of a thread are revised.
      probability: of the pairs, that the revision is the better one.
      forget: delete from the store what is not asked here: it may be somebody's who asked to be forgotten.

    Raises:
      RevisingStopped: the reviser is not there or answers nothing.
      UserError: the store is another program's file.
    """
    found = [(thread, draft) for thread in threads for draft in drafts(thread)]
    revised, counts = _revised(found, reviser, Path(store), forget)
    broken = Counter(rule for item in revised for rule in gate.judge(item.text))
    revised = _without(revised, [why_not(item.draft.text, item.text) for item in revised], counts)
    revised = _without(revised, _copies(revised), counts)
    similarity.prepare([text for item in revised for text in (item.draft.text, item.text)])
    alike = [similarity.cosine(item.draft.text, item.text) >= min_cosine for item in revised]
    revised = _without(revised, [None if kept else "content_lost" for kept in alike], counts)
    counts["kept"] = len(revised)
    similarity.prepare([text for item in revised for text in (item.text, *_texts(item.thread))])
    rows = [row for item in revised for row in _rows(item, reviser.name, similarity, probability)]
    return Synthetic(rows, dict(counts), dict(broken), list(_contents_kept(revised, similarity)))


def _texts(thread: Thread) -> list[str]:
    return [reply.text for reply in thread.replies]


def _without(revised: Sequence[Revised], reasons: Sequence[str | None], counts: Counter[str]) -> list[Revised]:
    """Returns those without a reason against them, and counts the reasons of the others."""
    counts.update(reason for reason in reasons if reason is not None)
    return [item for item, reason in zip(revised, reasons, strict=True) if reason is None]


def _copies(revised: Sequence[Revised]) -> list[str | None]:
    """What a reviser says to everybody is a template, as it is of people; of two revisions alike the first may stay."""
    reasons: list[str | None] = [None] * len(revised)
    for cluster in Clusters.of([item.text for item in revised]).groups():
        template = len({revised[index].thread.post.id for index in cluster}) >= TEMPLATE_POSTS
        for index in cluster if template else cluster[1:]:
            reasons[index] = "template" if template else "near_duplicate"
    return reasons


def content_kept(draft: str, revision: str, reply: str, similarity: Similarity) -> float:
    """Returns cos(draft, revision) - cos(draft, reply), `reply` being another one to the same post.

    Above 0 the revision is one of this draft; at 0 it might as well have been written without it.
    """
    return similarity.cosine(draft, revision) - similarity.cosine(draft, reply)


def _contents_kept(revised: Sequence[Revised], similarity: Similarity) -> Iterator[float]:
    """Compares with the best-voted of the other replies: what a model that answers the post itself is taught."""
    for item in revised:
        others = [reply for reply in item.thread.replies if reply.id != item.draft.id]
        best = max(others, key=lambda reply: (reply.score or 0, reply.id), default=None)
        if best is not None:
            yield content_kept(item.draft.text, item.text, best.text, similarity)


def why_not(draft: str, revision: str) -> str | None:
    """Returns why a revision cannot be a target whatever it says, None if it can."""
    if _words(revision) == _words(draft):
        return "unchanged"
    if not gate.may_revise(gate.judge(revision), gate.judge(draft)) or rules.METHOD in revision.upper():
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


def _rows(item: Revised, name: str, similarity: Similarity, probability: float) -> list[Example | Pair]:
    post, draft = item.thread.post, item.draft
    target, weight = _as_reply(item), gate.weight(gate.judge(item.text))
    made, overwritten = f"{MADE}:{name}", f"{MADE_OVERWRITTEN}:{name}"
    rows: list[Example | Pair] = [Example("im", post, target, draft=draft, weight=weight, source=made)]
    pairs = []
    if jaccard(shingles(item.text), shingles(draft.text)) < SAME_TEXT:
        pairs.append(Pair("im", post, target, draft, probability, draft=draft, weight=weight, source=made))
    other = _overwritten(item, similarity)
    if other is not None:
        pairs.append(Pair("im", post, target, other, probability, draft=draft, weight=weight, source=overwritten))
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
    found: Sequence[tuple[Thread, Reply]], reviser: Reviser, path: Path, forget: bool
) -> tuple[list[Revised], Counter[str]]:
    """Returns the revisions in the order of the drafts, and the asks without one by reason."""
    keys = [_key(thread.post, draft.text, reviser) for thread, draft in found]
    with revision_store.opened(path, keys if forget else None) as (known, append):
        missing = {key: item for key, item in zip(keys, found, strict=True) if key not in known}
        outcomes = _ask(missing, reviser, path, append) | known
    revised, counts = [], Counter[str]()
    for key, item in zip(keys, found, strict=True):
        outcome = outcomes[key]
        if isinstance(outcome, Failed):
            counts[f"reviser_{outcome.reason}"] += 1
        else:
            revised.append(Revised(*item, outcome))
    return revised, counts


def _ask(
    missing: dict[str, tuple[Thread, Reply]], reviser: Reviser, path: Path, append: revision_store.Append
) -> dict[str, revision_store.Outcome]:
    """Asks for every missing revision, stores what comes, and returns the failures that may be none the next time."""
    keys, failures, in_a_row = list(missing), dict[str, revision_store.Outcome](), 0
    if not keys:
        return failures
    asks = [(thread.post, draft.text) for thread, draft in missing.values()]
    go_on = f"What it wrote is kept in {path}, and the same command goes on with it."
    with progress.counting("Revising drafts", len(keys)) as advance:
        try:
            for index, outcome in revise_all(reviser, asks):
                advance(1)
                if isinstance(outcome, str) or outcome.final:
                    append(keys[index], outcome)
                else:
                    failures[keys[index]] = outcome
                in_a_row = 0 if isinstance(outcome, str) else in_a_row + 1
                if not isinstance(outcome, str) and in_a_row == MAX_FAILURES_IN_A_ROW:
                    raise _nothing_comes(reviser, outcome)
        except UserError as error:
            raise RevisingStopped(f"{error} {go_on}") from None
    return failures


def _nothing_comes(reviser: Reviser, last: Failed) -> UserError:
    return UserError(
        f"{reviser.name} failed {MAX_FAILURES_IN_A_ROW} times in a row, last with {last.reason!r}. "
        f"{_WAYS_OUT.get(last.reason, 'Look at its log.')}"
    )


def _key(post: Post, draft: str, reviser: Reviser) -> str:
    """All that decides what the reviser writes; texts only, so that the store holds nobody's id."""
    parts = [reviser.name, reviser.identity, prompts.VERSION, post.title, post.body, draft]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
