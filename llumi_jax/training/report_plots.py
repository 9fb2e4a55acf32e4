"""The report's pictures: SVG that stands inside the page and takes its colours from it, in light and dark alike."""

import hashlib
import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

# Matplotlib knows fixed colours only; these stand for the page's variables until the SVG is put into the page.
INK, GRID, BEFORE, AFTER, LINE, PAPER = (f"#0{i}0{i}0{i}" for i in range(1, 7))
_VARIABLES = {
    INK: "var(--quiet)",
    GRID: "var(--grid)",
    BEFORE: "var(--before)",
    AFTER: "var(--after)",
    LINE: "var(--role)",
    PAPER: "var(--card)",
}
_STYLE = {
    "svg.fonttype": "none",  # text stays text, in the page's own font
    "svg.hashsalt": "report",
    "text.parse_math": False,  # a name with dollar signs is a name
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.linewidth": 0.8,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 5,
    "ytick.major.pad": 5,
}
_POINTS = 400  # drawn points of a curve, however long the run
_SMOOTH_FROM = 30  # points from which a smoothed curve is laid over the raw one

ACCURACY_ROWS = (("mean_logp", "mean log-prob"), ("sum_logp", "summed log-prob"))


def curve(
    steps: Sequence[int], values: Sequence[float], description: str, *, share: bool = False, smooth: bool = True
) -> str:
    """One metric over the steps of a stage, as an <svg> element.

    Args:
      steps, values: equally long; NaN leaves a gap.
      description: for those who do not see the picture.
      share: values are shares of 1, drawn in percent.
      smooth: lay a smoothed curve over a long one.
    """
    x, y = _thinned(np.asarray(steps, float), np.asarray(values, float))

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.grid(axis="x", visible=False)
        lone = {"marker": "o", "markersize": 3.5} if len(x) == 1 else {}
        if smooth and len(x) >= _SMOOTH_FROM:
            axes.plot(x, y, color=LINE, linewidth=0.8, alpha=0.3)
            axes.plot(x, _smoothed(y), color=LINE, linewidth=1.8, solid_capstyle="round")
        else:
            axes.plot(x, y, color=LINE, linewidth=1.8, solid_capstyle="round", **lone)
        axes.margins(x=0.01, y=0.12)
        axes.xaxis.set_major_locator(locator(5, integer=True))
        axes.yaxis.set_major_locator(locator(4))
        axes.yaxis.set_major_formatter((lambda v, _: f"{100 * v:.3g} %") if share else (lambda v, _: f"{v:.4g}"))

    return svg(draw, (3.5, 1.75), description)


def accuracy(found: Mapping[str, Any], limits: tuple[float, float], description: str) -> str:
    """Held-out accuracy of one stage before and after, with intervals, beside its baselines, as an <svg> element.

    Args:
      found: what `evaluation.preference.summarize` returned.
      limits: ends of the axis, equal for all stages of a report so that they can be compared.
      description: for those who do not see the picture.
    """
    rows = [(label, _pair(found["accuracy"][key])) for key, label in ACCURACY_ROWS]
    rows.append(("implicit reward", [(found["implicit_reward"], AFTER, 0.0, "o")]))
    rows.append(("length only", [({"value": found["length_only"]}, INK, 0.0, "D")]))
    rows.append(("label ceiling", [({"value": found["ceiling"]}, INK, 0.0, "|")]))

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.grid(axis="y", visible=False)
        axes.axvline(0.5, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
        for y, (_, marks) in enumerate(rows):
            for mark, color, offset, marker in marks:
                _draw_mark(axes, mark, y + offset, color, marker)
        axes.set_yticks(range(len(rows)), [label for label, _ in rows])
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.set_xlim(*limits)
        axes.xaxis.set_major_locator(locator(5))
        axes.xaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")

    return svg(draw, (3.9, 2.3), description)


def accuracy_limits(evaluations: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """The axis that holds every number of these evaluations and 50 %, in whole steps of 5 %."""
    values = [0.5]
    for found in evaluations:
        blocks = [found["implicit_reward"]]
        blocks += [found["accuracy"][key][when] for key, _ in ACCURACY_ROWS for when in ("before", "after")]
        values += [block[end] for block in blocks for end in ("value", "low", "high")]
        values += [found["length_only"], found["ceiling"]]
    known = [value for value in values if value is not None]
    return max(-0.02, np.floor(min(known) * 20 - 0.4) / 20), min(1.02, np.ceil(max(known) * 20 + 0.4) / 20)


def _pair(block: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], str, float, str]]:
    return [(block["before"], BEFORE, -0.17, "o"), (block["after"], AFTER, 0.17, "o")]


