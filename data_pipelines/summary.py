"""What a build says at its end: rows in, pairs out, what to be wary of, and what to do next."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from data_pipelines.funnel import KEPT
from data_pipelines.records import SPLITS

REASONS_SHOWN = 5


def no_pairs(card: dict) -> str:
    """Says in one line why nothing came out."""
    kept, read = card["funnel"][KEPT], card["input"]
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in _dropped(card)[:3]) or "none dropped"
    found = card["pair_funnel"]["candidates"]
    return (
        f"no pairs: of {read:,} rows {kept:,} are of use ({reasons}), and among their threads the rule "
        f"'{card['rule']}' found {found:,} preferences before lengths and caps. It needs posts with two or more voted "
        "replies: check that posts and replies belong together, or bring more data."
    )


def _dropped(card: dict) -> list[tuple[str, int]]:
    return [(reason, count) for reason, count in card["funnel"].items() if reason != KEPT]


def show(
    card: dict, name: str, out: Path, key: Path, key_is_new: bool, seconds: float, store: Path | None = None
) -> None:
    """Prints the summary to standard output. `store`: where a reviser's revisions are kept."""
    console = Console(highlight=False, soft_wrap=True)
    kept = card["funnel"][KEPT]
    console.print(f"[bold]{name}[/]: {card['input']:,} rows read, {kept:,} kept, in {seconds:.1f} s")
    dropped = _dropped(card)
    if dropped:
        listed = ", ".join(f"{reason} {count:,}" for reason, count in dropped[:REASONS_SHOWN])
        console.print(f"dropped: {listed}{', …' if len(dropped) > REASONS_SHOWN else ''}")
    console.print(table(card))
    audits = card["audits"]
    if audits["pairs"]:
        console.print(
            f"gm pairs: mean probability {audits['mean_probability']:.2f}, the longer reply is chosen in "
            f"{audits['chosen_longer']:.0%}, length alone scores {audits['auc_length']['auc']:.2f}"
        )
    if card["revisions"]:
        console.print(_revised(card["revisions"]), markup=False)
    for warning in card["warnings"]:
        console.print(f"[yellow]warning:[/] {warning}")
    console.print(
        f"key:  {key}{' (made just now: keep it, the same key gives the same ids and splits)' if key_is_new else ''}"
    )
    if store is not None:
        console.print(f"kept: {store} (revisions, for the next build; without it they are asked anew)", markup=False)
    console.print(f"card: {out / 'card.html'} (numbers: {out / 'card.json'})")
    console.print(f"look: python -m data_pipelines.show {out}")
    console.print(f"next: {_train_command(name, out)}", markup=False)


def _revised(block: dict) -> str:
    lost = [f"{reason} {count:,}" for reason, count in block["became"].items() if reason != KEPT and count]
    told = f" ({', '.join(lost[:REASONS_SHOWN])}{', …' if len(lost) > REASONS_SHOWN else ''})" if lost else ""
    mean = block["content_kept"]["mean"]
    content = "" if mean is None else f"; nearer to their draft than another reply is by {mean:+.2f}"
    return f"revisions by {block['reviser']}: {block['became'][KEPT]:,} of {block['drafts']:,} drafts{told}{content}"


def _train_command(name: str, out: Path) -> str:
    spec = f"data_pipelines.llumi_pairs:LlumiPairs/{name}"
    return (
        f"python -m llumi_jax.train --config configs/smollm2_135m.py --workdir runs/{name} --data_dir {out} \\\n"
        f"      --config.pairs={spec}_pairs --config.replies={spec}_replies"
    )


def table(card: dict) -> Table:
    """Returns the number of pairs and replies by split and task."""
    counted = Table(box=None, pad_edge=False)
    for column in ("split", "gm pairs", "im pairs", "gm replies", "im replies"):
        counted.add_column(column, justify="left" if column == "split" else "right")
    for split in SPLITS:
        pairs, replies = card["pairs_by_split"][split], card["replies_by_split"][split]
        counts = (pairs["gm"], pairs["im"], replies["gm"], replies["im"])
        counted.add_row(split, *(f"{count:,}" for count in counts))
    return counted
