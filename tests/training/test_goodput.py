"""Where the time of a run went, by a clock that is moved by hand."""

import pytest

from llumi_jax.storage import files
from llumi_jax.training.goodput import FILE, Goodput


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_parts_within_parts_are_taken_out_and_starts_add_up(tmp_path):
    clock = Clock()
    first = Goodput(tmp_path, 90.0, clock, lambda: clock.now)
    first.loaded()  # ten seconds before the first look
    with first.part("steps"):
        clock.now += 50
        with first.part("saving"):
            clock.now += 20
        clock.now += 10
    clock.now += 10
    assert first.line().startswith("Goodput: 60% of 1:40 in steps; loading 0:10, compiling 0:00")
    assert first.line().endswith("saving 0:20, evaluation 0:00, other 0:10")
    first.write(ended=True)
    second = Goodput(tmp_path, None, clock, lambda: clock.now)
    clock.now += 100
    assert second.line().endswith("All 2 starts: 30% of 3:20")


def test_a_killed_start_is_known_to_the_last_line_of_its_log(tmp_path):
    clock = Clock()
    killed = Goodput(tmp_path, None, clock, lambda: clock.now)
    killed.write()
    (tmp_path / "gm_sft").mkdir()
    log = tmp_path / "gm_sft" / "metrics.jsonl"
    log.touch()
    lived = log.stat().st_mtime - 100.0
    Goodput(tmp_path, None, clock, lambda: clock.now).write()
    found = files.read_json(tmp_path / FILE)
    assert len(found) == 2 and found[0]["wall"] == pytest.approx(lived, abs=0.01) and found[0]["ended"]


def test_waiting_for_input_is_a_part_of_its_own():
    clock = Clock()
    goodput = Goodput(None, None, clock)

    def stream():
        for item in range(3):
            clock.now += 2
            yield item

    with goodput.part("steps"):
        for _ in goodput.waiting(stream()):
            clock.now += 5
    assert "71% of 0:21 in steps" in goodput.line() and "input 0:06" in goodput.line()
