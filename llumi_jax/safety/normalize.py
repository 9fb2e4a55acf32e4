"""Text as the rules read it: lower case, plain letters, disguises undone, and the way back to the original.

A disguise (digits for letters, stretched or spaced letters, look-alikes from other alphabets, a slip of the keys) is
undone only where that gives a word which the rules know. Every other word stays as it was written, so nothing
harmful is read into a text that is not there.
"""

import bisect
import functools
import itertools
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

Edit = tuple[int, int, str]  # start, end, what stands there instead

_LOOK_ALIKE = (
    ("аеорсухіјѕһԁкмтнвё", "aeopcyxijshdkmthbe"),  # Cyrillic
    ("αονικρτυεηβωχ", "aovikptuenbwx"),  # Greek
    ("ᴀʙᴄᴅᴇɢʜɪᴊᴋʟᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢɑɡ", "abcdeghijklmnoprtuvwyzag"),  # small capitals
    ("łøđı", "lodi"),
    ("\u2018\u2019\u201a\u201b\u2032\u00b4", "''''''"),
    ("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"""""""'),
    ("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-------"),
    ("\u2026\u00b7\u2022", ".  "),
)
_PLAIN = {strange: plain for stranger, plainer in _LOOK_ALIKE for strange, plain in zip(stranger, plainer, strict=True)}
_NON_ASCII = re.compile(r"[^\x00-\x7f]")
# Two dots or more are a pause, not an end.
END = r"[.!?](?<!\.\.)(?=[\s\"')\]*]|$)|\n\s*\n"
WORD = re.compile(r"[a-z]+")
_SYMBOL = re.compile(r"[0134578@$|*+](?:(?<=[a-z].)|(?=[a-z]))|!(?=[a-z0-9])")
_MIXED = re.compile(r"[a-z0134578@$!|*+]+")
_SPACED = re.compile(r"(?<![a-z0-9'])[a-z0-9@$](?:[ .\-*/|,~]{1,3}[a-z0-9@$](?![a-z0-9'])){2,60}")
_UNUSUAL_ALONE = frozenset("bcefghjklnopqrvwxyz")
_TRIPLE = re.compile(r"([a-z])\1\1")  # Finds a run in half the time that the run itself would take.
_RUN = re.compile(r"([a-z])\1{2,}")
_SUBSTITUTES = {"0": "o", "1": "il", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "@": "a", "$": "s"}
_SUBSTITUTES |= {"!": "il", "|": "li", "+": "t", "*": "aeiou"}
_MAX_GUESSES = 64


@dataclass(frozen=True, slots=True)
class Layer:
    """Replacements in one text, as parallel lists: where each stood before, and where it stands now."""

    old: list[tuple[int, int]]
    new_start: list[int]
    new_end: list[int]

    def before(self, position: int, is_end: bool) -> int:
        """Returns where a position of the new text was in the old one; an end is exclusive."""
        i = (bisect.bisect_left if is_end else bisect.bisect_right)(self.new_start, position) - 1
        if i < 0:
            return position
        if position < self.new_end[i] or (is_end and position == self.new_end[i]):
            return self.old[i][is_end]
        return self.old[i][1] + position - self.new_end[i]


@dataclass(frozen=True, slots=True)
class Normalized:
    """A text as the rules read it, with its words in order.

    layers: the replacements that led to it, first one first.
    """

    text: str
    words: list[str]
    layers: tuple[Layer, ...]

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Returns the span of the original text that the (non-empty) span of the normalised one was made of."""
        for layer in reversed(self.layers):
            start, end = layer.before(start, is_end=False), layer.before(end, is_end=True)
        return start, end


def normalize(text: str, vocabulary: Collection[str], spelling: Mapping[str, str]) -> Normalized:
    """Reads a text as the rules do.

    Args:
      vocabulary: the words that a disguise may hide.
      spelling: word as some people write it -> as the rules know it.
    """
    layers: list[Layer] = []
    text = _apply(text, _foreign(text), layers).lower().replace("_", " ")
    text = _apply(text, _disjoint([*_symbols(text, vocabulary), *_stretched(text, vocabulary)]), layers)
    words = WORD.findall(text)
    for find in (_spaced, _respelled):
        if edits := find(text, words, vocabulary, spelling):
            text = _apply(text, edits, layers)
            words = WORD.findall(text)
    return Normalized(text, words, tuple(layers))


def _apply(text: str, edits: list[Edit], layers: list[Layer]) -> str:
    """Returns the text with the edits (in order, disjoint) made; adds a layer if one of them moved something."""
    if not edits:
        return text
    parts: list[str] = []
    at, shift = 0, 0
    layer = Layer([], [], [])
    for start, end, instead in edits:
        parts += (text[at:start], instead)
        at = end
        layer.old.append((start, end))
        layer.new_start.append(start + shift)
        shift += len(instead) - (end - start)
        layer.new_end.append(end + shift)
    if any(len(instead) != end - start for start, end, instead in edits):
        layers.append(layer)
    return "".join((*parts, text[at:]))


def _disjoint(edits: list[Edit]) -> list[Edit]:
    kept: list[Edit] = []
    for edit in sorted(edits):
        if not kept or edit[0] >= kept[-1][1]:
            kept.append(edit)
    return kept


def _foreign(text: str) -> list[Edit]:
    if text.isascii():
        return []
    return [(m.start(), m.end(), _plain(m[0])) for m in _NON_ASCII.finditer(text)]


@functools.lru_cache(maxsize=8192)
def _plain(character: str) -> str:
    """One character as plain lower-case letters; nothing for an invisible one; itself where no letters stand for it."""
    if unicodedata.category(character) in ("Cf", "Mn", "Me"):
        return ""
    lower = character.lower()
    parts = [part for part in unicodedata.normalize("NFKD", lower) if unicodedata.category(part) not in ("Mn", "Cf")]
    folded = "".join(_PLAIN.get(part, part) for part in (parts if lower not in _PLAIN else lower)).lower()
    if folded.isascii() and folded:
        return folded
    return character if len(lower) != 1 else lower


def _symbols(text: str, vocabulary: Collection[str]) -> Iterator[Edit]:
    """Words in which digits or signs stand for letters."""
    if not _SYMBOL.search(text):
        return
    for match in _MIXED.finditer(text):
        token = match[0]
        if token.isalpha() or not any(map(str.isalpha, token)):
            continue
        for end in {len(token), len(token.rstrip("!*+|"))}:
            word = _guess(token[:end], vocabulary)
            if word:
                yield match.start(), match.start() + end, word
                break


def _guess(token: str, vocabulary: Collection[str]) -> str | None:
    if len(token) > 30 or token.isalpha():
        return None
    options = [_SUBSTITUTES.get(sign, sign) for sign in token]
    guesses = itertools.islice(itertools.product(*options), _MAX_GUESSES)
    return next((word for guess in guesses if (word := "".join(guess)) in vocabulary), None)


def _stretched(text: str, vocabulary: Collection[str]) -> Iterator[Edit]:
    """Words with a letter three times or more in a row."""
    end = 0
    for run in _TRIPLE.finditer(text):
        if run.start() < end:
            continue  # In the word just looked at.
        start = run.start()
        while start and "a" <= text[start - 1] <= "z":
            start -= 1
        end = run.end()
        while end < len(text) and "a" <= text[end] <= "z":
            end += 1
        word = text[start:end]
        parts = _RUN.split(word)[:21]  # text, letter, text, letter, …; longer is noise
        options = [(part, part * 2) if i % 2 else (part,) for i, part in enumerate(parts)]
        guesses = itertools.islice(itertools.product(*options), _MAX_GUESSES)
        plain = next((guess for parts in guesses if (guess := "".join(parts)) in vocabulary), None)
        if plain:
            yield start, end, plain


def _spaced(text: str, words: list[str], vocabulary: Collection[str], _: object) -> list[Edit]:
    """Letters written apart."""
    if _UNUSUAL_ALONE.isdisjoint(words):
        return []
    edits = []
    for match in _SPACED.finditer(text):
        joined = " ".join(
            _segmented("".join(re.findall(r"[a-z0-9@$]", part)), vocabulary) for part in re.split(r"[ ]{2,}", match[0])
        )
        if not set(joined.split()).isdisjoint(word for word in vocabulary if len(word) > 2):
            edits.append((match.start(), match.end(), joined))
    return edits


def _segmented(letters: str, vocabulary: Collection[str]) -> str:
    """Letters without spaces, cut into known words from the left, longest first; what is unknown stays together."""
    letters = letters[:120]
    parts, at, unknown = [], 0, ""
    while at < len(letters):
        for end in range(min(len(letters), at + 14), at + 1, -1):
            piece = letters[at:end]
            word = piece if piece in vocabulary else _guess(piece, vocabulary)
            if word:
                parts += [unknown, word] if unknown else [word]
                at, unknown = end, ""
                break
        else:
            unknown += letters[at]
            at += 1
    return " ".join([*parts, unknown] if unknown else parts)


def _respelled(text: str, words: list[str], _: object, spelling: Mapping[str, str]) -> list[Edit]:
    """Words as people write them in a hurry."""
    if spelling.keys().isdisjoint(words):
        return []
    found = (m for m in WORD.finditer(text) if m[0] in spelling)
    # After a number it is a unit ("5 kms").
    return [
        (m.start(), m.end(), spelling[m[0]])
        for m in found
        if not text[max(m.start() - 2, 0) : m.start()].strip().isdigit()
    ]
