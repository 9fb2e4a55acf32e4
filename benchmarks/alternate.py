"""Runs measurements one after another, alternating between the systems, each in a process of its own.

What is measured is written down at once: the same command again goes on where it stopped. A measurement that fails is
written down as failed, with the last line that it said, and the others go on.
"""

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from benchmarks import measure
from benchmarks.jobs import Job
from llumi_jax.cli import RunFailure

ROOT = Path(__file__).parents[1]
_MODULES = {"llumi_jax": "benchmarks.ours", "trl": "benchmarks.trl_side", "tunix": "benchmarks.tunix_side"}

_ALL_OF_IT = " (all of it: "

Record = dict[str, Any]  # {"job", "name", "repeat", "session", "wall_s", and the side's figures or "failed"}
Runner = Callable[[Job], Record]


@dataclasses.dataclass(frozen=True)
class Sides:
    """Where each system's Python is, and where files of a run may lie."""

    workdir: Path
    pythons: Mapping[str, str]  # system -> interpreter; ours is this one

    def run(self, job: Job) -> Record:
        """Measures one job in its own process.

        Raises:
          RunFailure: the process ended with an error; its log is named.
        """
        self.workdir.mkdir(parents=True, exist_ok=True)
        stem = self.workdir.resolve() / f"{job.system}-{os.getpid()}"
        asked, answer, log = (stem.with_suffix(suffix) for suffix in (".job.json", ".out.json", ".log"))
        job.write(asked)
        answer.unlink(missing_ok=True)
        python = self.pythons.get(job.system, sys.executable)
        command = [python, "-m", _MODULES[job.system], "--job", str(asked), "--out", str(answer)]
        with open(log, "w") as said:
            done = subprocess.run(
                command, cwd=ROOT, env=environment(job.threads, self.workdir), stdout=said, stderr=said
            )
        if done.returncode or not answer.exists():
            raise RunFailure(f"{job.system}, {job.name}: {last_line(log) or 'it said nothing'}{_ALL_OF_IT}{log})")
        return json.loads(answer.read_text())


def environment(threads: int, workdir: Path) -> dict[str, str]:
    """What a timed process finds around it."""
    own = {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TOKENIZERS_PARALLELISM": "false",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # else the accelerator's peak says nothing
        # Compiled once in a work directory: the repeats start at once, and compile_s is the first one's.
        "JAX_COMPILATION_CACHE_DIR": str((workdir / "compiled").resolve()),
    }
    return {**os.environ, **own, **measure.thread_environment(threads)}


def last_line(log: Path) -> str:
    """What a process said last."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


class Results:
    """What was measured so far, kept in a file."""

    def __init__(self, path: Path, fresh: bool = False) -> None:
        self.path = path
        self.session = time.strftime("%Y-%m-%dT%H:%M:%S")
        known = json.loads(path.read_text()) if path.exists() and not fresh else {}
        self.records: list[Record] = known.get("runs", [])
        self.about: dict[str, Any] = known.get("about", {})

    def has(self, job: Job, repeat: int) -> bool:
        return any(r["repeat"] == repeat and r["key"] == job.key() for r in self.records)

    def of(self, job: Job) -> list[Record]:
        """The job's measurements that did not fail."""
        return [r for r in self.records if r["key"] == job.key() and "failed" not in r]

    def add(self, job: Job, repeat: int, figures: Record, wall_s: float) -> None:
        self.records.append(
            {
                "name": job.name,
                "job": json.loads(job.key()),
                "key": job.key(),
                "repeat": repeat,
                "session": self.session,
                "wall_s": round(wall_s, 1),
                **figures,
            }
        )
        self.save()

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps({"about": self.about, "runs": self.records}, indent=1) + "\n")
        partial.replace(self.path)

    def forget_failures(self) -> None:
        self.records = [r for r in self.records if "failed" not in r]


def alternate(plan: Sequence[Job], repeats: int, run: Runner, results: Results, console: Console) -> None:
    """Measures every job of the plan once, then every one again, `repeats` times in all; done ones are skipped."""
    todo = [(repeat, job) for repeat in range(repeats) for job in plan if not results.has(job, repeat)]
    for number, (repeat, job) in enumerate(todo, start=1):
        left = _remaining([j for _, j in todo[number - 1 :]], results)
        console.print(f"{number}/{len(todo)}  {job.system}, {job.data}, {job.name}, run {repeat + 1}{left}")
        began = time.perf_counter()
        try:
            figures = run(job)
        except RunFailure as error:
            console.print(f"      failed: {error}", style="red")
            figures = {"failed": str(error).split(_ALL_OF_IT)[0]}  # results are shared, the log's place is not
        else:
            console.print(f"      {figures['units_per_s']:.2f}/s, peak {figures['peak_mb']:,.0f} MB", style="dim")
        results.add(job, repeat, figures, time.perf_counter() - began)


def _remaining(todo: Sequence[Job], results: Results) -> str:
    """What is left by the clock, from how long the same jobs took; empty while one of them is new."""
    spent: dict[str, list[float]] = {}
    for record in results.records:
        spent.setdefault(record["key"], []).append(record["wall_s"])
    known = [median(spent[job.key()]) for job in todo if job.key() in spent]
    if not known:
        return ""
    seconds = sum(known) / len(known) * len(todo)
    about = "at least " if len(known) < len(todo) else ""
    return f"; {about}{seconds / 60:.0f} min left"


def medians(records: Sequence[Record]) -> Record:
    """The median of every number of some measurements of one job, with the extremes of the speed.

    `compile_s` is the largest instead: later runs find the program compiled.
    """
    if not records:
        return {}
    numbers = [k for k, v in records[0].items() if isinstance(v, int | float) and not isinstance(v, bool)]
    middle = {k: median(r[k] for r in records if r.get(k) is not None) for k in numbers}
    rates = [r["units_per_s"] for r in records]
    kept = {k: v for k, v in records[0].items() if isinstance(v, str)}
    most = max(r.get("compile_s", 0.0) for r in records)
    return kept | middle | {"compile_s": most, "slowest": min(rates), "fastest": max(rates), "runs": len(records)}
