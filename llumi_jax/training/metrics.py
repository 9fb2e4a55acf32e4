"""What a stage leaves behind for people: one JSON object a step, TensorBoard events, and replies before and after."""

import json
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from llumi_jax.storage.files import write_text

_METRICS = "metrics.jsonl"
_SAMPLES = "samples.jsonl"
_REPLIES = "replies_by_step.jsonl"


class Quantity(NamedTuple):
    """How a logged number is named to people: on the progress line (`short`) and in the report (`label`)."""

    key: str
    label: str
    short: str
    form: str  # of format(), for the progress line


# The one list of numbers that progress line and report know; everything else that is logged is kept, but not shown.
QUANTITIES = (
    Quantity("loss", "Loss", "loss {}", ".3f"),
    Quantity("reward_margin", "Reward margin", "margin {}", "+.2f"),
    Quantity("reward_accuracy", "Reward accuracy", "acc {}", ".0%"),
    Quantity("held_out_loss", "Held-out loss", "held-out {}", ".3f"),
    Quantity("held_out_accuracy", "Held-out accuracy, implicit reward", "", ""),
    Quantity("held_out_margin", "Held-out reward margin", "", ""),
    Quantity("held_out_nll", "Held-out nats a token, chosen replies", "", ""),
    Quantity("learning_rate", "Learning rate", "", ""),
    Quantity("grad_norm", "Gradient norm", "", ""),
    Quantity("pairs_per_second", "Pairs per second", "{} pairs/s", ".1f"),
    Quantity("tokens_per_second", "Tokens per second", "{} tok/s", ",.0f"),
    Quantity("mfu", "Model FLOPs utilisation", "mfu {}", ".0%"),
    Quantity("data_wait", "Waiting for data", "wait {}", ".1%"),
)


class MetricWriter:
    """Appends the metrics of a stage to `folder`, from the step after `start_step` on.

    A run that was killed may have logged steps that its last checkpoint does not hold; they come again, so lines past
    `start_step` go before the first new one, and so does a line that was cut off. TensorBoard is told the same.

    Args:
      folder: the stage's folder; made if absent.
      start_step: the step of the restored state, 0 for a fresh start.
    """

    def __init__(self, folder: str | os.PathLike, start_step: int = 0) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        _forget_after(self._folder / _METRICS, start_step)
        self._lines = open(self._folder / _METRICS, "a", encoding="utf-8")
        self._events = _Events(self._folder, start_step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds one step: numbers or scalar arrays by name. What is not finite is written as null."""
        numbers = {name: float(value) for name, value in values.items()}
        now = time.time()
        finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        line = json.dumps({"step": int(step), "time": round(now, 3), **finite}, allow_nan=False)
        self._lines.write(line + "\n")
        self._lines.flush()
        self._events.write(int(step), now, numbers)

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        """Adds texts by name to TensorBoard alone, which shows them as Markdown."""
        self._events.write_texts(int(step), time.time(), texts)

    def close(self) -> None:
        self._lines.close()
        self._events.close()

    def __enter__(self) -> "MetricWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Events:
    """TensorBoard's event file, written without TensorFlow: nothing here touches a device."""

    def __init__(self, folder: Path, start_step: int) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._summary_metadata = summary_pb2.SummaryMetadata
        now = time.time()
        # The time comes first in the name because TensorBoard reads the files of a folder in the order of their names.
        self._file = open(folder / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}", "wb")
        self._records = RecordWriter(self._file)
        self._put(event_pb2.Event(wall_time=now, file_version="brain.Event:2"))
        # TensorBoard drops what earlier files hold at this step and later.
        restart = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._put(event_pb2.Event(wall_time=now, step=start_step + 1, session_log=restart))

    def write(self, step: int, now: float, numbers: Mapping[str, float]) -> None:
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self._put(self._event(wall_time=now, step=step, summary=self._summary(value=values)))

    def write_texts(self, step: int, now: float, texts: Mapping[str, str]) -> None:
        from tensorboard.compat.proto import tensor_pb2, types_pb2

        about = self._summary_metadata(plugin_data=self._summary_metadata.PluginData(plugin_name="text"))
        tensor = lambda text: tensor_pb2.TensorProto(
            dtype=types_pb2.DT_STRING, string_val=[text.encode("utf-8", errors="replace")]
        )
        values = [self._summary.Value(tag=name, metadata=about, tensor=tensor(text)) for name, text in texts.items()]
        self._put(self._event(wall_time=now, step=step, summary=self._summary(value=values)))

    def close(self) -> None:
        self._records.close()

    def _put(self, event: Any) -> None:
        self._records.write(event.SerializeToString())
        self._records.flush()


def read(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """The logged steps of a stage in their order; empty when nothing was logged. A cut-off line is left out."""
    return [value for _, value in _whole_lines(Path(folder) / _METRICS) if isinstance(value.get("step"), int)]


def first_and_last(values: Sequence[float]) -> tuple[float, float] | None:
    """Returns the means of the first and of the last fifth: one row's loss says little. None without values."""
    some = max(1, len(values) // 5)
    return (fmean(values[:some]), fmean(values[-some:])) if values else None


def write_samples(folder: str | os.PathLike, rows: Iterable[Mapping[str, str]]) -> None:
    """Replaces the replies before and after: rows of {"id", "title", "body", "draft", "before", "after"}."""
    # ASCII escapes: a post may hold half a surrogate pair, which UTF-8 cannot carry.
    write_text(Path(folder) / _SAMPLES, "".join(json.dumps(dict(row)) + "\n" for row in rows))


def read_samples(folder: str | os.PathLike) -> list[dict[str, str]]:
    """The rows of `write_samples`; empty when there are none yet."""
    return [row for _, row in _whole_lines(Path(folder) / _SAMPLES)]


def write_replies(folder: str | os.PathLike, step: int, rows: Iterable[Mapping[str, str]]) -> None:
    """Adds the replies of a step, rows of {"id", "title", "body", "draft", "reply"}; those of later steps go.

    A run that was killed comes to this step again, with the same weights.
    """
    kept = [line for line, row in _whole_lines(Path(folder) / _REPLIES) if row.get("step", step) < step]
    new = [json.dumps({"step": int(step), **row}) for row in rows]
    write_text(Path(folder) / _REPLIES, "".join(line + "\n" for line in kept + new))


def read_replies(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """The rows of `write_replies` of all steps, in their order."""
    return [row for _, row in _whole_lines(Path(folder) / _REPLIES) if isinstance(row.get("step"), int)]


def _whole_lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(line, object) of every line of a JSONL file that holds a whole JSON object."""
    found: list[tuple[str, dict[str, Any]]] = []
    if not path.exists():
        return found
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append((line, value))
    return found


def _forget_after(path: Path, last: int) -> None:
    """Leaves whole lines of steps <= `last` in a metrics file, in one replacement."""
    if not path.exists():
        return
    kept = [line for line, value in _whole_lines(path) if isinstance(value.get("step"), int) and value["step"] <= last]
    text = "".join(line + "\n" for line in kept)
    if path.read_bytes() != text.encode():
        write_text(path, text)
