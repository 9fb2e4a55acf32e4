"""The long run's figures: from known numbers, and from a short run of a tiny decoder."""

import json

import numpy as np
import pytest

from benchmarks import steady
from llumi_jax.cli import UserError

_MB = 1_000_000


def test_growth_of_memory_that_climbs_by_a_known_amount():
    climbing = [(100 + 0.5 * step) * _MB for step in range(200)]
    found = steady.growth(climbing)
    assert (found["growth_mb_per_1000_steps"], found["growth_standard_error"]) == (500, 0)
    # Medians of 100 + step / 2 over steps 40 to 59 and 180 to 199.
    assert (found["rss_early_mb"], found["rss_late_mb"], found["rss_most_mb"]) == (124.8, 194.8, 199.5)
    assert len(found["rss_mb_by_twentieth"]) == 20 and found["rss_mb_by_twentieth"][0] == 102.2


def test_the_slope_of_memory_and_its_error_are_those_of_least_squares():
    values = np.random.default_rng(0).normal(300, 5, size=20)
    found = steady.growth(np.repeat(values, 100) * _MB)  # 2,000 steps
    x, y = np.arange(10) - 4.5, values[10:]
    slope = (x @ y) / (x @ x)
    error = np.sqrt(np.sum((y - y.mean() - slope * x) ** 2) / 8 / (x @ x))
    assert found["growth_mb_per_1000_steps"] == pytest.approx(10 * slope, abs=0.01)
    assert found["growth_standard_error"] == pytest.approx(10 * error, abs=0.01)


def test_growth_does_not_take_a_warm_up_or_a_lone_peak_for_growth():
    warm = np.full(200, 300.0 * _MB)
    warm[:40] = np.linspace(100, 300, 40) * _MB
    warm[60] = 900 * _MB
    found = steady.growth(warm)
    assert found["growth_mb_per_1000_steps"] == pytest.approx(0, abs=1e-6)
    assert (found["rss_early_mb"], found["rss_late_mb"], found["rss_most_mb"]) == (300, 300, 900)


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
    assert found["rss_most_mb"] >= max(found["rss_mb_by_twentieth"]) > 100
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "step is rows: 8 of 256 tokens" in (text := steady.markdown(found))
    assert "| programs compiled after the first step | 0 |\n| waiting for data |" in text
    assert "time inside next() of the input" in capsys.readouterr().out
