"""The long run's figures: from known numbers, and from a short run of a tiny decoder."""

import json

import numpy as np
import pytest

from benchmarks import steady
from llumi_jax.cli import UserError

_MB = 1_000_000


def test_growth_of_memory_that_climbs_by_a_known_amount():
    climbing = [(100 + 0.5 * step) * _MB for step in range(200)]
    levels = steady.growth(climbing)["memory"]
    # The first twentieth holds 100, 100.5 ... 104.5: a tenth of the way is 100.45, nine tenths 104.05.
    for name, first in [("low", 100.45), ("high", 104.05)]:
        assert levels[name]["mb_by_twentieth"] == pytest.approx([first + 5 * part for part in range(20)], abs=0.051)
        assert levels[name]["mb_per_1000_steps"] == pytest.approx(500, abs=0.01)
        assert levels[name]["standard_error"] == pytest.approx(0, abs=0.01)


def test_the_slope_of_memory_and_its_error_are_those_of_least_squares():
    values = np.random.default_rng(0).normal(300, 5, size=20)
    x, y = np.arange(16) - 7.5, values[4:]
    slope = (x @ y) / (x @ x)
    error = np.sqrt(np.sum((y - y.mean() - slope * x) ** 2) / 14 / (x @ x))
    for level in steady.growth(np.repeat(values, 100) * _MB)["memory"].values():  # 2,000 steps
        assert level["mb_per_1000_steps"] == pytest.approx(10 * slope, abs=0.01)
        assert level["standard_error"] == pytest.approx(10 * error, abs=0.01)


def test_readings_that_see_a_step_more_often_are_no_growth_and_a_level_that_climbs_is():
    rng = np.random.default_rng(0)
    share = np.linspace(0.15, 0.85, 2000)  # of readings that fall into a step, which holds 260 MB
    inside = rng.random(2000) < share
    flat = (1250 + 260 * inside + rng.normal(0, 1, 2000)) * _MB
    low, high = (steady.growth(flat)["memory"][name] for name in ("low", "high"))
    assert abs(low["mb_per_1000_steps"]) < 3 and abs(high["mb_per_1000_steps"]) < 3
    for leaking in (20e-3 * np.arange(2000) * _MB, 20e-3 * np.arange(2000) * _MB * inside):  # all, or in steps alone
        found = steady.growth(flat + leaking)["memory"]
        assert found["high"]["mb_per_1000_steps"] == pytest.approx(20, abs=3)


def test_growth_does_not_take_a_warm_up_or_a_lone_peak_for_growth():
    warm = np.full(2000, 300.0 * _MB)
    warm[:400] = np.linspace(100, 300, 400) * _MB
    warm[600] = 900 * _MB
    for level in steady.growth(warm)["memory"].values():
        assert level["mb_per_1000_steps"] == pytest.approx(0, abs=1e-6)


def test_waiting_is_a_share_of_the_time_and_not_of_the_steps():
    # 600 tokens a step: three seconds and one.
    lines = [{"tokens_per_second": 200.0, "data_wait": 0.1}, {"tokens_per_second": 600.0, "data_wait": 0.5}]
    assert steady.waiting(lines) == pytest.approx((3 * 0.1 + 1 * 0.5) / 4)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--steps 19", "--steps 19: at least 20"),
        ("--pairs 0", "--pairs 0: at least 1"),
        ("--size 7b", "--size"),
        ("--batch_rows 3 --size tiny", "config.batch_rows=3 must be a multiple of 8"),  # tests run on 8 devices
    ],
)
def test_a_flag_that_cannot_be_is_refused_by_name(flags, said):
    with pytest.raises(UserError, match=said):
        steady.main(flags.split())


def test_a_short_run_writes_its_figures_and_a_chart(tmp_path, capsys):
    out = tmp_path / "new" / "steady.json"
    flags = "--size tiny --steps 20 --batch_rows 8 --row_length 256 --pairs 64"
    assert steady.main([*flags.split(), "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["steps"] == 20 and found["recompiles"] == 0 and found["method"] == steady.METHOD
    first, last = map(float, found["loss"].split(" -> "))
    assert first == pytest.approx(np.log(2), abs=1e-4) and last != first
    assert 0 <= found["data_wait"] <= 1 and found["data_wait"] == found["data_wait_first_500"]
    low, high = (found["memory"][name]["mb_by_twentieth"] for name in ("low", "high"))
    assert len(low) == 20 and all(100 < a <= b for a, b in zip(low, high, strict=True))
    readings = np.loadtxt(out.with_suffix(".csv"), delimiter=",", skiprows=1)
    assert readings.shape == (20, 2) and readings[0, 1] == pytest.approx(low[0] * _MB, abs=0.05 * _MB)
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "step is rows: 8 of 256 tokens" in (text := steady.markdown(found))
    assert "| programs compiled after the first step | 0 |\n| waiting for data |" in text
    assert "time inside next() of the input" in capsys.readouterr().out
