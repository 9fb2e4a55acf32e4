"""Shows a dataset in the terminal: its card in short and a few of its pairs with the reasons behind them.

python -m data_pipelines.show data/counselchat --split test --pairs 2
python -m data_pipelines.show data/counselchat --pairs 5 --seed 1     five pairs drawn at random
python -m data_pipelines.show data/counselchat --summary              the whole card as tables, no texts
"""

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from llumi_jax import cli
from llumi_jax.cli import UserError

SPLITS = ("train", "validation", "test", "test_later")


def parser() -> cli.Parser:
    flags = cli.Parser(prog="python -m data_pipelines.show", description=__doc__)
    flags.add_argument("data", metavar="DATA", help="the folder given to data_pipelines.build as --out")
    flags.add_argument("--dataset", metavar="NAME", help="which dataset, if DATA holds several")
    flags.add_argument("--split", default="train", choices=SPLITS, help="where the pairs come from")
    flags.add_argument("--task", default="gm", choices=("gm", "im"), help="replies to a post, or revisions of a draft")
    flags.add_argument("--pairs", type=int, default=3, metavar="N", help="how many to show")
    flags.add_argument("--seed", type=int, metavar="S", help="draw them at random instead of taking the first")
    flags.add_argument("--summary", action="store_true", help="show the whole card as tables, and no pair")
    return flags


def main(argv: Sequence[str]) -> None:
    flags = parser().parse_args(argv)
    data = Path(flags.data)
    if flags.pairs < 0:
        raise UserError(f"--pairs {flags.pairs}: give 0 or more.")
    if not data.is_dir():
        raise UserError(f"{data}: no such folder. Give the folder named as --out when the dataset was built.")
    from data_pipelines import storage

    name = storage.choose(data, flags.dataset)
    card = storage.read_card(data, name)
    if flags.summary:
        _show_summary(card, data, name)
        return
    pairs = _take(_rows(data, name, flags.split, flags.task), flags.pairs, flags.seed)
    _show(card, pairs, flags.split, flags.task)


def _rows(data: Path, name: str, split: str, task: str) -> Iterable[dict[str, Any]]:
    """Yields the rows of a split and task as the dataset has them; nothing where there is no such split."""
    from data_pipelines import storage

    tfds = storage.quiet_tfds()
    folder = data / storage.BUILDER / f"{name}_pairs"
    versions = list(folder.glob("[0-9]*"))
    if not versions:
        return
    builder = tfds.builder_from_directory(max(versions))
    if split not in builder.info.splits:
        return
    for row in tfds.as_numpy(builder.as_dataset(split=split)):
        decoded = {key: value.decode() if isinstance(value, bytes) else value for key, value in row.items()}
        if decoded["task"] == task:
            yield decoded


def _take(rows: Iterable[dict], number: int, seed: int | None) -> list[dict]:
    """Returns the first rows or, with a seed, rows drawn at random (a reservoir: the split need not fit in memory)."""
    draw = None if seed is None else random.Random(seed)
    taken: list[dict] = []
    for seen, row in enumerate(rows, start=1):
        if len(taken) < number:
            taken.append(row)
        elif draw is None or not number:
            break
        elif (place := draw.randrange(seen)) < number:
            taken[place] = row
    return taken


def _show_summary(card: dict, data: Path, name: str) -> None:
    from rich.console import Console
    from rich.text import Text

    from data_pipelines import card_tables, card_words
    from llumi_jax.training.report_text import plain

    console = Console(highlight=False)
    _headline(console, card)
    for warning in card.get("warnings") or ():
        console.print(Text.assemble(("warning: ", "yellow"), plain(card_words.warning(warning))))
    for table in card_tables.tables(card):
        console.print()
        console.print(Text(plain(table.title), "bold"))
        console.print(_rich_table(table))
        if table.note:
            console.print(Text(plain(table.note), "dim"))
    console.print()
    off = card.get("clauses_off")
    if off:
        console.print(Text(plain(f"off for this source: {', '.join(off)}")))
    for note in card.get("notes") or ():
        console.print(Text(plain(f"note: {note}")))
    page = next((path for path in (data / f"card_{name}.html", data / "card.html") if path.is_file()), None)
    if page:
        console.print(Text(f"page: {page}"), soft_wrap=True)


