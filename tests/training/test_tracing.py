"""The profiler looks at the steps that were asked for."""

import jax
import jax.numpy as jnp
import pytest

from llumi_jax.cli import UserError
from llumi_jax.training import options
from llumi_jax.training.tracing import Trace


@pytest.fixture
def calls(monkeypatch):
    made = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: made.append(("start", folder.name)))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: made.append(("stop",)))
    return made


def run(trace: Trace, calls: list, first: int, last: int) -> None:
    with trace:
        for step in range(first, last + 1):
            with trace.before(step):
                calls.append(step)
            if trace.edge(step):
                calls.append("waited")
            trace.after(step)


@pytest.mark.parametrize(
    ("steps", "first", "last", "expected"),
    [
        ((2, 3), 1, 5, [1, "waited", ("start", "profile"), 2, 3, "waited", ("stop",), 4, 5]),
        ((1, 1), 1, 2, [("start", "profile"), 1, "waited", ("stop",), 2]),
        ((2, 9), 4, 5, [("start", "profile"), 4, 5, ("stop",)]),  # a run that goes on, and ends within
        ((8, 9), 1, 2, [1, 2]),
        (None, 1, 2, [1, 2]),
    ],
)
def test_steps_of_a_trace(tmp_path, calls, steps, first, last, expected):
    trace = Trace(tmp_path, steps)
    run(trace, calls, first, last)
    assert calls == expected
    assert trace.missed == (steps == (8, 9))


def test_a_trace_is_closed_when_a_step_breaks(tmp_path, calls):
    with pytest.raises(RuntimeError), Trace(tmp_path, (1, 5)) as trace, trace.before(1):
        raise RuntimeError
    assert calls == [("start", "profile"), ("stop",)]


def test_a_real_trace_holds_its_steps(tmp_path):
    work = jax.jit(lambda x: jnp.sin(x @ x).sum())
    x = jnp.ones((64, 64))
    work(x).block_until_ready()
    trace, written = Trace(tmp_path, (2, 3)), []
    with trace:
        for step in (1, 2, 3, 4):
            with trace.before(step):
                work(x).block_until_ready()
            written.append(trace.after(step))
    assert written == [None, None, tmp_path / "profile", None]
    (profile,) = (tmp_path / "profile").rglob("*.xplane.pb")
    assert b"train" in profile.read_bytes()


@pytest.mark.parametrize(("text", "steps"), [("3:5", (3, 5)), ("7", (7, 7)), (" 1:1 ", (1, 1))])
def test_steps_as_they_are_written(text, steps):
    assert options.parse_steps(text) == steps


@pytest.mark.parametrize("text", ["", "0:2", "5:3", "a:b", "3:", "-1", "1:2:3"])
def test_steps_that_are_none(text):
    with pytest.raises(UserError, match="--profile_steps .*such as 10:12"):
        options.parse_steps(text)
