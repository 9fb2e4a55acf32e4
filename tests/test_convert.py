"""The convert command: help, error lines, exit codes, and one whole way in and out."""

import json
import subprocess
import sys
import time

import pytest

from llumi_jax import cli, convert

COMMANDS = ("from_hf", "to_hf", "to_peft")


def run(*argv: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "llumi_jax.convert", *argv], capture_output=True, text=True)


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_is_quick(command):
    started = time.perf_counter()
    done = run(*([command] if command else []), "--help")
    assert done.returncode == 0 and time.perf_counter() - started < 2
    for name in COMMANDS if command is None else ["--out"]:
        assert name in done.stdout


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["to_hf", "--checkpoint", "a", "--out", "b", "--dtyp=x"], "--dtype"),
        (["to_hf", "--checkpoint", "missing/thing/here", "--out", "b"], "no model at 'missing/thing/here'"),
        (["to_hfx", "--checkpoint", "a", "--out", "b"], "to_hf"),
        (["to_hf", "--checkpoint", "a", "--out", "b", "--dtype", "int4"], "bfloat16"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(argv, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        cli.run(convert.main, argv)
    lines = capsys.readouterr().err.strip().splitlines()
    assert stopped.value.code == 2
    assert len(lines) == 1 and message in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_unsupported_architecture_is_named(tmp_path, capsys):
    (tmp_path / "gpt2").mkdir()
    (tmp_path / "gpt2" / "config.json").write_text(json.dumps({"architectures": ["GPT2LMHeadModel"]}))
    with pytest.raises(SystemExit) as stopped:
        cli.run(convert.main, ["from_hf", "--src", str(tmp_path / "gpt2"), "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert "'GPT2LMHeadModel' is not supported. Supported: LlamaForCausalLM" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["gpt2"]


def test_an_export_that_is_not_faithful_exits_1(monkeypatch, tmp_path, capsys):
    from llumi_jax.interchange import huggingface, parity

    def refuted(*args, **kwargs):
        raise parity.ParityError("the export is not faithful: kl is 3")

    monkeypatch.setattr(huggingface, "to_hf", refuted)
    assert convert.main(["to_hf", "--checkpoint", "a", "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == "error: the export is not faithful: kl is 3\n"
