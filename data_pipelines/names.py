"""Names of a thread's own people inside its texts: the source says who wrote there, so these need no guessing."""

import re
from collections import Counter
from collections.abc import Collection, Sequence

from msgspec.structs import replace

from data_pipelines.privacy import PLACEHOLDERS
from data_pipelines.records import Thread

MIN_CHARACTERS = 4
# A plain word that also stands in this many threads of other people is a word, not a mention ("hope", "rose").
COMMON_FROM = 2
PLACEHOLDER = "[USER]"
_PLAIN = re.compile(r"[a-z]+")
# Somebody called "user" must not be found inside a placeholder.
_RESERVED = frozenset(word.strip("[]").lower() for word in PLACEHOLDERS)
_WORD = re.compile(r"[a-z]{4,}")
_WORDS = re.compile(r"[\w-]+")


def mask_names(
    threads: Sequence[Thread], others: Sequence[Collection[str]] = (), everywhere: Collection[str] = ()
) -> list[Thread]:
    """Returns the threads with the names of their posters and repliers masked: whole words, in any case.

    Args:
      others: for each thread more names, in lower case, of people whose replies are no longer in it.
      everywhere: names, in lower case, that must not stand anywhere.
    """
    wanted = {name for name in everywhere if len(name) >= MIN_CHARACTERS} - _RESERVED
    found = [
        _mentioned(thread, names) | (wanted & set(_WORDS.findall(_text(thread))) if wanted else set())
        for thread, names in zip(threads, others or [()] * len(threads), strict=True)
    ]
    plain = {name for names in found for name in names if _PLAIN.fullmatch(name)}
    common = _common(threads, plain) if plain else set()
    return [_masked(thread, names - common) for thread, names in zip(threads, found, strict=True)]


def people(thread: Thread) -> set[str]:
    """Returns the names of those who wrote in a thread, in lower case."""
    names = (thread.post.author, *(reply.author for reply in thread.replies))
    # A number alone is an id that some sources have for a name: in a text it is a number.
    long = {name.lower() for name in names if name and len(name) >= MIN_CHARACTERS and not name.isdecimal()}
    return long - _RESERVED


def _text(thread: Thread) -> str:
    return "\n".join((thread.post.title, thread.post.body, *(reply.text for reply in thread.replies))).lower()


def _mentioned(thread: Thread, others: Collection[str]) -> set[str]:
    """A cheap test first: hardly any thread names its people."""
    text = _text(thread)
    return {name for name in people(thread).union(others) if name in text}


def _common(threads: Sequence[Thread], names: set[str]) -> set[str]:
    counts: Counter[str] = Counter()
    for thread in threads:
        counts.update((names & set(_WORD.findall(_text(thread)))) - people(thread))
    return {name for name, count in counts.items() if count >= COMMON_FROM}


def _masked(thread: Thread, names: set[str]) -> Thread:
    if not names:
        return thread
    # The longest first, so that "rose_b" is not left as a placeholder and "_b".
    listed = "|".join(re.escape(name) for name in sorted(names, key=lambda name: (-len(name), name)))
    pattern = re.compile(rf"(?<![\w-])(?:{listed})(?![\w-])", re.I)
    post = replace(
        thread.post,
        title=pattern.sub(PLACEHOLDER, thread.post.title),
        body=pattern.sub(PLACEHOLDER, thread.post.body),
    )
    replies = tuple(replace(reply, text=pattern.sub(PLACEHOLDER, reply.text)) for reply in thread.replies)
    return Thread(post, replies)
