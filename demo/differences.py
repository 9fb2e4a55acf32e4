"""What a revision changed, word by word."""

import difflib
import re
from collections.abc import Iterable

_WORDS = re.compile(r"\s+|[^\s]+")
ADDED, REMOVED = "added", "removed"
_Change = tuple[str, int, int, int, int]  # kind, then from and to in the old words and in the new


def differences(before: str, after: str) -> list[tuple[str, str | None]]:
    """Cuts two texts into spans: kept (None), "removed" from `before` or "added" in `after`.

    Kept and added spans join to `after`; kept and removed spans join to `before`, white space aside.
    """
    old, new = _words(before), _words(after)
    matcher = difflib.SequenceMatcher(None, [w.strip() for w in old], [w.strip() for w in new], autojunk=False)
    spans: list[tuple[str, str | None]] = []
    for kind, a, b, c, d in _readable(matcher.get_opcodes()):
        if kind == "equal":
            spans.append(("".join(new[c:d]), None))
            continue
        if a < b:
            removed = "".join(old[a:b])
            # The last word of a text has no white space after it: give it some where words now stand beside it.
            before_it = " " if spans and not spans[-1][0][-1].isspace() else ""
            after_it = " " if c < d and not removed[-1].isspace() else ""
            spans.append((before_it + removed + after_it, REMOVED))
        if c < d:
            spans.append(("".join(new[c:d]), ADDED))
    return spans


def _readable(opcodes: Iterable[_Change]) -> list[_Change]:
    """Joins two changes with at most two kept words between them where both are longer than what lies between:
    a lone "to" or "and" in the middle of new words says nothing, and makes them hard to read."""
    joined: list[_Change] = []
    for code in opcodes:
        if len(joined) >= 2 and code[0] != "equal" and joined[-1][0] == "equal" and joined[-2][0] != "equal":
            before, between = joined[-2:]
            kept = between[2] - between[1]
            if kept <= 2 and kept < min(_size(before), _size(code)):
                joined[-2:] = [("replace", before[1], code[2], before[3], code[4])]
                continue
        joined.append(code)
    return joined


def _size(code: _Change) -> int:
    _, a, b, c, d = code
    return max(b - a, d - c)


def share_kept(before: str, after: str) -> float:
    """The share of the draft's words that the revision still holds, 0 to 1."""
    words = _words(before)
    removed = sum(len(_words(text)) for text, kind in differences(before, after) if kind == REMOVED)
    return 1 - removed / len(words) if words else 1.0


def _words(text: str) -> list[str]:
    """Words, each with the white space that follows it."""
    words: list[str] = []
    for part in _WORDS.findall(text):
        if part.isspace() and words:
            words[-1] += part
        else:
            words.append(part)
    return words
