"""The card as tables of words, the same for the page and for the terminal.

Every function takes the card (`card.json`) and returns a table, or None where the card lacks that block: cards of
older builds and of sources without votes stay readable.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from data_pipelines import audit, card_words
from data_pipelines.funnel import KEPT
from llumi_jax.training.report_text import percent

Card = Mapping[str, Any]
COMMUNITIES_SHOWN = 20
_NONE = "–"


@dataclass(frozen=True)
class Table:
    """Cells ready to print; the first column names the row.

    `total` is a last row that sums the others up, `strong` the name of the row that matters most.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...] = ()
    note: str = ""
    strong: str = ""


def count(value: Any) -> str:
    """1,839, or a dash where there is no number."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else _NONE


def share(part: float, whole: float) -> str:
    """12.3 %; what is there but rounds to nothing is `< 0.1 %`."""
    if not whole:
        return _NONE
    return "< 0.1 %" if 0 < part / whole < 0.0005 else percent(part / whole)


def number(value: Any, form: str = ".2f") -> str:
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return format(value, form) if known else _NONE


def plain_value(value: Any) -> str:
    """Any value of the card in one line: whole numbers with commas, others short, yes and no, lists with commas."""
    if value is None:
        return _NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else _NONE
    if isinstance(value, list | tuple):
        return ", ".join(map(plain_value, value)) or "none"
    return str(value)


def funnel(card: Card) -> Table | None:
    """Where every input row went. The last row says whether the reasons sum to the input."""
    rows = card.get("funnel")
    return _falling("Rows", rows, card.get("input") or 0, "rows read") if rows else None


def pair_funnel(card: Card) -> Table | None:
    """From the rule's preferences to the GM pairs that were kept."""
    steps = dict(card.get("pair_funnel") or {})
    return _falling("GM pairs", steps, steps.pop("candidates"), "found") if "candidates" in steps else None


def revisions(card: Card) -> Table | None:
    """What became of the drafts that a model revised."""
    block = card.get("revisions") or {}
    if not block.get("became"):
        return None
    made = _falling("Drafts revised", block["became"], block.get("drafts") or 0, "drafts")
    return replace(
        made, note=f"Revised by {block.get('reviser')}. {_content_kept(block.get('content_kept') or {})}".strip()
    )


def _content_kept(kept: Mapping[str, Any]) -> str:
    if kept.get("mean") is None:
        return ""
    return (
        f"Cosine of draft and revision, less that of the draft and the post's best other reply: {kept['mean']:+.2f} in "
        f"the mean of {count(kept.get('drafts'))}, above 0 in {percent(kept.get('above_zero') or 0.0)}."
    )


def im_sources(card: Card) -> Table | None:
    """Where the rows of the task IM come from."""
    found = card.get("im_sources") or {}
    pairs, replies = found.get("pairs") or {}, found.get("replies") or {}
    if not pairs and not replies:
        return None
    sums = sum(pairs.values()), sum(replies.values())
    rows = tuple(
        (
            card_words.source(name),
            count(pairs.get(name, 0)),
            share(pairs.get(name, 0), sums[0]),
            count(replies.get(name, 0)),
            share(replies.get(name, 0), sums[1]),
        )
        for name in dict.fromkeys([*pairs, *replies])
    )
    total = ("sum", count(sums[0]), "", count(sums[1]), "")
    return Table("IM rows by source", ("chosen, and rejected", "pairs", "share", "replies", "share"), rows, total)


def revision_rules(card: Card) -> Table | None:
    """How many revisions broke each rule of the safety gate."""
    return facts("Rules that revisions broke", (card.get("revisions") or {}).get("rules_broken"), "revisions")


def _falling(title: str, parts: Mapping[str, int], whole: int, name: str) -> Table:
    """Each part takes its share of what is left; what is left before the last row is that row's own number."""
    left, rows = whole, [(name, count(whole), "", "")]
    for key, part in parts.items():
        left -= part
        rest = "" if key == KEPT else count(left)
        rows.append((card_words.reason(key), count(part), share(part, whole), rest))
    summed = sum(parts.values())
    verdict = f"= {name}" if summed == whole else f"≠ {count(whole)} {name}"
    total = ("sum", count(summed), "", verdict)
    return Table(title, ("reason", "number", "share", "left"), tuple(rows), total, strong=card_words.reason(KEPT))


