"""Times Tunix's own trainers: python -m benchmarks.tunix_side --job job.json --out result.json

Runs in Tunix's environment (`google-tunix`). Its trainers pad; batches are therefore of like lengths and padded to
multiples of 128, so that there are few shapes, and each of them is compiled before the clock runs. Weights are in the
dtype of computation: Tunix has no mixed precision.
"""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import jobs, matmul, measure
from benchmarks.jobs import Job
from llumi_jax import cli
from llumi_jax.models import families
from llumi_jax.training import flops

PAD_TO = 128


def main(argv: Sequence[str]) -> None:
    flags = cli.Parser(prog="python -m benchmarks.tunix_side", description=__doc__)
    flags.add_argument("--job", required=True, metavar="FILE")
    flags.add_argument("--out", required=True, metavar="FILE")
    args = flags.parse_args(argv)
    job = Job.read(Path(args.job))
    if job.lora_rank or job.packing or job.reference == "cached":
        raise cli.UserError("Tunix is timed on all weights, padded, with a live reference: it has no other settings.")
    measure.use_threads(job.threads)
    Path(args.out).write_text(json.dumps(run(job), indent=1))


def run(job: Job) -> dict[str, Any]:
    """Measures one job and returns its figures."""
    import importlib.metadata

    import jax
    import optax
    from flax import nnx

    sizes, found = jobs.read_sizes(job), jobs.read_pairs(job)
    tokens = job.batch * round(sum(map(sum, _lengths(found, job))) / len(found))
    multiply = lambda: matmul.best(matmul.sizes_of(sizes), tokens, tokens, matmul.jax_run(job.dtype))
    before = multiply()
    mesh = jax.make_mesh((1, 1), ("fsdp", "tp"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    with jax.set_mesh(mesh):
        model = _model(job, sizes, mesh)
        optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(job.learning_rate, weight_decay=0.0))
        trainer = (_dpo if job.objective == "dpo" else _sft)(job, model, optimizer, lambda: _model(job, sizes, mesh))
        batches = _batches(found, job)
        clock = _Clock(job, batches, lambda: jax.block_until_ready(nnx.state(trainer.model)))
        trainer.train(clock)
    peak, what = max(before, multiply())
    work = flops.Work.total(flops.of_sequence(prompt, reply) for prompt, reply in _lengths(found, job))
    useful = flops.training(families.config_from_hf(sizes), work) * clock.units / len(found)
    plain = work.tokens * clock.units / len(found)
    return {
        "system": job.system,
        "version": f"google-tunix {importlib.metadata.version('google-tunix')}, jax {jax.__version__}",
        "seconds": clock.seconds,
        "train_s": clock.seconds,
        "sweep_s": 0.0,
        "compile_s": clock.warm_seconds,
        "steps": clock.steps,
        "units": clock.units,
        "units_per_s": clock.units / clock.seconds,
        "tokens": round(plain),
        "tokens_per_s": plain / clock.seconds,
        "loss_first": None,
        "loss_last": float(trainer.metrics_logger.get_metric("", "loss", "train")),
        "peak_mb": clock.memory.read() / measure.MB,
        "before_mb": clock.memory.before / measure.MB,
        "memory_how": clock.memory.how,
        "device_mb": 0.0,
        "useful_flops_per_s": useful / clock.seconds,
        "matmul_flops_per_s": peak,
        "matmul": what,
        "utilisation": useful / clock.seconds / peak,
        "units_per_step": job.batch,
        "attention": "dense",
        "hardware": measure.hardware(job.threads),
    }


class _Clock:
    """The trainer's dataset: batches of every shape first, then those that are timed."""

    def __init__(self, job: Job, batches: Sequence[Any], wait: Any) -> None:
        self.memory = measure.PeakMemory()
        self.seconds = self.warm_seconds = 0.0
        chosen = list(batches)[: job.steps or None]
        self.steps, self.units = len(chosen), sum(units for units, _ in chosen)
        self._batches, self._wait = [batch for _, batch in chosen], wait

    def __iter__(self) -> Iterator[Any]:
        began = time.perf_counter()
        shapes = {tuple(x.shape for x in _arrays(batch)): batch for batch in self._batches}
        yield from shapes.values()
        self._wait()
        self.memory.start()
        self.warm_seconds, began = time.perf_counter() - began, time.perf_counter()
        yield from self._batches
        self._wait()
        self.seconds = time.perf_counter() - began


def _arrays(batch: Any) -> list[Any]:
    import numpy as np

    return [value for value in vars(batch).values() if isinstance(value, np.ndarray)]


def _lengths(found: Sequence[dict], job: Job) -> list[tuple[int, int]]:
    sides = ("chosen", "rejected") if job.objective == "dpo" else ("chosen",)
    return [(len(p["prompt"]), len(p[side])) for p in found for side in sides]


def _batches(found: Sequence[dict], job: Job) -> list[tuple[int, Any]]:
    """(pairs, batch) of like lengths. A last, smaller batch would be a shape of its own and is left out."""
    size = lambda p: len(p["prompt"]) + max(len(p["chosen"]), len(p["rejected"]))
    ordered = sorted(found, key=size, reverse=True)
    groups = [ordered[i : i + job.batch] for i in range(0, len(ordered), job.batch)]
    make = _dpo_batch if job.objective == "dpo" else _sft_batch
    return [(len(group), make(group)) for group in groups if len(group) == job.batch]


def _dpo_batch(group: Sequence[dict]) -> Any:
    from tunix.sft.dpo.dpo_trainer import TrainingInput

    prompt, prompt_mask = _padded([p["prompt"] for p in group], left=True)
    replies = [_padded([p[side] for p in group], like=group) for side in ("chosen", "rejected")]
    (chosen, chosen_mask), (rejected, rejected_mask) = replies
    return TrainingInput(
        prompt_ids=prompt,
        prompt_mask=prompt_mask,
        chosen_ids=chosen,
        chosen_mask=chosen_mask,
        rejected_ids=rejected,
        rejected_mask=rejected_mask,
    )


def _sft_batch(group: Sequence[dict]) -> Any:
    """`input_mask` says which tokens are targets."""
    import numpy as np
    from tunix.sft.peft_trainer import TrainingInput

    ids, mask = _padded([p["prompt"] + p["chosen"] for p in group])
    prompts = np.array([len(p["prompt"]) for p in group])[:, None]
    return TrainingInput(input_tokens=ids, input_mask=mask & (np.arange(ids.shape[1]) >= prompts))


def _padded(lines: Sequence[Sequence[int]], left: bool = False, like: Sequence[dict] | None = None) -> tuple[Any, Any]:
    """Ids and mask [B, n], n a multiple of PAD_TO; `like`: both replies of a batch get one width."""
    import numpy as np

    widest = max(map(len, lines)) if like is None else max(max(len(p["chosen"]), len(p["rejected"])) for p in like)
    width = -(-widest // PAD_TO) * PAD_TO
    ids, mask = np.zeros((len(lines), width), np.int32), np.zeros((len(lines), width), bool)
    for row, line in enumerate(lines):
        at = slice(width - len(line), width) if left else slice(0, len(line))
        ids[row, at], mask[row, at] = line, True
    return ids, mask


def _model(job: Job, sizes: dict[str, Any], mesh: Any) -> Any:
    import jax
    from flax import nnx
    from tunix.models.llama3 import model as llama
    from tunix.models.llama3 import params

    config = llama.ModelConfig(
        num_layers=sizes["num_hidden_layers"],
        vocab_size=sizes["vocab_size"],
        embed_dim=sizes["hidden_size"],
        hidden_dim=sizes["intermediate_size"],
        num_heads=sizes["num_attention_heads"],
        head_dim=sizes["head_dim"],
        num_kv_heads=sizes["num_key_value_heads"],
        rope_theta=int(sizes["rope_theta"]),
        norm_eps=sizes["rms_norm_eps"],
        weight_tying=sizes["tie_word_embeddings"],
        remat_config=llama.RematConfig.BLOCK if job.checkpointing else llama.RematConfig.NONE,
    )
    if jobs.has_weights(job):
        return params.create_model_from_safe_tensors(job.model, config, mesh, dtype=job.dtype)
    return nnx.jit(lambda: llama.Llama3(config, rngs=nnx.Rngs(jax.random.key(job.seed))))()


def _settings(job: Job) -> dict[str, Any]:
    return {"eval_every_n_steps": 10**9, "max_steps": None}


def _dpo(job: Job, model: Any, optimizer: Any, reference: Any) -> Any:
    from tunix.sft.dpo.dpo_trainer import DPOTrainer, DPOTrainingConfig

    return DPOTrainer(
        model=model,
        ref_model=reference(),
        optimizer=optimizer,
        training_config=DPOTrainingConfig(beta=0.1, **_settings(job)),
    )


def _sft(job: Job, model: Any, optimizer: Any, reference: Any) -> Any:
    import jax.numpy as jnp
    from tunix.sft import peft_trainer, utils

    def inputs(batch: Any) -> dict[str, Any]:
        real = jnp.asarray(batch.input_tokens) != 0
        return {
            "input_tokens": batch.input_tokens,
            "input_mask": batch.input_mask,
            "positions": utils.build_positions_from_mask(real),
            "attention_mask": utils.make_causal_attn_mask(real),
        }

    trainer = peft_trainer.PeftTrainer(model, optimizer, peft_trainer.TrainingConfig(**_settings(job)))
    return trainer.with_gen_model_input_fn(inputs)


if __name__ == "__main__":
    cli.run(main)
