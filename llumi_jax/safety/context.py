"""Where a match stands: its sentence, what comes before it and after it, and what was quoted."""

import bisect
import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from llumi_jax.safety import sayings
from llumi_jax.safety.normalize import END
from llumi_jax.safety.wording import whole

Span = tuple[int, int]
REACH = 120  # characters that a sentence may contribute to either side
LONG = 4000  # characters from which on a text is searched once for each pattern, and not around each match

_END = re.compile(END)
_QUOTED = re.compile(r'"[^"\n]{2,400}"|(?<!\w)\'[^\'\n]{2,200}\'(?!\w)')


@dataclass(frozen=True)
class Scan:
    """A normalised text with what the rules ask of it more than once, worked out when first asked."""

    text: str
    _starts: dict[str, list[int]] = field(default_factory=dict, compare=False)
    _around: dict[Span, Span] = field(default_factory=dict, compare=False)
    _judged: dict[tuple[Callable, int, int], bool] = field(default_factory=dict, compare=False)

    @functools.cached_property
    def ends(self) -> list[int]:
        return [match.end() for match in _END.finditer(self.text)]

    @functools.cached_property
    def quotations(self) -> list[Span]:
        return [match.span() for match in _QUOTED.finditer(self.text)]

    @functools.cached_property
    def literal(self) -> "Scan":
        """The same text with sayings blanked out, character by character."""
        return Scan(sayings.blank(self.text))

    def sentence(self, at: int, extra: int = 0) -> Span:
        """The sentence around a position, with `extra` neighbours on both sides, cut to `REACH` a sentence."""
        if (at, extra) not in self._around:
            self._around[at, extra] = self._sentence(at, extra)
        return self._around[at, extra]

    def _sentence(self, at: int, extra: int) -> Span:
        i = bisect.bisect_right(self.ends, at)
        low = self.ends[i - 1 - extra] if i - 1 - extra >= 0 else 0
        high = self.ends[i + extra] if i + extra < len(self.ends) else len(self.text)
        reach = REACH * (1 + extra)
        return max(low, at - reach), min(high, at + reach)

    def before(self, at: int, width: int = 70) -> Span:
        """What stands before a position in its sentence."""
        return max(self.sentence(at)[0], at - width), at

    def after(self, at: int, width: int = 70, extra: int = 0) -> Span:
        """What stands after a position in its sentence (and the next `extra` ones)."""
        return at, min(self.sentence(max(at - 1, 0), extra)[1], at + width)

    def search(self, pattern: str, low: int = 0, high: int | None = None) -> Iterator[re.Match[str]]:
        """Yields the matches that begin and end at a word's edge, from `low` to `high`."""
        found = whole(pattern)
        high = len(self.text) if high is None else high
        match = found.search(self.text, low, high)
        while match:
            start = match.start()
            inside = start and self.text[start - 1].isalnum() and self.text[start].isalnum()
            if not inside:
                yield match
            match = found.search(self.text, start + 1 if inside else max(match.end(), start + 1), high)

    def judge(self, guard: Callable[["Scan", int, int], bool], start: int, end: int) -> bool:
        """What a guard says of a span. Rules share guards, and many find the same words: each is asked once."""
        key = (guard, start, end)
        if key not in self._judged:
            self._judged[key] = guard(self, start, end)
        return self._judged[key]

    def contains(self, pattern: str, low: int, high: int) -> bool:
        """Whether a match of the pattern lies in this range."""
        if len(self.text) > LONG:
            return self.holds(pattern, low, high)
        return bool(whole(rf"(?<!\w)(?:{pattern})").search(self.text, low, high))

    def holds(self, pattern: str, low: int, high: int) -> bool:
        """Whether a match of the pattern begins in this range. The text is searched once for each pattern."""
        if pattern not in self._starts:
            self._starts[pattern] = [match.start() for match in self.search(pattern)]
        starts = self._starts[pattern]
        i = bisect.bisect_left(starts, low)
        return i < len(starts) and starts[i] < high

    def quoted(self, start: int, end: int) -> bool:
        """Whether a span lies in a quotation. A text that is nothing but a quotation is its writer's own."""
        i = bisect.bisect_right(self.quotations, (start, len(self.text))) - 1
        if i < 0:
            return False
        low, high = self.quotations[i]
        return low <= start and end <= high and len(self.text) - (high - low) >= 15
