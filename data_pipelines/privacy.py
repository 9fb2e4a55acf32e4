"""What could point to a person is masked with a word in brackets, in posts and replies alike.

A regular expression cannot know a name (`names_tier` asks a model); it knows the shapes of addresses and numbers.
Public helplines stay: they are the one number that a reader may need.
"""

import re
from collections.abc import Callable

# [NAME] is of `names_tier`.
PLACEHOLDERS = (
    "[USER]", "[URL]", "[EMAIL]", "[PHONE]", "[IP]", "[ADDRESS]", "[POSTCODE]", "[BIRTHDATE]", "[ACCOUNT]", "[NAME]",
)  # fmt: skip

# Digits only, without country code or leading 0/1. Short codes (988, 741741, 116123, 131114, …) have fewer digits
# than anything masked here.
HELPLINES = frozenset(
    "8002738255 8007997233 8664887386 8775658860 8336564566 8334564566 8006624357 8006564673 8008424673 "
    "8006686868 8001111 8001110111 8001110222 8001110116123 1300224636 300224636 1300659467 300659467 800551800 "
    "1800551800 116123 131114 741741 686868 85258 988 911 999 112 111 116117 800273".split()
)

_STREET = (
    r"street|st|avenue|ave|road|rd|boulevard|blvd|lane|ln|drive|dr|court|ct|close|crescent|terrace|way|place|pl|"
    r"square|sq|parkway|pkwy|highway|hwy"
)
_TLD = "com|org|net|edu|gov|info|io|co|uk|us|ca|au|de|fr|nl|me|app|dev|gg|tv|ly|xyz|site|online|blog"
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATE = (
    rf"(?:\d{{1,2}}[/.\-]\d{{1,2}}[/.\-]\d{{2,4}}|\d{{4}}-\d{{2}}-\d{{2}}|"
    rf"\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH},?\s+\d{{2,4}}|{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?,?\s+\d{{2,4}})"
)


class _Look:
    """What the cheap tests look at: the text, in lower case too, and whether it has a digit."""

    def __init__(self, text: str) -> None:
        self.text, self.lower = text, text.lower()
        self.digit: bool = _ANY_DIGIT.search(text) is not None


def _has(*parts: str) -> Callable[[_Look], bool]:
    return lambda look: any(map(look.lower.__contains__, parts))


def _has_digit_and(*parts: str) -> Callable[[_Look], bool]:
    return lambda look: look.digit and (not parts or any(map(look.lower.__contains__, parts)))


def _DIGIT(look: _Look) -> bool:
    return look.digit


_ANY_DIGIT = re.compile(r"\d")
_DOT_TLD = re.compile(rf"\.(?:{_TLD})\b")


def _DOTTED(look: _Look) -> bool:
    return "." in look.lower and _DOT_TLD.search(look.lower) is not None


_BORN = _has_digit_and("born", "birth", "dob", "d.o")
_CODE = _has_digit_and("zip", "post", "code")

_SORT_CODE = re.compile(r"\bsort\s?-?codes?", re.I)
# Three pairs of digits that are no date in any order: no pair may be a month.
_NO_DATE = r"(?:1[3-9]|[2-9]\d|00)-(?:1[3-9]|[2-9]\d|00)-\d\d"
# At least one digit, so that "::" in other uses stays.
_SHORT_IPV6 = re.compile(
    r"(?<![\w:])(?=[0-9a-f:]*\d)(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6})?::(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6})?(?![\w:])",
    re.I,
)
# In lower case only kinds of street that are hardly anything else, and no word before them that counts or measures.
_LOWER_STREET = re.compile(
    r"\d[a-z]?\s.*\b(?:street|avenue|road|lane|boulevard|crescent|terrace|st|ave|rd|blvd)\b", re.I
)
_NO_STREET_NAME = (
    r"(?:a|an|the|this|that|my|our|your|his|her|their|of|on|in|at|to|by|from|for|and|or|down|up|off|per|each|every|"
    r"more|other|different|long|open|hard|country|main|side|back|way|one|lane|street|road|people|men|women|children|"
    r"seconds?|minutes?|mins?|hours?|hrs?|days?|nights?|weeks?|months?|years?|yrs?|times?|miles?|km|metres?|meters?|"
    r"feet|blocks?|steps?|houses?|cars?|buses|kids?|friends?|doors?|am|pm|percent|mg|ml)"
)
_LOWER_ADDRESS = re.compile(
    rf"\b\d{{1,5}}[a-z]?\s+(?:(?!{_NO_STREET_NAME}\b)[a-z][\w'’-]+\s+){{1,3}}"
    r"(?:street|avenue|road|lane|boulevard|crescent|terrace|st|ave|rd|blvd)\b",
    re.I,
)

