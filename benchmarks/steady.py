"""Does a long run stay as it began? Memory, programs compiled anew and waiting for data over many steps.

    python -m benchmarks.steady --size small --steps 2000 --json benchmarks/results/steady.json

It is the training loop itself that runs, logs, checkpoints and all, over a random Llama with a LoRA adapter and packed
pairs of random tokens. Beside the JSON a PNG shows resident memory over the steps, and a CSV has every reading.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import charts, measure, models, ours, pairs
from llumi_jax import cli
from llumi_jax.training import heap

_LEAST = 20  # steps; with fewer there is nothing to compare
_PARTS = 20  # of the run, for the curves of memory and their slopes
_LEVELS = {"low": 10, "high": 90}  # percentiles: without and with what a step holds while it runs
_WARM = 0.2  # part of the steps before memory is compared: allocators and caches fill up
METHOD = """\
memory: resident set of the process, read after every step was sent off. A reading falls while the step runs, with what
the step holds, or after it, without; so both levels are followed: the 10th and the 90th percentile of each twentieth of
the run. Growth is the slope of a straight line through each level from a fifth of the run on, with its standard error
recompiles: every program that the loop's thread compiles, or takes from the cache on disk, after the first step, saves
left out, by JAX's own compile events
data wait: time inside next() of the input, all of it, also while the device was busy meanwhile, over the wall time of
the same steps; rows were never built before, and each is built from its tokens when it is asked for"""


def main(argv: Sequence[str]) -> int:
    p = cli.Parser(prog="python -m benchmarks.steady", description=__doc__)
    p.add_argument("--size", choices=("tiny", "small"), default="small", help="of the random Llama")
    p.add_argument("--steps", type=int, default=2000, metavar="N", help=f"optimiser steps, at least {_LEAST}")
    p.add_argument("--batch_rows", type=int, default=2, metavar="B", help="rows of a step")
    p.add_argument("--row_length", type=int, default=1024, metavar="T", help="tokens of a row")
    p.add_argument("--pairs", type=int, default=512, metavar="N", help="pairs of the data set")
    p.add_argument("--json", metavar="FILE", help="write the figures here, and a chart beside it")
    args = p.parse_args(argv)
    if args.steps < _LEAST:
        raise cli.UserError(f"--steps {args.steps}: at least {_LEAST} are needed.")
    if args.pairs < 1:
        raise cli.UserError(f"--pairs {args.pairs}: at least 1 is needed.")
    if args.json:
        Path(args.json).parent.mkdir(parents=True, exist_ok=True)  # now, and not after hours
    heap.limit_arenas()  # as the train command does
    found, readings = run(args)
    print(METHOD)
    for name, value in found.items():
        print(f"{name:28} {value}")
    if args.json:
        path = Path(args.json)
        path.write_text(json.dumps({**found, "method": METHOD}, indent=1) + "\n")
        charts.draw_memory(readings, f"{found['hardware']}, {args.size} Llama", path.with_suffix(".png"))
        rows = [f"{step},{value}\n" for step, value in enumerate(readings, start=1)]
        path.with_suffix(".csv").write_text("step,resident_bytes\n" + "".join(rows))
    return cli.EXIT_OK


def markdown(found: Mapping[str, Any]) -> str:
    """The figures for the docs."""
    wait = f"{found['data_wait_first_500']:.1%} of the first 500 steps, {found['data_wait']:.1%} of all"
    rows = [
        ("steps", f"{found['steps']:,} in {found['seconds'] / 60:.0f} min"),
        ("programs compiled after the first step", str(found["recompiles"])),
        ("waiting for data", wait),
        *((f"memory, {name} level of the readings", _in_words(found["memory"][name])) for name in _LEVELS),
    ]
    table = "".join(f"| {name} | {value} |\n" for name, value in [("what", "found"), ("---", "---"), *rows])
    return f"{found['hardware']}; {found['size']} Llama with LoRA, a step is rows: {found['rows']} tokens.\n\n{table}"


def run(args: argparse.Namespace) -> tuple[dict[str, Any], list[int]]:
    """The figures of one run, and bytes in memory after every step."""
    readings: list[int] = []
    with tempfile.TemporaryDirectory(prefix="steady-") as folder:
        began = time.perf_counter()
        lines = _train(args, Path(folder), readings)
        seconds = time.perf_counter() - began
    after_first = lines[1:]
    found = {
        "hardware": measure.hardware(),
        "size": args.size,
        "rows": f"{args.batch_rows} of {args.row_length:,}",
        "steps": len(lines),
        "seconds": round(seconds, 1),
        "loss": f"{lines[0]['loss']:.4f} -> {lines[-1]['loss']:.4f}",
        "recompiles": int(lines[-1]["recompiles"]),
        "data_wait": waiting(after_first),
        "data_wait_first_500": waiting(after_first[:500]),
        **growth(readings),
    }
    return found, readings


def waiting(lines: Sequence[Mapping[str, Any]]) -> float:
    """The part of these steps' time that went into waiting for data, from lines of the log."""
    seconds = 1 / np.array([line["tokens_per_second"] for line in lines])  # but for a factor: all count the same tokens
    return round(float(seconds @ [line["data_wait"] for line in lines] / seconds.sum()), 5)


