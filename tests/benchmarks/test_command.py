"""What the commands plan, from their flags alone: no process is started."""

import json

import pytest

from benchmarks import command, dpo, sft, tables
from benchmarks.alternate import Results
from benchmarks.command import Bench
from llumi_jax.cli import UserError


def bench(tmp_path, objective: str, *argv: str) -> Bench:
    flags = command.parser(objective, "")
    flags.add_argument("--reference", default="live")
    flags.add_argument("--packing", action="store_true")
    args = flags.parse_args(["--compare", "--model", "tiny", "--workdir", str(tmp_path), "--threads", "2", *argv])
    return Bench(objective, args)


def pairs_of(job) -> int:
    return len(json.loads(open(job.pairs).read()))


def tried(made: Bench, jobs, best: int, tmp_path):
    """Lines of a search in which one job was the fastest."""
    results = Results(tmp_path / "found.json")
    for index, job in enumerate(jobs):
        rate = 2.0 if index == best else 1.0
        results.add(job, 0, {"units_per_s": rate, "peak_mb": 1.0, "device_mb": 0.0, "compile_s": 0.0}, 1.0)
    return tables.lines(results.records)


@pytest.fixture(autouse=True)
def on_a_processor(monkeypatch):
    monkeypatch.setattr(command.measure, "accelerator", lambda: "")


def test_the_comparison_holds_what_the_goals_compare(tmp_path):
    made = bench(tmp_path, "dpo", "--trl_python", "python")
    search = dpo.search(made)
    assert {job.dtype for job in search} == {"float32", "bfloat16"} and all(job.system == "trl" for job in search)
    jobs = dpo.plan(made, tried(made, search, 1, tmp_path))
    having = lambda **want: [j for j in jobs if all(getattr(j, name) == value for name, value in want.items())]
    for dtype in ("float32", "bfloat16"):
        for reference in ("live", "cached"):
            assert len(having(system="llumi_jax", data="independent", dtype=dtype, reference=reference)) == 1
            assert having(system="trl", data="independent", dtype=dtype, reference=reference, grouped=False)
        assert having(system="trl", dtype=dtype, checkpointing=True)
    assert having(system="trl", dtype="float32", reference="cached", grouped=True)  # the fastest that was found
    assert having(system="llumi_jax", data="threads") and having(system="trl", data="threads", dtype="float32")
    assert not having(system="tunix") and len({job.key() for job in jobs}) == len(jobs)
    assert len({job.model for job in jobs}) == 1


def test_threads_fill_longer_rows_with_as_many_tokens_a_pass(tmp_path):
    made = bench(tmp_path, "dpo")
    one, other = made.job("llumi_jax", "independent"), made.job("llumi_jax", "threads")
    assert (one.row_length, other.row_length) == (1024, 2048)
    assert one.micro_rows * one.row_length == other.micro_rows * other.row_length


def test_peers_may_have_a_part_of_the_pairs(tmp_path):
    made = bench(tmp_path, "dpo", "--peer_pairs", "32")
    assert pairs_of(made.job("llumi_jax", "threads")) == 256 and pairs_of(made.job("trl", "threads")) == 32
    made = bench(tmp_path, "dpo", "--pairs_used", "16")
    assert pairs_of(made.job("llumi_jax", "independent")) == pairs_of(made.job("trl", "independent")) == 16


def test_sft_takes_the_fastest_packed_and_the_fastest_padded_layout(tmp_path):
    made = bench(tmp_path, "sft", "--trl_python", "python", "--tunix_python", "python")
    jobs = sft.plan(made, tried(made, sft.search(made), 1, tmp_path))
    layouts = {(j.packing, j.batch) for j in jobs if j.system == "trl" and j.dtype == "float32"}
    assert layouts == {(True, 4), (False, 8)}
    assert {job.system for job in jobs} == {"llumi_jax", "trl", "tunix"}


def test_without_a_peer_only_ours_is_measured(tmp_path):
    made = bench(tmp_path, "dpo")
    assert not dpo.search(made) and {job.system for job in dpo.plan(made, [])} == {"llumi_jax"}
    made = bench(tmp_path, "dpo", "--trl_python", "python", "--only", "trl")
    assert {job.system for job in dpo.plan(made, [])} == {"trl"}


def test_an_accelerator_is_timed_in_bfloat16(tmp_path, monkeypatch):
    monkeypatch.setattr(command.measure, "accelerator", lambda: "NVIDIA H100")
    assert {job.dtype for job in dpo.plan(bench(tmp_path, "dpo"), [])} == {"bfloat16"}


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UserError, match="--trl_python"):
        command.check_package("/no/such/python", "trl", "--trl_python")
    (tmp_path / "pairs.json").write_text("[]")
    with pytest.raises(UserError, match="a list of pairs is needed"):
        bench(tmp_path, "dpo", "--pairs", str(tmp_path / "pairs.json")).job("llumi_jax", "mine")
    with pytest.raises(UserError, match="--pairs is for one system"):
        command.compare(bench(tmp_path, "dpo", "--pairs", "x"), dpo.search, dpo.plan, dpo.goals)
    with pytest.raises(UserError, match="--peer trl needs --trl_python"):
        command.one(bench(tmp_path, "dpo", "--peer", "trl"))
