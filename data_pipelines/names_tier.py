"""Names of people that only a model can know become `[NAME]`: the tier behind `--names_model`.

It runs after the patterns of `privacy`, whose placeholders it never touches, and after the rules of safety, so that a
word of theirs that a model takes for a name is judged before it is gone.
"""

import re
from collections.abc import Callable, Sequence

from data_pipelines import names_model
from data_pipelines.names_kept import ALSO_WORDS, KEPT
from data_pipelines.names_model import Find, NamesModel, Spans

PLACEHOLDER = "[NAME]"
MIN_CHARACTERS = 3  # Of a word that is masked wherever else it stands in the text.
Hide = Callable[[str], str]
_PLACEHOLDER = re.compile(r"\[[A-Z]+\]")
_CAPITAL_I = re.compile(r"\bI\b")
_STARTS_SENTENCE = re.compile(r"(?:\A|[.!?:;…\n])\W*\Z")
_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"[^\W\d_][\w'’-]*[^\W_]")
# What is around a name inside of what a model calls one. The possessive stays: "Anna's" becomes "[NAME]'s".
_BEFORE = re.compile(r"\A[\W\d_]+")
_AFTER = re.compile(r"(?:['’][sS])?[\W_]*\Z")


def unchanged(text: str) -> str:
    """Stands for the tier where it is off."""
    return text


def hider(model: NamesModel, ahead: Sequence[str]) -> Hide:
    """Returns what masks the names of a text; texts that will be asked for are masked now, many at once.

    Raises:
      UserError: the model cannot be used on this machine.
    """
    find = names_model.finder(model)
    texts = list(dict.fromkeys(ahead))
    known = dict(zip(texts, mask_all(texts, find), strict=True))

    def hide(text: str) -> str:
        if text not in known:
            (known[text],) = mask_all([text], find)
        return known[text]

    return hide


def mask_all(texts: Sequence[str], find: Find) -> list[str]:
    """Returns the texts with people's names masked. Idempotent: each is looked at until nothing more is found.

    It ends, since every round leaves fewer letters outside of placeholders.
    """
    masked = list(texts)
    left = [index for index, text in enumerate(masked) if _LETTER.search(text)]
    while left:
        found = find([masked[index] for index in left])
        before = {index: masked[index] for index in left}
        for index, spans in zip(left, found, strict=True):
            masked[index] = _mask(masked[index], spans)
        left = [index for index in left if masked[index] != before[index]]
    return masked


def _mask(text: str, spans: Spans) -> str:
    if not spans:
        return text
    kept = [match.span() for match in KEPT.finditer(text)]
    names = [name for span in spans for name in _names(text, span, kept)]
    if not _is_without_capitals(text):
        names = [(start, stop) for start, stop in names if any(map(str.isupper, text[start:stop]))]
    if not names:
        return text
    listed = "|".join(map(re.escape, sorted(_said_again(text, names), key=lambda word: (-len(word), word))))
    if listed:
        again = re.finditer(rf"(?<![\w-])(?:{listed})(?![\w-])", text)
        names += [match.span() for match in again if not _overlaps(match.span(), kept)]
    return _replaced(text, names)


def _is_without_capitals(text: str) -> bool:
    """Whether its writer does without: elsewhere what a model calls a name in lower case is a word."""
    letter = _LETTER.search(_PLACEHOLDER.sub("", text))
    return letter is not None and letter[0].islower() and not _CAPITAL_I.search(text)


def _names(text: str, span: tuple[int, int], kept: Spans) -> Spans:
    """Returns what of a span is a name: whole words, less what is kept, titles in front and the possessive."""
    at, end = _whole_words(text, *span)
    pieces, cut = [], False
    for start, stop in kept:
        if start < end and stop > at:
            pieces.append((at, start))
            at, cut = max(at, stop), True
    pieces.append((at, end))
    trimmed = [_trimmed(text, start, stop) for start, stop in pieces if start < stop]
    # One letter names nobody. Beside something that is kept, only a capital says that the rest is a name.
    return [(start, stop) for start, stop in trimmed if stop - start > 1 and (not cut or text[start].isupper())]


def _whole_words(text: str, start: int, stop: int) -> tuple[int, int]:
    """Half a word that is masked leaves the other half to be read: "Rose-b" is one word."""
    first, after = start, stop
    while first > 0 and text[start:stop][:1].isalnum() and _is_in_word(text, first - 1):
        first -= 1
    while after < len(text) and text[start:stop][-1:].isalnum() and _is_in_word(text, after):
        after += 1
    return first, after


def _is_in_word(text: str, at: int) -> bool:
    return text[at].isalnum() or (text[at] in "-_" and text[at - 1 : at].isalnum() and text[at + 1 : at + 2].isalnum())


def _trimmed(text: str, start: int, stop: int) -> tuple[int, int]:
    start = stop - len(_BEFORE.sub("", text[start:stop]))
    return start, start + len(_AFTER.sub("", text[start:stop], count=1))


def _said_again(text: str, names: Spans) -> set[str]:
    """Returns the words that are masked wherever they stand in the text: a name known once is known everywhere."""
    words = set()
    for start, stop in names:
        said = _WORD.findall(text[start:stop])
        # The first of several at the start of a sentence may be a verb ("Tell Craig").
        words.update(said[1:] if len(said) > 1 and _STARTS_SENTENCE.search(text[max(0, start - 8) : start]) else said)
    return {
        word for word in words if len(word) >= MIN_CHARACTERS and word[0].isupper() and word.lower() not in ALSO_WORDS
    }


def _overlaps(span: tuple[int, int], others: Spans) -> bool:
    return any(span[0] < stop and span[1] > start for start, stop in others)


def _replaced(text: str, names: Spans) -> str:
    """Puts one placeholder for names that overlap or have only a space between them."""
    pieces, at, last = [], 0, -1
    for start, stop in sorted(names):
        if last >= 0 and (start <= last or text[last:start] == " "):
            last = max(last, stop)
            continue
        if last >= 0:
            pieces += [PLACEHOLDER]
            at = last
        pieces.append(text[at:start])
        last = stop
    return "".join([*pieces, PLACEHOLDER, text[last:]])
