"""The report of a run: whole, safe whatever the texts hold, and useful while the run is still under way."""

import html
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from llumi_jax.evaluation import preference
from llumi_jax.training import metrics, report, report_plots
from llumi_jax.training.report_data import read_run

_VOID = {"meta", "br", "use"}
_HOSTILE = (
    "</pre></div><script>alert(1)</script><img src=x onerror=alert(2)> & \"quotes\" 'single' \x1b[31m \u202e \ud83d"
)


class Page(HTMLParser):
    """Checks that every element is closed in order, and keeps what tests look at."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in _VOID:
            assert self.open and self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        self.words.append(data)


def evaluation(gain: float = 5.0, pairs: int = 30) -> dict:
    rng = np.random.default_rng(1)
    chosen, rejected = -rng.uniform(50, 150, pairs), -rng.uniform(50, 150, pairs)
    held = preference.HeldOut(
        pair_id=np.arange(pairs), thread_id=np.arange(pairs) // 2, community=["c"] * pairs,
        probability=np.full(pairs, 0.8), weight=np.ones(pairs), chosen_tokens=rng.integers(9, 80, pairs),
        rejected_tokens=rng.integers(9, 80, pairs), before_chosen=chosen, before_rejected=rejected,
        after_chosen=chosen + gain, after_rejected=rejected - gain,
    )  # fmt: skip
    return preference.summarize(held, beta=0.1)


def log(folder, steps: int, dpo: bool) -> None:
    with metrics.MetricWriter(folder) as writer:
        for step in range(1, steps + 1):
            values = {"loss": 1 / step, "learning_rate": 1e-4, "grad_norm": 1.0 + step % 3, "tokens_per_second": 900.0}
            writer.write(step, values | ({"reward_margin": step / 10, "reward_accuracy": 0.7} if dpo else {}))


@pytest.fixture
def workdir(tmp_path):
    config = {"base": "pypi:x==1", "parameters": 134_515_008, "stages": ["gm_sft", "gm_dpo", "im_sft", "im_dpo"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name in ("gm_sft", "gm_dpo", "im_sft"):
        log(tmp_path / name, 40, dpo="dpo" in name)
    (tmp_path / "gm_dpo" / "evaluation.json").write_text(json.dumps(evaluation()))
    (tmp_path / "gm_dpo" / "done.json").write_text(json.dumps({"seconds": 75.2}))
    sample = {"id": "a", "title": "Nights", "body": "Cannot sleep.", "draft": ""}
    metrics.write_samples(tmp_path / "gm_sft", [sample | {"before": "You should sleep.", "after": "You could rest."}])
    metrics.write_samples(tmp_path / "gm_dpo", [sample | {"before": "You could rest.", "after": "That sounds hard."}])
    return tmp_path


def test_a_run_under_way_shows_what_is_there(workdir):
    path = report.write_report(workdir)
    assert path == workdir / "report.html"
    text = path.read_text()
    page = Page(text)
    words = " ".join(" ".join(page.words).split())
    for name in ("gm_sft", "gm_dpo", "im_sft", "im_dpo"):
        assert name in words
    assert words.index("gm_sft") < words.index("gm_dpo") < words.index("im_sft") < words.index("im_dpo")
    assert words.count("finished") == 1 + words.count("not finished") and "not begun" in words and "1:15" in words
    # im_dpo has no curve; reward curves are of gm_dpo alone.
    assert page.tags.count("svg") == 4 + 6 + 4 + 1
    assert "135 million parameters" in words
    found = evaluation()["accuracy"]["mean_logp"]
    assert f"{100 * found['after']['value']:.1f} %" in words
    # One post, its replies stage by stage.
    assert words.count("Cannot sleep.") == 1 and words.index("After gm_sft") < words.index("After gm_dpo")
    assert len(page.ids) == len(set(page.ids))


def test_the_page_needs_no_network_and_no_script(workdir):
    text = report.write_report(workdir).read_text()
    assert not re.search(r"https?:|//cdn|@import", text)
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(page.tags)
    references = [value for name, value in page.attributes if name in ("href", "xlink:href", "src")]
    assert all(value.startswith("#") and value[1:] in page.ids for value in references)
    for name in re.findall(r"url\(#([^)]*)\)", text):
        assert name in page.ids
    assert not re.search("#0[1-6]0[1-6]0[1-6]", text)  # every colour is the page's
    assert "prefers-color-scheme: dark" in text and "width=device-width" in text


def test_texts_are_shown_not_obeyed(workdir):
    plain_tags = Page(report.write_report(workdir).read_text()).tags
    row = {key: _HOSTILE for key in ("id", "title", "body", "draft", "before", "after")}
    metrics.write_samples(workdir / "gm_dpo", [row, row | {"after": _HOSTILE + " more", "draft": None, "title": 3}])
    config = json.loads((workdir / "config.json").read_text())
    (workdir / "config.json").write_text(json.dumps(config | {"base": _HOSTILE, _HOSTILE: _HOSTILE}))
    text = report.write_report(workdir).read_text()
    page = Page(text)
    assert set(page.tags) <= {*plain_tags, "ins", "del"}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in "".join(page.words)
    assert html.escape("<script>alert(1)</script>") in text
    assert not re.search("[\x1b\u202e\ud83d]", text)


@pytest.mark.parametrize(
    "parameters, shown", [(134e6, True), (999_999_999, True), (1_000_000_000, False), (None, False)]
)
def test_small_models_carry_the_banner(tmp_path, parameters, shown):
    (tmp_path / "config.json").write_text(json.dumps({"parameters": parameters, "stages": []}))
    text = report.write_report(tmp_path).read_text()
    assert ("Demonstration model: do not use with people in distress" in text) is shown


def test_an_empty_work_directory_has_a_report(tmp_path):
    assert "No stage has begun yet" in " ".join(Page(report.write_report(tmp_path).read_text()).words)


def test_without_a_config_the_folders_speak(workdir):
    (workdir / "config.json").write_text('{"stages": [')
    (workdir / "im_sft" / "model.json").write_text(json.dumps({"role": "im", "objective": "sft"}))
    run = read_run(workdir)
    assert [stage.name for stage in run.stages] == ["gm_sft", "gm_dpo", "im_sft"]  # by the time they began
    assert [stage.role for stage in run.stages] == ["gm", "gm", "im"] and run.config == {}


def test_a_config_names_no_folder_outside(workdir):
    (workdir / "config.json").write_text(json.dumps({"stages": ["../other", "..", 7, {"name": "gm_dpo"}]}))
    assert [stage.name for stage in read_run(workdir).stages] == ["gm_dpo", "gm_sft", "im_sft"]


def test_an_evaluation_without_pairs_is_left_out(workdir):
    (workdir / "gm_sft" / "evaluation.json").write_text(json.dumps({"pairs": 0}))
    (workdir / "im_sft" / "evaluation.json").write_text("{")
    stages = {stage.name: stage for stage in read_run(workdir).stages}
    assert stages["gm_sft"].evaluation is None and stages["im_sft"].evaluation is None
    Page(report.write_report(workdir).read_text())


def test_an_evaluation_of_one_post_has_no_interval(workdir):
    (workdir / "gm_dpo" / "evaluation.json").write_text(json.dumps(evaluation(pairs=2)))
    Page(report.write_report(workdir).read_text())


def test_nulls_and_single_steps_are_drawn(workdir):
    for values in ([math.nan], [0.5], [0.5, math.nan, 0.25]):
        with metrics.MetricWriter(workdir / "gm_sft") as writer:
            for step, value in enumerate(values, 1):
                writer.write(step, {"loss": value, "grad_norm": 1.0})
        Page(report.write_report(workdir).read_text())


def test_waiting_for_data_is_shown_without_the_step_that_opened_the_input(workdir):
    with metrics.MetricWriter(workdir / "gm_sft") as writer:
        for step, share in enumerate([0.9, 0.01, 0.02, math.nan], 1):
            writer.write(step, {"loss": 1.0, "data_wait": share})
    words = " ".join(" ".join(Page(report.write_report(workdir).read_text()).words).split())
    assert words.count("Waiting for data 1.5 %") == 1


def test_looks_while_training_are_shown(workdir):
    folder = workdir / "gm_dpo"
    with metrics.MetricWriter(folder) as writer:
        for step in range(1, 41):
            held_out = {"held_out_loss": 0.5 + step / 100, "held_out_accuracy": 0.61} if step % 10 == 0 else {}
            writer.write(step, {"loss": 0.5, **held_out})
    (folder / "best.json").write_text(json.dumps({"step": 10, "by": "held_out_loss", "value": 0.6}))
    (folder / "compiled.json").write_text(json.dumps({"seconds": 65.0, "total_bytes": 3 << 30}))
    post = {"id": "x", "title": _HOSTILE, "body": "", "draft": ""}
    metrics.write_replies(folder, 10, [{**post, "reply": "Rest a little."}])
    metrics.write_replies(folder, 20, [{**post, "reply": _HOSTILE}])
    text = report.write_report(workdir).read_text()
    page = Page(text)
    words = " ".join(" ".join(page.words).split())
    assert "Result step 10, best by held out loss" in words and "Compiling 1:05" in words
    assert "Memory of a device 3.0 GiB" in words
    assert "Held-out loss 0.9" in words and "Held-out accuracy, implicit reward 61.0 %" in words
    assert "Replies while training" in words and "step 10 Rest a little. step 20" in words
    assert "script" not in page.tags and html.escape("<script>alert(1)</script>") in text


def test_a_long_curve_stays_small_and_keeps_its_mean():
    y = np.random.default_rng(0).normal(size=100_000)
    y[::7] = np.nan
    x, means = report_plots._thinned(np.arange(1.0, 100_001), y)
    assert len(x) == 400 and x[-1] == 100_000
    assert means[0] == pytest.approx(np.nanmean(y[:250])) and means[-1] == pytest.approx(np.nanmean(y[-250:]))
    assert len(report_plots.curve(np.arange(1, 100_001), y, "d")) < 60_000


def test_smoothing_starts_unbiased_and_skips_gaps():
    y = np.array([2.0] * 20 + [math.nan] + [2.0] * 20)
    smooth = report_plots._smoothed(y)
    assert np.isnan(smooth[20]) and np.nanmax(np.abs(smooth - 2)) < 1e-12


def test_accuracy_axis_holds_every_number():
    for found in (evaluation(), evaluation(gain=-40), evaluation(gain=80)):
        low, high = report_plots.accuracy_limits([found])
        ends = [found["accuracy"][key][when] for key in ("mean_logp", "sum_logp") for when in ("before", "after")]
        values = [block[end] for block in ends for end in ("value", "low", "high")] + [found["ceiling"], 0.5]
        assert low < min(values) and max(values) < high
