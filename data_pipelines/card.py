"""The data card: where every row went, what came out, and what the votes cannot tell."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from data_pipelines import audit, exposure_model, privacy, revisions
from data_pipelines.calibration import Calibration
from data_pipelines.funnel import Funnel
from data_pipelines.pairing import Rule
from data_pipelines.records import SPLITS, Example, Pair, Traits
from data_pipelines.similarity import Similarity

FORMAT = 1
TASKS = ("gm", "im")
LIMITS = (
    "Votes say what readers of one community liked at one time, not what helps. Early, short and funny replies "
    "gather votes for other reasons, and people who left cast none."
)


@dataclass(frozen=True)
class Settings:
    """Everything that decided what the dataset became, apart from the input and the key."""

    rule: Rule
    traits: Traits
    calibration: Calibration
    similarity: Similarity
    seed: int
    cutoff: int | None
    revisions: dict[str, Any] | None = None  # what came of drafts that a model revised, see `revising`
    names_model: dict[str, str] | None = None  # what masked the names of people, see `names_model`

    def hash(self) -> str:
        """Returns a hash of the rule's numbers and the source's traits, the same on every machine."""
        numbers = {
            "format": FORMAT,
            "rule": self.rule.to_dict(),
            "traits": asdict(self.traits),
            "similarity": [self.similarity.name, self.similarity.threshold],
        }
        if self.calibration.exposure is not None:
            numbers["exposure"] = exposure_model.settings()
        if self.revisions is not None:
            names = ("reviser", "prompt_version", "similarity", "min_cosine", "probability", "natural_too")
            numbers["revisions"] = {name: self.revisions[name] for name in names}
        if self.names_model is not None:
            numbers["names_model"] = self.names_model
        return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()[:16]


def make(
    settings: Settings,
    pairs: dict[str, list[Pair]],
    replies: dict[str, list[Example]],
    funnel: Funnel,
    table: dict[str, int],
    steps: dict[str, dict[str, int]],
    purge: dict,
    leakage: dict[str, int],
    refused_months: dict[str, dict[str, float]],
) -> dict:
    """Returns the card as a dictionary ready for JSON. It holds numbers and names of rules, never a text.

    Args:
      funnel: the reader's counts and remarks.
      table: reason -> rows, summing to the input.
      steps: split -> what each step of the pairing left out, `candidates` first and `kept` last.
      purge: task -> what the purge of authors removed from the held-out splits.
      leakage: what `checks.check` found, all 0.
      refused_months: as `months.refused` returns them.
    """
    everything = [pair for split in SPLITS for pair in pairs[split]]
    gm = [pair for pair in everything if pair.task == "gm"]
    test = [pair for pair in pairs["test"] if pair.task == "gm"]
    audits = audit.audit(gm, settings.traits, settings.rule.time_order)
    return {
        "source": settings.traits.name,
        "rule": settings.rule.name,
        "rule_hash": settings.hash(),
        "settings": settings.rule.to_dict(),
        "clauses_off": settings.rule.clauses_off(settings.traits),
        "traits": asdict(settings.traits),
        "seed": settings.seed,
        "prior": asdict((settings.calibration.exposure or settings.calibration).prior),
        "similarity": {"name": settings.similarity.name, "threshold": settings.similarity.threshold},
        "input": funnel.input,
        "funnel": table,
        "pair_funnel": {name: sum(step[name] for step in steps.values()) for name in steps["train"]},
        "pairs": _by_task(everything),
        "replies": sum(map(len, replies.values())),
        "pairs_by_split": {split: _by_task(pairs[split]) for split in SPLITS},
        "replies_by_split": {split: _by_task(replies[split]) for split in SPLITS},
        "posts_by_split": {split: len({pair.post.id for pair in pairs[split]}) for split in SPLITS},
        "overwritten_share": _overwritten_share(everything),
        "im_sources": _im_sources(pairs, replies),
        "revisions": settings.revisions,
        "masked": _masked(everything),
        "names_model": settings.names_model,
        "purge": purge,
        "leakage": leakage,
        "cutoff": settings.cutoff,
        "split_fractions": dict(settings.traits.fractions),
        "months_refused": [{"month": month} | sums for month, sums in refused_months.items()],
        "score_merge": dict(funnel.merges),
        "safety": {"dropped": dict(funnel.unsafe), "t1_not_chosen": dict(funnel.not_chosen)},
        "by_community": _by_community(gm, settings.traits),
        "audits": audits,
        "audits_test": audit.audit(test, settings.traits, settings.rule.time_order),
        "warnings": funnel.notes + _warnings(settings, pairs) + audits.pop("warnings"),
        "notes": [
            _later(settings),
            "replies of validation and test come from posts of those splits: measure with them, do not train on them",
            LIMITS,
        ],
    }


def _later(settings: Settings) -> str:
    if settings.cutoff is None:
        return "test_later is absent: " + ("none was asked for" if settings.traits.time else "the source has no times")
    day = datetime.fromtimestamp(settings.cutoff, UTC).date()
    return f"test_later holds posts from {day} on that would be in train; the date stays when the dataset grows"


def _by_community(pairs: Sequence[Pair], traits: Traits) -> dict[str, dict]:
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.post.community, []).append(pair)
    return {name: audit.shares(group, traits) for name, group in sorted(groups.items())}


def _by_task(items: Sequence[Pair] | Sequence[Example]) -> dict[str, int]:
    return {task: sum(item.task == task for item in items) for task in TASKS}


def _overwritten_share(pairs: Sequence[Pair]) -> float | None:
    im = [pair for pair in pairs if pair.task == "im"]
    return round(sum(revisions.is_overwritten(pair.source) for pair in im) / len(im), 4) if im else None


def _im_sources(pairs: dict[str, list[Pair]], replies: dict[str, list[Example]]) -> dict[str, dict[str, int]]:
    """Counts the rows of the task IM by where they come from."""
    found = {}
    for name, rows in (("pairs", pairs), ("replies", replies)):
        counts = Counter(revisions.kind(row.source) for split in SPLITS for row in rows[split] if row.task == "im")
        found[name] = dict(sorted(counts.items()))
    return found


def _masked(pairs: Sequence[Pair]) -> dict[str, int]:
    """Counts what was masked in the posts and replies of the pairs, each text once."""
    texts = {text for p in pairs for text in (p.post.title, p.post.body, p.chosen.text, p.rejected.text)}
    return dict(sum((Counter(privacy.counts(text)) for text in texts), Counter()))


def _warnings(settings: Settings, pairs: dict[str, list[Pair]]) -> list[str]:
    found = list(settings.calibration.exposure.warnings) if settings.calibration.exposure else []
    if settings.calibration.pooled_cells > 1:
        found.append(
            f"{settings.calibration.pooled_cells} cells (community, year, age of the score) have too few replies for "
            "percentiles of their own and share one"
        )
    kept = (settings.revisions or {}).get("content_kept") or {}
    if kept.get("mean") is not None and kept["mean"] <= 0:
        found.append(
            f"revisions are no nearer to their draft than another reply is ({kept['mean']:+.2f}): do not train IM on "
            "them"
        )
    for split in SPLITS:
        for task in TASKS:
            if split != "test_later" and not any(pair.task == task for pair in pairs[split]):
                found.append(f"the split {split} has no {task} pairs")
    return found
