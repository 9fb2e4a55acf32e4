"""W/report.html: what a run did and came to, in one file that opens from disk, without a network or a script.

All that stands in it came from a config, a model or a stranger: every piece of text goes through `_text`.
"""

import html
import json
import math
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from llumi_jax.storage.files import write_text
from llumi_jax.training import report_plots
from llumi_jax.training.metrics import QUANTITIES, first_and_last
from llumi_jax.training.report_data import Run, StageRecord, read_run
from llumi_jax.training.report_style import CSS
from llumi_jax.training.report_text import Pieces, duration, number, percent, plain, points, size, word_differences

_SHARES = ("reward_accuracy", "held_out_accuracy", "mfu", "data_wait")
# Nothing may be loaded from anywhere, whatever slips into the page.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def write_report(workdir: str | os.PathLike) -> Path:
    """Writes the report of a work directory, finished or not, and returns its path.

    Reads config.json and of each stage metrics.jsonl, evaluation.json and samples.jsonl; what is absent is left out.
    """
    run = read_run(Path(workdir))
    path = Path(workdir) / "report.html"
    write_text(path, _page(run))
    return path


def _page(run: Run) -> str:
    sections = (
        _header(run),
        _stages(run),
        _accuracy(run),
        _replies(run),
        _replies_while_training(run),
        _curves(run),
        _config(run),
    )
    return (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{_text(run.name)}: training report</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><style>{CSS}</style></head>\n'
        f"<body><main>\n{_join(sections)}\n</main></body></html>\n"
    )


def _header(run: Run) -> str:
    base = run.config.get("base")
    size = f", {_count(run.parameters)} parameters" if run.parameters else ""
    what = f"Base model <code>{_text(base)}</code>{size}." if base else ""
    banner = f'<p class="banner" role="note">{_text(run.banner)}</p>' if run.banner else ""
    written = time.strftime("%Y-%m-%d %H:%M", time.localtime())
    title = f"<h1>Training report: {_text(run.name)}</h1>"
    return f'{banner}<header>{title}<p class="quiet full">{what} Written {written}.</p></header>'


def _stages(run: Run) -> str:
    if not run.stages:
        return "<p>No stage has begun yet.</p>"
    return f'<section class="grid" aria-label="Stages">{_join(map(_stage_card, run.stages))}</section>'


def _stage_card(stage: StageRecord) -> str:
    state = "finished" if stage.finished else "not finished" if stage.lines else "not begun"
    facts = [("State", state)]
    if stage.lines:
        losses = [value for value in stage.series("loss")[1] if math.isfinite(value)]
        facts.append(("Steps", f"{stage.steps:,}"))
        ends = first_and_last(losses)
        facts += [("Loss", f"{ends[0]:.3f} → {ends[1]:.3f}")] if ends else []
    if stage.seconds:
        facts.append(("Time", duration(stage.seconds)))
    if (waited := stage.data_wait) is not None:
        facts.append(("Waiting for data", percent(waited)))
    facts += _measured(stage)
    headline = ""
    if stage.evaluation:
        of = stage.evaluation["accuracy"]["mean_logp"]
        before, after = percent(of["before"]["value"]), percent(of["after"]["value"])
        headline = f'<div class="big"><span class="from">{before} →</span> {after}</div>'
        headline += (
            f'<div class="quiet small">held-out accuracy by mean log-prob: {_interval_in_words(of["difference"])}</div>'
        )
    rows = _join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in facts)
    return f'<article class="card {_role(stage)}">{_title(stage)}{headline}<dl>{rows}</dl></article>'


def _measured(stage: StageRecord) -> list[tuple[str, str]]:
    facts = []
    if isinstance(step := stage.best.get("step"), int):
        facts.append(("Result", f"step {step:,}, best by {stage.best.get('by', '').replace('_', ' ')}"))
    if isinstance(seconds := stage.compiled.get("seconds"), int | float):
        facts.append(("Compiling", duration(seconds)))
    if isinstance(total := stage.compiled.get("total_bytes"), int):
        facts.append(("Memory of a device", size(total)))
    return facts


