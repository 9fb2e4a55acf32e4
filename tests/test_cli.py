"""How commands behave: exit codes, one-line errors, suggestions, quick help."""

import argparse
import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llumi_jax import cli

ROOT = Path(__file__).parents[1]
HELP = [
    "llumi_jax.train",
    "llumi_jax.generate",
    "llumi_jax.convert",
    "llumi_jax.convert from_hf",
    "llumi_jax.convert to_hf",
    "llumi_jax.convert to_peft",
    "data_pipelines.build",
    "data_pipelines.show",
    "demo",
]
MISTAKES = [
    ("llumi_jax.train --config C --workdir W --data_dri D", "--data_dir"),
    ("llumi_jax.generate --input A --output B --temprature 0", "--temperature"),
    ("llumi_jax.convert to_hf --checkpoint W --out D --dtyp float32", "--dtype"),
    ("llumi_jax.convert to_hff", "to_hf"),
    ("data_pipelines.build --source counselchat --out D --ruel strict", "--rule"),
    ("data_pipelines.show DATA --dtaset x", "--dataset"),
    ("demo --prot 7860", "--port"),
]


def command(line: str) -> list[str]:
    return [sys.executable, "-m", *line.split()]


def outcome(main, capsys, argv=()) -> tuple[int, str]:
    """Runs `main` the way a command does; returns its exit code and what it wrote on standard error."""
    with pytest.raises(SystemExit) as ended:
        cli.run(main, argv)
    return ended.value.code, capsys.readouterr().err


def raiser(error: BaseException):
    def main(argv):
        raise error

    return main


def test_exit_codes(capsys):
    assert outcome(lambda argv: None, capsys) == (0, "")
    assert outcome(lambda argv: 1, capsys) == (1, "")
    code, text = outcome(raiser(cli.UserError("no column 'views'\nin the CSV. Add it.")), capsys)
    assert (code, text) == (2, "error: no column 'views' in the CSV. Add it.\n")
    code, text = outcome(raiser(KeyboardInterrupt()), capsys)
    assert code == cli.EXIT_FAILURE and text.count("\n") == 1 and "go on" in text


def test_errors_of_ours_are_not_hidden(capsys):
    with pytest.raises(ZeroDivisionError):
        cli.run(lambda argv: 1 // 0, [])
    with pytest.raises(OSError, match="strange"):
        cli.run(raiser(OSError(errno.EIO, "strange")), [])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file", "posts.jsonl"), ["posts.jsonl", "Check the path"]),
        (PermissionError(errno.EACCES, "denied", "/out"), ["/out", "permission denied"]),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), ["no space left", "runs/x", "same command again"]),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), ["no space left"]),
    ],
)
def test_what_the_file_system_refused_is_one_line(capsys, error, words):
    code, text = outcome(raiser(error), capsys)
    assert code == 2 and text.count("\n") == 1
    assert all(word in text for word in words), text


def wrapped(error: Exception, *, explicit: bool) -> Exception:
    """The error as a library hands it on: as a cause, or as what was being handled."""
    try:
        try:
            raise error
        except Exception as inner:
            if explicit:
                raise RuntimeError("saving failed") from inner
            raise RuntimeError("saving failed")  # noqa: B904
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize("explicit", [True, False])
def test_a_full_disk_is_found_inside_another_exception(capsys, explicit):
    full = OSError(errno.ENOSPC, "No space left on device", "runs/checkpoints")
    code, text = outcome(raiser(wrapped(full, explicit=explicit)), capsys)
    assert code == 2 and text.startswith("error: no space left on the disk (runs/checkpoints)")


def test_a_full_disk_told_only_in_words_is_recognised(capsys):
    """Storage libraries in C++ report the errno as text."""
    error = ValueError("RESOURCE_EXHAUSTED: write failed: [OS error 28: ENOSPC No space left on device]")
    code, text = outcome(raiser(error), capsys)
    assert code == 2 and "no space left" in text


def parser() -> argparse.ArgumentParser:
    parser = cli.Parser(prog="tool")
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--steps", type=int, default=3, help="optimiser steps")
    return parser


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--workdir", "w", "--stesp", "4"], ["'--stesp'", "Did you mean '--steps'?", "tool --help"]),
        (["--workdir", "w", "--stesp=4"], ["'--stesp'", "'--steps'"]),
        (["--workdir", "w", "--step", "4"], ["'--step'", "'--steps'"]),  # no silent abbreviation
        (["--workdir", "w", "--zzz"], ["'--zzz'", "tool --help"]),
        (["--steps", "4"], ["--workdir"]),
        (["--workdir", "w", "--steps", "four"], ["--steps", "four"]),
    ],
)
def test_wrong_flags_are_user_errors(argv, words):
    with pytest.raises(cli.UserError) as error:
        parser().parse_args(argv)
    assert all(word in str(error.value) for word in words), error.value


def test_sub_commands_suggest_their_own_flags():
    parent = cli.Parser(prog="tool")
    child = parent.add_subparsers().add_parser("to_hf")
    child.add_argument("--dtype")
    with pytest.raises(cli.UserError, match="Did you mean '--dtype'"):
        parent.parse_args(["to_hf", "--dtpye", "float32"])


def test_help_names_defaults_and_nothing_for_required_flags():
    text = parser().format_help()
    assert "optimiser steps (default: 3)" in text and "None" not in text


def test_suggestion_needs_a_near_name():
    assert cli.suggestion("bata", ["beta", "steps"]) == " Did you mean 'beta'?"
    assert cli.suggestion("quux", ["beta", "steps"]) == ""


def test_a_reader_that_goes_away_is_no_error():
    code = "from llumi_jax import cli\ncli.run(lambda argv: [print('x' * 999) for _ in range(9999)] and 0)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    process.stdout.readline()
    process.stdout.close()
    assert (process.wait(timeout=20), process.stderr.read()) == (0, b"")
    process.stderr.close()


def first_help_line(line: str) -> tuple[float, int, str]:
    """Returns seconds to the first line of help, the exit code and the whole text."""
    start = time.perf_counter()
    with subprocess.Popen([*command(line), "--help"], stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        first = process.stdout.readline()
        seconds = time.perf_counter() - start
        text = first + process.stdout.read()
    return seconds, process.returncode, text


@pytest.mark.parametrize("line", HELP)
def test_help_appears_at_once(line):
    # The best of three tries counts: other processes may hold the machine for a moment.
    for _ in range(3):
        seconds, code, text = first_help_line(line)
        assert code == 0 and text.lower().startswith("usage:") and "--" in text, text
        if seconds < 2:
            return
    pytest.fail(f"first line of help after {seconds:.1f} s")


@pytest.mark.parametrize(("line", "near"), MISTAKES)
def test_a_wrong_flag_is_answered_in_one_line(line, near):
    done = subprocess.run(command(line), capture_output=True, text=True, cwd=ROOT, stdin=subprocess.DEVNULL)
    assert done.returncode == 2, done
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and near in done.stderr, done.stderr
    assert done.stdout == ""


def test_commands_do_not_need_the_environment_of_a_terminal():
    done = subprocess.run(
        [*command("llumi_jax.convert"), "--help"],
        capture_output=True, text=True, cwd=ROOT, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
