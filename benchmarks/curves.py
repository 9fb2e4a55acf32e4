"""What one training run of the learning curves is asked to do. The standard library alone, as `benchmarks.jobs`."""

import dataclasses
import json
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class CurveJob:
    """One run of one system: the same pairs in the same order from the same adapter, step by step."""

    system: str  # "llumi_jax" | "trl"
    data: str  # file: {"train": pairs, "test": pairs}
    model: str  # Hugging Face folder of the base, float32
    adapter: str  # PEFT folder of the adapter that the run starts from
    seed: int
    order: tuple[tuple[int, ...], ...]  # the pairs of each step, as indices into "train"
    learning_rate: float
    warmup_steps: int
    beta: float
    evaluate_every: int
    threads: int
    row_length: int

    @property
    def steps(self) -> int:
        return len(self.order)

    @property
    def batch(self) -> int:
        return len(self.order[0])

    def pairs(self, split: str) -> list[dict[str, list[int]]]:
        return json.loads(Path(self.data).read_text())[split]

    def key(self) -> str:
        """Equal for runs that do the same, wherever their files lie."""
        values = dataclasses.asdict(self)
        for path in ("data", "model", "adapter"):
            values[path] = Path(values[path]).name
        return json.dumps(values, sort_keys=True)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def read(cls, path: Path) -> "CurveJob":
        values: dict[str, Any] = json.loads(path.read_text())
        return cls(**{**values, "order": tuple(map(tuple, values["order"]))})
