"""`python -m llumi_jax.generate`: its contract, its errors, and kill -9 at random moments."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from llumi_jax import cli, generate
from llumi_jax.inference import files
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


FOREIGN = {
    "a letter": b"Dear all, this took me a week.",
    "posts without a last line end": b'{"id": "p0", "title": "Title", "body": "x"}',
    "the replies of another input": b'{"id": "p9", "gm": "Hel',
    "lines": b'{"id": "p0", "provenance": "mine"}\n',
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_file_that_is_not_ours_is_left_as_it_is(tmp_path, content):
    path = tmp_path / "out.jsonl"
    path.write_bytes(content)
    with pytest.raises(cli.UserError, match="did not write|not a line that this command wrote"):
        with files.open_output(path, {"seed": 0}, iter(["p0", "p1"])):
            pass
    assert path.read_bytes() == content


@pytest.mark.parametrize("size", range(1, 70))
def test_a_torn_first_line_of_ours_is_cut_wherever_it_broke(tmp_path, size):
    line = {"id": "pä", "gm": "Hello", "im": None, "safety": [], "provenance": {"seed": 0}}
    path = tmp_path / "out.jsonl"
    path.write_bytes(json.dumps(line, ensure_ascii=False).encode()[:size])
    with files.open_output(path, {"seed": 0}, iter(["pä"])) as output:
        assert output.done == 0 and path.read_bytes() == b""


def test_a_pipe_is_refused_since_it_can_be_read_once_only(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for source, message in ((tmp_path / "pipe", "read more than once"), (tmp_path, "folder"), ("nowhere", "no such")):
        with pytest.raises(cli.UserError, match=message):
            generate.main(["--gm", "d", "--input", str(source), "--output", str(tmp_path / "o")])
    with pytest.raises(cli.UserError, match="no plain file"), files.open_output(tmp_path / "pipe", {}, iter(())):
        pass


def test_an_input_that_shrinks_meanwhile_is_no_success(flags, tmp_path, monkeypatch):
    read = files.read_posts
    monkeypatch.setattr(files, "read_posts", lambda *a, **k: itertools.islice(read(*a, **k), next(lengths)))
    lengths = iter([11, 11, 5])  # counted, compared, written
    with pytest.raises(cli.UserError, match="held 11 posts, 5 are answered"):
        generate.main(flags)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_with_0_and_the_rest_comes_out_the_same(flags, tmp_path, number, capsys):
    generate.main(flags)
    expected = (tmp_path / "out.jsonl").read_bytes()
    flags = [*flags, "--output", str(tmp_path / "stopped.jsonl")]
    real, windows = files.Output.write, []

    def write(self, records):
        real(self, records)
        windows.append(len(records))
        signal.raise_signal(number)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(files.Output, "write", write)
        cli.run(generate.main, flags)
    assert ended.value.code == 0 and len(windows) == 1
    assert "The same command again goes on" in capsys.readouterr().out
    stopped = (tmp_path / "stopped.jsonl").read_bytes()
    assert stopped and expected.startswith(stopped) and stopped != expected
    generate.main(flags)
    assert (tmp_path / "stopped.jsonl").read_bytes() == expected


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
