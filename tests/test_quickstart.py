"""The README's way, command by command, on the real base model; only the lengths are cut down."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "data_pipelines" / "llumi_pairs" / "sample"
SHORT = [
    *(f"--config.stage.{name}.steps=1" for name in ("gm_sft", "gm_dpo", "im_sft", "im_dpo")),
    *(f"--config.stage.{name}.evaluation_threads=3" for name in ("gm_dpo", "im_dpo")),
    "--config.row_length=896",
    "--config.samples=1",
    "--config.sample_tokens=8",
]


def run(*words, cwd=ROOT, seconds=600):
    done = subprocess.run(
        [sys.executable, "-m", *map(str, words)],
        cwd=cwd, capture_output=True, text=True, timeout=seconds,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"},  # as a user runs it
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "quickstart"
    done = run("llumi_jax.train", "--config", "configs/quickstart.py", "--workdir", workdir, *SHORT)
    return workdir, done.stdout


def test_training_prints_what_a_newcomer_looks_for(trained):
    workdir, said = trained
    for words in ("mean log-prob", "summed log-prob", "implicit reward", "reward margin", "length only", "after"):
        assert words in said
    assert str(workdir / "report.html") in said.replace("\n", "")
    for command in ("llumi_jax.generate", "llumi_jax.convert", "python -m demo"):
        assert command in said
    assert "do not use with people in distress" in said
    assert (workdir / "report.html").stat().st_size > 10_000
    for stage in ("gm_sft", "gm_dpo", "im_sft", "im_dpo"):
        assert json.loads((workdir / stage / "done.json").read_text())["steps"] == 1
    for stage in ("gm_dpo", "im_dpo"):
        first = json.loads((workdir / stage / "metrics.jsonl").read_text().splitlines()[0])
        assert first["loss"] == pytest.approx(0.693147, abs=1e-3)


def test_generate_writes_the_cascade(trained, tmp_path):
    workdir, _ = trained
    post = {"id": "1", "title": "First week", "body": "Everybody at my new job seems to know each other already."}
    (tmp_path / "posts.jsonl").write_text(json.dumps(post) + "\n")
    run(
        "llumi_jax.generate", "--gm", workdir / "gm_dpo", "--im", workdir / "im_dpo", "--mode", "cascade",
        "--input", tmp_path / "posts.jsonl", "--output", tmp_path / "replies.jsonl", "--max_tokens", "12",
    )  # fmt: skip
    (line,) = (tmp_path / "replies.jsonl").read_text().splitlines()
    reply = json.loads(line)
    assert reply["id"] == "1" and {"gm", "im", "safety", "provenance"} <= set(reply)


def test_exports_are_proved(trained, tmp_path):
    workdir, _ = trained
    run("llumi_jax.convert", "to_hf", "--checkpoint", workdir / "gm_dpo", "--out", tmp_path / "hf")
    report = json.loads((tmp_path / "hf" / "export_report.json").read_text())
    assert (tmp_path / "hf" / "model.safetensors").exists() and report
    run("llumi_jax.convert", "to_peft", "--checkpoint", workdir / "gm_dpo", "--out", tmp_path / "peft")
    assert (tmp_path / "peft" / "adapter_model.safetensors").exists()


def test_own_threads_become_pairs_that_can_be_looked_at(tmp_path):
    dumps = ["--submissions", SAMPLE / "RS_2024-03.zst", "--comments", SAMPLE / "RC_2024-03.zst"]
    run("data_pipelines.build", "--source", "reddit_dump", *dumps, "--out", tmp_path / "forum")
    card = json.loads((tmp_path / "forum" / "card.json").read_text())
    assert sum(card["funnel"].values()) == card["input"] and card["pairs"]["gm"] > 100
    assert "gm" in run("data_pipelines.show", tmp_path / "forum", "--split", "test", "--pairs", "3").stdout.lower()
    with open(tmp_path / "chat.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow("question_id title question topic answerer answer upvotes views".split())
        for q in range(40):
            question = f"Question number {q} about a long week and what might make the next one a little easier."
            for a, votes in enumerate((9, 0, 1)):
                answer = f"Answer {a} to {q}: " + " ".join(f"word{(q * 7 + a * 3 + i * i) % 97}" for i in range(40))
                writer.writerow([q, f"Week {q}", question, "stress", f"person{a + q % 5}", answer, votes, 300 + a])
    run("data_pipelines.build", "--source", "counselchat", "--input", tmp_path / "chat.csv", "--out", tmp_path / "chat")