def _interval_in_words(difference: Mapping[str, float | None]) -> str:
    change = f"{points(*_ends(difference))} points"
    low, high = difference["low"], difference["high"]
    if low is None or high is None:
        return change
    return f"{change}; the interval {'leaves 0 out' if low > 0 or high < 0 else 'holds 0'}"


def _accuracy(run: Run) -> str:
    stages = [stage for stage in run.stages if stage.evaluation]
    if not stages:
        return ""
    limits = report_plots.accuracy_limits([stage.evaluation for stage in stages if stage.evaluation])
    cards = _join(_accuracy_card(stage, stage.evaluation, limits) for stage in stages if stage.evaluation)
    return (
        f'<section><h2>Held-out pairs</h2><p class="quiet">{_ACCURACY_NOTE}</p><ul class="legend">'
        '<li><i class="is-before"></i>before the stage</li><li><i class="is-after"></i>after it</li></ul>'
        f'<div class="grid wide">{cards}</div></section>'
    )


_ACCURACY_NOTE = (
    "The share of pairs in which the model gives the reply that people preferred the higher score; ties count a half, "
    "and 50 % is chance. Lines are 95 % intervals over posts. <em>Length only</em> lets the longer reply win. "
    "<em>Label ceiling</em> is what perfect knowledge would reach, since votes are noisy. <em>Implicit reward</em> "
    "compares the trained model with its own start."
)


def _accuracy_card(stage: StageRecord, found: Mapping[str, Any], limits: tuple[float, float]) -> str:
    rows = []
    for key, label in report_plots.ACCURACY_ROWS:
        of = found["accuracy"][key]
        rows.append(
            (label, percent(of["before"]["value"]), percent(of["after"]["value"]), points(*_ends(of["difference"])))
        )
    reward = found["implicit_reward"]
    rows.append(("implicit reward", "", percent(reward["value"]), ""))
    rows.append(("reward margin", "", number(found["reward_margin"], "+.3f"), ""))
    rows.append(("length only", percent(found["length_only"]), "", ""))
    rows.append(("label ceiling", percent(found["ceiling"]), "", ""))
    counts = f"{found['pairs']:,} pairs of {found['threads']:,} posts"
    picture = report_plots.accuracy(found, limits, f"Held-out accuracy of {stage.name}; the numbers are below.")
    return (
        f'<figure class="card {_role(stage)}">{_title(stage, counts)}{picture}'
        f'<div class="scroll">{_table(("", "before", "after", "after − before"), rows)}</div></figure>'
    )


def _replies(run: Run) -> str:
    posts: dict[tuple[str, str, str], list[tuple[StageRecord, Mapping[str, Any]]]] = {}
    for stage in run.stages:
        for sample in stage.samples:
            posts.setdefault((stage.role, _string(sample, "id"), _string(sample, "body")), []).append((stage, sample))
    if not posts:
        return ""
    return (
        '<section><h2>Replies before and after</h2><p class="quiet">Written by models for held-out posts, unedited: '
        "they may be wrong or unkind. Where two replies are alike, words that only one of them has are marked.</p>"
        f"{_join(map(_post, posts.values()))}</section>"
    )


def _post(samples: list[tuple[StageRecord, Mapping[str, Any]]]) -> str:
    """One post with its replies, stage by stage."""
    stage, sample = samples[0]
    draft = _string(sample, "draft").strip()
    drafted = f'<div class="label">Draft</div><div class="draft text">{_text(draft)}</div>' if draft else ""
    title = _title(stage, " ", heading=_string(sample, "title").strip() or "Untitled post")
    body = f'<div class="post text" tabindex="0">{_text(_string(sample, "body").strip())}</div>'
    sides = _join(_sides(stage, sample) for stage, sample in samples)
    return f'<article class="card sample {_role(stage)}">{title}{body}{drafted}{sides}</article>'


def _replies_while_training(run: Run) -> str:
    """Per stage and post, the replies step by step, folded away."""
    blocks = []
    for stage in run.stages:
        posts: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for row in stage.replies:
            posts.setdefault((_string(row, "title").strip() or "Untitled post", _string(row, "id")), []).append(row)
        for (title, _), rows in posts.items():
            reply = lambda row: _marked([(plain(_string(row, "reply")), False)], "")
            steps = _join(f'<dt>step {row["step"]:,}</dt><dd class="text">{reply(row)}</dd>' for row in rows)
            summary = f"<summary>{_text(stage.name)}: {_text(title)}</summary>"
            blocks.append(f'<details class="steps {_role(stage)}">{summary}<dl>{steps}</dl></details>')
    if not blocks:
        return ""
    return f'<section><h2>Replies while training</h2><p class="quiet">To held-out posts.</p>{_join(blocks)}</section>'


