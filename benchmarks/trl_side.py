"""Times TRL's own trainers: python -m benchmarks.trl_side --job job.json --out result.json

Runs in TRL's environment, which has torch and no jax: what is imported of llumi_jax here needs neither. The trainers
are TRL's, untouched, and given token ids: `DPOTrainer` skips its tokenisation, `SFTTrainer` has a format for them.
"""

import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import jobs, matmul, measure
from benchmarks.jobs import Job
from llumi_jax import cli
from llumi_jax.models import families
from llumi_jax.training import flops

PAD, EOS = "0", "2"  # words of the stand-in vocabulary, whose n-th word is the number n


def main(argv: Sequence[str]) -> None:
    flags = cli.Parser(prog="python -m benchmarks.trl_side", description=__doc__)
    flags.add_argument("--job", required=True, metavar="FILE")
    flags.add_argument("--out", required=True, metavar="FILE")
    args = flags.parse_args(argv)
    job = Job.read(Path(args.job))
    got = measure.use_threads(job.threads)
    os.environ.update({"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"})
    import torch

    torch.set_num_threads(got)
    with tempfile.TemporaryDirectory() as scratch:
        figures = run(job, Path(scratch))
    Path(args.out).write_text(json.dumps(figures, indent=1))


def run(job: Job, scratch: Path) -> dict[str, Any]:
    """Measures one job and returns its figures."""
    import torch
    import transformers
    import trl

    found = jobs.read_pairs(job)
    sizes = jobs.read_sizes(job)
    tokens = job.batch * _mean_tokens(found, job)
    multiply = lambda: matmul.best(matmul.sizes_of(sizes), tokens, tokens, matmul.torch_run(job.dtype))
    before = multiply()
    clock = _clock(job)
    trainer = (_dpo if job.objective == "dpo" else _sft)(job, found, clock, scratch)
    trainer.train()
    peak, what = max(before, multiply())
    share = clock.units / clock.epoch_units
    sweep_s = clock.sweep_s * share
    seconds = clock.seconds + sweep_s
    work = _work(job, found)
    adapter_weights = _adapter_weights(job, trainer.model)
    useful = flops.training(families.config_from_hf(sizes), work, adapter_weights) * share
    return {
        "system": job.system,
        "version": f"trl {trl.__version__}, transformers {transformers.__version__}, torch {torch.__version__}",
        "seconds": seconds,
        "train_s": clock.seconds,
        "sweep_s": clock.sweep_s,
        "compile_s": 0.0,
        "steps": clock.steps,
        "units": clock.units,
        "units_per_s": clock.units / seconds,
        "tokens": round(work.tokens * share),
        "tokens_per_s": work.tokens * share / seconds,
        "loss_first": clock.losses[0],
        "loss_last": clock.losses[-1],
        "peak_mb": clock.peak / measure.MB,
        "before_mb": clock.memory.before / measure.MB,
        "memory_how": clock.memory.how,
        "device_mb": (torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0) / measure.MB,
        "useful_flops_per_s": useful / seconds,
        "matmul_flops_per_s": peak,
        "matmul": what,
        "utilisation": useful / seconds / peak,
        "units_per_step": clock.units / clock.steps,
        "attention": trainer.model.config._attn_implementation,
        "hardware": measure.hardware(job.threads),
    }


def _sequences(found: Sequence[dict], job: Job) -> list[tuple[int, int]]:
    """(prompt, reply) lengths of every sequence that is trained on: for a pair two of them."""
    sides = ("chosen", "rejected") if job.objective == "dpo" else ("chosen",)
    return [(len(p["prompt"]), len(p[side])) for p in found for side in sides]


def _mean_tokens(found: Sequence[dict], job: Job) -> int:
    if job.packing:
        return job.row_length
    sequences = _sequences(found, job)
    return round(sum(map(sum, sequences)) / len(found))


def _work(job: Job, found: Sequence[dict]) -> flops.Work:
    """An epoch as TRL goes through it: every sequence by itself, without its padding."""
    return flops.Work.total(flops.of_sequence(prompt, reply) for prompt, reply in _sequences(found, job))


def _adapter_weights(job: Job, model: Any) -> int | None:
    return sum(p.numel() for p in model.parameters() if p.requires_grad) if job.lora_rank else None


def _clock(job: Job) -> Any:
    """A callback that skips the warm-up and times the steps after it."""
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.memory = measure.PeakMemory()
            self.losses: list[float] = []
            self.seconds = self.sweep_s = 0.0
            self.peak = self.steps = self.units = self.epoch_units = 0

        def expect(self, steps: int, units: int, epoch_units: int) -> None:
            self.steps, self.units, self.epoch_units = steps, units, epoch_units

        def _wait(self) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()

        def on_step_begin(self, args, state, control, **kwargs) -> None:
            if state.global_step == job.warmup:
                self.memory.start()
                self._wait()
                if torch.cuda.is_available():
                    torch.cuda.reset_peak_memory_stats()
                self.began = time.perf_counter()

        def on_step_end(self, args, state, control, **kwargs) -> None:
            if state.global_step == job.warmup + self.steps:
                self._wait()
                self.seconds = time.perf_counter() - self.began
                self.peak = max(self.peak, self.memory.read())

        def on_log(self, args, state, control, logs=None, **kwargs) -> None:
            if "loss" in (logs or {}):
                self.losses.append(float(logs["loss"]))

    return Clock()


