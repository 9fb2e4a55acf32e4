"""The log of a stage survives kills and resumes; TensorBoard's own reader sees the same numbers."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from llumi_jax.training import metrics


def scalars(folder, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_steps_come_back_as_written(tmp_path):
    with metrics.MetricWriter(tmp_path, 0) as writer:
        writer.write(1, {"loss": 0.75, "reward_margin": np.float32(0.5)})
        writer.write(2, {"loss": np.asarray(0.5)})
    first, second = metrics.read(tmp_path)
    assert {k: v for k, v in first.items() if k != "time"} == {"step": 1, "loss": 0.75, "reward_margin": 0.5}
    assert second["loss"] == 0.5 and second["time"] >= first["time"] > 1e9
    assert scalars(tmp_path, "loss") == [(1, 0.75), (2, 0.5)]
    assert scalars(tmp_path, "reward_margin") == [(1, 0.5)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_null(tmp_path, value):
    with metrics.MetricWriter(tmp_path, 0) as writer:
        writer.write(1, {"loss": value})
    line = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(line, parse_constant=pytest.fail)["loss"] is None


def test_resume_drops_the_steps_that_the_checkpoint_does_not_hold(tmp_path):
    with metrics.MetricWriter(tmp_path, 0) as writer:
        for step in range(1, 8):
            writer.write(step, {"loss": float(step)})
    with metrics.MetricWriter(tmp_path, 4) as writer:
        assert [row["step"] for row in metrics.read(tmp_path)] == [1, 2, 3, 4]
        writer.write(5, {"loss": 50.0})
        writer.write(6, {"loss": 60.0})
    assert [(row["step"], row["loss"]) for row in metrics.read(tmp_path)] == [
        (1, 1), (2, 2), (3, 3), (4, 4), (5, 50), (6, 60)
    ]  # fmt: skip
    assert scalars(tmp_path, "loss") == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 50), (6, 60)]


def test_a_fresh_start_forgets_all(tmp_path):
    with metrics.MetricWriter(tmp_path, 0) as writer:
        writer.write(1, {"loss": 1.0})
    with metrics.MetricWriter(tmp_path, 0) as writer:
        assert metrics.read(tmp_path) == []
        writer.write(1, {"loss": 2.0})
    assert scalars(tmp_path, "loss") == [(1, 2.0)]


@pytest.mark.parametrize("torn", ['{"step": 3, "lo', '{"step": 3, "loss": 1}', '{"step": 3, "loss": "\xff', "\x00\x00"])
def test_a_line_that_was_cut_off_is_mended(tmp_path, torn):
    whole = '{"step": 1, "time": 1.0, "loss": 2.0}\n{"step": 2, "time": 2.0, "loss": 1.0}\n'
    (tmp_path / "metrics.jsonl").write_bytes(whole.encode() + torn.encode("latin-1"))
    assert [row["step"] for row in metrics.read(tmp_path)][:2] == [1, 2]
    with metrics.MetricWriter(tmp_path, 2) as writer:
        writer.write(3, {"loss": 0.5})
    assert [(row["step"], row["loss"]) for row in metrics.read(tmp_path)] == [(1, 2.0), (2, 1.0), (3, 0.5)]
    assert (tmp_path / "metrics.jsonl").read_text().startswith(whole)


def test_a_whole_last_line_without_its_newline_keeps_its_own_line(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}')
    with metrics.MetricWriter(tmp_path, 1) as writer:
        writer.write(2, {"loss": 1.0})
    assert [row["step"] for row in metrics.read(tmp_path)] == [1, 2]


def test_what_was_written_outlives_a_kill(tmp_path):
    code = """
        import os, signal, sys
        from llumi_jax.training.metrics import MetricWriter
        writer = MetricWriter(sys.argv[1], 0)
        for step in range(1, 6):
            writer.write(step, {"loss": float(step)})
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], cwd=os.getcwd())
    assert done.returncode == -signal.SIGKILL
    assert [row["step"] for row in metrics.read(tmp_path)] == [1, 2, 3, 4, 5]
    assert len(scalars(tmp_path, "loss")) == 5


def test_writing_loads_no_tensorflow(tmp_path):
    code = """
        import sys
        from llumi_jax.training.metrics import MetricWriter
        with MetricWriter(sys.argv[1], 0) as writer:
            writer.write(1, {"loss": 1.0})
        sys.exit("tensorflow" in sys.modules or "jax" in sys.modules)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]).returncode == 0


def test_nothing_logged_yet(tmp_path):
    assert metrics.read(tmp_path / "absent") == [] and metrics.read_samples(tmp_path / "absent") == []


def test_samples_come_back_whole_and_replace_the_old_ones(tmp_path):
    row = {"id": "a", "title": "T\u2028", "body": "line\nline \ud83d", "draft": "", "before": "", "after": "ünï 💚"}
    metrics.write_samples(tmp_path, [row, row])
    metrics.write_samples(tmp_path, [row])
    assert metrics.read_samples(tmp_path) == [row]
    assert [path.name for path in tmp_path.iterdir()] == ["samples.jsonl"]
