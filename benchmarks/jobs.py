"""What one timed process is asked to do. The standard library alone: every side's environment can read it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

SYSTEMS = ("llumi_jax", "trl", "tunix")


@dataclasses.dataclass(frozen=True)
class Job:
    """One measurement. Fields that only one system knows have no meaning for the others."""

    system: str
    objective: str  # "dpo" | "sft"
    pairs: str  # file of pairs; for SFT their posts and chosen replies
    model: str  # folder with config.json; without weights beside it they are drawn at random
    data: str = "independent"  # the name of the set, for tables
    dtype: str = "float32"  # of computation
    param_dtype: str = "float32"  # of the weights that are trained
    reference: str = "live"  # "live" | "cached" (a sweep first, whose time counts)
    lora_rank: int = 0  # 0 = all weights are trained
    threads: int = 2
    warmup: int = 1  # steps that are not counted
    steps: int = 0  # counted; 0 = one epoch
    seed: int = 0
    learning_rate: float = 1e-5
    # llumi_jax
    row_length: int = 1024  # TRL packs SFT to the same length
    batch_rows: int = 4
    micro_rows: int = 2
    remat: str = "attention"
    attention: str = "auto"
    # TRL and Tunix
    batch: int = 8  # pairs (SFT: replies, or packed rows) of one forward pass
    accumulate: int = 1
    grouped: bool = False  # batches of like lengths
    checkpointing: bool = False
    packing: bool = False  # SFT

    @property
    def name(self) -> str:
        """What distinguishes the job from others of its system, for people."""
        parts = [self.dtype, self.reference if self.objective == "dpo" else "", "LoRA" if self.lora_rank else ""]
        if self.system == "llumi_jax":
            parts += [f"{self.micro_rows} x {self.row_length}"]
        else:
            parts += [f"{self.batch} x {self.accumulate}" if self.accumulate > 1 else f"{self.batch}"]
            parts += ["grouped" * self.grouped, "checkpointing" * self.checkpointing, "packed" * self.packing]
        return " ".join(part for part in parts if part)

    def key(self) -> str:
        """Equal for jobs that measure the same thing, wherever their files lie."""
        values = dataclasses.asdict(self)
        for path in ("pairs", "model"):
            values[path] = Path(values[path]).name
        return json.dumps(values, sort_keys=True)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> "Job":
        return cls(**json.loads(path.read_text()))


def read_pairs(job: Job) -> list[dict[str, list[int]]]:
    return json.loads(Path(job.pairs).read_text())


def read_sizes(job: Job) -> dict[str, Any]:
    """The model's config.json."""
    return json.loads((Path(job.model) / "config.json").read_text())


def has_weights(job: Job) -> bool:
    return any(Path(job.model).glob("*.safetensors"))
