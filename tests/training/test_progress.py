"""The progress line in a log and on a terminal, and the tables at the end of a run."""

import io
import re

import numpy as np
import pytest
from rich.console import Console

from llumi_jax.evaluation import preference
from llumi_jax.safety.banner import TEXT
from llumi_jax.training import progress
from llumi_jax.training.report_text import duration, plain, word_differences


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


VALUES = {
    "loss": 0.65234, "reward_margin": 0.1234, "reward_accuracy": 0.714,
    "pairs_per_second": 2.41, "tokens_per_second": 1234.5,
}  # fmt: skip


def log_console(width: int = 80) -> Console:
    return Console(file=io.StringIO(), width=width)


def terminal_console(width: int = 80) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, _environ={"TERM": "xterm"})


def run(console: Console, steps: int, total: int, start: int = 0, seconds: float = 4.0, first: float = 30.0) -> str:
    clock = Clock()
    with progress.Progress("gm_dpo", total, start, console=console, clock=clock) as shown:
        for step in range(start + 1, start + steps + 1):
            clock.now += first if step == start + 1 else seconds
            shown.update(step, VALUES)
    return console.file.getvalue()


def test_a_log_gets_a_line_about_every_ten_seconds_and_one_at_the_end():
    lines = run(log_console(200), 10, 10).splitlines()
    # Steps end at 30, 34, ..., 66 seconds.
    assert [re.search(r"step (\d+)/10", line).group(1) for line in lines] == ["1", "4", "7", "10"]
    assert lines[1] == (
        "gm_dpo: step 4/10 (40%), ETA 0:24, loss 0.652, margin +0.12, acc 71%, 2.4 pairs/s, 1,234 tok/s"
    )
    assert "done after 1:06" in lines[-1]


def test_compilation_does_not_count_into_the_eta():
    clock = Clock()
    shown = progress.Progress("s", 100, 40, console=log_console(), clock=clock)
    assert shown.eta() is None
    for step, seconds in ((41, 300), (42, 2), (43, 2)):
        clock.now += seconds
        shown.update(step)
    assert shown.eta() == pytest.approx(57 * 2)


def test_a_run_that_stops_early_says_where():
    with pytest.raises(RuntimeError):
        with progress.Progress("reference", 8, unit="row", console=(console := log_console())) as shown:
            shown.update(3)
            raise RuntimeError
    assert console.file.getvalue().startswith("reference: row 3/8 (38%), stopped after 0:00")


@pytest.mark.parametrize("console", [log_console, terminal_console])
def test_a_stage_that_ends_early_is_done(console):
    with progress.Progress("gm_dpo", 10, console=(made := console(120))) as shown:
        shown.update(4)
        shown.end_here()
    assert "4/4" in made.file.getvalue() and "stopped" not in made.file.getvalue()


def test_nothing_to_do_is_no_error():
    assert "step 0/0" in run(log_console(), 0, 0)


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_terminal_gets_one_line_that_fits(width):
    lines = run(terminal_console(width), 6, 10, start=2).replace("\r", "\n").splitlines()
    clean = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in lines]
    shown = [line for line in clean if "8/10" in line]
    assert shown and all(len(line) <= width for line in clean)
    if width >= 80:
        assert "loss 0.652" in shown[-1] and "margin +0.12" in shown[-1] and "…" not in shown[-1]
    if width >= 120:
        assert "1,234 tok/s" in shown[-1]


def evaluation() -> dict:
    rng = np.random.default_rng(0)
    scores = {
        f"{when}_{side}": -rng.uniform(10, 90, 62) for when in ("before", "after") for side in ("chosen", "rejected")
    }
    return preference.summarize(
        preference.HeldOut(
            pair_id=np.arange(62).astype(str), thread_id=rng.integers(36, size=62).astype(str), community=["c"] * 62,
            probability=np.full(62, 0.8), weight=np.ones(62), chosen_tokens=rng.integers(5, 90, 62),
            rejected_tokens=rng.integers(5, 90, 62), **scores,
        ),
        beta=0.1,
    )  # fmt: skip


