"""From all threads to those that can teach something: `prefer` asks the votes, `clean` looks at the texts.

One thread at a time, so that threads can be looked at anywhere and in any order. Votes come first: most threads of a
large dump end there, before anything expensive is done to their texts.
"""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from data_pipelines import gate, names, pairing, privacy
from data_pipelines.calibration import Calibration
from data_pipelines.eligibility import Options
from data_pipelines.funnel import Funnel
from data_pipelines.names_tier import Hide, unchanged
from data_pipelines.near_duplicates import band_keys
from data_pipelines.pairing import Candidate, Rule
from data_pipelines.records import Post, Thread, Traits
from llumi_jax.safety import rules

MAX_HIGH = 2


class Preferred(msgspec.Struct, frozen=True, array_like=True):
    """A thread cut down to the replies that its votes say something about; its texts are as they came.

    candidates: preferences by index into its replies.  high: replies to imitate, the best first.
    people: names of those who wrote in the thread, also where their replies are not used.
    """

    thread: Thread
    split: str
    candidates: list[Candidate]
    high: list[int]
    people: list[str]


class Selected(msgspec.Struct, frozen=True, array_like=True):
    """A thread with masked texts, and what was found in it. As `Preferred`, and:

    found: ids of the safety rules that each reply breaks.  post_key, reply_keys: MinHash (`band_keys`) as bytes.
    """

    thread: Thread
    split: str
    candidates: list[Candidate]
    high: list[int]
    found: list[gate.Found]
    post_key: bytes = b""
    reply_keys: list[bytes] = []
    people: list[str] = []


def prefer(
    thread: Thread, split: str, rule: Rule, traits: Traits, calibration: Calibration, funnel: Funnel
) -> Preferred | None:
    """Returns what the votes of a thread say, None if nothing; every row that leaves is counted in `funnel`."""
    found = pairing.candidates(thread, rule, traits, calibration)
    high = [i for i, reply in enumerate(thread.replies) if calibration.is_high(thread.post, reply, traits)]
    if not found and not high:
        _drop_all(thread, traits, funnel, "without_preference")
        return None
    high.sort(key=lambda i: -calibration.rate(thread.replies[i], traits))
    kept = sorted({*high, *_in_pairs(found)})
    new = {old: index for index, old in enumerate(kept)}
    funnel.drop("reply_without_preference", len(thread.replies) - len(kept))
    return Preferred(
        thread=Thread(thread.post, tuple(thread.replies[i] for i in kept)),
        split=split,
        candidates=[(new[c], new[r], p) for c, r, p in found],
        high=[new[i] for i in high],
        people=sorted(names.people(thread)),
    )


def clean(one: Preferred, traits: Traits, options: Options, funnel: Funnel, hide: Hide = unchanged) -> Selected | None:
    """Masks and judges the texts. Returns what may be learnt from, None if nothing; counts what leaves.

    `hide`: masks the names of people in a text that was masked by patterns (`names_tier`).
    """
    post, replies = one.thread.post, one.thread.replies
    if _is_by_minor(post, options):
        _drop_all(one.thread, traits, funnel, "by_minor")
        return None
    looked = _look_at(one, hide)
    funnel.drop("reply_without_preference", len(replies) - len(looked))
    _count_unsafe(one, looked, funnel)
    safe = [i for i in sorted(looked) if not gate.is_deadly(looked[i][1])]
    if not safe:
        funnel.drop("post_without_replies", int(traits.posts_are_rows))
        return None
    new = {old: index for index, old in enumerate(safe)}
    fit = lambda c, r: may_be_chosen(*looked[c], looked[r][1])
    return Selected(
        thread=Thread(_clean(post, hide), tuple(replace(replies[i], text=looked[i][0]) for i in safe)),
        split=one.split,
        candidates=[(new[c], new[r], p) for c, r, p in one.candidates if c in new and r in new and fit(c, r)],
        high=[new[i] for i in one.high if i in new and may_be_chosen(*looked[i])][:MAX_HIGH],
        found=[looked[i][1] for i in safe],
        people=one.people,
    )


