"""Charts of what was measured: speed with its range and memory side by side; memory over a long run."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.tables import NAMES, UNITS, Line, fastest

COLOURS = {"llumi_jax": "#1b6ca8", "trl": "#e0a458", "tunix": "#8a8d91"}
_SYSTEMS = ("llumi_jax", "trl", "tunix")


def draw(found: Sequence[Line], objective: str, title: str, path: Path) -> None:
    """Writes a PNG: for each set, reference and dtype the fastest setting of each system."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    groups = list(dict.fromkeys(line.group for line in found))
    figure, (speed, memory) = plt.subplots(1, 2, figsize=(11, 1.6 + 0.75 * len(groups)), sharey=True)
    for index, (data, reference, dtype) in enumerate(groups):
        for place, system in enumerate(_SYSTEMS):
            line = fastest(found, system, data=data, reference=reference, dtype=dtype)
            if line is None:
                continue
            y, colour = index + 0.26 * (place - 1), COLOURS[system]
            low, high = line.rate - line.figures["slowest"], line.figures["fastest"] - line.rate
            speed.barh(y, line.rate, 0.24, color=colour, xerr=[[low], [high]], capsize=2, ecolor="#444444")
            speed.annotate(f" {line.rate:.2f}", (line.rate + high, y), va="center", fontsize=8)
            memory.barh(y, line.memory_mb / 1000, 0.24, color=colour)
            memory.annotate(f" {line.memory_mb / 1000:.1f}", (line.memory_mb / 1000, y), va="center", fontsize=8)
    words = lambda group: "\n".join(part for part in (group[0], " ".join(group[1:])) if part)
    reference_matters = objective == "dpo"
    labels = [words(group if reference_matters else (group[0], group[2])) for group in groups]
    speed.set_yticks(range(len(groups)), labels)
    speed.invert_yaxis()
    for axis, label in ((speed, f"{UNITS[objective]} a second (median, range)"), (memory, "peak memory, GB")):
        axis.set_xlabel(label)
        axis.margins(x=0.15)
        axis.spines[["top", "right"]].set_visible(False)
    present = [system for system in _SYSTEMS if any(line.job["system"] == system for line in found)]
    handles = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[system]) for system in present]
    figure.legend(handles, [NAMES[system] for system in present], loc="upper right", ncols=3, frameon=False)
    figure.suptitle(title, x=0.01, ha="left")
    figure.tight_layout(rect=(0, 0, 1, 0.96))
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_memory(readings: Sequence[int], title: str, path: Path) -> None:
    """Writes a PNG: resident memory, given in bytes after every step."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(8, 3))
    axis.plot(range(1, len(readings) + 1), [value / 1e9 for value in readings], color=COLOURS["llumi_jax"], lw=1)
    axis.set_ylim(0, 1.1 * max(readings) / 1e9)
    axis.set_xlabel("step")
    axis.set_ylabel("resident memory, GB")
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(title, loc="left", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
