"""Words as people write them in a hurry, or to slip past a filter: as written -> as the rules know them."""

import functools
from types import MappingProxyType

_SHORT = {
    "u": "you",
    "ur": "your",
    "urself": "yourself",
    "yrself": "yourself",
    "urselves": "yourselves",
    "wanna": "want to",
    "gonna": "going to",
    "gotta": "got to",
    "kys": "kill yourself",
    "kms": "kill myself",
    "unalive": "kill",
    "unaliving": "killing",
    "unalived": "killed",
    "sewerslide": "suicide",
    "sewercide": "suicide",
    "sueycide": "suicide",
    "suislide": "suicide",
    "ctb": "catch the bus",
    "od": "overdose",
    "oding": "overdosing",
    "ods": "overdoses",
    "noone": "no one",
    "ppl": "people",
    "pls": "please",
    "plz": "please",
    "bc": "because",
    "tho": "though",
    "dieing": "dying",
    "meself": "myself",
}
# Apostrophes left out. Words that are words without one ("well", "hell", "its", "were") are not here.
_SHORT |= {
    word.replace("'", ""): word
    for word in (
        "i'm i've don't can't won't didn't doesn't isn't aren't wasn't wouldn't couldn't shouldn't haven't hasn't "
        "you're you've you'll you'd they're they've they'll that's there's what's"
    ).split()
}
# Words whose slips of the keys are worth a look: long enough that a slip is seldom another word.
_OFTEN_MISTYPED = (
    "suicide suicidal yourself myself themselves himself overdose overdosed bottle tablets painless pathetic "
    "worthless selfish coward idiot together medication medications antidepressants prescription attempted "
    "depressed depression bipolar secret promise anyone nobody better another exactly struggle struggled should "
    "killing kill pills rope noose bridge"
)
_REAL_WORDS = frozenset(
    "overdoes tables table mediation mediations anther bottles bottle tablet pill pils kil kiln kills skill "
    "pilsner bride bridges ridge roe robe rope roper ropes nose nosed noise loose moose nooses batter bettor "
    "bette secrets secretes promises promised rop shoud moist idiots cowards towards cowed selfie selfish depress "
    "depresses prescriptions medications struggles anyones nobodys killings kiling".split()
)


def _slips(word: str) -> set[str]:
    """What a slip of the keys makes of a word: an inner letter left out, two swapped, one doubled."""
    inner = range(1, len(word))
    left_out = {word[:i] + word[i + 1 :] for i in inner if i < len(word) - 1}
    swapped = {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in inner if i < len(word) - 1}
    doubled = {word[:i] + word[i] + word[i:] for i in inner}
    return (left_out if len(word) > 5 else set()) | (swapped if len(word) > 3 else set()) | doubled


@functools.cache
def spelling() -> MappingProxyType[str, str]:
    """The whole table. Real words are never in it."""
    known = frozenset(_OFTEN_MISTYPED.split())
    table = {slip: word for word in _OFTEN_MISTYPED.split() for slip in _slips(word) if slip not in known | _REAL_WORDS}
    return MappingProxyType({**table, **_SHORT})