def _sides(stage: StageRecord, sample: Mapping[str, Any]) -> str:
    before, after = word_differences(plain(_string(sample, "before")), plain(_string(sample, "after")))
    columns = _join(
        f'<div class="side is-{when}"><div class="label">{_text(label)}</div>'
        f'<div class="text">{_marked(pieces, tag)}</div></div>'
        for when, label, pieces, tag in (
            ("before", "Before", before, "del"),
            ("after", f"After {stage.name}", after, "ins"),
        )
    )
    return f'<div class="sides">{columns}</div>'


def _marked(pieces: Pieces, tag: str) -> str:
    text = _join((f"<{tag}>{_text(piece)}</{tag}>" if changed else _text(piece) for piece, changed in pieces), "")
    return text if text.strip() else '<span class="quiet">(empty)</span>'


def _curves(run: Run) -> str:
    stages = _join(_stage_curves(stage) for stage in run.stages if stage.lines)
    return f'<section><h2>Curves</h2><p class="quiet">By optimiser step.</p>{stages}</section>' if stages else ""


def _stage_curves(stage: StageRecord) -> str:
    figures = []
    for quantity in QUANTITIES:
        steps, values = stage.series(quantity.key)
        finite = [value for value in values if math.isfinite(value)]
        if not finite:
            continue
        share = quantity.key in _SHARES
        last = percent(finite[-1]) if share else f"{finite[-1]:.4g}" if abs(finite[-1]) < 1e4 else f"{finite[-1]:,.0f}"
        description = (
            f"{quantity.label} of {stage.name}, from {finite[0]:.4g} to {finite[-1]:.4g} over {steps[-1]} steps"
        )
        smooth = quantity.key != "learning_rate"
        picture = report_plots.curve(steps, values, description, share=share, smooth=smooth)
        figures.append(f"<figure><figcaption>{_text(quantity.label)}<b>{last}</b></figcaption>{picture}</figure>")
    body = f'<div class="curves">{_join(figures)}</div>'
    return f'<article class="card stage {_role(stage)}">{_title(stage, f"{stage.steps:,} steps")}{body}</article>'


def _config(run: Run) -> str:
    if not run.config:
        return ""
    text = json.dumps(run.config, indent=2, ensure_ascii=False)
    return f"<details><summary>Resolved config</summary><pre>{_text(text)}</pre></details>"


def _title(stage: StageRecord, aside: str = "", heading: str = "") -> str:
    badge = f'<span class="badge">{_text(stage.role.upper() or "–")}</span>'
    right = f'<span class="quiet small">{_text(aside or stage.objective)}</span>'
    return f'<div class="title">{badge}<h3>{_text(heading or stage.name)}</h3>{right}</div>'


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = _join((f'<th scope="col">{_text(cell)}</th>' for cell in header), "")
    body = ""
    for name, *cells in rows:
        # A minus as wide as a plus; lines break before an interval and nowhere else.
        shown = (_text(cell).replace("-", "−").replace(", ", ",\u00a0").replace(" %", "\u00a0%") for cell in cells)
        body += f'<tr><th scope="row">{_text(name)}</th>{_join((f"<td>{cell}</td>" for cell in shown), "")}</tr>'
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _role(stage: StageRecord) -> str:
    """The class that gives a stage its colour."""
    return "im" if stage.role == "im" else "gm"


def _ends(block: Mapping[str, float | None]) -> tuple[float | None, float | None, float | None]:
    return block["value"], block["low"], block["high"]


def _string(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else ""


def _count(parameters: int | None) -> str:
    value = parameters or 0
    return f"{value / 1e9:.1f} billion" if value >= 1e9 else f"{value / 1e6:.0f} million"


def _text(value: Any) -> str:
    return html.escape(plain(str(value)))


def _join(parts: Iterable[str], separator: str = "\n") -> str:
    return separator.join(part for part in parts if part)
