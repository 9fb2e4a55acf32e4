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
    blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    common = sum(not word.isspace() for block in blocks for word in old[block.a : block.a + block.size])
    if 2 * common < _ALIKE * sum(not word.isspace() for word in old + new):
        return [(before, False)], [(after, False)]
    common_old = {block.a + i for block in blocks for i in range(block.size)}
    common_new = {block.b + i for block in blocks for i in range(block.size)}
    return _pieces(old, common_old), _pieces(new, common_new)


def _pieces(words: list[str], common: set[int]) -> Pieces:
    """Joins neighbours that are marked alike; space is marked only between two marked words."""
    spoken = [i for i, word in enumerate(words) if not word.isspace()]
    changed = {i for i in spoken if i not in common}
    for left, right in zip(spoken, spoken[1:], strict=False):
        if left in changed and right in changed:
            changed |= set(range(left + 1, right))
    pieces: Pieces = []
    for i, word in enumerate(words):
        if pieces and pieces[-1][1] == (i in changed):
            word = pieces.pop()[0] + word
        pieces.append((word, i in changed))
    return pieces


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


def size(count: float) -> str:
    """Bytes with a binary unit."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
