"""Tables, goals, charts and the alternation, from measurements that nobody took."""

import io
import json

import pytest
from rich.console import Console

from benchmarks import alternate, charts, dpo, jobs, measure, sft, tables
from benchmarks.alternate import Results
from benchmarks.jobs import Job
from llumi_jax.cli import RunFailure


def job(system: str, **settings) -> Job:
    return Job(system, settings.pop("objective", "dpo"), "pairs.json", "model", **settings)


def figures(rate: float, memory: float = 1000.0, **more) -> dict:
    made = {"units_per_s": rate, "peak_mb": memory, "device_mb": 0.0, "units_per_step": 8.0, "version": "1.0"}
    return made | {"useful_flops_per_s": 50e9, "matmul_flops_per_s": 100e9, "compile_s": 1.0} | more


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def measured(tmp_path, rates: dict[Job, list[float]], **more) -> Results:
    results = Results(tmp_path / "dpo_machine.json")
    for one, values in rates.items():
        for repeat, rate in enumerate(values):
            results.add(one, repeat, figures(rate, **more), 1.0)
    return results


def test_systems_alternate_and_what_is_known_is_not_measured_again(tmp_path):
    ours, trl = job("llumi_jax"), job("trl")
    asked = []

    def run(one: Job) -> dict:
        asked.append(one.system)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return figures(1.0)

    with pytest.raises(KeyboardInterrupt):
        alternate.alternate([ours, trl], 3, run, Results(tmp_path / "x.json"), quiet())
    alternate.alternate([ours, trl], 3, run, Results(tmp_path / "x.json"), quiet())
    assert asked == ["llumi_jax", "trl", "llumi_jax", "trl", "trl", "llumi_jax", "trl"]
    read = Results(tmp_path / "x.json")
    assert len(read.of(ours)) == len(read.of(trl)) == 3
    assert not Results(tmp_path / "x.json", fresh=True).records


def test_a_failure_is_kept_and_the_others_go_on(tmp_path):
    def run(one: Job) -> dict:
        if one.system == "trl":
            raise RunFailure("no such module")
        return figures(2.0)

    results = Results(tmp_path / "x.json")
    alternate.alternate([job("trl"), job("llumi_jax")], 2, run, results, quiet())
    assert len(results.records) == 4 and not results.of(job("trl"))
    assert [line.job["system"] for line in tables.lines(results.records)] == ["llumi_jax"]
    results.forget_failures()
    assert not results.has(job("trl"), 0) and results.has(job("llumi_jax"), 1)


def test_jobs_are_the_same_wherever_their_files_lie():
    there = Job("trl", "dpo", "/a/pairs.json", "/b/model")
    assert there.key() == job("trl").key() != job("trl", batch=4).key()
    assert Job(**json.loads(there.key())).name == there.name


def test_lines_are_medians_with_their_range(tmp_path):
    results = measured(tmp_path, {job("llumi_jax"): [3.0, 1.0, 2.0, 9.0, 2.5], job("trl"): [0.5]})
    ours, trl = tables.lines(results.records)
    assert (ours.rate, ours.figures["slowest"], ours.figures["fastest"], ours.figures["runs"]) == (2.5, 1.0, 9.0, 5)
    row, other = tables.cells([ours, trl])
    assert row[tables.COLUMNS.index("x TRL")] == "5.0" and other[tables.COLUMNS.index("x TRL")] == "1.0"
    assert row[tables.COLUMNS.index("useful")] == "50%"
    assert next(tables.cells([ours], peak=200e9))[tables.COLUMNS.index("useful")] == "25%"


def test_goals_take_the_fastest_of_trl_and_say_what_is_missing(tmp_path):
    rates = {job("llumi_jax"): [8.0], job("trl"): [0.5], job("trl", batch=1, accumulate=8): [1.0]}
    rates |= {job("llumi_jax", dtype="bfloat16"): [12.0], job("trl", dtype="bfloat16"): [2.0]}
    found = tables.lines(measured(tmp_path, rates).records)
    rows = {row[0]: row[1:] for row in (goal.row(found) for goal in dpo.goals())}
    assert rows["float32, live reference, x TRL at its fastest"] == (">= 8.00", "8.00", "reached")
    assert rows["float32, live reference, x TRL in batches of 8"] == (">= 8.00", "16.00", "reached")
    assert rows["best dtype, live reference, x TRL's bfloat16 at its fastest"] == (">= 6.00", "6.00", "reached")
    assert rows["useful FLOPs, float32, live reference"] == (">= 45%", "50%", "reached")
    assert rows["peak memory, float32, of TRL's at its fastest"] == ("<= 0.25", "1.00", "missed")
    assert rows["threads, float32, x TRL at its fastest"] == (">= 16.00", "", "not measured")
    assert sft.goals()[0].row([])[-1] == "not measured"


