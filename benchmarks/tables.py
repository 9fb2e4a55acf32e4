"""What was measured as tables, for the terminal and for the docs: python -m benchmarks.tables --docs docs/benchmarks.md

The docs hold no figure that a person copied: between `<!-- results: NAME -->` and `<!-- end -->` stands what this
command writes there from `benchmarks/results/NAME_*.json`. Without results nothing stands there.
"""

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.alternate import ROOT, Record, medians
from llumi_jax import cli
from llumi_jax.cli import UserError

RESULTS = ROOT / "benchmarks" / "results"
# Dense matrix products in bfloat16 as the makers state them, FLOP/s of one accelerator.
PEAKS = {"B200": 2250e12, "H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "T4": 65e12}
NAMES = {"llumi_jax": "llumi_jax", "trl": "TRL", "tunix": "Tunix"}
UNITS = {"dpo": "pairs", "sft": "replies"}
COLUMNS = ("set", "reference", "dtype", "system", "batch", "{unit}/s", "range", "x TRL", "memory", "useful", "step")


@dataclasses.dataclass(frozen=True)
class Line:
    """One job's medians."""

    job: Mapping[str, Any]
    figures: Record

    @property
    def group(self) -> tuple[str, str, str]:
        """Lines of one group do the same work."""
        return self.job["data"], self.job["reference"], self.job["dtype"]

    @property
    def rate(self) -> float:
        return self.figures["units_per_s"]

    @property
    def memory_mb(self) -> float:
        """Of the accelerator where there is one, else of the process."""
        return self.figures.get("device_mb") or self.figures["peak_mb"]

    @property
    def batch(self) -> str:
        """How the job shares out its work, without what other columns say."""
        job = self.job
        if job["system"] == "llumi_jax":
            accumulate = job["batch_rows"] // job["micro_rows"]
            parts = [f"{job['micro_rows']} rows of {job['row_length']:,}", f"x {accumulate}" * (accumulate > 1)]
            parts.append(f"remat {job['remat']}" * (job["remat"] != "attention"))
        else:
            parts = [str(job["batch"]), f"x {job['accumulate']}" * (job["accumulate"] > 1)]
            parts += ["grouped" * job["grouped"], "packed" * job["packing"], "checkpointing" * job["checkpointing"]]
        return " ".join(part for part in [*parts, "LoRA" * bool(job["lora_rank"])] if part)

    def utilisation(self, peak: float | None) -> float:
        """Useful FLOPs against the accelerator's stated peak if it is known, else against the best matrix product."""
        return self.figures["useful_flops_per_s"] / (peak or self.figures["matmul_flops_per_s"])


def lines(runs: Sequence[Record]) -> list[Line]:
    """One line for every job that was measured, in the order of their first measurement."""
    grouped: dict[str, list[Record]] = {}
    for record in runs:
        if "failed" not in record:
            grouped.setdefault(record["key"], []).append(record)
    made = [Line(json.loads(key), medians(records)) for key, records in grouped.items()]
    order = list(dict.fromkeys(line.group for line in made))
    return sorted(made, key=lambda line: (order.index(line.group), -line.rate))


def fastest(found: Sequence[Line], system: str, **where: Any) -> Line | None:
    """The fastest line of a system among those whose jobs have the given values."""
    fits = lambda line: line.job["system"] == system and all(line.job[key] == value for key, value in where.items())
    return max(filter(fits, found), key=lambda line: line.rate, default=None)


def peak_of(hardware: str) -> float | None:
    """The accelerator's stated FLOP/s in bfloat16; None for processors and for what is not in the table."""
    words = re.split(r"[\s,-]+", hardware)
    return next((peak for name, peak in PEAKS.items() if name in words), None)


def cells(found: Sequence[Line], peak: float | None = None) -> Iterator[tuple[str, ...]]:
    """The table's rows as text."""
    for line in found:
        data, reference, dtype = line.group
        trl = fastest(found, "trl", data=data, reference=reference, dtype=dtype)
        low, high = line.figures["slowest"], line.figures["fastest"]
        yield (
            data,
            reference if line.job["objective"] == "dpo" else "",
            dtype,
            NAMES[line.job["system"]],
            line.batch,
            f"{line.rate:.2f}",
            f"{low:.2f}-{high:.2f} ({line.figures['runs']})",
            f"{line.rate / trl.rate:.1f}" if trl else "",
            f"{line.memory_mb:,.0f} MB",
            f"{line.utilisation(peak):.0%}",
            f"{line.figures['units_per_step']:.1f}",
        )


def console() -> Console:
    """Where tables go: a terminal as wide as it is, a file as wide as they need."""
    return Console(soft_wrap=True) if sys.stdout.isatty() else Console(soft_wrap=True, width=140)


def terminal(title: str, found: Sequence[Line], objective: str, peak: float | None = None) -> Table:
    """The table for the terminal."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    text = ("set", "reference", "dtype", "system", "batch")
    for name in COLUMNS:
        table.add_column(name.format(unit=UNITS[objective]), justify="left" if name in text else "right")
    for row in cells(found, peak):
        table.add_row(*row, style="bold" if row[3] == NAMES["llumi_jax"] else "")
    return table


def markdown(found: Sequence[Line], objective: str, peak: float | None = None) -> str:
    """The table for the docs."""
    head = [name.format(unit=UNITS[objective]) for name in COLUMNS]
    rows = [head, ["---"] * len(head), *cells(found, peak)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


@dataclasses.dataclass(frozen=True)
class Goal:
    """A number to reach. `value` finds it among the lines, or None where something was not measured."""

    what: str
    bound: float
    value: Callable[[Sequence[Line]], float | None]
    at_most: bool = False
    percent: bool = False

    def row(self, found: Sequence[Line]) -> tuple[str, str, str, str]:
        """(what, wanted, found, verdict)"""
        write = (lambda x: f"{x:.0%}") if self.percent else (lambda x: f"{x:.2f}")
        value = self.value(found)
        wanted = f"{'<=' if self.at_most else '>='} {write(self.bound)}"
        if value is None:
            return self.what, wanted, "", "not measured"
        reached = value <= self.bound if self.at_most else value >= self.bound
        return self.what, wanted, write(value), "reached" if reached else "missed"


def goal_table(goals: Sequence[Goal], found: Sequence[Line]) -> Table:
    table = Table(title="Goals", title_justify="left", box=None, pad_edge=False)
    for name in ("goal", "wanted", "found", ""):
        table.add_column(name)
    colour = {"reached": "green", "missed": "red", "not measured": "dim"}
    for goal in goals:
        row = goal.row(found)
        table.add_row(*row, style=colour[row[-1]])
    return table


def section(name: str, results: Path = RESULTS) -> str:
    """Markdown of all results of one benchmark, a part for each machine; empty where there are none."""
    parts = []
    for path in sorted(results.glob(f"{name}_*.json")):
        picture = f"\n![{name}](../benchmarks/results/{path.stem}.png)\n" * path.with_suffix(".png").exists()
        if text := _text_of(path, name):
            parts.append(text + picture)
    return "\n".join(parts)


def _text_of(path: Path, name: str) -> str:
    from benchmarks import learning_curve, steady

    own = {"learning_curve": learning_curve.markdown, "steady": steady.markdown}
    return own[name](json.loads(path.read_text())) if name in own else _of_speeds(path, name)


def _of_speeds(path: Path, objective: str) -> str:
    values = json.loads(path.read_text())
    found, about = lines(values["runs"]), values["about"]
    if not found:
        return ""
    versions = ", ".join(sorted({line.figures["version"] for line in found}))
    part = "" if about["pairs_used"] == about["peer_pairs"] else f" (the peers: {about['peer_pairs']}, evenly chosen)"
    head = f"{about['hardware']}; {about['pairs_used']} pairs of each set{part}; {versions}."
    table = markdown(found, objective, about.get("peak_flops_per_s"))
    return f"{head}\n\n{table}\n{_goals(about.get('goals', []))}"


def _goals(rows: Sequence[Mapping[str, str]]) -> str:
    """What was to be reached and what was, for the docs."""
    if not rows:
        return ""
    names = ("goal", "wanted", "found", "verdict")
    cells = [names, ("---",) * len(names), *([row[name] for name in names] for row in rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells) + "\n"


def fill(text: str, results: Path = RESULTS) -> str:
    """The text with every place for results filled anew."""
    place = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.S)
    return place.sub(lambda m: m[1] + section(m[2], results) + m[3], text)


def main(argv: Sequence[str]) -> None:
    flags = cli.Parser(prog="python -m benchmarks.tables", description=__doc__)
    flags.add_argument("--docs", default=str(ROOT / "docs" / "benchmarks.md"), metavar="FILE")
    path = Path(flags.parse_args(argv).docs)
    if not path.exists():
        raise UserError(f"--docs {path}: no such file.")
    path.write_text(fill(path.read_text()))


if __name__ == "__main__":
    cli.run(main)
