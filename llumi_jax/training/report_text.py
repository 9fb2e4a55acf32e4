"""Texts by models and strangers, made safe to show, and numbers as people read them."""

import difflib
import math
import re
import unicodedata

# Beside these go Cc (terminal escapes) and Cs (half surrogates, which UTF-8 cannot carry): they reorder what is around.
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_WORDS = re.compile(r"\s+|\w+(?:['’]\w+)*|[^\w\s]")
# Below this share of common words, marks would cover nearly everything and help nobody.
_ALIKE = 0.3

Pieces = list[tuple[str, bool]]


def plain(text: str) -> str:
    """The text without characters that act on a terminal or a page instead of standing in it."""
    kept = (
        "\ufffd" if unicodedata.category(character) == "Cs" else character
        for character in text.replace("\r\n", "\n").replace("\r", "\n")
        if character in "\n\t" or (unicodedata.category(character) != "Cc" and character not in _REORDERING)
    )
    return "".join(kept)


def word_differences(before: str, after: str) -> tuple[Pieces, Pieces]:
    """Cuts both texts into (piece, changed): pieces joined give the text again, `changed` are words the other lacks.

    Nothing is marked when the two have little in common, or are equal.
    """
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    common = sum(not word.isspace() for match in matcher.get_matching_blocks() for word in old[match.a :][: match.size])
    words = sum(not word.isspace() for word in old + new)
    if 2 * common < _ALIKE * words:
        return [(before, False)], [(after, False)]
    left: Pieces = []
    right: Pieces = []
    for kind, old_start, old_end, new_start, new_end in matcher.get_opcodes():
        _add(left, old[old_start:old_end], kind != "equal")
        _add(right, new[new_start:new_end], kind != "equal")
    return left, right


def _add(pieces: Pieces, words: list[str], changed: bool) -> None:
    text = "".join(words)
    if not text:
        return
    changed = changed and not text.isspace()
    if pieces and pieces[-1][1] == changed:
        text = pieces.pop()[0] + text
    pieces.append((text, changed))


def duration(seconds: float) -> str:
    """1:02:03, 4:05 or 0:07."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def percent(value: float | None) -> str:
    """61.3 %, or a dash where there is no number."""
    return "–" if value is None else f"{100 * value:.1f} %"


def points(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """+12.9 [+3.2, +22.6], in points of a percent; the interval only where it exists."""
    if value is None:
        return "–"
    interval = "" if low is None or high is None else f" [{100 * low:+.1f}, {100 * high:+.1f}]"
    return f"{100 * value:+.1f}{interval}"


def number(value: float | None, form: str = ".3f") -> str:
    """The number in that format, or a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else format(value, form)