def summary() -> dict:
    stage = dict(steps=120, seconds=95.0, loss_first=0.6931, loss_last=0.6012)
    text = "Thank you for telling us. [bold]This[/bold] sounds hard. " * 4
    sample = dict(role="im", title="Nights are long", body="I cannot sleep. " * 40, draft="Just sleep.")
    return {
        "stages": [
            dict(stage, name="gm_sft", role="gm", objective="sft", evaluation=None),
            dict(stage, name="gm_dpo", role="gm", objective="dpo", evaluation=evaluation()),
            dict(stage, name="im_dpo", role="im", objective="dpo", evaluation=evaluation(), loss_last=None),
        ],
        "samples": [
            dict(sample, before=text, after=text.replace("hard", "heavy") + "\x1b[2J\u202e"),
            dict(sample, before="", after=text),
        ],
        "report": "/tmp/w/report.html",
        "next": ["python -m llumi_jax.generate " + " --flag value" * 9],
    }


def test_summary_fits_into_80_columns_and_says_what_must_be_said():
    console = log_console(80)
    progress.print_summary(given := summary(), console)
    printed = console.file.getvalue()
    commands = given["next"]
    assert all(len(line) <= 80 for line in printed.splitlines() if line.strip() not in commands)
    assert commands[0] in printed and "/tmp/w/report.html" in printed
    found = given["stages"][1]["evaluation"]
    for word in (
        "gm_sft",
        "gm_dpo",
        "im_dpo",
        "62 pairs",
        f"{found['threads']} posts",
        "1:35",
        "0.693",
        "0.601",
        "(empty)",
    ):
        assert word in printed
    of = found["accuracy"]["mean_logp"]
    difference = of["difference"]
    assert f"{100 * of['before']['value']:.1f} %" in printed
    change = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * difference[key] for key in ("value", "low", "high")))
    assert change in printed
    assert "[bold]This[/bold]" in printed  # shown as it is, not obeyed
    assert "\x1b" not in printed and "\u202e" not in printed


@pytest.mark.parametrize(("parameters", "times"), [(134e6, 1), (1_000_000_000, 0), (None, 0)])
def test_the_banner_of_a_small_model_stands_above_its_samples(parameters, times):
    console = log_console()
    progress.print_summary({**summary(), "parameters": parameters}, console)
    printed = console.file.getvalue()
    assert printed.count(TEXT) == times and TEXT not in printed.split("Sample, im")[-1]


def test_summary_survives_an_ascii_log_and_stages_without_pairs():
    class Ascii(io.StringIO):
        encoding = "ascii"

    console = Console(file=Ascii(), width=80)
    empty = dict(summary(), samples=[])
    empty["stages"][1]["evaluation"] = {"pairs": 0}
    progress.print_summary(empty, console)
    assert "im_dpo" in console.file.getvalue()


def test_word_differences_join_to_the_texts():
    before, after = "It is hard, I know.", "It is really hard. I hear you."
    left, right = word_differences(before, after)
    assert "".join(piece for piece, _ in left) == before and "".join(piece for piece, _ in right) == after
    assert [piece for piece, changed in right if changed] == ["really", ".", "hear you"]
    assert [piece for piece, changed in left if changed] == [",", "know"]
    assert word_differences("a b", "x y") == ([("a b", False)], [("x y", False)])


def test_plain_leaves_text_and_takes_controls():
    assert plain("a\x1b[31mb\r\nc\td\u202e\x00\ud83d é💚") == "a[31mb\nc\td\ufffd é💚"


@pytest.mark.parametrize("seconds, text", [(0.4, "0:00"), (59.6, "1:00"), (245, "4:05"), (3723, "1:02:03")])
def test_duration(seconds, text):
    assert duration(seconds) == text