def _rich_table(table: Any) -> Any:
    from rich.table import Table
    from rich.text import Text

    from llumi_jax.training.report_text import plain

    drawn = Table(box=None, pad_edge=False)
    for place, column in enumerate(table.columns):
        drawn.add_column(Text(plain(column)), justify="right" if place else "left", header_style="dim")
    last = len(table.rows) - 1
    for place, cells in enumerate(table.rows):
        style = "yellow" if cells[1:2] == ("warns",) else "bold green" if cells[0] == table.strong else ""
        drawn.add_row(*(Text(plain(cell)) for cell in cells), style=style, end_section=place == last)
    if table.total:
        drawn.add_row(*(Text(plain(cell)) for cell in table.total), style="bold")
    return drawn


def _headline(console: Any, card: dict) -> None:
    from rich.text import Text

    from llumi_jax.training.report_text import plain

    pairs = ", ".join(f"{count:,} {task}" for task, count in card["pairs"].items())
    name, words = plain(card["dataset"]), f": rule {card['rule']}, {card['input']:,} rows read, pairs: {pairs}"
    console.print(Text.assemble((name, "bold"), words))


def _show(card: dict, pairs: list[dict], split: str, task: str) -> None:
    from rich.console import Console

    from data_pipelines import summary

    console = Console(highlight=False)
    _headline(console, card)
    console.print(summary.table(card))
    for row in pairs:
        console.print(_panel(row, card))
    if not pairs:
        console.print(f"no such pairs: the split {split} has no {task} pairs")
    for note in card.get("notes") or ():
        if not pairs and note.startswith(split):
            console.print(f"note: {note}", markup=False)


def _panel(row: dict, card: dict) -> Any:
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    from llumi_jax.training.report_text import plain

    body = Text(f"{plain(row['body'])}\n")
    if row["draft"]:
        body.append("\ndraft     ", "bold").append(f"{plain(row['draft'])}\n")
    body.append(f"\nchosen    {row['score_chosen']:+d}  ", "bold green").append(f"{plain(row['chosen'])}\n")
    body.append(f"\nrejected  {row['score_rejected']:+d}  ", "bold red").append(f"{plain(row['rejected'])}\n")
    content = Group(body, *_reasons(row, card))
    label = f"probability {row['probability']:.2f}, weight {row['weight']:.2f}, from {plain(row['source'])}"
    return Panel(content, title=Text(plain(row["title"])), subtitle=Text(label), title_align="left")


def _reasons(row: dict, card: dict) -> list[Any]:
    """The numbers of a pair in a line, then each clause of the rule with what it had to spare."""
    from rich.table import Table
    from rich.text import Text

    from data_pipelines import reasons, revisions

    found = reasons.measure(row, card)
    if revisions.is_made(row["source"]):
        return [Text(line, style) for line, style in _reasons_of_made(row, found.length_ratio)]
    numbers = [f"score gap {found.gap:+,}", f"ratio {found.ratio:.1f}"]
    numbers += [f"posterior {found.posterior:.3f}"] if found.posterior is not None else []
    numbers += [f"after fuzz {found.after_fuzz:.3f}"] if found.after_fuzz is not None else []
    numbers.append(f"length ratio {found.length_ratio:.2f}")
    lines: list[Any] = [Text("why       " + ", ".join(numbers), "bold")]
    if row["source"] == reasons.OVERWRITTEN:
        lines.append(
            Text("          voted against the draft, whose score is not kept; rejected is another reply", "dim")
        )
    clauses = reasons.clauses(row, card)
    if clauses:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for column in ("", "clause", "this pair", "needs", "to spare"):
            table.add_column(column)
        for clause in clauses:
            table.add_row(*_clause_cells(clause, reasons.tightest(clauses)))
        lines.append(table)
    return lines


def _reasons_of_made(row: dict, length_ratio: float) -> list[tuple[str, str]]:
    """A model's revision has no votes: the scores are those of its draft and, if that is another, of the rejected."""
    from data_pipelines import revisions

    other = revisions.is_overwritten(row["source"])
    rejected = "another reply, voted no lower than the draft but less like it" if other else "the draft itself"
    return [
        (f"why       a model's revision of the draft, length ratio {length_ratio:.2f}; rejected is {rejected}", "bold"),
        ("          no vote says that it is better: its score is the draft's, its probability a setting", "dim"),
    ]


def _clause_cells(clause: Any, tightest: int | None) -> tuple[str, ...]:
    mark = {True: "[green]yes[/]", False: "[red]no[/]", None: "[dim]-[/]"}[clause.holds]
    spare = "" if clause.spare is None else f"{clause.spare:,} vote{'' if clause.spare == 1 else 's'}"
    if clause.spare is not None and clause.spare == tightest:
        spare = f"[yellow]{spare}, tightest[/]"
    return mark, clause.name, clause.here, clause.needed, spare


if __name__ == "__main__":
    cli.run(main)
