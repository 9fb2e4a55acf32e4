"""Times llumi_jax in a process of its own: python -m benchmarks.ours --job job.json --out result.json

The path is the product's: threads packed into rows, the loader's tf.data stream, the compiled train step, metrics read
one step late; with a cached reference, the sweep to disk. Only checkpoints and logs are left out.
"""

import json
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import jobs, matmul, measure, pairs
from benchmarks.jobs import Job
from llumi_jax import cli

_SIDES = ("chosen", "rejected")


def main(argv: Sequence[str]) -> None:
    flags = cli.Parser(prog="python -m benchmarks.ours", description=__doc__)
    flags.add_argument("--job", required=True, metavar="FILE")
    flags.add_argument("--out", required=True, metavar="FILE")
    args = flags.parse_args(argv)
    job = Job.read(Path(args.job))
    measure.use_threads(job.threads)
    Path(args.out).write_text(json.dumps(run(job), indent=1))


def token_threads(found: Sequence[pairs.Pair], objective: str) -> list[Any]:
    """Pairs as threads: a post once, each distinct reply to it once. For SFT the chosen replies are the targets."""
    import numpy as np

    from llumi_jax.data.dataset import Pair
    from llumi_jax.data.tokenization import TokenThread

    sides = _SIDES if objective == "dpo" else _SIDES[:1]
    threads = []
    for number, group in enumerate(pairs.by_post(found)):
        slots: dict[tuple[int, ...], int] = {}
        for pair in group:
            for side in sides:
                slots.setdefault(tuple(pair[side]), len(slots))
        slot = lambda ids, slots=slots: slots[tuple(ids)]
        made = [Pair(f"{number}/{i}", slot(p["chosen"]), slot(p[sides[-1]]), 1.0, 1.0) for i, p in enumerate(group)]
        arrays = tuple(np.array(ids, np.int32) for ids in slots)
        prefix = np.array(group[0]["prompt"], np.int32)
        weight = 0.0 if objective == "dpo" else 1.0
        of = tuple(made) if objective == "dpo" else ()
        threads.append(TokenThread(f"{number:06d}", "", prefix, arrays, (weight,) * len(arrays), of))
    return threads


def packed(found: Sequence[pairs.Pair], objective: str, row_length: int) -> Any:
    """The pairs as packed rows."""
    from llumi_jax.data import packing

    return packing.pack(token_threads(found, objective), row_length)


def recipe_of(job: Job, steps: int) -> Any:
    """The recipe of a run as a researcher would write it, with one stage."""
    from llumi_jax.training import recipe

    live = "adapter_off" if job.lora_rank else "frozen"
    stage = {"role": "gm", "objective": job.objective, "steps": steps, "soft_labels": False}
    stage |= {"reference": "cached" if job.reference == "cached" else live} if job.objective == "dpo" else {}
    return recipe.from_config(
        {
            "stage": {"timed": stage},
            "seed": job.seed,
            "row_length": job.row_length,
            "max_prompt_tokens": job.row_length - 1,
            "batch_rows": job.batch_rows,
            "micro_batch_rows": job.micro_rows,
            "lora": {"rank": job.lora_rank, "alpha": 2.0 * job.lora_rank} if job.lora_rank else None,
            "dtype": job.dtype,
            "param_dtype": job.param_dtype,
            "remat": job.remat,
            "attention": job.attention,
            "optimizer": {"name": "adamw", "weight_decay": 0.0, "clip_norm": 1.0},
            "schedule": {"name": "constant_schedule", "value": job.learning_rate},
        }
    )


