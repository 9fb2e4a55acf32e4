"""From all threads to those that can teach something: in memory from here on, cleaned and ready to be paired.

One thread at a time, so that threads can be looked at anywhere and in any order. Most threads of a large dump end
here, before anything expensive is done to their texts.
"""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from data_pipelines import gate, names, pairing, privacy
from data_pipelines.calibration import Calibration
from data_pipelines.eligibility import Options
from data_pipelines.funnel import Funnel
from data_pipelines.near_duplicates import band_keys
from data_pipelines.pairing import Candidate, Rule
from data_pipelines.records import Post, Reply, Thread, Traits
from llumi_jax.safety import rules

MAX_HIGH = 2


class Selected(msgspec.Struct, frozen=True, array_like=True):
    """A thread with masked texts, and what was found in it.

    candidates: preferences by index into its replies.  high: replies to imitate, the best first.
    found: ids of the safety rules that each reply breaks.  post_key, reply_keys: MinHash (`band_keys`) as bytes.
    people: names of those who wrote in the thread, also where their replies are not used.
    """

    thread: Thread
    split: str
    candidates: list[Candidate]
    high: list[int]
    found: list[gate.Found]
    post_key: bytes = b""
    reply_keys: list[bytes] = []
    people: list[str] = []


def select(
    thread: Thread, split: str, rule: Rule, traits: Traits, calibration: Calibration, options: Options, funnel: Funnel
) -> Selected | None:
    """Returns what a thread gives, None if nothing; every row that leaves is counted in `funnel`."""
    found = pairing.candidates(thread, rule, traits, calibration)
    high = {i for i, reply in enumerate(thread.replies) if calibration.is_high(thread.post, reply, traits)}
    if not found and not high:
        _drop_all(thread, traits, funnel, "without_preference")
        return None
    if not options.minors and rules.is_minor(f"{thread.post.title}\n{thread.post.body}"):
        _drop_all(thread, traits, funnel, "by_minor")
        return None
    named = high | {index for chosen, rejected, _ in found for index in (chosen, rejected)}
    kept = [i for i in range(len(thread.replies)) if i in named]
    funnel.drop("reply_without_preference", len(thread.replies) - len(kept))
    texts = [privacy.mask(thread.replies[i].text) for i in kept]
    verdicts = [gate.judge(text) for text in texts]
    safe = [place for place, verdict in enumerate(verdicts) if not gate.is_deadly(verdict)]
    _count_deadly(verdicts, funnel)
    if not safe:
        funnel.drop("post_without_replies", int(traits.posts_are_rows))
        return None
    new = {kept[place]: index for index, place in enumerate(safe)}
    replies = tuple(replace(thread.replies[kept[place]], text=texts[place]) for place in safe)
    verdicts = [verdicts[place] for place in safe]
    for index in {new[i] for i in high | {c for c, _, _ in found} if i in new}:
        funnel.not_chosen.update(rule for rule in verdicts[index] if rule.startswith("T1"))
    return Selected(
        thread=Thread(_clean(thread.post), replies),
        split=split,
        candidates=[
            (new[c], new[r], p)
            for c, r, p in found
            if c in new and r in new and may_be_chosen(replies[new[c]], verdicts[new[c]], verdicts[new[r]])
        ],
        high=_best({new[i] for i in high if i in new}, replies, verdicts, calibration, traits),
        found=verdicts,
        people=sorted(names.people(thread)),
    )


def with_masked_names(one: Selected, thread: Thread) -> Selected:
    """Returns the thread with its names masked, and judges it anew: what has a mask is no longer to be imitated."""
    if thread == one.thread:
        return one
    found = [gate.judge(reply.text) for reply in thread.replies]
    fit = lambda index, draft=(): may_be_chosen(thread.replies[index], found[index], draft)
    return replace(
        one,
        thread=Thread(_clean(thread.post), thread.replies),
        found=found,
        candidates=[(c, r, p) for c, r, p in one.candidates if fit(c, found[r])],
        high=[index for index in one.high if fit(index)],
    )


def _drop_all(thread: Thread, traits: Traits, funnel: Funnel, reason: str) -> None:
    funnel.drop(f"post_{reason}", int(traits.posts_are_rows))
    funnel.drop(f"reply_{reason}", len(thread.replies))


def _count_deadly(verdicts: list[gate.Found], funnel: Funnel) -> None:
    for verdict in verdicts:
        if gate.is_deadly(verdict):
            funnel.drop("reply_unsafe")
            funnel.unsafe.update(rule for rule in verdict if rule.startswith("T0"))


def may_be_chosen(reply: Reply, found: gate.Found, draft: gate.Found = ()) -> bool:
    """A text with a masked detail must not be what a model learns to write, nor one that harms.

    `draft`: what the other reply breaks; as the draft of a revision it may excuse an experience of the writer's own.
    """
    return not privacy.has_placeholder(reply.text) and gate.may_revise(found, draft)


def _best(
    high: set[int], replies: tuple[Reply, ...], found: list[gate.Found], calibration: Calibration, traits: Traits
) -> list[int]:
    fit = [i for i in sorted(high) if may_be_chosen(replies[i], found[i])]
    return sorted(fit, key=lambda i: -calibration.rate(replies[i], traits))[:MAX_HIGH]


def _clean(post: Post) -> Post:
    title, body = (rules.mask_post(privacy.mask(text)) for text in (post.title, post.body))
    return replace(post, title=title, body=body)


def with_keys(some: Sequence[Selected]) -> list[Selected]:
    """Adds the MinHash of every post and reply: many texts at once take a fraction of the time."""
    posts = band_keys([f"{one.thread.post.title}\n{one.thread.post.body}" for one in some])
    replies = iter(band_keys([reply.text for one in some for reply in one.thread.replies]))
    return [
        replace(one, post_key=post.tobytes(), reply_keys=[next(replies).tobytes() for _ in one.thread.replies])
        for one, post in zip(some, posts, strict=True)
    ]
