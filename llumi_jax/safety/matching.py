"""A rule is a pattern and the company in which its words are harmless."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llumi_jax.safety.context import Scan, Span
from llumi_jax.safety.wording import compiled, whole

_LEADING = frozenset(" \n\t.!?,;:\"'()*-#>")  # what a pattern may take along before its first word
Guard = Callable[[Scan, int, int], bool]


def after(pattern: str, width: int = 70, extra: int = 0) -> Guard:
    """Harmless if this follows at once."""
    return lambda scan, start, end: bool(whole(pattern).match(scan.text, *scan.after(end, width, extra)))


def before(pattern: str, width: int = 70, unless: str | None = None) -> Guard:
    """Harmless if this stands right before (and not `unless`). End the patterns with what may lie between."""

    def guard(scan: Scan, start: int, end: int) -> bool:
        span = scan.before(start, width)
        if not compiled(rf"(?<!\w)(?:{pattern})$").search(scan.text, *span):
            return False
        return unless is None or not compiled(rf"(?:{unless})$").search(scan.text, *span)

    return guard


def unless_after(pattern: str, width: int = 70) -> Guard:
    """Harmless unless this stands right before, so that the rare word is searched and not what leads up to it."""
    led_up_to = before(pattern, width)
    return lambda scan, start, end: not led_up_to(scan, start, end)


def within(pattern: str, extra: int = 0) -> Guard:
    """Harmless if this stands anywhere in the sentence (or in `extra` neighbours of it)."""
    return lambda scan, start, end: scan.contains(pattern, *scan.sentence(start, extra))


def without(pattern: str, extra: int = 0) -> Guard:
    """Harmless if this stands nowhere in the sentence (and in `extra` neighbours of it)."""
    return lambda scan, start, end: not scan.holds(pattern, *scan.sentence(start, extra))


_TELLERS = (
    r"you|he|she|they|who|whoever|people|someone|somebody|anyone|anybody|some|others|mind|brain|head|depression|"
    r"anxiety|illness|voices?|thoughts?|mother|father|mom|mum|dad|parents?|boss|ex|friends?|husband|wife|partner|"
    r"brother|sister|teacher|it|that|society|family|classmates|bully|bullies|world|critic|boyfriend|girlfriend|"
    r"kids|strangers|man|woman|guy|comments?|hearing|being|idea|myth|lie|belief|feeling|fear"
)
_TELLING = (
    r"think|thinks|thought|thinking|feel|feels|felt|feeling|believe|believes|believed|believing|say|says|said|"
    r"saying|tell|tells|told|telling|call|calls|called|calling|insist\w*|claim\w*|convince\w*|make|makes|made|"
    r"making|fear|worry|worried|afraid|wonder|wondering|whispers?|whispering|hear|heard|hearing|suggest\w*|lie|"
    r"lies|lying|label\w*|shout\w*|yell\w*|scream\w*|wrote|written|write|seems?|mention\w*|idea|myth|like as if"
)
_REPORTED = (
    rf"(?:(?:{_TELLERS})\b[^.!?]{{0,25}}?\b(?:{_TELLING})|hearing|being told|the (?:idea|thought|myth|lie|belief|"
    r"feeling)(?: that)?|(?:feel|feels|feeling|felt|seem|seems) (?:like|as if|as though|"
    r"that))\b(?:(?<!wrote),)?[^.!?,;]{0,45}$"
)
_DENIED = (
    r"\b(?:{NT}|not|never|nobody|no one|cannot|hardly|without|neither|stop|instead of|rather than|far from|"
    r"anything but|doubt|no need to|nor)\b[^.!?,;]{0,28}$"
)
_REFUTED = (
    r"(?:that|this|which|it|they|he|she)?(?:'s| is| are|'re| was| were)~(?:a lie|lies|lying|wrong|not true|untrue|"
    r"false|nonsense|bullshit|not ok|not okay|cruel|unfair|harmful|a myth|not fair|unkind)|(?:is|are|was)n't "
    r"(?:true|fair|ok)"
)
_AGREED = (
    r"(?:they|he|she|it|everyone|people)(?:'re|'s| are| is| was| were) (?:(?:all|so|totally|absolutely|quite) "
    r")?(?:right|correct)"
)


def reported(scan: Scan, start: int, end: int) -> bool:
    """Whether the words are somebody else's (or the poster's own fear), and the writer does not agree with them."""
    if compiled(rf"\b{_AGREED}\b").search(scan.text, *scan.after(end, 100, extra=1)):
        return False
    if compiled(rf"\b(?:{_REFUTED})\b").search(scan.text, *scan.after(end, 60)):
        return True
    return bool(compiled(rf"\b{_REPORTED}").search(scan.text, *scan.before(start, 90))) or scan.quoted(start, end)


def denied(scan: Scan, start: int, end: int) -> bool:
    """Whether a word of denial stands right before."""
    return bool(compiled(_DENIED).search(scan.text, *scan.before(start, 60)))


@dataclass(frozen=True)
class Rule:
    """One way to break a rule.

    anchors: groups of words (or of pairs of words, with a blank between), one of each in the sentence of every finding.
    elsewhere: the same, but one of these may stand anywhere in the text.
    find: yields the findings between two positions of a text.
    """

    id: str
    anchors: tuple[frozenset[str], ...]
    elsewhere: frozenset[str]
    find: Callable[[Scan, int, int], Iterator[Span]]


def rule(identifier: str, anchors: str, pattern: str, *harmless: Guard, literal: bool = False) -> Rule:
    """A rule by pattern. Its span is the group `x` where there is one, else the whole match.

    Args:
      anchors: "a b & c d" for a word of each group, "a_b" for two words next to each other, "a b && c" for c anywhere.
      harmless: a match is dropped if one of these holds.
      literal: sayings are left out.
    """

    def find(scan: Scan, low: int, high: int) -> Iterator[Span]:
        if literal:
            # Blanking the sayings takes longer than most searches, and few texts need it.
            if not any(True for _ in scan.search(pattern, low, high)):
                return
            scan = scan.literal
        for match in scan.search(pattern, low, high):
            start, end = match.span("x") if match.groupdict().get("x") else match.span()
            while scan.text[start] in _LEADING:
                start += 1
            if not any(scan.judge(guard, start, end) for guard in harmless):
                yield start, end

    beside, _, elsewhere = anchors.partition("&&")
    return Rule(identifier, tuple(map(_words, beside.split("&"))), _words(elsewhere), find)


def _words(anchors: str) -> frozenset[str]:
    return frozenset(anchor.replace("_", " ") for anchor in anchors.split())


def danger(name: str, anchors: str, pattern: str, *harmless: Guard) -> Rule:
    """A rule of T0: sayings do not count."""
    return rule(f"T0-{name}", anchors, pattern, *harmless, literal=True)
