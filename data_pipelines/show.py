"""Shows a dataset in the terminal: its card in short and a few of its pairs with the reasons behind them.

python -m data_pipelines.show data/counselchat --split test --pairs 2
"""

from collections.abc import Sequence
from pathlib import Path

from llumi_jax import cli
from llumi_jax.cli import UserError

SPLITS = ("train", "validation", "test")


def parser() -> cli.Parser:
    flags = cli.Parser(prog="python -m data_pipelines.show", description=__doc__)
    flags.add_argument("data", metavar="DATA", help="the folder given to data_pipelines.build as --out")
    flags.add_argument("--dataset", metavar="NAME", help="which dataset, if DATA holds several")
    flags.add_argument("--split", default="train", choices=SPLITS, help="where the pairs come from")
    flags.add_argument("--task", default="gm", choices=("gm", "im"), help="replies to a post, or revisions of a draft")
    flags.add_argument("--pairs", type=int, default=3, help="how many to show")
    return flags


def main(argv: Sequence[str]) -> None:
    flags = parser().parse_args(argv)
    data = Path(flags.data)
    if not data.is_dir():
        raise UserError(f"{data}: no such folder. Give the folder named as --out when the dataset was built.")
    from data_pipelines import storage

    name = storage.choose(data, flags.dataset)
    _show(storage.read_card(data, name), _pairs(data, name, flags.split, flags.task, flags.pairs))


def _pairs(data: Path, name: str, split: str, task: str, count: int) -> list[dict]:
    from data_pipelines import storage

    tfds = storage.quiet_tfds()
    folder = data / storage.BUILDER / f"{name}_pairs"
    builder = tfds.builder_from_directory(max(folder.glob("[0-9]*")))
    if split not in builder.info.splits:
        return []
    rows = tfds.as_numpy(builder.as_dataset(split=split))
    texts = ({key: v.decode() if isinstance(v, bytes) else v for key, v in row.items()} for row in rows)
    found: list[dict] = []
    for row in texts:
        if len(found) == count:
            break
        if row["task"] == task:
            found.append(row)
    return found


def _show(card: dict, pairs: list[dict]) -> None:
    from rich.console import Console
    from rich.panel import Panel
    from rich.text import Text

    from data_pipelines import summary

    console = Console(highlight=False)
    console.print(f"[bold]{card['dataset']}[/]: rule {card['rule']}, {card['input']:,} rows read")
    console.print(summary.table(card))
    for row in pairs:
        body = Text(f"{row['body']}\n")
        if row["draft"]:
            body.append("\ndraft     ", "bold").append(f"{row['draft']}\n")
        body.append(f"\nchosen    {row['score_chosen']:+d}  ", "bold green").append(f"{row['chosen']}\n")
        body.append(f"\nrejected  {row['score_rejected']:+d}  ", "bold red").append(f"{row['rejected']}\n")
        reason = f"probability {row['probability']:.2f}, weight {row['weight']:.2f}, from {row['source']}"
        console.print(Panel(body, title=Text(row["title"]), subtitle=reason, title_align="left"))
    if not pairs:
        console.print("no such pairs in this split")


if __name__ == "__main__":
    cli.run(main)
