"""What a person sees in the terminal: a bar while a stage runs (in a log, a line now and then), tables at the end."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress import Progress as Bar
from rich.table import Column, Table
from rich.text import Text

from llumi_jax.safety import banner
from llumi_jax.training.metrics import QUANTITIES
from llumi_jax.training.report_text import duration, number, percent, plain, points, word_differences

_LINE_EVERY = 10.0  # seconds, in a log
_WINDOW = 100  # updates that the speed is taken over


class Progress:
    """Shows how far a stage or a sweep is, on standard error.

    Used as a context manager; `update` after each step, or less often. Leaving it by an exception says where it
    stopped.

    Args:
      stage: the name shown at the left.
      total: steps in all, counted from the first, also when resuming.
      start: steps done before.
      unit: what is counted, singular.
      console: where to draw; standard error unless told.
      clock: seconds; for tests.
    """

    def __init__(
        self,
        stage: str,
        total: int,
        start: int = 0,
        unit: str = "step",
        *,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stage, self.total, self.done, self.unit = stage, total, start, unit
        self._console = console or Console(stderr=True, quiet=jax.process_index() > 0)  # one speaks for all
        self._clock = clock
        self._started = clock()
        self._last_line = self._started
        self._pace: deque[tuple[float, int]] = deque(maxlen=_WINDOW)
        self._values: Mapping[str, float] = {}
        self._bar = _bar(self._console) if self._console.is_terminal and not self._console.is_dumb_terminal else None
        if self._bar:
            self._task = self._bar.add_task(stage, total=total, completed=start, eta="", values=())

    def __enter__(self) -> "Progress":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._bar:
            self._bar.update(self._task, eta="")
            self._bar.stop()
            return
        outcome = "done" if kind is None and self.done >= self.total else "stopped"
        self._line(f"{outcome} after {duration(self._clock() - self._started)}")

    def update(self, step: int, values: Mapping[str, float] | None = None) -> None:
        """Says that `step` units are done in all, and optionally the newest numbers, named as in the metrics."""
        now = self._clock()
        self.done, self._values = step, values if values is not None else self._values
        self._pace.append((now, step))
        if self._bar:
            eta = self.eta()
            parts = tuple(_parts(self._values))
            self._bar.update(
                self._task, completed=step, eta="" if eta is None else f"ETA {duration(eta)}", values=parts
            )
        elif now - self._last_line >= _LINE_EVERY and step < self.total:
            self._last_line = now
            eta = self.eta()
            self._line("ETA –" if eta is None else f"ETA {duration(eta)}")

    def end_here(self) -> None:
        """What is done is all there is to do."""
        self.total = self.done
        if self._bar:
            self._bar.update(self._task, total=self.total)

    def log(self, message: str) -> None:
        """Prints a line above the bar."""
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def eta(self) -> float | None:
        """Seconds left at the pace since the first update, which alone pays for compilation; None before the second."""
        if len(self._pace) < 2 or self._pace[-1][1] <= self._pace[0][1]:
            return None
        (first_time, first), (last_time, last) = self._pace[0], self._pace[-1]
        return (self.total - last) * (last_time - first_time) / (last - first)

    def _line(self, state: str) -> None:
        share = f" ({self.done / self.total:.0%})" if self.total else ""
        parts = [state, *_parts(self._values)]
        self.log(f"{self.stage}: {self.unit} {self.done}/{self.total}{share}, {', '.join(parts)}")


def _parts(values: Mapping[str, float]) -> list[str]:
    """The numbers worth a place on the line, in their fixed order."""
    known = [quantity for quantity in QUANTITIES if quantity.short and values.get(quantity.key) is not None]
    return [quantity.short.format(number(float(values[quantity.key]), quantity.form)) for quantity in known]


class _ValuesColumn(ProgressColumn):
    """As many numbers as the width leaves room for, whole ones only."""

    def __init__(self, console: Console, taken: int) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._console, self._taken = console, taken

    def render(self, task: Task) -> Text:
        counts = f"{task.completed:.0f}/{task.total or 0:.0f}"
        room = self._console.width - self._taken - len(task.description) - len(counts) - len(task.fields["eta"])
        shown = ""
        for part in task.fields["values"]:
            longer = f"{shown}  {part}" if shown else part
            if len(longer) > room:
                break
            shown = longer
        return Text(shown, style="dim")


def _bar(console: Console) -> Bar:
    bar_width = 16 if console.width >= 100 else 8
    gaps = 12  # spinner, spaces between columns, and one free cell at the right
    return Bar(
        SpinnerColumn(finished_text="✓"),
        TextColumn("[bold]{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width),
        TextColumn("{task.completed:.0f}/{task.total:.0f}", table_column=Column(no_wrap=True)),
        TextColumn("[cyan]{task.fields[eta]}", table_column=Column(no_wrap=True)),
        _ValuesColumn(console, bar_width + gaps),
        console=console,
        refresh_per_second=4,
    )


def print_summary(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints what a run came to, on standard output: tables that fit into 80 columns, also in a log.

    Args:
      summary: {"stages": [{"name", "role", "objective", "steps", "seconds", "loss_first", "loss_last",
        "evaluation": what `evaluation.preference.summarize` returns, or None}],
        "samples": [{"role", "title", "body", "draft", "before", "after"}], "report": path, "next": [commands],
        "parameters": the base's size, by which the samples carry the banner of small models; may be absent}.
      console: where to print; standard output unless told.
    """
    console = console or Console()
    width = min(console.width, 100)
    console.print()
    console.print(_stage_table(summary["stages"]), width=width)
    evaluated = [stage for stage in summary["stages"] if (stage.get("evaluation") or {}).get("pairs")]
    if evaluated:
        console.print(_accuracy_table(evaluated), width=width)
        console.print(_ACCURACY_NOTE, width=width, style="dim")
        console.print()
    warning = banner.for_parameters(summary["parameters"]) if summary.get("parameters") else None
    if warning and summary["samples"]:
        console.print(Text(warning, style="bold"), width=width)
        console.print()
    for sample in summary["samples"]:
        _print_sample(console, sample, width)
    _print_commands(console, "Report", [str(summary["report"])])
    _print_commands(console, "Next", summary["next"])


