"""Why a pair stands in a dataset: the clauses of its rule, recomputed from what the pair and the card carry.

A pair keeps its scores but neither times nor views, so a clause on these is told as it was asked for at the build.
"""

import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_pipelines import confidence, sources
from data_pipelines.balance import MAX_RATIO
from data_pipelines.confidence import Prior
from data_pipelines.records import Traits

VOTES = "votes"
OVERWRITTEN = "votes_overwritten"
_NOT_KEPT = ("not kept", "held at the build")


@dataclass(frozen=True)
class Clause:
    """One clause as it holds for one pair.

    `spare` says how many votes fewer the chosen reply could have before the clause failed (0: it just holds), None
    where votes do not decide it; `holds` is None where the pair does not carry what the clause looks at.
    """

    name: str
    here: str
    needed: str
    spare: int | None = None
    holds: bool | None = True


@dataclass(frozen=True)
class Measures:
    """What can be said of a pair in numbers; None where the dataset does not tell."""

    gap: int
    ratio: float
    posterior: float | None
    after_fuzz: float | None
    length_ratio: float


def traits_of(card: Mapping[str, Any]) -> Traits | None:
    """Returns the traits of the card's source: those in the card, else those of a known reader."""
    fields = Traits.__dataclass_fields__
    stored = card.get("traits")
    if isinstance(stored, Mapping) and {"name", "self_vote", "fuzz", "time", "views"} <= set(stored):
        return Traits(**{"posts_are_rows": False} | {key: value for key, value in stored.items() if key in fields})
    return sources.TRAITS.get(card.get("source") or "")


def measure(row: Mapping[str, Any], card: Mapping[str, Any]) -> Measures:
    """Computes gap, score ratio, posteriors and length ratio of a row of the dataset."""
    high, low = int(row["score_chosen"]), int(row["score_rejected"])
    posterior = after_fuzz = None
    model = _vote_model(row, card)
    if model:
        prior, traits = model
        posterior = _posterior(high, low, prior, traits)
        after_fuzz = _after_fuzz(high, low, prior, traits) if traits.fuzz else None
    length = len(row["chosen"]) / max(len(row["rejected"]), 1)
    return Measures(high - low, high / max(low, 1), posterior, after_fuzz, length)


def clauses(row: Mapping[str, Any], card: Mapping[str, Any]) -> list[Clause]:
    """Returns the clauses of the card's rule as they hold for a row; none for pairs that votes did not make."""
    if row["source"] not in (VOTES, OVERWRITTEN):
        return []
    rule = card.get("settings") or {}
    found: list[Clause] = []
    if row["source"] == VOTES:  # The other kind was voted against a draft whose score is not kept.
        found += _on_scores(row, rule)
        found += _on_posterior(row, card, rule)
        found += _on_rest(rule)
    ratio = measure(row, card).length_ratio
    # One character more or less after masking must not look like a broken rule.
    fits = 1 / MAX_RATIO - 0.01 <= ratio <= MAX_RATIO + 0.01
    found.append(Clause("length ratio", f"{ratio:.2f}", f"{1 / MAX_RATIO:.2f} to {MAX_RATIO:.2f}", holds=fits))
    return found


def tightest(found: Sequence[Clause]) -> int | None:
    """Returns the least number of votes that any clause has to spare; None if votes decide none of them."""
    return min((clause.spare for clause in found if clause.spare is not None), default=None)


def _on_scores(row: Mapping[str, Any], rule: Mapping[str, Any]) -> list[Clause]:
    high, low = int(row["score_chosen"]), int(row["score_rejected"])
    found = []
    if rule.get("min_gap"):
        spare = high - low - int(rule["min_gap"])
        found.append(Clause("score gap", f"{high - low:+,}", f">= {rule['min_gap']}", spare, spare >= 0))
    if rule.get("min_ratio"):
        holds = lambda score: score >= rule["min_ratio"] * max(low, 1)
        here = f"{high / max(low, 1):.1f} x"
        found.append(Clause("score ratio", here, f">= {rule['min_ratio']:g} x", *_spare(holds, high, low)))
    for key, side in (("chosen_quantile", "chosen at or above"), ("rejected_quantile", "rejected at or below")):
        if rule.get(key) is not None:
            found.append(Clause(f"{side} quantile {rule[key]:g}", *_NOT_KEPT, holds=None))
    return found


def _on_posterior(row: Mapping[str, Any], card: Mapping[str, Any], rule: Mapping[str, Any]) -> list[Clause]:
    least, least_after = rule.get("min_posterior", 0.5), rule.get("min_after_fuzz", 0.0)
    model = _vote_model(row, card)
    if model is None:
        if least <= 0.5:
            return []
        # With exposure the stored probability is the posterior; float32 may lie a hair under the threshold.
        holds = float(row["probability"]) >= least - 1e-6
        return [Clause("posterior", f"{row['probability']:.3f}", f">= {least:g}", holds=holds)]
    prior, traits = model
    high, low = int(row["score_chosen"]), int(row["score_rejected"])
    found = []
    for name, needed, value in (
        ("posterior", least if least > 0.5 else 0, _posterior),
        ("posterior after fuzz", least_after if traits.fuzz else 0, _after_fuzz),
    ):
        if needed:
            holds_at = lambda score, value=value, needed=needed: value(score, low, prior, traits) >= needed
            here = f"{value(high, low, prior, traits):.3f}"
            found.append(Clause(name, here, f">= {needed:g}", *_spare(holds_at, high, low)))
    return found


def _on_rest(rule: Mapping[str, Any]) -> list[Clause]:
    found = []
    if rule.get("time_order"):
        found.append(Clause("chosen not the earlier", *_NOT_KEPT, holds=None))
    if rule.get("calm"):
        found.append(Clause("neither controversial", *_NOT_KEPT, holds=None))
    return found


def _spare(holds: Callable[[int], bool], high: int, low: int) -> tuple[int | None, bool]:
    """Returns by how many votes the chosen score may fall until `holds` fails, and whether it holds at all.

    `holds` must not fail at a score and hold at a lower one; below the rejected score nothing holds.
    """
    if not holds(high):
        return None, False
    scores = range(min(low, high), high + 1)
    return high - scores[bisect.bisect_left(scores, True, key=holds)], True


def _vote_model(row: Mapping[str, Any], card: Mapping[str, Any]) -> tuple[Prior, Traits] | None:
    """Prior and traits under which scores alone give the posterior; None where exposures or drafts come into it."""
    traits, prior = traits_of(card), card.get("prior")
    if row["source"] != VOTES or traits is None or traits.views or card.get("rule") == "exposure" or not prior:
        return None
    return Prior(prior["shape"], prior["rate"]), traits


def _posterior(high: int, low: int, prior: Prior, traits: Traits) -> float:
    seen = confidence.votes([high, low], traits.self_vote)
    return float(confidence.probability_preferred(seen[0], seen[1], prior))


def _after_fuzz(high: int, low: int, prior: Prior, traits: Traits) -> float:
    return float(confidence.after_fuzz(high, low, prior, traits.self_vote))
