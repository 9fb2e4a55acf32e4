"""card.html: the data card for people, in one file that opens from disk, without a network or a script.

It holds numbers, names of rules and names of communities, never a text of a pair. All that stands in it came from a
source or a rule: every piece goes through `_text`.
"""

import html
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines import card_plots, card_tables, card_words
from data_pipelines.card_plots import Series, series_of, values
from data_pipelines.card_style import CSS
from data_pipelines.card_tables import Card, Table, count, share
from data_pipelines.funnel import KEPT
from llumi_jax.storage.files import write_text
from llumi_jax.training.report_text import percent, plain

__all__ = ["series_of", "write_card_page"]

FEW_TEST_PAIRS = 100
# Nothing may be loaded from anywhere, whatever slips into the page.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_LIMITS = (
    "A vote says that a reader liked a reply, not that the reply helped the person who asked. That person's own vote "
    "counts no more than a stranger's.",
    "The probability of a pair says how sure the label is, not how much better the chosen reply is.",
    "A model trained on these pairs learns this community's taste, its blind spots included. Let people who know the "
    "field judge what it writes.",
)


def write_card_page(card: Card, series: Series, path: Path) -> None:
    """Writes the page of a card.

    Args:
      card: the content of card.json; any block may be absent, and the page then leaves it out.
      series: what `series_of` returned; any key may be absent, and its plot then is.
      path: the file to write or replace.
    """
    write_text(path, page(card, series))


def page(card: Card, series: Series) -> str:
    """Returns the page as HTML."""
    sections = [
        ("rows", "Rows", _rows(card)),
        ("splits", "Splits", _splits(card)),
        ("audits", "Audits", _audits(card)),
        ("pairs", "Pairs", _plots(card, series)),
        ("communities", "Communities", _communities(card, series)),
        ("revisions", "Revisions", _revisions(card)),
        ("safety", "Safety and privacy", _safety(card)),
        ("checks", "Checks of the data", _checks_of_data(card)),
        ("settings", "Settings", _settings(card)),
        ("limits", "Limits", _limits(card)),
    ]
    there = [(key, name, body) for key, name, body in sections if body]
    links = _join((f'<li><a href="#{key}">{_text(name)}</a></li>' for key, name, _ in there), "")
    body = _join(f'<section aria-labelledby="{key}">{content}</section>' for key, _, content in there)
    return (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{_text(_name(card))}: data card</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><style>{CSS}</style></head>\n'
        f'<body><main>\n{_header(card)}\n<nav aria-label="Sections"><ul>{links}</ul></nav>\n{body}\n{_raw(card)}\n'
        "</main></body></html>\n"
    )


def _name(card: Card) -> str:
    return str(card.get("dataset") or card.get("source") or "dataset")


def _header(card: Card) -> str:
    off = card.get("clauses_off") or []
    without = f", without its clauses on {_text(', '.join(off))}" if off else ""
    identity = f" (hash <code>{_text(card['rule_hash'])}</code>)" if card.get("rule_hash") else ""
    what = (
        f"Made from <b>{_text(card.get('source'))}</b> by the rule <b>{_text(card.get('rule'))}</b>{without}{identity}."
    )
    warnings = _join(f"<li>{_text(card_words.warning(text))}</li>" for text in card.get("warnings") or ())
    noticed = f'<ul class="notice" aria-label="Warnings">{warnings}</ul>' if warnings else ""
    return (
        f'<header><h1>Data card: {_text(_name(card))}</h1><p class="quiet full">{what} Votes say what readers liked, '
        f'not what helps: see <a href="#limits">limits</a>.</p>{_flow(card)}{_checks(card)}{noticed}</header>'
    )


