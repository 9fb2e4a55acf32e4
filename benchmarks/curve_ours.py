"""Trains one learning curve with llumi_jax: python -m benchmarks.curve_ours --job job.json --out result.json

The train step is the product's, on packed rows; only the order is given from outside: each step gets exactly its pairs.
"""

import functools
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure
from benchmarks.curves import CurveJob
from benchmarks.ours import token_threads
from llumi_jax import cli
from llumi_jax.data import packing

_METRICS = {"loss": "loss", "margin": "reward_margin", "accuracy": "reward_accuracy"}


def main(argv: Sequence[str]) -> None:
    flags = cli.Parser(prog="python -m benchmarks.curve_ours", description=__doc__)
    flags.add_argument("--job", required=True, metavar="FILE")
    flags.add_argument("--out", required=True, metavar="FILE")
    args = flags.parse_args(argv)
    job = CurveJob.read(Path(args.job))
    measure.use_threads(job.threads)
    Path(args.out).write_text(json.dumps(run(job), indent=1))


def step_rows(job: CurveJob, micro_rows: int) -> tuple[list[dict[str, np.ndarray]], packing.RowShape]:
    """The rows of every step, all of one shape: each step's pairs packed by themselves, padded with empty rows.

    There are as many rows for each step, a multiple of `micro_rows`.
    """
    train, T = job.pairs("train"), job.row_length
    made = [packing.pack(token_threads([train[i] for i in step], "dpo"), T) for step in job.order]
    count = -(-max(map(len, made)) // micro_rows) * micro_rows
    largest = lambda name: max(getattr(rows.shape, name) for rows in made)
    shape = packing.RowShape(T, largest("predictions"), largest("slots"), largest("pairs"))
    batches = []
    for rows in made:
        threads = [rows.threads_of(i) for i in range(len(rows))] + [[]] * (count - len(rows))
        built = [packing.build_row(row, shape) for row in threads]
        batches.append({name: np.stack([row[name] for row in built]) for name in built[0]})
    return batches, shape


def recipe_of(job: CurveJob, adapter: Any, rows: int, micro_rows: int) -> Any:
    """The recipe of the run."""
    from llumi_jax.training import recipe

    stage = {"role": "gm", "objective": "dpo", "steps": job.steps, "beta": job.beta, "soft_labels": False}
    schedule = {"name": "warmup_cosine_decay_schedule", "peak_value": job.learning_rate, "end_value": 0.0}
    return recipe.from_config(
        {
            "stage": {"curve": stage | {"reference": "adapter_off"}},
            "seed": job.seed,
            "row_length": job.row_length,
            "max_prompt_tokens": job.row_length - 1,
            "batch_rows": rows,
            "micro_batch_rows": micro_rows,
            "lora": adapter.to_dict(),
            "remat": "attention",
            "optimizer": {"name": "adamw", "weight_decay": 0.0, "clip_norm": 1.0},
            "schedule": schedule | {"warmup_steps": job.warmup_steps, "decay_steps": job.steps},
        }
    )


def run(job: CurveJob) -> dict[str, Any]:
    """Trains and evaluates; returns the curves."""
    import jax

    from llumi_jax.interchange import peft, tensors
    from llumi_jax.models import decoder, families
    from llumi_jax.training import build, sharding

    config = families.config_from_hf(json.loads((Path(job.model) / "config.json").read_text()))
    micro_rows = jax.device_count()  # a row at a time on each device
    batches, shape = step_rows(job, micro_rows)
    tree, adapter = peft.read(Path(job.adapter), config)
    recipe = recipe_of(job, adapter, len(batches[0]["tokens"]), micro_rows)
    stage, mesh = recipe.stage["curve"], sharding.make_mesh(recipe.mesh)
    with jax.set_mesh(mesh):
        places = sharding.tree_shardings(decoder.abstract_params(config), mesh)
        base = tensors.assemble(tensors.SafetensorsFolder(Path(job.model)), config, dtype="float32", shardings=places)
        frozen = {"base": base, "reference": None}
        model = build.decoder(recipe, config)
        made = build.trainer(recipe, stage, tree, mesh, job.steps, job.steps)
        state = jax.jit(made.create, out_shardings=made.places)(tree)
        held_out = _HeldOut(job, model, frozen, mesh, state.params)
        first = sharding.to_device(batches[0], mesh)
        step = build.train_step(recipe, stage, model, shape.slots, made).lower(state, frozen, first).compile()
        steps, evaluations, seconds = [], [{"step": 0, **held_out(state.params)}], []
        memory, peak = measure.PeakMemory(), 0
        for number, batch in enumerate(batches, start=1):
            memory.start()
            began = time.perf_counter()
            state, metrics = step(state, frozen, sharding.to_device(batch, mesh))
            sums = jax.device_get(metrics)
            seconds.append(time.perf_counter() - began)
            peak = max(peak, memory.read())
            mean = {short: float(sums[name][0]) / float(sums[name][1]) for short, name in _METRICS.items()}
            steps.append({"step": number, **mean})
            print(f"step {number}/{job.steps} loss {mean['loss']:.4f} in {seconds[-1]:.1f} s", flush=True)
            if number % job.evaluate_every == 0 or number == job.steps:
                evaluations.append({"step": number, **held_out(state.params)})
    counted = seconds[1:] or seconds
    return {
        "system": job.system,
        "seed": job.seed,
        "steps": steps,
        "held_out": evaluations,
        "units_per_s": job.batch * len(counted) / sum(counted),
        "peak_mb": peak / measure.MB,
        "memory_how": memory.how,
        "hardware": measure.hardware(job.threads),
    }


class _HeldOut:
    """Margins of the held-out pairs under the adapter against the base."""

    def __init__(self, job: CurveJob, model: Any, frozen: Mapping[str, Any], mesh: Any, start: Any) -> None:
        import jax

        from llumi_jax.training import step

        self.job, self.frozen, self.mesh = job, frozen, mesh
        self.rows = packing.pack(token_threads(job.pairs("test"), "dpo"), job.row_length)
        self._logps = jax.jit(functools.partial(step.reply_logps, model), static_argnames="slots")
        self.before = self._gaps(start)  # the adapter's delta is zero: this is the base

    def __call__(self, params: Any) -> dict[str, float]:
        margins = self.job.beta * (self._gaps(params) - self.before)
        accuracy = np.where(margins == 0, 0.5, margins > 0)
        return {"margin": float(margins.mean()), "accuracy": float(accuracy.mean())}

    def _gaps(self, params: Any) -> np.ndarray:
        """log p(chosen) - log p(rejected) of every pair, float64."""
        import jax

        from llumi_jax.data import loader
        from llumi_jax.training import sharding

        gaps = []
        for indices, batch in loader.sweep(self.rows, jax.device_count()):
            rows = sharding.to_device({k: v for k, v in batch.items() if k != "row"}, self.mesh)
            found = jax.device_get(self._logps(params, self.frozen, rows, slots=self.rows.shape.slots))
            for at in range(len(indices)):
                real = batch["pair_weight"][at] > 0
                logps = np.asarray(found[at], np.float64)
                gaps.append(logps[batch["chosen"][at][real]] - logps[batch["rejected"][at][real]])
        return np.concatenate(gaps)


if __name__ == "__main__":
    cli.run(main)
