"""The reckoning as tables: memory with bars, traffic, accelerators, and what to change."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from llumi_jax.training.compiled import Memory
from llumi_jax.training.planner.accelerators import (
    ACCELERATORS,
    COMPUTE_SHARE,
    MEMORY_SHARE,
    TRAFFIC_SHARE,
    Accelerator,
)
from llumi_jax.training.planner.advice import Advice
from llumi_jax.training.planner.estimate import Seconds, seconds
from llumi_jax.training.planner.memory import Parts
from llumi_jax.training.planner.traffic import Traffic
from llumi_jax.training.report_text import size

_BAR = 24
_NAMES = {
    "base": "frozen base",
    "trained": "trained weights",
    "moments": "optimiser's moments",
    "copies": "copies of the weights",
    "rows": "rows",
    "gradients": "gradients",
    "kept": "kept activations",
    "layer": "one layer's work",
    "logits": "a chunk of logits",
    "update": "new weights",
}
_EXACT = ("base", "trained", "moments", "copies", "rows")


def memory(console: Console, names: Sequence[str], parts: Parts, compiled: Memory) -> None:
    """What was reckoned for a device, part by part, and beside it what a compiler counted."""
    table = _table(f"Memory of one device in {', '.join(names)}, reckoned")
    table.add_column("part", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("")
    table.add_column("", style="dim")
    for field, value in dataclasses.asdict(parts).items():
        if value:
            table.add_row(_NAMES[field], size(value), _bar(value / parts.total), _how(field, parts))
    table.add_row("at the fullest moment", size(parts.total), "", "", style="bold")
    console.print(table)
    exact = parts.state + parts.rows
    console.print(
        f"Reckoned: {size(exact)} of state and rows, {size(parts.total - exact)} within the step. The CPU's compiler "
        f"(memory_analysis): {size(compiled.arguments)} of arguments, {size(compiled.temporaries + compiled.outputs)} "
        "temporary and new. An accelerator's compiler plans otherwise than the CPU's.",
        style="dim",
        highlight=False,
    )
    console.print()


def traffic(console: Console, sent: Mapping[str, Traffic]) -> None:
    """What a device sends in a step of each kind."""
    table = _table("Sent by one device in one step, reckoned")
    table.add_column("stages")
    for name in ("weights", "gradients", "tensor", "context", "in all"):
        table.add_column(name, justify="right", no_wrap=True)
    for names, found in sent.items():
        counts = (found.weights, found.gradients, found.tensor, found.context, found.total)
        table.add_row(names, *(size(count) if count else "-" for count in counts))
    console.print(table)


def accelerators(
    console: Console, devices: int, needs: Mapping[str, int], flops: int, sent: int, tokens: int, bfloat16: bool
) -> None:
    """Each accelerator: does the fullest step fit, and how long may it take."""
    table = _table(f"On {devices} accelerators: an estimate, nothing was measured")
    for name in ("", "memory", "a step needs", "fits"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    if bfloat16:
        table.add_column("seconds a step", justify="right", no_wrap=True)
        table.add_column("tokens/s", justify="right", no_wrap=True)
    for name, kind in ACCELERATORS.items():
        need = needs[name]
        row = [name, f"{kind.memory / 1e9:.0f} GB", f"{need / 1e9:.1f} GB", "yes" if need <= kind.usable else "no"]
        if bfloat16:
            row += _speed(seconds(kind, devices, flops, sent), tokens)
        table.add_row(*row)
    console.print(table)
    console.print(_assumptions(bfloat16), style="dim", highlight=False)
    console.print()


def advice(console: Console, name: str, kind: Accelerator, need: int, found: Advice, enough: int | None) -> None:
    """What to change for a step to fit this accelerator."""
    line = f"{name}: a step needs {need / 1e9:.1f} GB of {kind.usable / 1e9:.1f} GB"
    if need <= kind.usable:
        console.print(f"{line}: it fits.", highlight=False)
        return
    console.print(f"{line}: it does not fit. What to change, the cheapest first:", highlight=False)
    for change in found.changes:
        flags = " ".join(change.flags)
        console.print(f"  {flags}  -> {change.bytes / 1e9:.1f} GB  ({change.cost})", highlight=False, soft_wrap=True)
    if found.fits:
        console.print(f"All of them: {shlex.join(found.flags)}", highlight=False, soft_wrap=True)
        return
    console.print("With all of that it does not fit either.", highlight=False)
    more = f"{enough} devices would, with fsdp={enough} or more" if enough else "no number of devices up to 4096 would"
    console.print(f"As it is, {more}; shorter rows (config.row_length) or an adapter (config.lora) need less.")


def _speed(found: Seconds, tokens: int) -> list[str]:
    between = f"{found.best:.3g} to {found.worst:.3g}"
    return [between, f"{tokens / found.worst:,.0f} to {tokens / found.best:,.0f}"]


def _assumptions(bfloat16: bool) -> str:
    said = f"Fits: within {MEMORY_SHARE:.0%} of its memory, with the attention that 'auto' takes there. "
    if not bfloat16:
        return said + "Times are reckoned for config.dtype='bfloat16' alone."
    return said + (
        f"Seconds: {COMPUTE_SHARE:.0%} of the published bfloat16 peak and {TRAFFIC_SHARE:.0%} of the links; the lower "
        "if all traffic hides behind computation, the higher if none does. Attention scores are left out."
    )


def _how(field: str, parts: Parts) -> str:
    if field in _EXACT:
        return "exact"
    counted = "update" if parts.update > parts.kept + max(parts.layer, parts.logits) else None
    backward = "layer" if parts.layer >= parts.logits else "logits"
    if field == "gradients" or field == counted or (counted is None and field in ("kept", backward)):
        return "reckoned"
    return "at another moment"


def _bar(share: float) -> str:
    return "█" * max(1, round(_BAR * min(1.0, share)))


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