def _flow(card: Card) -> str:
    """Rows in, pairs out, in four figures."""
    read, kept = card.get("input"), (card.get("funnel") or {}).get(KEPT)
    pairs, by_split = card.get("pairs") or {}, card.get("pairs_by_split") or {}
    by_split = {split: by_split[split] for split in card_tables.splits_there(card)}
    figures = [(count(read), "rows read", "")]
    if kept is not None:
        figures.append((count(kept), f"rows kept, {share(kept, read or 0)}", ""))
    told = ", ".join(f"{count(n)} {task.upper()}" for task, n in pairs.items())
    figures.append((count(sum(pairs.values())), f"preference pairs: {told}", "gm"))
    held_out = sum(sum(of.values()) for split, of in by_split.items() if split != "train")
    if by_split:
        names = ", ".join(split for split in by_split if split != "train")
        figures.append((count(held_out), f"of them held out: {names}", ""))
    if card.get("replies") is not None:
        figures.append((count(card["replies"]), "replies to imitate (SFT)", ""))
    items = _join(
        f'<li class="{kind}"><div class="big">{_text(value)}</div><div class="quiet small">{_text(words)}</div></li>'
        for value, words, kind in figures
    )
    return f'<ul class="flow" aria-label="Rows in, pairs out">{items}</ul>'


def _checks(card: Card) -> str:
    """What a reader should know before anything else: good or not, in words."""
    found = [
        *_row_check(card),
        *_audit_checks(card),
        *_leak_check(card),
        *_safety_check(card),
        *_revision_check(card),
    ]
    tested = ((card.get("pairs_by_split") or {}).get("test") or {}).get("gm")
    if tested is not None and tested < FEW_TEST_PAIRS:
        found.append((False, f"only {tested:,} GM pairs in test: expect wide intervals"))
    items = _join(f'<li class="{"ok" if good else "warn"}">{_text(words)}</li>' for good, words in found)
    return f'<ul class="checks" aria-label="Checks">{items}</ul>' if items else ""


def _row_check(card: Card) -> list[tuple[bool, str]]:
    if not card.get("funnel"):
        return []
    good = sum(card["funnel"].values()) == card.get("input")
    return [(good, "every row accounted for" if good else "the reasons do not sum to the rows read")]


def _audit_checks(card: Card) -> list[tuple[bool, str]]:
    blocks = card.get("audits") or {}
    keys = [key for key in card_tables.audit_keys(card) if blocks[key]]
    warned = [card_words.audit(key) for key in keys if card_tables.verdict(blocks[key]) == "warns"]
    checks = []
    if keys:
        words = f"without the text, {' and '.join(warned)} would already tell" if warned else "no audit warns"
        checks.append((not warned, words))
    longer = blocks.get("chosen_longer")
    if longer is not None:
        checks.append((abs(longer - 0.5) <= 0.05, f"the longer reply is chosen in {percent(longer)}"))
    return checks


def _leak_check(card: Card) -> list[tuple[bool, str]]:
    """Leakage is a block of counts: all 0 is good, any other number is a leak."""
    numbers = [n for n in _leaves(card.get("leakage")) if isinstance(n, int) and not isinstance(n, bool)]
    if not numbers:
        return []
    return [(not any(numbers), "no leak between splits" if not any(numbers) else "splits leak: see below")]


def _safety_check(card: Card) -> list[tuple[bool, str]]:
    block = card.get("safety") or {}
    if not isinstance(block.get("dropped"), Mapping):
        return []
    kept_from = sum((block.get("t1_not_chosen") or {}).values())
    return [(True, f"safety gate: {sum(block['dropped'].values()):,} dropped, {kept_from:,} never chosen")]


def _revision_check(card: Card) -> list[tuple[bool, str]]:
    kept = (card.get("revisions") or {}).get("content_kept") or {}
    if kept.get("mean") is None:
        return []
    good = kept["mean"] > 0
    return [(good, "revisions keep what their drafts say" if good else "revisions leave their drafts behind")]


def _leaves(block: Any) -> list[Any]:
    if isinstance(block, Mapping):
        return [leaf for value in block.values() for leaf in _leaves(value)]
    return [] if block is None else [block]