def _draw_mark(axes: Any, mark: Mapping[str, Any], y: float, color: str, marker: str) -> None:
    if mark.get("low") is not None and mark.get("high") is not None:
        axes.plot([mark["low"], mark["high"]], [y, y], color=color, linewidth=1.6, solid_capstyle="round", alpha=0.65)
    if mark.get("value") is not None:
        hollow = {"markerfacecolor": PAPER} if color == BEFORE else {}
        size = {"o": 6, "D": 4.5, "|": 11}[marker]
        axes.plot([mark["value"]], [y], marker=marker, markersize=size, color=color, markeredgewidth=1.6, **hollow)


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over equal stretches once there are more points than a picture can show; NaNs do not count into a mean."""
    if len(x) <= _POINTS:
        return x, y
    edges = np.linspace(0, len(x), _POINTS + 1).astype(int)[:-1]
    known = np.isfinite(y)
    counts = np.add.reduceat(known.astype(float), edges)
    sums = np.add.reduceat(np.where(known, y, 0.0), edges)
    means = np.divide(sums, counts, out=np.full(len(edges), np.nan), where=counts > 0)
    return np.maximum.reduceat(x, edges), means


def _smoothed(y: np.ndarray) -> np.ndarray:
    """Exponential mean over about a fifteenth of the curve, unbiased at its start, skipping NaN."""
    keep = 1 - min(1.0, 15 / len(y))
    total = weight = 0.0
    smooth = np.full(len(y), np.nan)
    for i, value in enumerate(y):
        if np.isfinite(value):
            total, weight = keep * total + value, keep * weight + 1
            smooth[i] = total / weight
    return smooth


def locator(bins: int, integer: bool = False) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(bins, integer=integer, steps=[1, 2, 5, 10])


def svg(draw: Callable[[Any], None], inches: tuple[float, float], description: str) -> str:
    """Draws without matplotlib's global state; returns an <svg> element fit to stand inside a page.

    Args:
      draw: fills the figure it is given; INK, GRID and their like become the page's own colours, light and dark.
      inches: width and height; the page scales both.
      description: for those who do not see the picture; one of its own for every picture of a page.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=inches, layout="constrained")
        figure.patch.set_alpha(0)
        draw(figure)
        for axes in figure.axes:
            axes.patch.set_alpha(0)
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    return _for_page(buffer.getvalue(), description)


def _for_page(svg: str, description: str) -> str:
    """Leaves out what only a file needs, makes ids unique in the page, and puts the page's colours in."""
    svg = svg[svg.index("<svg") :]
    box = re.search(r'viewBox="[^"]*"', svg)
    prefix = hashlib.sha256(description.encode()).hexdigest()[:8]
    described = f'<svg {box[0] if box else ""} role="img" aria-label="{html.escape(description)}">'
    for pattern, replacement in (
        (r"<metadata>.*?</metadata>|<style.*?</style>", ""),
        (r"^<svg[^>]*>", lambda _: described),
        (r'\bid="', f'id="i{prefix}-'),
        (r"url\(#", f"url(#i{prefix}-"),
        (r'xlink:href="#', f'href="#i{prefix}-'),
        (r" font-family: [^;]*;", ""),  # the page's own
        (r' transform="rotate\(-0[^)]*\)"', ""),
        (r"\n\s*", " "),
    ):
        svg = re.sub(pattern, replacement, svg, flags=re.DOTALL)
    for fixed, variable in _VARIABLES.items():
        svg = svg.replace(fixed, variable)
    return svg.strip()
