"""Trains one learning curve with TRL's DPOTrainer: python -m benchmarks.curve_trl --job job.json --out result.json

Runs in TRL's environment. Pairs come as token ids in the order of the job, the adapter's weights from its folder; what
is logged and evaluated is TRL's own.
"""

import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.curves import CurveJob
from benchmarks.trl_side import tokenizer
from llumi_jax import cli


def main(argv: Sequence[str]) -> None:
    flags = cli.Parser(prog="python -m benchmarks.curve_trl", description=__doc__)
    flags.add_argument("--job", required=True, metavar="FILE")
    flags.add_argument("--out", required=True, metavar="FILE")
    args = flags.parse_args(argv)
    job = CurveJob.read(Path(args.job))
    got = measure.use_threads(job.threads)
    os.environ.update({"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"})
    import torch

    torch.set_num_threads(got)
    with tempfile.TemporaryDirectory() as scratch:
        found = run(job, scratch)
    Path(args.out).write_text(json.dumps(found, indent=1))


def run(job: CurveJob, scratch: str) -> dict[str, Any]:
    """Trains and evaluates; returns the curves."""
    import datasets
    import peft
    import safetensors.torch
    import torch
    from trl import DPOConfig, DPOTrainer

    class Trainer(DPOTrainer):
        """Takes token ids."""

        def _prepare_dataset(self, dataset, *args, **kwargs):
            return dataset

    train, test = job.pairs("train"), job.pairs("test")
    rows = lambda found: datasets.Dataset.from_list(
        [{f"{side}_ids": pair[side] for side in ("prompt", "chosen", "rejected")} for pair in found]
    )
    config = json.loads((Path(job.adapter) / "adapter_config.json").read_text())
    clock = _clock()
    trainer = Trainer(
        model=job.model,
        args=DPOConfig(
            output_dir=scratch,
            per_device_train_batch_size=job.batch,
            per_device_eval_batch_size=1,  # means over batches are then means over pairs
            max_steps=job.steps,
            learning_rate=job.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=job.warmup_steps,
            weight_decay=0.0,
            max_grad_norm=1.0,
            beta=job.beta,
            bf16=False,
            use_cpu=not torch.cuda.is_available(),
            gradient_checkpointing=False,
            train_sampling_strategy="sequential",
            eval_strategy="steps",
            eval_steps=job.evaluate_every,
            eval_on_start=True,
            save_strategy="no",
            logging_steps=1,
            report_to="none",
            disable_tqdm=True,
            seed=job.seed,
            max_length=None,
            model_init_kwargs={"dtype": torch.float32},
        ),
        train_dataset=rows([train[i] for step in job.order for i in step]),
        eval_dataset=rows(test),
        processing_class=tokenizer(json.loads((Path(job.model) / "config.json").read_text())["vocab_size"]),
        callbacks=[clock],
        peft_config=peft.LoraConfig(
            r=config["r"],
            lora_alpha=config["lora_alpha"],
            use_rslora=config["use_rslora"],
            target_modules=config["target_modules"],
            task_type="CAUSAL_LM",
        ),
    )
    weights = safetensors.torch.load_file(Path(job.adapter) / "adapter_model.safetensors")
    unknown = peft.set_peft_model_state_dict(trainer.model, weights).unexpected_keys
    if unknown:
        raise cli.RunFailure(f"TRL's adapter has no {unknown[0]}")
    trainer.train()
    if job.steps % job.evaluate_every:
        trainer.evaluate()
    return {**_curves(job, trainer.state.log_history), **clock.figures(job), "hardware": measure.hardware(job.threads)}


def _clock() -> Any:
    """A callback that times each step, and leaves evaluation out."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.memory, self.peak = measure.PeakMemory(), 0
            self.seconds: list[float] = []

        def on_step_begin(self, args, state, control, **kwargs) -> None:
            self.memory.start()
            self.began = time.perf_counter()

        def on_step_end(self, args, state, control, **kwargs) -> None:
            self.seconds.append(time.perf_counter() - self.began)
            self.peak = max(self.peak, self.memory.read())
            print(f"step {state.global_step} in {self.seconds[-1]:.1f} s", flush=True)

        def figures(self, job: CurveJob) -> dict[str, Any]:
            counted = self.seconds[1:] or self.seconds
            rate = job.batch * len(counted) / sum(counted)
            return {"units_per_s": rate, "peak_mb": self.peak / measure.MB, "memory_how": self.memory.how}

    return Clock()


def _curves(job: CurveJob, history: Sequence[dict[str, float]]) -> dict[str, Any]:
    """TRL's log as ours: a line a step, a line an evaluation."""
    steps = [
        {
            "step": line["step"],
            "loss": float(line["loss"]),
            "margin": float(line["rewards/margins"]),
            "accuracy": float(line["rewards/accuracies"]),
        }
        for line in history
        if "loss" in line
    ]
    held_out = [
        {
            "step": line["step"],
            "margin": float(line["eval_rewards/margins"]),
            "accuracy": float(line["eval_rewards/accuracies"]),
        }
        for line in history
        if "eval_loss" in line
    ]
    return {"system": job.system, "seed": job.seed, "steps": steps, "held_out": held_out}


if __name__ == "__main__":
    cli.run(main)
