"""The card's pictures, and the plain numbers that they are drawn from: no text, no id."""

import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.audit import WARN_ABOVE
from data_pipelines.balance import MAX_RATIO
from data_pipelines.records import Pair
from llumi_jax.training.report_plots import AFTER, BEFORE, GRID, INK, LINE, PAPER, locator, svg
from llumi_jax.training.report_text import plain

Series = Mapping[str, Sequence[Any]]
BARS_SHOWN = 16
# Stand for colours of the page that the training report does not use.
_WARN, _TINT, _GM, _IM = "#0a0a01", "#0a0a02", "#0a0a03", "#0a0a04"
_VARIABLES = {_WARN: "var(--notice)", _TINT: "var(--notice-tint)", _GM: "var(--gm)", _IM: "var(--im)"}
_WIDE, _SMALL = 3.5, 3.2  # Inches; the page scales them to its columns.
_HOURS = (0.25, 0.5, 1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 720, 2160, 8760)


def series_of(pairs: Sequence[Pair]) -> dict[str, list]:
    """Returns the numbers behind the plots, one per pair unless said otherwise.

    Keys: `task`, `community`, `score_chosen`, `score_rejected`, `probability`, `log2_length_ratio` (chosen over
    rejected, in characters), `hours_later` (chosen less rejected), `pairs_per_post` (one number per task and post).
    None where a source lacks the value.
    """
    posts = Counter((pair.task, pair.post.id) for pair in pairs)
    return {
        "task": [pair.task for pair in pairs],
        "community": [pair.post.community for pair in pairs],
        "score_chosen": [pair.chosen.score for pair in pairs],
        "score_rejected": [pair.rejected.score for pair in pairs],
        "probability": [float(pair.probability) for pair in pairs],
        "log2_length_ratio": [_log2_ratio(len(pair.chosen.text), len(pair.rejected.text)) for pair in pairs],
        "hours_later": [_hours(pair.chosen.created, pair.rejected.created) for pair in pairs],
        "pairs_per_post": list(posts.values()),
        "task_of_post": [task for task, _ in posts],
    }


def _log2_ratio(chosen: int, rejected: int) -> float | None:
    return math.log2(chosen / rejected) if chosen and rejected else None


def _hours(chosen: int | None, rejected: int | None) -> float | None:
    return None if chosen is None or rejected is None else (chosen - rejected) / 3600


def values(series: Series, key: str, task: str) -> np.ndarray:
    """Returns the known numbers of one task [n]; empty where the series lack the key."""
    tasks = series.get("task_of_post" if key == "pairs_per_post" else "task") or ()
    found = series.get(key) or ()
    return np.array([v for v, t in zip(found, tasks, strict=False) if t == task and v is not None], float)


def falling(rows: Sequence[tuple[str, int]], whole: tuple[str, int], kept: str, description: str) -> str:
    """A funnel as bars: each part takes its piece off the right end of what is left, until the last part remains.

    Args:
      rows: (label, number), the remaining part last, labelled `kept`; small parts beyond sixteen share a bar.
      whole: label and number of what was there at first.
    """
    *lost, last = rows
    if len(lost) > BARS_SHOWN:
        few = sorted(lost, key=lambda row: -row[1])[: BARS_SHOWN - 1]
        rest = [row for row in lost if row not in few]
        lost = [row for row in lost if row in few] + [(f"{len(rest)} more reasons", sum(n for _, n in rest))]
    bars, left = [(whole[0], 0, whole[1], INK)], whole[1]
    for label, number in lost:
        left -= number
        bars.append((label, left, number, BEFORE))
    bars.append((kept or last[0], 0, last[1], AFTER))

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.grid(visible=False)
        total = max(whole[1], 1)
        for y, (_, start, size, color) in enumerate(bars):
            axes.barh(y, size, left=start, height=0.62, color=color, alpha=0.55 if color == INK else 1)
            if y:  # where the bar above it ends
                end = bars[y - 1][1] if y > 1 else total
                axes.plot([end, end], [y - 0.69, y + 0.31], color=INK, linewidth=0.6)
            inside = start > 0.2 * total
            at, side = (start - 0.012 * total, "right") if inside else (start + size + 0.012 * total, "left")
            axes.text(at, y, f"{size:,}", ha=side, va="center_baseline")
        axes.set_yticks(range(len(bars)), [_label(label) for label, *_ in bars])
        axes.set_ylim(len(bars) - 0.4, -0.6)
        axes.set_xlim(0, 1.16 * total)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)

    return _drawn(draw, (_WIDE, 0.35 + 0.205 * len(bars)), description)


def splits(by_split: Mapping[str, Mapping[str, int]], description: str) -> str:
    """Pairs by split, GM above IM."""
    names = list(by_split)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.grid(visible=False)
        largest = max((n for of in by_split.values() for n in of.values()), default=1) or 1
        for y, name in enumerate(names):
            for task, color, offset in (("gm", _GM, -0.19), ("im", _IM, 0.19)):
                size = by_split[name].get(task) or 0
                axes.barh(y + offset, size, height=0.34, color=color)
                axes.text(size + 0.012 * largest, y + offset, f"{task.upper()} {size:,}", va="center_baseline")
        axes.set_yticks(range(len(names)), [_label(name) for name in names])
        axes.set_ylim(len(names) - 0.45, -0.55)
        axes.set_xlim(0, 1.22 * largest)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)

    return _drawn(draw, (_WIDE, 0.25 + 0.45 * len(names)), description)


