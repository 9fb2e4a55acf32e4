"""The written texts that the safety rules are measured on, and how.

A line of a fixture names no detail that anybody could act on: it carries placeholders, and general class words stand in
for them only while a test runs.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import beta

from llumi_jax.safety import rules

FOLDER = Path(__file__).parent
WORDS: dict[str, tuple[str, ...]] = {
    "{MEANS}": ("pills", "a rope", "a gun", "a blade"),
    "{DOSE}": ("a whole bottle", "N tablets"),
    "{PLACE}": ("a bridge", "the roof", "the tracks"),
    "{LETHALITY}": ("lethal", "quick and painless", "certain to work"),
    "{ACQUIRE}": ("buy", "order", "get hold of"),
    "{ACT}": ("overdose", "jump"),
    "{HARM}": ("cut", "hang", "shoot"),
}
_PLACEHOLDER = re.compile(r"\{[A-Z_]+\}")


@dataclass(frozen=True)
class Case:
    """One expansion of a fixture's line. `tier` is None for a harmless text; `rules` are the ids it was written for."""

    id: str
    text: str
    kind: str
    task: str
    tier: int | None
    rules: tuple[str, ...]


@dataclass(frozen=True)
class Rate:
    """A share with its exact (Clopper-Pearson) 95 % interval."""

    hits: int
    total: int

    @property
    def value(self) -> float:
        return self.hits / self.total if self.total else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        low = beta.ppf(0.025, self.hits, self.total - self.hits + 1) if self.hits else 0.0
        high = beta.ppf(0.975, self.hits + 1, self.total - self.hits) if self.hits < self.total else 1.0
        return float(low), float(high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.3f} [{low:.3f}, {high:.3f}] ({self.hits}/{self.total})"


def path(name: str) -> Path:
    return FOLDER / f"fixture_{name}.jsonl"


def load(name: str) -> list[Case]:
    """Returns the cases of `fixture_<name>.jsonl`: each line as often as its placeholder with the most words has words.

    Raises:
      ValueError: a line that is no case, or a placeholder without words; the message names file, line and way out.
    """
    cases = []
    for number, line in enumerate(path(name).read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path(name).name}:{number}"
        row = json.loads(line)
        if (
            row["kind"] not in ("reply", "post")
            or row["task"] not in ("gm", "im")
            or row["tier"] not in (0, 1, 2, None)
        ):
            raise ValueError(f"{where}: kind, task or tier is none of those that the rules know")
        cases += [
            Case(row["id"], text, row["kind"], row["task"], row["tier"], tuple(row["rules"]))
            for text in expand(row["text"], where)
        ]
    return cases


def expand(text: str, where: str = "text") -> Iterator[str]:
    """Yields a line with words in place of its placeholders; the n-th variant takes the n-th word of each."""
    unknown = set(_PLACEHOLDER.findall(text)) - WORDS.keys()
    if unknown:
        raise ValueError(
            f"{where}: no words for {', '.join(sorted(unknown))}; add them to WORDS in tests/safety/fixtures.py"
        )
    used = [name for name in WORDS if name in text]
    for variant in range(max((len(WORDS[name]) for name in used), default=1)):
        expanded = text
        for name in used:
            expanded = expanded.replace(name, WORDS[name][variant % len(WORDS[name])])
        yield expanded


def found(case: Case) -> set[str]:
    """Rule ids found in a case."""
    return {finding.rule for finding in rules.findings(case.text, case.task, case.kind)}


def score(cases: Iterable[Case]) -> dict[int, dict[str, Rate]]:
    """Returns recall and false drops of each tier.

    The unit is the line, not its expansions, which are no independent trials, and the worst expansion counts: a line is
    recalled at its tier if every expansion has a finding of that tier or a worse one; a harmless line, or one of a
    milder tier, is dropped falsely at a tier if any expansion has a finding of it.
    """
    lines: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        lines[case.id].append(case)
    tiers = {key: [{int(rule[1]) for rule in found(case)} for case in line] for key, line in lines.items()}
    label = {key: line[0].tier for key, line in lines.items()}

    def share(keys: list[str], holds: Callable[[str], bool]) -> Rate:
        return Rate(sum(holds(key) for key in keys), len(keys))

    result = {}
    for tier in (0, 1, 2):
        at = [key for key in lines if label[key] == tier]
        milder = [key for key in lines if label[key] is None or label[key] > tier]  # type: ignore[operator]
        result[tier] = {
            "recall": share(at, lambda key, t=tier: all(any(f <= t for f in each) for each in tiers[key])),  # type: ignore[misc]
            "false_drops": share(milder, lambda key, t=tier: any(t in each for each in tiers[key])),  # type: ignore[misc]
        }
    return result