def texts_to_hide(some: Sequence[Preferred], options: Options) -> list[str]:
    """Returns what `clean` will give to `hide`, as far as that can be known before; what it will not is rare."""
    texts = []
    for one in some:
        if not _is_by_minor(one.thread.post, options):
            texts += [_without_details(text) for text in (one.thread.post.title, one.thread.post.body)]
            wanted = _in_pairs(one.candidates).union(one.high[:MAX_HIGH])
            texts += [privacy.mask(one.thread.replies[index].text) for index in sorted(wanted)]
    return texts


def _is_by_minor(post: Post, options: Options) -> bool:
    # What begins in the title may end in the body.
    said = (post.title, post.body, f"{post.title}\n{post.body}")
    return not options.minors and any(map(rules.is_minor, said))


def _look_at(one: Preferred, hide: Hide) -> dict[int, tuple[str, gate.Found]]:
    """Returns the masked text of a reply and the rules that it breaks, for as many replies as will be of use.

    That is those of the candidates, and of the others to imitate the best until `MAX_HIGH` may be.
    """

    def look(index: int) -> tuple[str, gate.Found]:
        text = privacy.mask(one.thread.replies[index].text)
        found = gate.judge(text)
        hidden = text if gate.is_deadly(found) else hide(text)
        # What was found stays found: a model may take the word that a rule looks for to be a name.
        return (text, found) if hidden == text else (hidden, tuple(sorted({*found, *gate.judge(hidden)})))

    looked = {index: look(index) for index in _in_pairs(one.candidates)}
    fit = 0
    for index in one.high:
        if index not in looked:
            if fit >= MAX_HIGH:
                continue
            looked[index] = look(index)
        fit += may_be_chosen(*looked[index])
    return looked


def _in_pairs(found: Sequence[Candidate]) -> set[int]:
    return {index for chosen, rejected, _ in found for index in (chosen, rejected)}


def with_masked_names(one: Selected, thread: Thread) -> Selected:
    """Returns the thread with its names masked, and judges it anew: what has a mask is no longer to be imitated."""
    if thread == one.thread:
        return one
    found = [gate.judge(reply.text) for reply in thread.replies]
    fit = lambda index, draft=(): may_be_chosen(thread.replies[index].text, found[index], draft)
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


def _count_unsafe(one: Preferred, looked: dict[int, tuple[str, gate.Found]], funnel: Funnel) -> None:
    better = {*one.high, *(chosen for chosen, _, _ in one.candidates)}
    for index, (_, found) in looked.items():
        if gate.is_deadly(found):
            funnel.drop("reply_unsafe")
            funnel.unsafe.update(rule for rule in found if rule.startswith("T0"))
        elif index in better:
            funnel.not_chosen.update(rule for rule in found if rule.startswith("T1"))


def may_be_chosen(text: str, found: gate.Found, draft: gate.Found = ()) -> bool:
    """A text with a masked detail must not be what a model learns to write, nor one that harms.

    `draft`: what the other reply breaks; as the draft of a revision it may excuse an experience of the writer's own.
    """
    return not privacy.has_placeholder(text) and gate.may_revise(found, draft)


def _clean(post: Post, hide: Hide = unchanged) -> Post:
    def cleaned(text: str) -> str:
        plain = _without_details(text)
        hidden = hide(plain)
        return plain if hidden == plain else rules.mask_post(hidden)

    return replace(post, title=cleaned(post.title), body=cleaned(post.body))


def _without_details(text: str) -> str:
    return rules.mask_post(privacy.mask(text))


def with_keys(some: Sequence[Selected]) -> list[Selected]:
    """Adds the MinHash of every post and reply: many texts at once take a fraction of the time."""
    posts = band_keys([f"{one.thread.post.title}\n{one.thread.post.body}" for one in some])
    replies = iter(band_keys([reply.text for one in some for reply in one.thread.replies]))
    return [
        replace(one, post_key=post.tobytes(), reply_keys=[next(replies).tobytes() for _ in one.thread.replies])
        for one, post in zip(some, posts, strict=True)
    ]
