"""Times `data_pipelines.build` on dumps of several sizes: python -m benchmarks.build_dump --dump DIR --dump DIR

Each DIR holds files RS*.zst and RC*.zst (`benchmarks.generate_dump`). Beside every build one process scans the same
lines with `json.loads` and does nothing else. Memory is that of all processes of the build together, each shared page
counted once (PSS), looked at twice a second.
"""

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from data_pipelines.sources.lines import read_blocks
from llumi_jax import cli
from llumi_jax.cli import RunFailure, UserError

POLL_SECONDS = 0.5
UP_TO_PAIRING = ("Reading", "Joining posts and replies", "Looking for preferences")
_STEP = re.compile(r"^(.+): done in ([\d.]+) s$", re.M)


def parser() -> cli.Parser:
    flags = cli.Parser(prog="python -m benchmarks.build_dump", description=__doc__)
    flags.add_argument("--dump", action="append", required=True, metavar="DIR", help="once for each size")
    flags.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    flags.add_argument("--rule", default="strict")
    flags.add_argument("--json", metavar="OUT", help="where to write the figures; those of other sizes there stay")
    flags.add_argument("--plot", metavar="OUT", help="where to draw them (.png or .svg)")
    return flags


def main(argv: Sequence[str]) -> None:
    flags = parser().parse_args(argv)
    known = Path(flags.json) if flags.json else None
    found = json.loads(known.read_text())["builds"] if known and known.exists() else []
    for folder in map(Path, flags.dump):
        if not list(folder.glob("RC*.zst")):
            raise UserError(f"{folder}: no RC*.zst here. Make them with 'python -m benchmarks.generate_dump'.")
        new = measure(folder, flags.processes, flags.rule)
        found = sorted([*(one for one in found if one["comments"] != new["comments"]), new], key=_size)
        Console(soft_wrap=True).print(_table(found))
        if known:
            machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
            known.write_text(json.dumps(machine | {"builds": found}, indent=1) + "\n")
    if flags.plot:
        _plot(found, Path(flags.plot))


def _size(one: dict) -> int:
    return one["comments"]


def measure(folder: Path, processes: int, rule: str) -> dict:
    """Returns the figures of one dump: counts, seconds of each step, memory in bytes, and those of the plain scan."""
    submissions, comments = (sorted(folder.glob(f"{prefix}*.zst")) for prefix in ("RS", "RC"))
    scanned, scan_seconds = map(sum, zip(*map(scan, comments), strict=True))
    with tempfile.TemporaryDirectory(dir=folder) as out:
        command = [sys.executable, "-m", "data_pipelines.build", "--source", "reddit_dump", "--rule", rule]
        command += [word for path in submissions for word in ("--submissions", str(path))]
        command += [word for path in comments for word in ("--comments", str(path))]
        command += ["--out", f"{out}/data"]
        command += ["--processes", str(processes)]
        seconds, cpu_seconds, memory, said = _run(command, {**os.environ, "XDG_STATE_HOME": out})  # where its key goes
        card = json.loads((Path(out) / "data" / "card.json").read_text())
    steps = {name: float(spent) for name, spent in _STEP.findall(said)}
    # Steps of under a second do not say how long they took.
    pairing = sum(steps[name] for name in UP_TO_PAIRING) if steps.keys() >= set(UP_TO_PAIRING) else None
    return {
        "comments": scanned,
        "rows": card["input"],
        "pairs": sum(card["pairs"].values()),
        "bytes": sum(path.stat().st_size for path in (*submissions, *comments)),
        "processes": processes,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "steps": steps,
        "seconds_up_to_pairing": pairing and round(pairing, 1),
        "comments_per_second_and_core": round(scanned / pairing / processes) if pairing else None,
        "peak_bytes": memory,
        "json_loads_per_second": round(scanned / scan_seconds),
    }


def scan(path: Path) -> tuple[int, float]:
    """Returns the lines of a file, and the seconds that one process takes to decompress and `json.loads` them all."""
    lines, start = 0, time.perf_counter()
    for _, block in read_blocks(str(path)):
        for line in block.split(b"\n"):
            if line:
                lines += 1
                try:
                    json.loads(line)
                except ValueError:
                    continue
    return lines, time.perf_counter() - start


def _run(command: Sequence[str], environment: dict[str, str]) -> tuple[float, float, int, str]:
    """Runs a command; returns wall and CPU seconds, the peak of its memory and what it said on standard error."""
    before, start, peak = os.times(), time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=said, text=True)
        while process.poll() is None:
            peak = max(peak, sum(map(_memory, _tree(process.pid))))
            time.sleep(POLL_SECONDS)
        seconds, after = time.perf_counter() - start, os.times()
        said.seek(0)
        text = said.read()
    if process.returncode:
        raise RunFailure(f"the build ended with {process.returncode}: {text.strip().splitlines()[-1:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, cpu, peak, text


def _tree(root: int) -> Iterator[int]:
    yield root
    try:
        children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _tree(int(child))


def _memory(process: int) -> int:
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{process}/smaps_rollup").read_text(), re.M)
    except OSError:
        return 0  # It has ended.
    return int(found[1]) * 1024 if found else 0


def _table(found: Sequence[dict]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in (
        "comments", "pairs", "seconds", "up to pairing", "comments/s/core", "json.loads/s", "peak memory",
    ):  # fmt: skip
        table.add_column(column, justify="right")
    for one in found:
        table.add_row(
            f"{one['comments']:,}",
            f"{one['pairs']:,}",
            f"{one['seconds']:.1f}",
            f"{one['seconds_up_to_pairing'] or '–'}",
            f"{one['comments_per_second_and_core'] or '–'}",
            f"{one['json_loads_per_second']:,}",
            f"{one['peak_bytes'] / 1e9:.2f} GB",
        )
    return table


def _plot(found: Sequence[dict], path: Path) -> None:
    """Draws seconds and memory over the size of the dump, both axes logarithmic."""
    import matplotlib.pyplot as plt

    sizes = [one["comments"] for one in found]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    left.loglog(sizes, [one["seconds"] for one in found], "o-", label="whole build")
    paired = [one for one in found if one["seconds_up_to_pairing"]]
    left.loglog(list(map(_size, paired)), [one["seconds_up_to_pairing"] for one in paired], "s-", label="up to pairing")
    scan = [one["comments"] / one["json_loads_per_second"] for one in found]
    left.loglog(sizes, scan, "^--", color="0.5", label="json.loads alone, one process")
    left.set(xlabel="comments", ylabel="seconds", title=f"Time, {found[-1]['processes']} processes")
    left.legend(frameon=False)
    right.semilogx(sizes, [one["peak_bytes"] / 1e9 for one in found], "o-")
    right.set(xlabel="comments", ylabel="GB, all processes", title="Peak memory", ylim=(0, None))
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    cli.run(main)