def audits(rows: Sequence[tuple[str, Mapping | None, Mapping | None, bool]], description: str) -> str:
    """AUCs as dots with their intervals against .5 and the band in which no audit warns.

    Args:
      rows: (label, over all pairs, over the test pairs, whether it warns); None where there is none.
    """
    blocks = [block for _, *both, _ in rows for block in both if block]
    ends = [block[end] for block in blocks for end in ("auc", "low", "high")]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.grid(axis="y", visible=False)
        axes.axvspan(1 - WARN_ABOVE, WARN_ABOVE, color=GRID, linewidth=0)
        axes.axvline(0.5, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
        for y, (_, everything, tested, warns) in enumerate(rows):
            _dot(axes, everything, y - 0.16, _WARN if warns else AFTER, filled=True)
            _dot(axes, tested, y + 0.2, INK, filled=False)
        axes.set_yticks(range(len(rows)), [_label(label) for label, *_ in rows])
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.set_xlim(min([0.3, *(e - 0.03 for e in ends)]), max([0.7, *(e + 0.03 for e in ends)]))
        axes.xaxis.set_major_locator(locator(6))
        axes.xaxis.set_major_formatter(lambda v, _: f"{v:.1f}")
        axes.set_xlabel("AUC (.5: tells nothing)")

    return _drawn(draw, (_WIDE, 0.55 + 0.4 * len(rows)), description)


def _dot(axes: Any, block: Mapping | None, y: float, color: str, filled: bool) -> None:
    if not block:
        return
    width = 2 if filled else 1.1
    axes.plot([block["low"], block["high"]], [y, y], color=color, linewidth=width, alpha=0.7, solid_capstyle="round")
    face = color if filled else PAPER
    axes.plot(
        block["auc"], y, marker="o", markersize=6.5 if filled else 4.5, color=color, markerfacecolor=face,
        markeredgewidth=1.3,
    )  # fmt: skip


def scores(chosen: np.ndarray, rejected: np.ndarray, description: str) -> str:
    """Scores of both sides: whole numbers while they are few, else bins that widen with the score."""
    everything = np.concatenate([chosen, rejected])
    edges = score_edges(everything.min(), everything.max())

    def draw(figure: Any) -> None:
        axes = _histogram_axes(figure, "pairs")
        axes.stairs(np.histogram(chosen, edges)[0], edges, color=AFTER, fill=True, alpha=0.45, linewidth=0)
        axes.stairs(np.histogram(chosen, edges)[0], edges, color=AFTER, linewidth=1.3)
        axes.stairs(np.histogram(rejected, edges)[0], edges, color=BEFORE, linewidth=1.6, linestyle=(0, (3, 1.4)))
        if np.max(np.diff(edges)) > 1:
            axes.set_xscale("symlog", linthresh=10, linscale=1.2)
            top = np.abs(edges).max()
            ticks = [t for t in (0, 5, 10, 30, 100, 300, 1000, 3000, 10_000, 100_000) if t < top]
            ticks = sorted({s * t for t in ticks for s in (-1, 1) if edges[0] <= s * t <= edges[-1]})
            axes.set_xticks(ticks, [f"{t:,}".replace("-", "−") for t in ticks])
            axes.minorticks_off()
        else:
            axes.xaxis.set_major_locator(locator(8, integer=True))
        axes.set_xlabel("score (votes)")

    return _drawn(draw, (_SMALL, 1.95), description)


def score_edges(low: float, high: float) -> np.ndarray:
    """Edges of bins of width 1 up to scores of 30; beyond 10, then, each a quarter wider than the one before."""
    if max(abs(low), abs(high)) <= 30:
        return np.arange(math.floor(low) - 0.5, math.ceil(high) + 1)
    wide = [10.5]
    while wide[-1] < max(abs(low), abs(high)):
        wide.append(math.ceil(wide[-1] * 1.25) + 0.5)
    edges = np.array([-edge for edge in reversed(wide)] + [*np.arange(-9.5, 10)] + wide)
    first, last = np.searchsorted(edges, low, "right") - 1, np.searchsorted(edges, high, "left")
    return edges[max(first, 0) : last + 1]


def probabilities(gm: np.ndarray, im: np.ndarray, description: str) -> str:
    """How sure the labels are: .5 is a guess, 1 is certain."""

    def draw(figure: Any) -> None:
        axes = _histogram_axes(figure, "pairs")
        _both(axes, gm, im, np.linspace(0.5, 1, 26))
        axes.set_xlim(0.495, 1.005)
        axes.set_xlabel("probability that the label is right")

    return _drawn(draw, (_SMALL, 1.95), description)


def length_ratios(gm: np.ndarray, im: np.ndarray, description: str) -> str:
    """Length of chosen over rejected; the longer reply must not be the better one by habit."""
    edges = ratio_edges(max(float(np.abs(group).max()) for group in (gm, im) if len(group)))

    def draw(figure: Any) -> None:
        axes = _histogram_axes(figure, "pairs")
        axes.axvline(0, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
        _both(axes, gm, im, edges)
        ticks = {1 / 3: "⅓", 1 / 2: "½", 1: "1", 2: "2", 3: "3 ×"}
        axes.set_xticks([math.log2(t) for t in ticks], list(ticks.values()))
        axes.set_xlabel("chosen ÷ rejected, in characters")

    return _drawn(draw, (_SMALL, 1.95), description)


def ratio_edges(widest: float) -> np.ndarray:
    """Edges of eight bins each way up to the longest ratio that the rules allow, and of more where `widest` is more."""
    width = math.log2(MAX_RATIO) / 8
    bins = max(8, math.ceil(widest / width - 1e-9))
    return np.arange(-bins, bins + 1) * width


def hours_later(gm: np.ndarray, description: str) -> str:
    """How long after the rejected reply the chosen one was written; left of 0 it was there first."""
    edges = hour_edges(gm)

    def draw(figure: Any) -> None:
        axes = _histogram_axes(figure, "pairs")
        axes.axvline(0, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
        _both(axes, gm, gm[:0], edges)
        axes.set_xscale("symlog", linthresh=1, linscale=0.6)
        names = {0: "0", 1: "1 h", 6: "6 h", 24: "1 d", 168: "1 w", 720: "30 d", 8760: "1 y"}
        ticks = sorted({s * t for t in names for s in (-1, 1) if edges[0] <= s * t <= edges[-1]})
        axes.set_xticks(ticks, [f"{'−' if t < 0 else ''}{names[abs(t)]}" for t in ticks])
        axes.minorticks_off()
        axes.set_xlabel("chosen written later by (log scale)")

    return _drawn(draw, (_SMALL, 1.95), description)


def hour_edges(hours: np.ndarray) -> np.ndarray:
    """Edges of bins that widen away from 0 hours and hold every number; a side without numbers has none."""
    largest = float(np.abs(hours).max())
    tops = [hour for hour in _HOURS if hour < largest]
    last = _HOURS[len(tops)] if len(tops) < len(_HOURS) else largest + 1
    edges = np.array(sorted({sign * limit for limit in (0.0, *tops, last) for sign in (-1, 1)}))
    edges = edges if hours.min() < 0 else edges[edges >= 0]
    return edges if hours.max() >= 0 else edges[edges <= 0]


def pairs_per_post(gm: np.ndarray, im: np.ndarray, description: str) -> str:
    """How many pairs a post gives: a few busy threads must not make up the dataset."""
    edges = np.arange(0.5, max([1, *gm, *im]) + 1)

    def draw(figure: Any) -> None:
        axes = _histogram_axes(figure, "posts")
        _both(axes, gm, im, edges)
        axes.xaxis.set_major_locator(locator(8, integer=True))
        axes.set_xlabel("pairs of one post")

    return _drawn(draw, (_SMALL, 1.95), description)


def communities(numbers: Mapping[str, int], description: str) -> str:
    """GM and IM pairs by community, the largest first."""
    ordered = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    rest = ordered[BARS_SHOWN:]
    shown = ordered[:BARS_SHOWN] + ([(f"{len(rest)} more", sum(n for _, n in rest))] if rest else [])

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.grid(visible=False)
        largest = max([1, *(n for _, n in shown)])
        for y, (_, size) in enumerate(shown):
            axes.barh(y, size, height=0.62, color=LINE)
            axes.text(size + 0.012 * largest, y, f"{size:,}", va="center_baseline")
        axes.set_yticks(range(len(shown)), [_label(name) for name, _ in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlim(0, 1.16 * largest)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)

    return _drawn(draw, (_WIDE, 0.25 + 0.205 * len(shown)), description)


def _label(name: str, longest: int = 30) -> str:
    """A name fit to stand beside an axis: no control characters, not longer than the picture can bear."""
    name = plain(str(name))
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def _histogram_axes(figure: Any, what: str) -> Any:
    axes = figure.subplots()
    axes.grid(axis="x", visible=False)
    axes.yaxis.set_major_locator(locator(4, integer=True))
    axes.set_ylabel(what)
    return axes


def _both(axes: Any, gm: np.ndarray, im: np.ndarray, edges: np.ndarray) -> None:
    """GM filled, IM as a line, so that neither hides the other and no colour has to be told apart."""
    if len(gm):
        axes.stairs(np.histogram(gm, edges)[0], edges, color=_GM, fill=True, alpha=0.5)
    if len(im):
        axes.stairs(np.histogram(im, edges)[0], edges, color=_IM, linewidth=1.8)


def _drawn(draw: Callable[[Any], None], inches: tuple[float, float], description: str) -> str:
    with warnings.catch_warnings():
        # A community's name may need letters that matplotlib's font lacks: the page's own font draws them.
        warnings.filterwarnings("ignore", message="Glyph")
        picture = svg(draw, inches, description)
    for fixed, variable in _VARIABLES.items():
        picture = picture.replace(fixed, variable)
    return picture