def splits_there(card: Card) -> list[str]:
    """Returns the splits of the card; `test_later` only if it holds anything."""
    by_split, replies = card.get("pairs_by_split") or {}, card.get("replies_by_split") or {}
    holds = lambda split: any([*by_split[split].values(), *(replies.get(split) or {}).values()])
    return [split for split in by_split if split != "test_later" or holds(split)]


def splits(card: Card) -> Table | None:
    """Pairs, replies to imitate and posts by split."""
    by_split = card.get("pairs_by_split")
    if not by_split:
        return None
    rows = []
    for split in splits_there(card):
        pairs, replies = by_split[split], (card.get("replies_by_split") or {}).get(split) or {}
        posts = (card.get("posts_by_split") or {}).get(split)
        rows.append((split, pairs.get("gm"), pairs.get("im"), replies.get("gm"), replies.get("im"), posts))
    total = ["sum", *(count(sum(row[i] or 0 for row in rows)) for i in range(1, 6))]
    fractions = card.get("split_fractions") or {}
    notes = [f"Posts by hash: {', '.join(f'{name} {value:.0%}' for name, value in fractions.items())}."]
    notes += [f"{note}." for note in card.get("notes") or () if note.startswith("test_later")]
    notes = notes if fractions else notes[1:]
    columns = ("split", "GM pairs", "IM pairs", "GM replies", "IM replies", "posts with pairs")
    cells = tuple((row[0], *map(count, row[1:])) for row in rows)
    return Table("Splits", columns, cells, tuple(total), " ".join(notes))


def audit_keys(card: Card) -> list[str]:
    """Returns the audits that are an AUC with its interval, absent ones included."""
    blocks = card.get("audits") or {}
    return [key for key, value in blocks.items() if key.startswith("auc_") and (value is None or "auc" in value)]


def verdict(block: Mapping[str, float]) -> str:
    """Returns what an AUC with its interval says about a feature, in a word or two; warnings begin with `warns`."""
    far = max(block["auc"], 1 - block["auc"]) > audit.WARN_ABOVE
    apart = block["low"] > 0.5 or block["high"] < 0.5
    if far:
        return "warns" if apart else "too few to say"
    return "a little" if apart else "tells nothing"


def audits(card: Card) -> Table | None:
    """What else could tell chosen from rejected, over all GM pairs and over those of the test split."""
    keys = audit_keys(card)
    if not keys:
        return None
    tested = card.get("audits_test") or {}
    rows = []
    for key in keys:
        block = card["audits"][key]
        said = verdict(block) if block else _absent(key, card)
        rows.append((card_words.audit(key), said, _interval(block), _interval(tested.get(key))))
    pairs = (count(card["audits"].get("pairs")), count(tested.get("pairs")))
    columns = ("feature", "alone, it", f"all pairs ({pairs[0]})", f"test ({pairs[1]})")
    return Table("Audits: AUC [95 % interval]", columns, tuple(rows))


def _absent(key: str, card: Card) -> str:
    fixed = key in ("auc_earlier", "auc_time") and (card.get("settings") or {}).get("time_order")
    return "fixed by rule" if fixed else "not in source"


def _interval(block: Mapping[str, float] | None) -> str:
    return f"{block['auc']:.2f} [{block['low']:.2f}, {block['high']:.2f}]" if block else _NONE


