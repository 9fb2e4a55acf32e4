"""The safety gate of the data: what may be learnt from, what may only be turned away from, what leaves at once.

The rules themselves are `llumi_jax.safety.rules`; votes never override them.
"""

from collections.abc import Sequence
from functools import lru_cache

from llumi_jax.safety import rules

LIVED = "T1-lived-experience"
T2_WEIGHT = 0.5
Found = tuple[str, ...]


@lru_cache(maxsize=4096)
def judge(text: str) -> Found:
    """Returns the ids of the rules that a reply breaks as a GM reply, each once, sorted."""
    return tuple(sorted({finding.rule for finding in rules.findings(text, task="gm", kind="reply")}))


def is_deadly(found: Sequence[str]) -> bool:
    """T0: the text must not reach any output, on either side of a pair."""
    return any(rule.startswith("T0") for rule in found)


def may_be_imitated(found: Sequence[str]) -> bool:
    """T1 is never chosen and never an SFT target."""
    return not any(rule.startswith(("T0", "T1")) for rule in found)


def may_revise(found: Sequence[str], draft: Sequence[str]) -> bool:
    """As `may_be_imitated` for IM, which keeps a person's own experience but never adds one."""
    return may_be_imitated([rule for rule in found if not (rule == LIVED and LIVED in draft)])


def weight(found: Sequence[str]) -> float:
    """T2 counts half."""
    return T2_WEIGHT if any(rule.startswith("T2") for rule in found) else 1.0