def _rows(card: Card) -> str:
    parts = []
    for table, block, heading in (
        (card_tables.funnel(card), card.get("funnel"), "From rows to eligible rows"),
        (card_tables.pair_funnel(card), card.get("pair_funnel"), "From the rule's preferences to GM pairs"),
    ):
        if not table or not block:
            continue
        steps = {key: n for key, n in block.items() if key != "candidates"}
        whole = (card.get("input") or 0) if table.title == "Rows" else block["candidates"]
        name = "rows read" if table.title == "Rows" else "preferences"
        bars = [(card_words.reason(key), n) for key, n in steps.items()]
        picture = card_plots.falling(bars, (name, whole), "kept", f"{heading}; the numbers are in the table beside it.")
        parts.append(f'<div class="two"><figure class="card">{_h3(heading)}{picture}</figure>{_carded(table)}</div>')
    if not parts:
        return ""
    lead = "Each row is counted once, under the first reason that holds; the last line of a table is their sum."
    return f"{_h2('rows', 'Where every row went')}{_lead(lead)}{_join(parts)}"


def _splits(card: Card) -> str:
    table = card_tables.splits(card)
    if not table:
        return ""
    there = {split: card["pairs_by_split"][split] for split in card_tables.splits_there(card)}
    picture = card_plots.splits(there, "Pairs by split; the numbers are in the table beside it.")
    lead = "A post and all its replies stand in one split, chosen by a keyed hash of the post's id."
    return (
        f"{_h2('splits', 'Splits')}{_lead(lead)}"
        f'<div class="two"><figure class="card">{_h3("Preference pairs")}{picture}</figure>{_carded(table)}</div>'
    )


def _audits(card: Card) -> str:
    table, shares = card_tables.audits(card), card_tables.shares(card)
    if not table:
        return _h2("audits", "Audits") + _carded(shares) if shares else ""
    tested, rows = card.get("audits_test") or {}, []
    for key in card_tables.audit_keys(card):
        block = card["audits"][key]
        if block or tested.get(key):
            warns = bool(block) and card_tables.verdict(block) == "warns"
            rows.append((card_words.audit(key), block, tested.get(key), warns))
    legend = _legend(
        ("is-after", "all GM pairs"),
        ("is-warn", "… where the audit warns"),
        ("is-test", "test pairs"),
        ("is-band", "no warning inside"),
    )
    picture = card_plots.audits(rows, "AUC of each feature; the numbers are in the table beside it.") if rows else ""
    lead = (
        "Could something other than the text give the answer away? An AUC of .5 says that the feature tells nothing. "
        "Lines are 95 % intervals over posts. An audit warns when the feature is off by more than .05 and its "
        "interval leaves .5 out."
    )
    side = f'<div class="card">{_table(table)}{_table(shares) if shares else ""}</div>'
    figure = f'<figure class="card">{_h3("What one feature alone tells")}{legend}{picture}</figure>' if rows else ""
    return f'{_h2("audits", "Audits")}{_lead(lead)}<div class="two">{figure}{side}</div>'


def _plots(card: Card, series: Series) -> str:
    found = {
        (key, task): values(series, key, task)
        for key in ("score_chosen", "score_rejected", "probability", "log2_length_ratio", "hours_later")
        for task in ("gm", "im")
    }
    figures = [
        _scores(found["score_chosen", "gm"], found["score_rejected", "gm"]),
        _probabilities(found["probability", "gm"], found["probability", "im"]),
        _lengths(found["log2_length_ratio", "gm"], found["log2_length_ratio", "im"]),
        _times(found["hours_later", "gm"], card),
        _per_post(values(series, "pairs_per_post", "gm"), values(series, "pairs_per_post", "im")),
    ]
    if not any(figures):
        return ""
    legend = _legend(("is-gm", "GM pairs"), ("is-im", "IM pairs"))
    return f'{_h2("pairs", "The pairs in numbers")}{legend}<div class="plots">{_join(figures)}</div>'


def _scores(chosen: np.ndarray, rejected: np.ndarray) -> str:
    if not len(chosen) or not len(rejected):
        return ""
    legend = _legend(("is-after", "chosen"), ("is-rejected", "rejected"))
    told = f"median {np.median(chosen):,.0f} chosen, {np.median(rejected):,.0f} rejected".replace("-", "−")
    picture = card_plots.scores(chosen, rejected, f"Histogram of the scores of GM pairs: {told}.")
    return _figure("Scores of GM pairs", told, legend + picture)