def _in_words(level: Mapping[str, Any]) -> str:
    first, last = level["mb_by_twentieth"][int(_PARTS * _WARM)], level["mb_by_twentieth"][-1]
    slope = f"{level['mb_per_1000_steps']:+.0f} ± {level['standard_error']:.0f} MB in 1,000 steps"
    return f"{first:,.0f} MB after a fifth of the steps, {last:,.0f} MB at the end: {slope}"


def growth(readings: Sequence[int]) -> dict[str, Any]:
    """What resident memory did, from bytes after every step: both levels, in MB."""
    parts = np.array_split(np.array(readings, float) / measure.MB, _PARTS)
    levels = {name: np.array([np.percentile(part, at) for part in parts]) for name, at in _LEVELS.items()}
    of_1000 = 1000 * _PARTS / len(readings)
    return {"memory": {name: _line(level, of_1000) for name, level in levels.items()}}


def _line(level: np.ndarray, of_1000: float) -> dict[str, Any]:
    """One level of the twentieths, and its slope; `of_1000` twentieths are a thousand steps."""
    later = level[int(_PARTS * _WARM) :]
    (slope, _), covariance = np.polyfit(np.arange(len(later)), later, 1, cov=True)
    return {
        "mb_by_twentieth": [round(float(value), 1) for value in level],
        "mb_per_1000_steps": round(float(slope) * of_1000, 2),
        "standard_error": round(float(np.sqrt(covariance[0, 0])) * of_1000, 2),
    }


def _train(args: argparse.Namespace, folder: Path, readings: list[int]) -> list[Mapping[str, Any]]:
    """Runs the loop; returns the lines of its log."""
    import jax

    from llumi_jax.data import packing
    from llumi_jax.data.loader import Draw
    from llumi_jax.models import lora
    from llumi_jax.storage.checkpoints import Checkpoints
    from llumi_jax.training import build, loop, metrics, recipe, sharding
    from llumi_jax.training.compiled import CompiledStep
    from llumi_jax.training.signals import StopRequest

    settings = recipe.from_config(
        {
            "stage": {"steady": {"role": "gm", "objective": "dpo", "steps": args.steps, "reference": "adapter_off"}},
            "batch_rows": args.batch_rows,
            "row_length": args.row_length,
            "max_prompt_tokens": args.row_length - 1,
        }
    )
    config, stage = models.SIZES[args.size], settings.stage["steady"]
    threads = ours.token_threads(pairs.threads(0, args.pairs), "dpo")
    rows = packing.pack(threads, args.row_length, drop_too_long=True)
    mesh = sharding.make_mesh(settings.mesh)
    sharding.check_batch(mesh, settings.batch_rows, settings.micro_rows)
    with jax.set_mesh(mesh):
        base = sharding.place(models.random_params(config, 0), mesh)
        adapter = build.lora_config(settings)
        assert adapter is not None
        start = lora.init(jax.random.key(0), adapter, config)
        made = build.trainer(settings, stage, start, mesh, args.steps, len(rows) / args.batch_rows)
        state = jax.jit(made.create, out_shardings=made.places)(start)
        jitted = build.train_step(settings, stage, build.decoder(settings, config), rows.shape.slots, made)
        compiled = CompiledStep(jitted, stage.name, folder)

        def step(*arguments: Any) -> Any:
            result = compiled(*arguments)
            readings.append(measure.resident())
            return result

        job = loop.Job(
            name=stage.name, folder=folder, step=step, frozen={"base": base, "reference": None}, rows=rows,
            draw=Draw((len(rows),)), ids_of=lambda row: [t.thread_id for t in rows.threads_of(row)],
            tokens_per_row=rows.used_tokens / len(rows), batch_rows=args.batch_rows, total_steps=args.steps, seed=0,
            checkpoint_every=max(10, args.steps // 20), first_loss=float(np.log(2)), first_loss_tolerance=1e-3,
        )  # fmt: skip
        saved = Checkpoints(folder / "checkpoints")
        try:
            loop.train(job, state, mesh, saved, StopRequest())
        finally:
            saved.close()
    return metrics.read(folder)


if __name__ == "__main__":
    cli.run(main)
