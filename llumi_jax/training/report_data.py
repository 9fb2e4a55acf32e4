"""Reads a work directory for its report, whatever state a run left it in."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from llumi_jax.safety import banner
from llumi_jax.training import metrics


@dataclasses.dataclass(frozen=True)
class StageRecord:
    """What one stage has left behind so far; every part may still be empty."""

    name: str
    role: str
    objective: str
    lines: list[dict[str, Any]]  # metrics.jsonl
    samples: list[dict[str, str]]
    evaluation: dict[str, Any] | None  # of `evaluation.preference.summarize`, None without pairs
    finished: bool
    seconds: float | None
    best: dict[str, Any]  # {"step", "by", "value"} of the step that is the result; empty where it is the last one
    compiled: dict[str, Any]  # time and memory of the compiled step
    replies: list[dict[str, Any]]  # while it trained, of `metrics.read_replies`

    @property
    def steps(self) -> int:
        return self.lines[-1]["step"] if self.lines else 0

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """Steps and values of one metric, NaN where it is null; empty when it was never logged."""
        rows = [(line["step"], line[key]) for line in self.lines if key in line]
        return [step for step, _ in rows], [_number(value) for _, value in rows]

    @property
    def data_wait(self) -> float | None:
        """Mean share of time inside the input, the first step (which opens it) left out; None when never logged."""
        known = [value for value in self.series("data_wait")[1][1:] if math.isfinite(value)]
        return fmean(known) if known else None


@dataclasses.dataclass(frozen=True)
class Run:
    """A work directory as the report sees it."""

    name: str
    config: dict[str, Any]  # empty when config.json is absent or unreadable
    stages: list[StageRecord]

    @property
    def parameters(self) -> int | None:
        count = self.config.get("parameters")
        return int(count) if isinstance(count, int | float) and count > 0 else None

    @property
    def banner(self) -> str | None:
        """The warning that the run's model carries, if its size is known and calls for one."""
        return None if self.parameters is None else banner.for_parameters(self.parameters)


def read_run(workdir: Path) -> Run:
    """Reads config.json and the stage folders, in the config's order, then any others by the time they began."""
    config = _json_object(workdir / "config.json")
    named = _stage_names(config)
    folders = [path.parent for pattern in ("*/metrics.jsonl", "*/model.json") for path in workdir.glob(pattern)]
    others = sorted({folder for folder in folders if folder.name not in named}, key=_began)
    stages = [_read_stage(workdir / name, config) for name in named] + [_read_stage(path, config) for path in others]
    return Run(workdir.resolve().name, config, stages)


def _stage_names(config: Mapping[str, Any]) -> list[str]:
    stages = config.get("stages") or []
    names = [stage.get("name") if isinstance(stage, Mapping) else stage for stage in stages]
    return [name for name in names if isinstance(name, str) and name and "/" not in name and name not in (".", "..")]


def _read_stage(folder: Path, config: Mapping[str, Any]) -> StageRecord:
    declared = config.get("stage") or {}
    known = dict(declared.get(folder.name) or {}) if isinstance(declared, Mapping) else {}
    known |= _json_object(folder / "model.json")
    done = _json_object(folder / "done.json")
    evaluation = _json_object(folder / "evaluation.json")
    role, _, objective = folder.name.partition("_")
    return StageRecord(
        name=folder.name,
        role=str(known.get("role") or role),
        objective=str(known.get("objective") or objective),
        lines=metrics.read(folder),
        samples=metrics.read_samples(folder),
        evaluation=evaluation if evaluation.get("pairs") and "accuracy" in evaluation else None,
        finished=bool(done or evaluation),
        seconds=done.get("seconds"),
        best=_json_object(folder / "best.json"),
        compiled=_json_object(folder / "compiled.json"),
        replies=metrics.read_replies(folder),
    )


def _began(folder: Path) -> tuple[float, str]:
    lines = metrics.read(folder)
    return (lines[0].get("time", 0.0) if lines else math.inf, folder.name)


def _json_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when the file is absent, half-written or something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
