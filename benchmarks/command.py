"""What `benchmarks.dpo` and `benchmarks.sft` share: flags, files, one measurement, and the comparison of all."""

import argparse
import dataclasses
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import alternate, measure, models, pairs, tables
from benchmarks.alternate import ROOT, Results, Sides
from benchmarks.jobs import SYSTEMS, Job
from benchmarks.tables import Goal, Line
from llumi_jax import cli
from llumi_jax.cli import EXIT_FAILURE, EXIT_OK, RunFailure, UserError

_SETTINGS = (
    "param_dtype", "lora_rank", "threads", "warmup", "steps", "seed", "row_length", "batch_rows", "micro_rows",
    "remat", "attention", "batch", "accumulate", "grouped", "checkpointing",
)  # fmt: skip
_PACKAGES = {"trl": "trl", "tunix": "tunix"}


def parser(objective: str, about: str | None) -> cli.Parser:
    """The flags of both commands."""
    flags = cli.Parser(prog=f"python -m benchmarks.{objective}", description=about)
    what = flags.add_argument_group("what is measured")
    what.add_argument("--compare", action="store_true", help="all systems and settings, alternating; else one system")
    what.add_argument("--pairs", metavar="FILE", help="pairs of token ids (default: made, see benchmarks.pairs)")
    what.add_argument("--set", choices=tuple(pairs.SETS), default="independent", help="one system: which set is made")
    what.add_argument("--pairs_used", type=int, default=0, metavar="N", help="an even part of the set; 0 = all 256")
    what.add_argument("--peer_pairs", type=int, default=0, metavar="N", help="the same for the peers; 0 = --pairs_used")
    what.add_argument("--model", choices=tuple(models.SIZES), default="small", help="random weights of this size")
    what.add_argument("--dtype", choices=("float32", "bfloat16"), help="of computation (default: float32; GPU: bf16)")
    what.add_argument("--param_dtype", choices=("float32", "bfloat16"), default="float32", help="of trained weights")
    what.add_argument("--lora_rank", type=int, default=0, metavar="R", help="LoRA on all matrices; 0 = all weights")
    what.add_argument("--steps", type=int, default=0, metavar="N", help="counted steps; 0 = one epoch")
    what.add_argument("--warmup", type=int, default=1, metavar="N", help="steps before them")
    what.add_argument("--threads", type=int, default=_processors(), metavar="N", help="processors for each system")
    what.add_argument("--seed", type=int, default=0)
    sides = flags.add_argument_group("systems")
    sides.add_argument("--peer", choices=SYSTEMS[1:], help="one system: this one instead of llumi_jax")
    sides.add_argument("--trl_python", metavar="PYTHON", help="interpreter of an environment with TRL 1.16")
    sides.add_argument("--tunix_python", metavar="PYTHON", help="interpreter of an environment with google-tunix")
    rows = flags.add_argument_group("llumi_jax's rows")
    rows.add_argument("--row_length", type=int, default=1024, metavar="T")
    rows.add_argument("--thread_row_length", type=int, default=2048, metavar="T", help="comparison: of the threads")
    rows.add_argument("--batch_rows", type=int, default=4, metavar="B")
    rows.add_argument("--micro_rows", type=int, default=2, metavar="B")
    rows.add_argument("--remat", default="attention")
    rows.add_argument("--attention", default="auto")
    peers = flags.add_argument_group("the peers' batches")
    peers.add_argument("--batch", type=int, default=8, metavar="N")
    peers.add_argument("--accumulate", type=int, default=1, metavar="N")
    peers.add_argument("--grouped", action="store_true", help="batches of like lengths")
    peers.add_argument("--checkpointing", action="store_true", help="gradient checkpointing")
    out = flags.add_argument_group("results")
    out.add_argument("--json", metavar="FILE", help="one system: where its figures go")
    out.add_argument("--repeats", type=int, default=5, metavar="N", help="comparison: runs of each, the median counts")
    out.add_argument("--only", choices=SYSTEMS, action="append", help="comparison: these systems alone")
    out.add_argument(
        "--results", default="benchmarks/results", metavar="DIR", help="comparison: JSON and chart go here"
    )
    out.add_argument("--workdir", default="runs/benchmarks", metavar="DIR", help="models, pairs, logs")
    out.add_argument("--fresh", action="store_true", help="comparison: forget what was measured before")
    out.add_argument("--retry", action="store_true", help="comparison: measure again what failed before")
    out.add_argument("--peak_tflops", type=float, metavar="X", help="the accelerator's dense peak, where unknown")
    return flags


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclasses.dataclass(frozen=True)
class Bench:
    """A command's flags with the files that they stand for."""

    objective: str
    args: argparse.Namespace

    @property
    def workdir(self) -> Path:
        return Path(self.args.workdir)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Both on a processor; on an accelerator bfloat16 alone."""
        if self.args.dtype:
            return (self.args.dtype,)
        return ("bfloat16",) if measure.accelerator() else ("float32", "bfloat16")

    def job(self, system: str, data: str, **settings: Any) -> Job:
        """A measurement with the command's flags, and `settings` over them."""
        args = self.args
        given: dict[str, Any] = {name: getattr(args, name) for name in _SETTINGS}
        given["dtype"] = self.dtypes[0]
        if data == "threads" and args.compare and system == "llumi_jax":
            # Whole threads fill longer rows better; a forward pass keeps its tokens.
            longer = max(1, args.thread_row_length // args.row_length)
            given["row_length"] = args.row_length * longer
            given |= {name: max(1, given[name] // longer) for name in ("batch_rows", "micro_rows")}
        model = models.folder(args.model, self.workdir, args.seed)
        return Job(
            system,
            self.objective,
            str(self.pairs(data, system)),
            str(model.resolve()),
            data=data,
            **{**given, **settings},
        )

    def pairs(self, data: str, system: str) -> Path:
        """The file of pairs, named after its content."""
        args = self.args
        used = args.peer_pairs if system != "llumi_jax" and args.peer_pairs else args.pairs_used
        if args.pairs:
            try:
                found = pairs.read(Path(args.pairs))
            except ValueError as error:
                raise UserError(f"--pairs {args.pairs}: {error}. Make a file with benchmarks.pairs.") from None
            stem = Path(args.pairs).stem
        else:
            found, stem = pairs.SETS[data](args.seed, 256), data
        text = json.dumps(pairs.representative(found, used))
        self.workdir.mkdir(parents=True, exist_ok=True)
        path = self.workdir / f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"
        path.write_text(text)
        return path.resolve()

    def sides(self) -> Sides:
        """The systems' interpreters, those that were named checked."""
        found = {}
        for system, package in _PACKAGES.items():
            python = getattr(self.args, f"{system}_python")
            if python:
                check_package(python, package, f"--{system}_python")
                found[system] = python
        return Sides(self.workdir, found)

    def has(self, system: str) -> bool:
        """Whether the comparison covers a system."""
        asked = not self.args.only or system in self.args.only
        return asked and (system == "llumi_jax" or bool(getattr(self.args, f"{system}_python")))


def check_package(python: str, package: str, flag: str) -> None:
    """Raises UserError unless the interpreter is there and has the package."""
    find = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    try:
        done = subprocess.run([python, "-c", find], capture_output=True, cwd=ROOT)
    except OSError as error:
        raise UserError(f"{flag} {python}: {cli.describe_os_error(error)}") from None
    if done.returncode:
        raise UserError(f"{flag} {python}: no {package} there. docs/benchmarks.md says how to make its environment.")


def one(bench: Bench) -> int:
    """Measures one system, prints its figures and writes them where `--json` says."""
    args = bench.args
    system = args.peer or "llumi_jax"
    if args.peer and not getattr(args, f"{args.peer}_python"):
        raise UserError(f"--peer {args.peer} needs --{args.peer}_python, the interpreter of its own environment.")
    data = Path(args.pairs).stem if args.pairs else args.set
    extra = {"packing": args.packing} if bench.objective == "sft" else {"reference": args.reference}
    job = bench.job(system, data, **extra)
    figures = bench.sides().run(job)
    unit = tables.UNITS[bench.objective]
    known = ("system", "useful_flops_per_s", "matmul_flops_per_s", "hardware")
    answer = {"system": system, "dtype": job.dtype, f"{unit}_per_s": figures["units_per_s"]}
    answer |= {"peak_mb": figures["device_mb"] or figures["peak_mb"], **{name: figures[name] for name in known}}
    if args.json:
        Path(args.json).write_text(json.dumps(answer | {"job": dataclasses.asdict(job), "figures": figures}, indent=1))
    found = tables.lines([{**figures, "key": job.key(), "repeat": 0}])
    console = tables.console()
    console.print(tables.terminal(figures["version"], found, bench.objective))
    _print_mfu(console, found, _peak(args, figures["hardware"]))
    return EXIT_OK


def _peak(args: argparse.Namespace, hardware: str) -> float | None:
    return args.peak_tflops * 1e12 if args.peak_tflops else tables.peak_of(hardware)


def _print_mfu(console: Console, found: Sequence[Line], peak: float | None) -> None:
    if peak is None:
        console.print("'useful' is against the best matrix product of the same process and dtype.", style="dim")
        return
    for line in found:
        console.print(
            f"MFU {line.utilisation(peak):.1%} of {peak / 1e12:.0f} TFLOP/s, {line.utilisation(None):.1%} of the best "
            f"matrix product: {tables.NAMES[line.job['system']]}, {line.job['data']}, {line.batch}"
        )


def compare(
    bench: Bench,
    search: Callable[[Bench], list[Job]],
    plan: Callable[[Bench, Sequence[Line]], list[Job]],
    goals: Callable[[float | None], Sequence[Goal]],
) -> int:
    """Measures all systems, alternating; prints the table and the goals, writes JSON and chart.

    Args:
      search: jobs measured once, to find the peers' best settings.
      plan: the jobs of the comparison, made with what the search found.
      goals: what is to be reached, given the accelerator's peak FLOP/s.
    """
    args, console = bench.args, tables.console()
    if args.pairs:
        raise UserError(
            "--pairs is for one system: the comparison makes its sets itself. Leave out --compare or --pairs."
        )
    hardware = measure.hardware(args.threads)
    size = "" if args.model == "small" else f"_{args.model}"
    stem = f"{bench.objective}_{measure.slug(hardware)}{size}"
    results = Results(Path(args.results) / f"{stem}.json", args.fresh)
    if args.retry:
        results.forget_failures()
    sides = bench.sides()
    peak = _peak(args, hardware)
    used = {"pairs_used": args.pairs_used or "all", "peer_pairs": args.peer_pairs or args.pairs_used or "all"}
    results.about = {"hardware": hardware, "model": args.model, "peak_flops_per_s": peak, **used}
    if tried := search(bench):
        console.print("Settings of the peers, once each", style="bold")
        alternate.alternate(tried, 1, sides.run, results, console)
    jobs = plan(bench, tables.lines(_records(results, tried)))
    console.print(f"The comparison, {args.repeats} times", style="bold")
    alternate.alternate(jobs, args.repeats, sides.run, results, console)
    found = tables.lines(_records(results, [*tried, *jobs]))
    console.print()
    if not found:
        raise RunFailure("nothing could be measured; the lines above say why")
    console.print(tables.terminal(f"{bench.objective.upper()} on {hardware}", found, bench.objective, peak))
    console.print()
    wanted = goals(peak)
    console.print(tables.goal_table(wanted, found))
    _print_mfu(console, found, peak)
    _warn_of_sessions(console, results)
    rows = (goal.row(found) for goal in wanted)
    results.about["goals"] = [dict(zip(("goal", "wanted", "found", "verdict"), row, strict=True)) for row in rows]
    results.save()
    from benchmarks import charts

    charts.draw(found, bench.objective, f"{bench.objective.upper()}, {hardware}", results.path.with_suffix(".png"))
    console.print(f"\nwritten: {results.path} and {results.path.with_suffix('.png').name}")
    return EXIT_FAILURE if any("failed" in record for record in results.records) else EXIT_OK


def _records(results: Results, jobs: Sequence[Job]) -> list[alternate.Record]:
    """Of these jobs alone: the file may hold others, measured with other flags."""
    wanted = list(dict.fromkeys(job.key() for job in jobs))
    return [record for key in wanted for record in results.records if record["key"] == key]


def _warn_of_sessions(console: Console, results: Results) -> None:
    sessions = {record["session"] for record in results.records}
    if len(sessions) > 1:
        console.print(f"taken in {len(sessions)} sessions; --fresh takes all in one", style="yellow")