def _settings(job: Job, scratch: Path, steps: int) -> dict[str, Any]:
    """What DPOConfig and SFTConfig share."""
    import torch

    gpu = torch.cuda.is_available()
    # With mixed precision the weights stay in float32; where they are bfloat16 themselves nothing is to be mixed.
    mixed = job.dtype == "bfloat16" and job.param_dtype == "float32"
    return {
        "output_dir": str(scratch),
        "per_device_train_batch_size": job.batch,
        "gradient_accumulation_steps": job.accumulate,
        "max_steps": job.warmup + steps,
        "learning_rate": job.learning_rate,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "bf16": mixed,
        "use_cpu": not gpu,
        "gradient_checkpointing": job.checkpointing,
        "train_sampling_strategy": "sequential",  # the order is ours, and the same in every epoch
        "save_strategy": "no",
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "seed": job.seed,
        "dataloader_pin_memory": gpu,
    }


def _order(lengths: Sequence[int], job: Job) -> list[int]:
    """A random order, or the library's own grouping of like lengths."""
    import torch
    from transformers.trainer_pt_utils import get_length_grouped_indices

    generator = torch.Generator().manual_seed(job.seed)
    if job.grouped:
        return get_length_grouped_indices(list(lengths), job.batch * job.accumulate, generator=generator)
    return torch.randperm(len(lengths), generator=generator).tolist()


def _model(job: Job) -> Any:
    """The folder as the trainers load it themselves; without weights, a model drawn at random on the device."""
    import torch
    import transformers

    dtype = getattr(torch, job.param_dtype)
    if jobs.has_weights(job):
        return job.model, {"dtype": dtype}
    config = transformers.AutoConfig.from_pretrained(job.model)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        return transformers.AutoModelForCausalLM.from_config(config, dtype=dtype), None


def tokenizer(vocabulary: int) -> Any:
    """The trainers ask for one, to know the padding; nothing is tokenised."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({str(i): i for i in range(vocabulary)}, unk_token=PAD))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token=PAD, eos_token=EOS)


def _adapter(job: Job) -> Any:
    if not job.lora_rank:
        return None
    import peft

    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    return peft.LoraConfig(r=job.lora_rank, lora_alpha=2 * job.lora_rank, target_modules=modules, task_type="CAUSAL_LM")


def _dpo(job: Job, found: Sequence[dict], clock: Any, scratch: Path) -> Any:
    import datasets
    from trl import DPOConfig, DPOTrainer

    class Trainer(DPOTrainer):
        """Takes token ids, and tells how long the precomputed reference took."""

        def _prepare_dataset(self, dataset, *args, **kwargs):
            return dataset

        def _precompute_ref_logps(self, *args, **kwargs):
            clock.memory.start()
            began = time.perf_counter()
            made = super()._precompute_ref_logps(*args, **kwargs)
            clock.sweep_s = time.perf_counter() - began
            clock.peak = clock.memory.read()
            return made

    order = _order([len(p["prompt"]) + max(len(p["chosen"]), len(p["rejected"])) for p in found], job)
    rows = [{f"{side}_ids": found[i][side] for side in ("prompt", "chosen", "rejected")} for i in order]
    per_step = job.batch * job.accumulate
    steps = job.steps or -(-len(rows) // per_step)
    clock.expect(steps, min(len(rows), steps * per_step) if not job.steps else steps * per_step, len(rows))
    model, model_settings = _model(job)
    config = DPOConfig(
        **_settings(job, scratch, steps),
        model_init_kwargs=model_settings,
        max_length=None,
        beta=0.1,
        precompute_ref_log_probs=job.reference == "cached",
    )
    reference = None
    if model_settings is None and not job.lora_rank and job.reference == "live":
        import copy

        reference = copy.deepcopy(model)
    return Trainer(
        model=model,
        ref_model=reference,
        args=config,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer(jobs.read_sizes(job)["vocab_size"]),
        callbacks=[clock],
        peft_config=_adapter(job),
    )


def _sft(job: Job, found: Sequence[dict], clock: Any, scratch: Path) -> Any:
    import datasets
    from trl import SFTConfig, SFTTrainer

    order = _order([len(p["prompt"]) + len(p["chosen"]) for p in found], job)
    examples = [(found[i]["prompt"], found[i]["chosen"]) for i in order]
    rows = [{"input_ids": p + r, "labels": [-100] * len(p) + list(r)} for p, r in examples]
    model, model_settings = _model(job)
    make = lambda steps: SFTTrainer(
        model=model,
        args=SFTConfig(
            **_settings(job, scratch, steps),
            model_init_kwargs=model_settings,
            max_length=job.row_length,
            packing=job.packing,
        ),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer(jobs.read_sizes(job)["vocab_size"]),
        callbacks=[clock],
        peft_config=_adapter(job),
    )
    trainer = make(1)
    packed, per_step = len(trainer.train_dataset), job.batch * job.accumulate
    epoch = -(-packed // per_step)
    steps = job.steps or epoch
    clock.expect(steps, round(len(rows) * (1 if not job.steps else steps * per_step / packed)), len(rows))
    trainer.args.max_steps = job.warmup + steps
    return trainer


if __name__ == "__main__":
    cli.run(main)