def test_a_packed_peer_is_told_from_a_padded_one(tmp_path):
    of = lambda system, **settings: job(system, objective="sft", **settings)
    rates = {of("llumi_jax"): [30.0], of("trl", packing=True): [10.0], of("trl"): [20.0]}
    found = tables.lines(measured(tmp_path, rates).records)
    assert [goal.row(found)[2] for goal in sft.goals()[:2]] == ["3.00", "1.50"]


def test_docs_are_filled_from_results_and_emptied_without_them(tmp_path):
    text = "Before\n<!-- results: dpo -->\nan old table\n<!-- end -->\nAfter\n"
    assert tables.fill(text, tmp_path) == "Before\n<!-- results: dpo -->\n<!-- end -->\nAfter\n"
    results = measured(tmp_path, {job("llumi_jax"): [3.0], job("trl"): [0.5]})
    reached = {"goal": "fast", "wanted": ">= 2.00", "found": "6.00", "verdict": "reached"}
    results.about = {"hardware": "a machine, 2 cores", "pairs_used": "all", "peer_pairs": 64, "goals": [reached]}
    results.save()
    filled = tables.fill(text, tmp_path)
    assert (
        "| TRL | 8 | 0.50 |" in filled
        and "2 cores; all pairs of each set (the peers: 64" in filled
        and "| fast | >= 2.00 | 6.00 | reached |" in filled
        and "an old" not in filled
    )
    assert tables.fill(filled, tmp_path) == filled
    header, rule = filled.split("\n")[4:6]
    assert header.count("|") == rule.count("|") == len(tables.COLUMNS) + 1


def test_an_accelerator_is_judged_by_its_peak(tmp_path):
    rates = {job("llumi_jax", dtype="bfloat16"): [3.0], job("trl", dtype="bfloat16"): [1.0]}
    found = tables.lines(measured(tmp_path, rates).records)
    rows = [goal.row(found)[1:] for goal in dpo.goals(peak=100e9)]
    assert rows == [(">= 45%", "50%", "reached"), (">= 1.00", "3.00", "reached")]
    assert sft.goals(peak=200e9)[0].row(found)[1:] == (">= 50%", "25%", "missed")


def test_the_docs_of_this_project_are_up_to_date():
    """What `python -m benchmarks.tables` would write is what stands there."""
    text = (tables.ROOT / "docs" / "benchmarks.md").read_text()
    assert text.count("<!-- results:") == text.count("<!-- end -->") == 4
    assert tables.fill(text) == text


def test_the_terminal_shows_every_line(tmp_path):
    found = tables.lines(measured(tmp_path, {job("llumi_jax"): [3.0], job("tunix"): [0.5]}).records)
    console = quiet()
    console.print(tables.terminal("DPO", found, "dpo"))
    console.print(tables.goal_table(dpo.goals(), found))
    said = console.file.getvalue()
    assert "llumi_jax" in said and "Tunix" in said and "not measured" in said


def test_a_chart_is_drawn(tmp_path):
    results = measured(tmp_path, {job("llumi_jax"): [3.0, 4.0], job("trl"): [0.5], job("tunix"): [0.2]})
    charts.draw(tables.lines(results.records), "dpo", "DPO", tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_accelerators_are_known_by_their_names():
    assert tables.peak_of("NVIDIA H100 80GB HBM3") == tables.peak_of("NVIDIA H200") == 989e12
    assert tables.peak_of("NVIDIA L4") == 121e12 and tables.peak_of("AMD EPYC, 2 cores") is None
    assert measure.slug("AMD EPYC 7B13, 2 cores") == "amd-epyc-7b13-2-cores"


def test_peak_memory_sees_what_comes_and_goes():
    memory = measure.PeakMemory()
    memory.start()
    before = memory.read()
    held = bytearray(200 << 20)
    del held
    assert memory.read() - before > 190e6
    memory.start()
    if memory.how.startswith("VmHWM"):
        assert memory.read() - before < 100e6


def test_a_job_is_read_as_it_was_written(tmp_path):
    made = job("trl", dtype="bfloat16", steps=3)
    made.write(tmp_path / "job.json")
    assert jobs.Job.read(tmp_path / "job.json") == made
