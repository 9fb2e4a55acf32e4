"""Does a long run stay as it began? Memory, programs compiled anew and waiting for data over many steps.

    python -m benchmarks.steady --size small --steps 2000 --json benchmarks/results/steady.json

It is the training loop itself that runs, logs, checkpoints and all, over a random Llama with a LoRA adapter and packed
pairs of random tokens. Beside the JSON a PNG shows resident memory over the steps.
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
_PARTS = 20  # of the run, for the curve of memory and its slope
_WARM = 0.2  # part of the steps before memory is compared: allocators and caches fill up
METHOD = """\
memory: resident set of the process, read after every step was sent off; medians of a tenth of the steps from a fifth of
the run on and of its last tenth; growth is the slope of a straight line through the medians of the last ten twentieths,
with its standard error: readings see what a step is just using, so single ones scatter
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
    return cli.EXIT_OK


def markdown(found: Mapping[str, Any]) -> str:
    """The figures for the docs."""
    wait = f"{found['data_wait_first_500']:.1%} of the first 500 steps, {found['data_wait']:.1%} of all"
    slope = f"{found['growth_mb_per_1000_steps']:+.0f} MB in 1,000 steps"
    memory = f"{found['rss_early_mb']:,.0f} MB after a fifth of the steps, {found['rss_late_mb']:,.0f} MB at the end"
    rows = [
        ("steps", f"{found['steps']:,} in {found['seconds'] / 60:.0f} min"),
        ("programs compiled after the first step", str(found["recompiles"])),
        ("waiting for data", wait),
        ("memory", memory),
        ("slope of memory over the later half", f"{slope}, standard error {found['growth_standard_error']:.0f}"),
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


def growth(readings: Sequence[int]) -> dict[str, Any]:
    """What resident memory did, from bytes after every step."""
    values = np.array(readings, float) / measure.MB
    first, tenth = int(len(values) * _WARM), max(1, len(values) // 10)
    parts = np.array([np.median(part) for part in np.array_split(values, _PARTS)])
    later = parts[_PARTS // 2 :]
    line, covariance = np.polyfit(np.arange(len(later)), later, 1, cov=True)
    slope, error = np.array([line[0], np.sqrt(covariance[0, 0])]) * 1000 * _PARTS / len(values)
    before, after = np.median(values[first : first + tenth]), np.median(values[-tenth:])
    return {
        "rss_early_mb": round(float(before), 1),
        "rss_late_mb": round(float(after), 1),
        "rss_most_mb": round(float(values.max()), 1),
        "growth_mb_per_1000_steps": round(float(slope), 2),
        "growth_standard_error": round(float(error), 2),
        "rss_mb_by_twentieth": [round(float(part), 1) for part in parts],
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