def _probabilities(gm: np.ndarray, im: np.ndarray) -> str:
    if not len(gm) and not len(im):
        return ""
    told = _told(gm, im, lambda group: f"mean {group.mean():.3f}")
    return _figure(
        "How sure the labels are", told, card_plots.probabilities(gm, im, f"Histogram of label probabilities: {told}.")
    )


def _lengths(gm: np.ndarray, im: np.ndarray) -> str:
    if not len(gm) and not len(im):
        return ""
    told = _told(gm, im, lambda group: f"longer chosen in {percent(float(np.mean((np.sign(group) + 1) / 2)))}")
    picture = card_plots.length_ratios(gm, im, f"Histogram of length ratios: {told}.")
    return _figure("Length of chosen over rejected", told, picture)


def _times(gm: np.ndarray, card: Card) -> str:
    if not len(gm):
        return ""
    fixed = " (the rule asks for it)" if (card.get("settings") or {}).get("time_order") else ""
    told = f"chosen not earlier in {percent(float(np.mean(gm >= 0)))}{fixed}; median {np.median(gm):+.1f} h".replace(
        "-", "−"
    )
    return _figure("Time order of GM pairs", told, card_plots.hours_later(gm, f"Histogram of time order: {told}."))


def _per_post(gm: np.ndarray, im: np.ndarray) -> str:
    if not len(gm) and not len(im):
        return ""
    told = _told(gm, im, lambda group: f"{len(group):,} posts, {group.mean():.1f} each")
    return _figure("Pairs per post", told, card_plots.pairs_per_post(gm, im, f"Histogram of pairs per post: {told}."))


def _told(gm: np.ndarray, im: np.ndarray, say: Any) -> str:
    return "; ".join(f"{name}: {say(group)}" for name, group in (("GM", gm), ("IM", im)) if len(group))


def _figure(title: str, told: str, picture: str) -> str:
    return (
        f'<figure class="card"><figcaption><b>{_text(title)}</b><span>{_cell(told)}</span></figcaption>'
        f"{picture}</figure>"
    )


def _communities(card: Card, series: Series) -> str:
    table = card_tables.communities(card)
    if table:
        numbers = {str(name): of.get("pairs") or 0 for name, of in card["by_community"].items()}
    else:
        tasks = zip(series.get("community") or (), series.get("task") or (), strict=False)
        numbers = Counter(str(name) for name, task in tasks if task == "gm")
    if len(numbers) < 2 and not table:
        return ""
    picture = card_plots.communities(numbers, "GM pairs by community.")
    figure = f'<figure class="card">{_h3("GM pairs by community")}{picture}</figure>' if len(numbers) > 1 else ""
    return f'{_h2("communities", "Communities")}<div class="two">{figure}{_carded(table)}</div>'


def _revisions(card: Card) -> str:
    """IM: where its rows come from and, where a model revised drafts, what became of these."""
    made, sources, broken = (
        make(card) for make in (card_tables.revisions, card_tables.im_sources, card_tables.revision_rules)
    )
    if not made:
        return _section("revisions", "Revisions", "", [sources])
    became = card["revisions"]["became"]
    bars = [(card_words.reason(name), n) for name, n in became.items() if n or name == "kept"]
    whole = ("drafts", card["revisions"].get("drafts") or 0)
    picture = card_plots.falling(
        bars, whole, "kept", "What became of the drafts; the numbers are in the table beside it."
    )
    lead = (
        "A model revised the replies with the fewest votes. A revision counts if it breaks no rule, says what its "
        "draft says and is at most twice as long. That it is better is assumed, no vote says it."
    )
    figure = f'<figure class="card">{_h3("From drafts to revisions")}{picture}</figure>'
    return (
        f"{_h2('revisions', 'Revisions')}{_lead(lead)}"
        f'<div class="two">{figure}{_carded(made)}</div>'
        f'<div class="two">{_carded(sources)}{_carded(broken)}</div>'
    )


def _safety(card: Card) -> str:
    tables = [card_tables.safety(card), card_tables.safety_facts(card), card_tables.privacy(card)]
    lead = (
        "The gate drops what is dangerous (T0) everywhere, never chooses what is harmful (T1) and lets doubtful "
        "replies count less (T2); votes never override it. "
        if tables[0] or tables[1]
        else ""
    ) + ("Personal details are masked in posts and replies alike; public helplines stay." if tables[2] else "")
    if "names_model" in card:  # An older card does not say.
        lead += _names_tier(card["names_model"])
    return _section("safety", "Safety and privacy", lead, tables)