_ACCURACY_NOTE = (
    "Share of held-out pairs where the preferred reply scores higher; ties count a half. In brackets the 95 % "
    "interval of after - before, in points, over posts. Length only: the longer reply wins. Ceiling: how reliable the "
    "labels are."
)


def _table(title: str, columns: Sequence[str], right: Sequence[str] = ()) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=name in right)
    return table


def _stage_table(stages: Sequence[Mapping[str, Any]]) -> Table:
    right = ("steps", "time", "loss: first", "last")
    table = _table("Training", ("stage", "role", "objective", *right), right)
    for stage in stages:
        losses = (number(stage["loss_first"]), number(stage["loss_last"]))
        row = (stage["name"], stage["role"], stage["objective"], str(stage["steps"]), duration(stage["seconds"]))
        table.add_row(*map(Text, (*row, *losses)))
    return table


def _accuracy_table(stages: Sequence[Mapping[str, Any]]) -> Table:
    right = ("before", "after", "after - before")
    table = _table("Held-out pairs", ("stage", "scored by", *right), right)
    for stage in stages:
        found = stage["evaluation"]
        names = [Text(stage["name"], style="bold"), Text(f"{found['pairs']} pairs"), Text(f"{found['threads']} posts")]
        for at, (name, *cells) in enumerate(_accuracy_rows(found)):
            style = "" if at < 2 else "dim"
            first = names[at] if at < len(names) else Text()
            table.add_row(first, Text(name, style=style), *(Text(cell, style=style) for cell in cells))
        table.add_section()
    return table


def _accuracy_rows(found: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    rows = []
    for key, name in (("mean_logp", "mean log-prob"), ("sum_logp", "summed log-prob")):
        of = found["accuracy"][key]
        change = points(*of["difference"].values())
        rows.append((name, percent(of["before"]["value"]), percent(of["after"]["value"]), change))
    return [
        *rows,
        ("implicit reward", "", percent(found["implicit_reward"]["value"]), ""),
        ("reward margin", "", number(found["reward_margin"], "+.3f"), ""),
        ("length only", percent(found["length_only"]), "", ""),
        ("ceiling", percent(found["ceiling"]), "", ""),
    ]


def _print_sample(console: Console, sample: Mapping[str, str], width: int) -> None:
    """One post with the replies before and after; words that differ stand out on a terminal."""
    console.print(Text.assemble((f"Sample, {sample['role']}  ", "bold"), _shortened(sample["title"], 60)), width=width)
    before, after = word_differences(plain(sample["before"]), plain(sample["after"]))
    blocks = [("post", Text(_shortened(sample["body"], 240)))]
    if sample.get("draft"):
        blocks.append(("draft", Text(_shortened(sample["draft"], 480))))
    blocks.append(("before", Text.assemble(*((piece, "yellow" if changed else "") for piece, changed in before))))
    blocks.append(("after", Text.assemble(*((piece, "green" if changed else "") for piece, changed in after))))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", justify="right", no_wrap=True)
    grid.add_column()
    for name, text in blocks:
        grid.add_row(name, text if text.plain.strip() else Text("(empty)", style="dim"))
    console.print(Padding(grid, (0, 0, 1, 2)), width=width)


def _shortened(text: str, characters: int) -> str:
    flat = " ".join(plain(text).split())
    return flat if len(flat) <= characters else flat[: characters - 1].rsplit(" ", 1)[0] + " …"


def _print_commands(console: Console, title: str, lines: Sequence[str]) -> None:
    """Lines to copy: never wrapped, whatever the width."""
    console.print(Text(title, style="bold"))
    for line in lines:
        console.print(Text(f"  {line}"), soft_wrap=True)
    console.print()