# (cheap test whether the pattern can match at all, pattern, placeholder): most texts fail every test.
_RULES: tuple[tuple[Callable[[_Look], bool], re.Pattern[str], str], ...] = (
    (_has("]("), re.compile(r"\[([^\]\[]{1,300})\]\((?:https?://|www\.|/)[^\s)]*\)"), r"\1 [URL]"),
    (_has("@"), re.compile(r"(?:mailto:)?\b[\w.+%-]+@[\w-]+(?:\.[\w-]+)+\b"), "[EMAIL]"),
    (
        _has("(dot)", "[dot]", " dot "),
        re.compile(
            r"\b[\w.+%-]{2,}\s?(?:\(at\)|\[at\]| at )\s?[\w-]+\s?(?:\(dot\)|\[dot\]| dot )\s?"
            r"(?:com|org|net|edu|co\.uk)\b",
            re.I,
        ),
        "[EMAIL]",
    ),
    (
        _has("://", "www."),
        re.compile(r"(?:https?://|ftp://|www\.)(?:\[[0-9a-f:.]+\])?[^\s<>\]]*[^\s<>\].,;:!?)\"'”’]", re.I),
        "[URL]",
    ),
    (
        _DOTTED,
        re.compile(rf"(?<![\w@.\[/-])(?:[a-z0-9-]+\.)+(?:{_TLD})(?:/[^\s<>\])]*)?(?![\w@-]|\.\w)", re.I),
        "[URL]",
    ),
    (_has("u/", "ser/"), re.compile(r"(?<![\w/])/?u(?:ser)?/[\w-]{3,30}", re.I), "[USER]"),
    (_has("@"), re.compile(r"(?<![\w@./\[])(?:@\w[\w.]{1,29}\b)+"), "[USER]"),
    (
        _DIGIT,
        re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?!\.?\d)"),
        "[IP]",
    ),
    (_DIGIT, re.compile(r"(?<![\w:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![\w:])", re.I), "[IP]"),
    (_has("::"), _SHORT_IPV6, "[IP]"),
    (
        _BORN,
        re.compile(
            rf"\b(?:born(?:\s+on)?|d\.?o\.?b\.?|date of birth|birthday(?:\s+is)?(?:\s+on)?)\s*[:\-]?\s*{_DATE}", re.I
        ),
        "[BIRTHDATE]",
    ),
    (
        _DIGIT,
        re.compile(
            rf"\b\d{{1,5}}[a-z]?\s+(?:[NSEW]\.?\s+)?(?:[A-Z][\w'’-]+\s+){{1,3}}(?:{_STREET}|{_STREET.title()})\b\.?"
            r"(?:,?\s*(?:apt|unit|flat|suite|#)\.?\s*\w+)?"
        ),
        "[ADDRESS]",
    ),
    (lambda look: look.digit and bool(_LOWER_STREET.search(look.text)), _LOWER_ADDRESS, "[ADDRESS]"),
    (
        _has_digit_and("sort"),
        re.compile(rf"{_SORT_CODE.pattern}[\s:]*(?:is|are|was)?[\s:]*\d\d([ -]?)\d\d\1\d\d\b", re.I),
        "[ACCOUNT]",
    ),
    (_DIGIT, re.compile(rf"(?<![\w-]){_NO_DATE}(?![\w-])"), "[ACCOUNT]"),
    (_DIGIT, re.compile(r"\b[A-Z]{1,2}\d[A-Z\d]?\s?\d[A-Z]{2}\b|\b[A-Z]\d[A-Z]\s\d[A-Z]\d\b"), "[POSTCODE]"),
    (
        _CODE,
        re.compile(r"\b(?:zip(?:\s?code)?|post\s?code|postal code)\s*(?:is|:)?\s*\d{4,5}(?:-\d{4})?\b", re.I),
        "[POSTCODE]",
    ),
    (_DIGIT, re.compile(r"(?<=\b[A-Z]{2} )\d{5}(?:-\d{4})?\b"), "[POSTCODE]"),
)
# A link that stood in brackets of its own.
_BRACKETED = re.compile(r"\[{2,}URL\]{2,}")
# 7 to 15 digits with the separators that people use, not inside a longer number, an amount or a range of years.
_PHONE = re.compile(r"(?<![\w$£€.#/])(?:\+|00)?\(?\d(?:[\s().\-–/]{0,2}\d){6,14}(?![\w%]|[.,]\d)")
_NOT_PHONE = re.compile(
    r"(?:19|20)\d\d\s?[-–/]\s?(?:19|20)?\d\d|\d{1,2}[/.\-]\d{1,2}[/.\-]\d{2,4}|\d{4}-\d{2}-\d{2}|"
    r"(?:\d{1,3}[ .]){1,4}000"
)


def _phone(match: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", match[0])
    bare = {digits, digits.lstrip("0"), digits.lstrip("01"), re.sub(r"^(?:\+?|00)(?:1|44|49|61|64|353)", "", digits)}
    if bare & HELPLINES or {digit.lstrip("0") for digit in bare} & HELPLINES or _NOT_PHONE.fullmatch(match[0]):
        return match[0]
    return "[PHONE]"


def mask(text: str) -> str:
    """Returns the text with user names, links, e-mails, phones, addresses and birth dates masked. Idempotent."""
    look = _Look(text)
    for may_match, pattern, placeholder in _RULES:
        if may_match(look):
            text = pattern.sub(placeholder, text)
    if "[[" in text:
        text = _BRACKETED.sub("[URL]", text)
    return _PHONE.sub(_phone, text) if look.digit else text


def has_placeholder(text: str) -> bool:
    """Whether something was masked: such a text must never be what a model learns to write."""
    return "[" in text and any(placeholder in text for placeholder in PLACEHOLDERS)


def counts(text: str) -> dict[str, int]:
    """Returns how often each placeholder stands in the text, those that do."""
    return {name: text.count(name) for name in PLACEHOLDERS if name in text}