def _names_tier(model: Card | None) -> str:
    if not model:
        return " Names of people were not looked for: that takes a model (--names_model)."
    version = " ".join(str(model.get(key) or "") for key in ("model", "version"))
    return f" Names of people were masked as [NAME] where the model {version} found them; it misses some."


def _checks_of_data(card: Card) -> str:
    tables = [
        card_tables.purge(card),
        card_tables.leakage(card),
        card_tables.planted(card),
        card_tables.months_refused(card),
        card_tables.score_merge(card),
    ]
    lead = (
        "Held-out pairs leave when their poster stands in the training split; repliers leave too where enough remain."
    )
    return _section("checks", "Checks of the data", lead if tables[0] else "", tables)


def _settings(card: Card) -> str:
    off = card.get("clauses_off") or []
    lead = f"Off, because this source cannot feed them: {', '.join(off)}." if off else ""
    return _section("settings", "Settings", lead, [card_tables.settings(card), card_tables.origin(card)])


def _limits(card: Card) -> str:
    items = _join(f"<li>{_text(text)}</li>" for text in [*(card.get("notes") or ()), *_LIMITS])
    return f'{_h2("limits", "What this cannot tell")}<ul class="limits">{items}</ul>'


def _raw(card: Card) -> str:
    text = json.dumps(card, indent=2, ensure_ascii=False, default=str)
    return f"<details><summary>card.json</summary><pre>{_text(text)}</pre></details>"


def _section(key: str, heading: str, lead: str, tables: Iterable[Table | None]) -> str:
    body = _join(_carded(table) for table in tables)
    return f'{_h2(key, heading)}{_lead(lead)}<div class="two">{body}</div>' if body else ""


def _h2(key: str, words: str) -> str:
    return f'<h2 id="{key}">{_text(words)}</h2>'


def _h3(words: str) -> str:
    return f"<h3>{_text(words)}</h3>"


def _lead(words: str) -> str:
    return f'<p class="quiet">{_text(words)}</p>' if words else ""


def _legend(*entries: tuple[str, str]) -> str:
    return f'<ul class="legend">{_join((f"<li><i class={kind!r}></i>{_text(w)}</li>" for kind, w in entries), "")}</ul>'


def _carded(table: Table | None) -> str:
    return f'<div class="card">{_table(table)}</div>' if table else ""


def _table(table: Table) -> str:
    head = _join((f'<th scope="col">{_text(cell)}</th>' for cell in table.columns), "")
    body = _join((_row(cells, "strong" if cells[0] == table.strong else "") for cells in table.rows), "")
    foot = f"<tfoot>{_row(table.total)}</tfoot>" if table.total else ""
    note = f'<p class="quiet small">{_text(table.note)}</p>' if table.note else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{_text(table.title)}"><table>'
        f"<caption>{_text(table.title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>{foot}</table></div>"
        f"{note}"
    )


def _row(cells: tuple[str, ...], kind: str = "") -> str:
    name, *rest = cells
    kind = "warns" if rest and rest[0] == "warns" else kind
    shown = _join((f"<td{' class=words' if _is_words(cell) else ''}>{_cell(cell)}</td>" for cell in rest), "")
    return f'<tr{f" class={kind}" if kind else ""}><th scope="row">{_text(name)}</th>{shown}</tr>'


def _is_words(cell: str) -> bool:
    return len(cell) > 16 and "[" not in cell


def _cell(cell: str) -> str:
    """A space before a percent sign must not break, nor one inside an interval; a minus is as wide as a plus."""
    cell = re.sub(r"(?<![\w-])-(?=[\d.])", "−", cell)
    return _text(cell).replace(" %", "\u00a0%").replace(", ", ",\u00a0" if "[" in cell else ", ")


def _text(value: Any) -> str:
    return html.escape(plain(str(value)))


def _join(parts: Iterable[str], separator: str = "\n") -> str:
    return separator.join(part for part in parts if part)