def shares(card: Card) -> Table | None:
    """Shares and means that an audit prints beside its AUCs."""
    everything, tested = card.get("audits") or {}, card.get("audits_test") or {}
    if not everything:
        return None
    fixed = " (by rule)" if (card.get("settings") or {}).get("time_order") else ""
    form = lambda value: number(value and 100 * value, ".1f") + (" %" if value is not None else "")
    rows = [
        ("mean probability", *(number(block.get("mean_probability"), ".3f") for block in (everything, tested))),
        ("chosen is longer", *(form(block.get("chosen_longer")) for block in (everything, tested))),
        (f"chosen is earlier{fixed}", *(form(block.get("chosen_earlier")) for block in (everything, tested))),
    ]
    if card.get("overwritten_share") is not None:
        rows.append(("IM: over-written revision rejected", form(card["overwritten_share"]), ""))
    return Table("Shares", ("GM pairs", "all pairs", "test"), tuple(rows))


def communities(card: Card) -> Table | None:
    """Pairs by community, the largest first; many small ones share a row."""
    found = card.get("by_community")
    if not found:
        return None
    ordered = sorted(found.items(), key=lambda item: (-item[1].get("pairs", 0), item[0]))
    rows = [
        (
            name,
            count(of.get("pairs")),
            number(of.get("mean_probability"), ".3f"),
            _percent_of(of, "chosen_longer"),
            _percent_of(of, "chosen_earlier"),
        )
        for name, of in ordered[:COMMUNITIES_SHOWN]
    ]
    rest = ordered[COMMUNITIES_SHOWN:]
    if rest:
        rows.append((f"{len(rest):,} more", count(sum(of.get("pairs", 0) for _, of in rest)), "", "", ""))
    total = ("sum", count(sum(of.get("pairs", 0) for of in found.values())), "", "", "")
    columns = ("community", "pairs", "mean probability", "chosen longer", "chosen earlier")
    return Table("GM pairs by community", columns, tuple(rows), total)


def _percent_of(of: Mapping[str, Any], key: str) -> str:
    value = of.get(key)
    return percent(value) if isinstance(value, int | float) else _NONE


def safety(card: Card) -> Table | None:
    """The safety gate by rule: what was dropped, what may not be chosen, what counts less."""
    block = card.get("safety") or {}
    columns = {"dropped": "dropped", "t1_not_chosen": "never chosen", "t2_downweighted": "weighed down"}
    there = [key for key in columns if isinstance(block.get(key), Mapping)]
    if not there:
        return None
    ids = sorted({rule for key in there for rule in block[key]})
    rows = tuple((rule, *(count(block[key].get(rule, 0)) for key in there)) for rule in ids)
    total = ("sum", *(count(sum(block[key].values())) for key in there))
    return Table("Safety gate", ("rule", *(columns[key] for key in there)), rows, total)


def safety_facts(card: Card) -> Table | None:
    """What the gate says beside its counts by rule: masked posts, recall on the fixtures, …"""
    block = card.get("safety") or {}
    tabled = ("dropped", "t1_not_chosen", "t2_downweighted")
    return facts("Safety gate: further figures", {key: value for key, value in block.items() if key not in tabled})


def privacy(card: Card) -> Table | None:
    """How often each kind of personal detail was masked in the texts of the pairs."""
    found = card.get("privacy") if card.get("privacy") is not None else card.get("masked")
    return facts("Masked personal details", found, "times") if found else None


def purge(card: Card) -> Table | None:
    """What left the held-out splits because its author also stands in the training split."""
    found = card.get("purge")
    if not found:
        return None
    rows = [_purge_row(name, key, found, purged) for name, key, purged in _PURGE]
    known = {"repliers_purged", *(key for _, key, _ in _PURGE)}
    rest = dict.fromkeys(key for task in found.values() for key in task if key not in known)
    rows += [(card_words.spaced(key), *(plain_value(task.get(key)) for task in found.values())) for key in rest]
    return Table("Held-out pairs with people in train", ("", *(task.upper() for task in found)), tuple(rows))


# Name, key, and whether the row is about splits whose repliers were purged (None: either way).
_PURGE = (
    ("held-out pairs before", "held_out_pairs", None),
    ("removed: poster in train", "poster_in_train", None),
    ("removed: replier in train", "replier_in_train", True),
    ("kept in spite of a replier in train", "replier_in_train", False),
)