def run(job: Job) -> dict[str, Any]:
    """Measures one job and returns its figures; see docs/benchmarks.md for what each of them is."""
    import jax

    from llumi_jax.training import flops

    rows = packed(jobs.read_pairs(job), job.objective, job.row_length)
    epoch = -(-len(rows) // job.batch_rows)
    timed = _Timed(job, rows, job.steps or epoch)
    multiply = lambda: matmul.best(
        matmul.sizes_of(jobs.read_sizes(job)), *timed.product_sizes, matmul.jax_run(job.dtype)
    )
    before = multiply()
    with tempfile.TemporaryDirectory() as scratch, jax.set_mesh(timed.mesh):
        figures = timed.measure(Path(scratch))
    peak, what = max(before, multiply())  # a disturbed moment must not make us look busier
    work = flops.Work.total(flops.of_rows(rows[i]) for i in range(len(rows)))
    share = figures["rows_done"] / len(rows)
    useful = flops.training(timed.config, work, timed.adapter_weights) * share
    units = figures.pop("units")
    return {
        **figures,
        "system": job.system,
        "version": f"llumi_jax {_version()}, jax {jax.__version__}",
        "units": units,
        "units_per_s": units / figures["seconds"],
        "tokens": round(work.tokens * share),
        "tokens_per_s": work.tokens * share / figures["seconds"],
        "useful_flops_per_s": useful / figures["seconds"],
        "matmul_flops_per_s": peak,
        "matmul": what,
        "utilisation": useful / figures["seconds"] / peak,
        "rows": len(rows),
        "fill": rows.fill,
        "units_per_step": units / figures["steps"],
        "attention": timed.model.backend,
        "hardware": measure.hardware(job.threads),
    }


def _version() -> str:
    import llumi_jax

    return llumi_jax.__version__


class _Timed:
    """The stage's parts, made before the clock runs."""

    def __init__(self, job: Job, rows: Any, steps: int) -> None:
        from llumi_jax.models import families
        from llumi_jax.training import build, sharding

        self.job, self.rows, self.steps = job, rows, steps
        self.recipe = recipe_of(job, steps)
        self.stage = self.recipe.stage["timed"]
        self.config = families.config_from_hf(jobs.read_sizes(job))
        self.mesh = sharding.make_mesh(self.recipe.mesh)
        self.model = build.decoder(self.recipe, self.config)

    @property
    def product_sizes(self) -> tuple[int, int]:
        """Tokens of a micro-batch, and its predictions in one chunk."""
        return self.job.micro_rows * self.job.row_length, self.job.micro_rows * matmul.CHUNK

    @property
    def adapter_weights(self) -> int | None:
        import math

        import jax

        from llumi_jax.training import build

        if self.recipe.lora is None:
            return None
        return sum(math.prod(x.shape) for x in jax.tree.leaves(build.abstract_trained(self.recipe, self.config)))

    def measure(self, scratch: Path) -> dict[str, Any]:
        """Compiles, warms up, measures. Memory is watched while the clock runs, and not while XLA compiles."""
        import jax

        from llumi_jax.training import build

        job, memory = self.job, measure.PeakMemory()
        base = weights(job, self.config, self.mesh)
        start = self._start(base)
        frozen = {"base": base if job.lora_rank else None, "reference": None}
        inputs, sweep, sweep_peak = self.rows, None, 0
        if job.objective == "dpo" and self.stage.reference == "cached":
            sweep = _Sweep(self, start, frozen)
            memory.start()
            inputs = sweep.run(scratch)
            sweep_peak = memory.read()
        elif job.objective == "dpo" and self.stage.reference == "frozen":
            frozen["reference"] = base
        made = build.trainer(self.recipe, self.stage, start, self.mesh, self.steps, self.steps)
        donate = 0 if frozen["base"] is None and frozen["reference"] is None else ()
        state = jax.jit(made.create, out_shardings=made.places, donate_argnums=donate)(start)
        example = next(self._stream(inputs, seed=job.seed + 1))
        jitted = build.train_step(self.recipe, self.stage, self.model, self.rows.shape.slots, made)
        began = time.perf_counter()
        step = jitted.lower(state, frozen, example).compile()
        compile_s = time.perf_counter() - began
        first: list[float] = []
        for _ in range(job.warmup):
            state, metrics = step(state, frozen, example)
            first.append(_loss(jax.device_get(metrics)))
        del base, start  # the state and `frozen` hold what is needed of them
        memory.start()
        train_s, done, losses = self._train(step, state, frozen, inputs)
        sweep_s = sweep.seconds if sweep else 0.0
        # The sweep is over the whole epoch: a shorter run answers for its share of it.
        share = min(1.0, done["rows"] / len(self.rows)) if job.steps else 1.0
        return {
            "seconds": train_s + sweep_s * share,
            "train_s": train_s,
            "sweep_s": sweep_s,
            "compile_s": compile_s + (sweep.compile_s if sweep else 0.0),
            "steps": self.steps,
            "units": done["units"],
            "rows_done": done["rows"],
            "loss_first": (first + losses)[0],
            "loss_last": losses[-1],
            "peak_mb": max(sweep_peak, memory.read()) / measure.MB,
            "before_mb": memory.before / measure.MB,
            "memory_how": memory.how,
            "device_mb": _device_peak() / measure.MB,
        }

    def _start(self, base: Any) -> Any:
        """What is trained: all weights, or an adapter that is zero."""
        import jax

        from llumi_jax.models import lora
        from llumi_jax.training import build

        adapter = build.lora_config(self.recipe)
        return base if adapter is None else lora.init(jax.random.key(self.job.seed), adapter, self.config)

    def _stream(self, rows: Any, seed: int, steps: int = 1) -> Iterator[Mapping[str, Any]]:
        from llumi_jax.data import loader
        from llumi_jax.training import sharding

        B = self.job.batch_rows
        for batch in loader.batches(rows, B, seed, 0, steps * B):
            yield sharding.to_device(batch, self.mesh)

    def _train(self, step: Any, state: Any, frozen: Any, rows: Any) -> tuple[float, dict[str, Any], list[float]]:
        """Seconds, what was done, and the losses, each read while the next step runs."""
        import jax

        waiting: deque = deque()
        losses: list[float] = []
        units = 0.0

        def read() -> None:
            nonlocal units
            sums = jax.device_get(waiting.popleft())
            losses.append(_loss(sums))
            units += float(sums["pairs"][0]) if self.job.objective == "dpo" else 0.0

        began = time.perf_counter()
        for batch in self._stream(rows, self.job.seed, self.steps):
            state, metrics = step(state, frozen, batch)
            waiting.append(metrics)
            while len(waiting) > 1:
                read()
        while waiting:
            read()
        jax.block_until_ready(state)
        seconds = time.perf_counter() - began
        count = self.steps * self.job.batch_rows
        if self.job.objective == "sft":
            units = self._replies(count)
        return seconds, {"units": round(units), "rows": count}, losses

    def _replies(self, count: int) -> float:
        """Replies that were learned from in the first `count` rows of the stream."""
        import numpy as np

        from llumi_jax.data import loader

        order = loader.row_order(len(self.rows), self.job.seed, np.arange(count))
        return float(sum(len(t.replies) for i in order for t in self.rows.threads_of(int(i))))


class _Sweep:
    """The cached reference: compiled on the first rows, then run over all of them to a file."""

    _NAMES = ("tokens", "positions", "segment", "branch", "source", "target", "slot", "weight")

    def __init__(self, timed: _Timed, start: Any, frozen: Mapping[str, Any]) -> None:
        import functools

        import jax

        from llumi_jax.data import loader
        from llumi_jax.training import step

        self.timed, self.start, self.frozen, self.seconds = timed, start, {"base": frozen["base"]}, 0.0
        self._logps = jax.jit(functools.partial(step.reply_logps, timed.model), static_argnames="slots")
        began = time.perf_counter()
        with jax.set_mesh(timed.mesh):
            self._compute(next(loader.sweep(timed.rows, timed.job.micro_rows))[1])
        self.compile_s = time.perf_counter() - began

    def run(self, scratch: Path) -> Any:
        """The rows with their reference; `seconds` says how long it took."""
        from llumi_jax.training import reference

        rows, began = self.timed.rows, time.perf_counter()
        logps = reference.sweep(scratch / "reference.npy", {}, rows, self._compute, self.timed.job.micro_rows)
        self.seconds = time.perf_counter() - began
        return reference.RowsWithReference(rows, logps)

    def _compute(self, batch: Mapping[str, Any]) -> Any:
        import jax
        import numpy as np

        from llumi_jax.training import sharding

        on_device = sharding.to_device({name: batch[name] for name in self._NAMES}, self.timed.mesh)
        slots = self.timed.rows.shape.slots
        return np.asarray(jax.device_get(self._logps(self.start, self.frozen, on_device, slots=slots)))


def weights(job: Job, config: Any, mesh: Any) -> Any:
    """The folder's weights on the mesh; without any, drawn there."""
    import jax

    from llumi_jax.interchange import tensors
    from llumi_jax.models import decoder
    from llumi_jax.training import sharding

    places = sharding.tree_shardings(decoder.abstract_params(config, job.param_dtype), mesh)
    if jobs.has_weights(job):
        source = tensors.SafetensorsFolder(Path(job.model))
        return tensors.assemble(source, config, dtype=job.param_dtype, shardings=places)
    make = jax.jit(lambda key: decoder.init_params(key, config, job.param_dtype), out_shardings=places)
    return make(jax.random.key(job.seed))


def _loss(sums: Mapping[str, Any]) -> float:
    total, weight = sums["loss"]
    return float(total) / float(weight)


def _device_peak() -> int:
    """Bytes that the accelerator held at most; 0 on a CPU, where that is the process's own memory."""
    import jax

    found = jax.local_devices()[0].memory_stats() or {}
    return int(found.get("peak_bytes_in_use", 0))


if __name__ == "__main__":
    cli.run(main)
