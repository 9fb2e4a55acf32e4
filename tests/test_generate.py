"""`python -m llumi_jax.generate`: its contract, its errors, and kill -9 at random moments."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from llumi_jax import cli, generate
from tests import tiny

hf_model, tokenizer, model_folder = tiny.hf_model, tiny.tokenizer, tiny.model_folder  # fixtures


def posts(n):
    r = random.Random(0)
    words = ["alone", "tired", "work", "friend", "ünïcode 😊", "\u2028", "sleep", '"quoted"', "today"]
    return [
        {
            "id": f"p{i}",
            "title": "Title",
            "body": " ".join(r.choices(words, k=r.randint(3, 30))),
            "draft": f"Draft {i}.",
        }
        for i in range(n)
    ]


def write_lines(path, records):
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
    return str(path)


def read_lines(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


@pytest.fixture
def flags(model_folder, tmp_path):
    source = write_lines(tmp_path / "posts.jsonl", posts(11))
    output = str(tmp_path / "out.jsonl")
    return ["--gm", model_folder, "--im", model_folder, "--input", source, "--output", output, "--max_tokens", "12",
            "--batch_size", "1"]  # fmt: skip


def test_cascade_writes_every_post_in_order_with_provenance(flags, tmp_path):
    generate.main(flags)
    lines = read_lines(tmp_path / "out.jsonl")
    assert [line["id"] for line in lines] == [p["id"] for p in posts(11)]
    for line in lines:
        assert set(line) == {"id", "gm", "im", "safety", "provenance"}
        assert isinstance(line["gm"], str) and isinstance(line["im"], str)
        about = line["provenance"]
        assert about["banner"].startswith("Demonstration model") and about["seed"] == 0
        assert len(about["models"]["gm"]["weights"]) == 64 and about["sampling"]["max_tokens"] == 12


@pytest.mark.parametrize(("mode", "empty"), [("gm", "im"), ("im", "gm")])
def test_a_single_mode_leaves_the_other_null(flags, tmp_path, mode, empty):
    generate.main([*flags, "--mode", mode, "--temperature", "0"])
    assert all(line[empty] is None and line[mode] for line in read_lines(tmp_path / "out.jsonl"))


def test_seeds_and_restarts_and_neighbours(flags, tmp_path):
    generate.main(flags)
    whole = (tmp_path / "out.jsonl").read_bytes()
    generate.main(flags)  # nothing left to do
    assert (tmp_path / "out.jsonl").read_bytes() == whole
    lines = whole.splitlines(keepends=True)
    (tmp_path / "out.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:20])  # torn in the middle of a line
    generate.main(flags)
    assert (tmp_path / "out.jsonl").read_bytes() == whole
    source = write_lines(tmp_path / "alone.jsonl", posts(11)[6:7])
    generate.main([*flags, "--input", source, "--output", str(tmp_path / "alone.out")])
    assert read_lines(tmp_path / "alone.out")[0] == json.loads(lines[6])


@pytest.mark.parametrize(
    ("change", "named"),
    [(["--seed", "1"], "seed"), (["--temperature", "0"], "sampling"), (["--mode", "gm"], "mode")],
)
def test_output_of_other_settings_is_refused(flags, change, named):
    generate.main(flags)
    with pytest.raises(cli.UserError, match=f"another {named}"):
        generate.main([*flags, *change])


def test_output_of_another_input_is_refused(flags, tmp_path):
    generate.main(flags)
    other = write_lines(tmp_path / "other.jsonl", posts(11)[::-1])
    with pytest.raises(cli.UserError, match="another input"):
        generate.main([*flags, "--input", other])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"id": "a", "body": "x"', "posts.jsonl:2: not valid JSON"),
        (b"\xff\xfe", "posts.jsonl:2: not UTF-8"),
        (b"[1]", "posts.jsonl:2: not a JSON object"),
        (b'{"body": "x"}', 'posts.jsonl:2: "id" is missing'),
        (b'{"id": "b", "body": 3}', 'posts.jsonl:2: "body" is not text'),
        (b'{"id": "b", "body": " "}', "both empty"),
        (b'{"id": "b", "body": "\\ud83d"}', "half a character"),
        (b'{"id": "first", "body": "x"}', "used before"),
    ],
)
def test_malformed_input_names_file_and_line_before_any_model_is_loaded(tmp_path, line, message):
    source = tmp_path / "posts.jsonl"
    source.write_bytes(b'{"id": "first", "body": "ok"}\n' + line + b"\n")
    with pytest.raises(cli.UserError, match=message):
        generate.main(["--gm", "nowhere", "--input", str(source), "--output", str(tmp_path / "o")])


def test_other_mistakes(tmp_path, flags):
    source = write_lines(tmp_path / "p.jsonl", [{"id": 1, "body": "x"}])
    base = ["--input", source, "--output", str(tmp_path / "o")]
    for arguments, message in (
        (base, "no model"),
        ([*base, "--gm", "d", "--mode", "cascade"], "--im"),
        ([*base, "--im", "d"], "no .draft."),
        ([*base, "--gm", "d", "--temperature", "-1"], "temperature"),
        (["--gm", "d", "--input", source, "--output", source], "same file"),
        ([*base, "--gm", "d", "--batch_size", "0"], "batch_size"),
    ):
        with pytest.raises(cli.UserError, match=message):
            generate.main(arguments)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(cli.UserError, match="holds no posts"):
        generate.main(["--gm", "d", "--input", str(tmp_path / "empty.jsonl"), "--output", str(tmp_path / "o")])


def command(arguments):
    return [sys.executable, "-m", "llumi_jax.generate", *arguments]


def test_kill_at_random_moments_gives_the_same_bytes(flags, tmp_path):
    generate.main(flags)
    expected = (tmp_path / "out.jsonl").read_bytes()
    output = tmp_path / "killed.jsonl"
    flags = [*flags, "--output", str(output)]
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"moments drawn from seed {seed}")
    r = random.Random(seed)
    process = subprocess.Popen(command(flags), stderr=subprocess.PIPE)
    deadline = time.monotonic() + 90
    while not (output.exists() and output.stat().st_size) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(r.uniform(0, 0.4))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if output.stat().st_size:  # as if the kill had torn a line
        os.truncate(output, r.randint(1, output.stat().st_size))
    generate.main(flags)
    assert output.read_bytes() == expected


def test_help_comes_at_once_and_a_wrong_flag_suggests_the_near_one():
    began = time.monotonic()
    done = subprocess.run(command(["--help"]), capture_output=True, text=True)
    assert done.returncode == 0 and "--repetition_penalty" in done.stdout and time.monotonic() - began < 2
    wrong = subprocess.run(
        command(["--input", "a", "--output", "b", "--temprature", "0"]), capture_output=True, text=True
    )
    assert wrong.returncode == 2 and "Did you mean '--temperature'?" in wrong.stderr and wrong.stderr.count("\n") == 1