def _purge_row(name: str, key: str, found: Mapping[str, Mapping], purged: bool | None) -> tuple[str, ...]:
    fits = (purged is None or bool(task.get("repliers_purged")) == purged for task in found.values())
    return name, *(count(task.get(key)) if fit else "0" for fit, task in zip(fits, found.values(), strict=True))


def leakage(card: Card) -> Table | None:
    return facts("Leakage between splits", card.get("leakage"))


def score_merge(card: Card) -> Table | None:
    return facts("How scores of repeated rows were merged", card.get("score_merge"))


def months_refused(card: Card) -> Table | None:
    """Months whose scores were never refreshed: their rows carry no votes."""
    months = card.get("months_refused")
    if not months:
        return None
    keys = list(dict.fromkeys(key for month in months for key in month))
    rows = tuple(tuple(_share_or_value(key, month.get(key)) for key in keys) for month in months)
    rows_lost = sum(month.get("rows") or 0 for month in months)
    total = tuple("sum" if i == 0 else count(rows_lost) if key == "rows" else "" for i, key in enumerate(keys))
    return Table("Months refused", tuple(map(card_words.fact, keys)), rows, total)


def planted(card: Card) -> Table | None:
    """Each rule on a made-up corpus whose true preferences are known."""
    rules = card.get("planted")
    if not rules or not all(isinstance(of, Mapping) for of in rules.values()):
        return facts("Planted truth", rules)
    scalars = (int, float, str, type(None))
    keys = list(dict.fromkeys(key for of in rules.values() for key, value in of.items() if isinstance(value, scalars)))
    rows = tuple((rule, *(_planted_cell(key, of.get(key)) for key in keys)) for rule, of in rules.items())
    return Table("Planted truth", ("rule", *map(card_words.spaced, keys)), rows)


def _planted_cell(key: str, value: Any) -> str:
    return plain_value(value) if "error" in key else _share_or_value("share", value)


def _share_or_value(key: str, value: Any) -> str:
    is_share = "share" in key and isinstance(value, float) and 0 <= value <= 1
    return percent(value) if is_share else plain_value(value)


def settings(card: Card) -> Table | None:
    """Every number of the rule, and which clauses are off."""
    found = card.get("settings")
    if not found:
        return None
    rows = tuple((card_words.setting(key), _setting(key, value)) for key, value in found.items() if key != "name")
    return Table(f"Rule {card.get('rule', '')}".strip(), ("clause", "value"), rows)


def _setting(key: str, value: Any) -> str:
    neutral = {"min_ratio": 0.0, "min_after_fuzz": 0.0, "min_posterior": 0.5}
    if value is None or value is False or (key in neutral and value == neutral[key]):
        return "off"
    return "on" if value is True else plain_value(value)


def origin(card: Card) -> Table | None:
    """What else decided what the dataset became."""
    wanted = ("source", "rule_hash", "seed", "prior", "similarity", "split_fractions", "cutoff", "names_model")
    found = {key: card[key] for key in wanted if card.get(key) is not None}
    if isinstance(found.get("cutoff"), int):
        found["cutoff"] = datetime.fromtimestamp(found["cutoff"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    return facts("Origin", found)


def facts(title: str, block: Any, column: str = "value") -> Table | None:
    """Any block of the card as names and values; what is nested gets a longer name."""
    if not isinstance(block, Mapping) or not block:
        return None
    return Table(title, ("", column), tuple(_flat(block, "")))


def _flat(block: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in block.items():
        name = f"{prefix}{card_words.fact(key)}"
        if isinstance(value, Mapping):
            rows += _flat(value, f"{name} · ")
        else:
            rows.append((name, plain_value(value)))
    return rows


ALL: Sequence[Callable[[Card], Table | None]] = (
    funnel, pair_funnel, splits, audits, shares, communities, revisions, im_sources, revision_rules, safety,
    safety_facts, privacy, purge, leakage, months_refused, score_merge, planted, settings, origin,
)  # fmt: skip


def tables(card: Card) -> list[Table]:
    """Returns every table that the card has something for, in the order of the page."""
    return [table for make in ALL if (table := make(card)) is not None]
