"""`python -m demo`: its help, its mistakes, and the headers of its server."""

import json
import socket
import subprocess
import sys
import time

import pytest

from demo import __main__ as command
from llumi_jax import cli


def test_help_comes_at_once():
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "demo", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "--sample" in done.stdout and time.monotonic() - began < 2


def test_sample_without_a_trained_quickstart_names_the_command_that_makes_it(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--sample", "--workdir", str(tmp_path)], capture_output=True, text=True
    )
    expected = f"python -m llumi_jax.train --config configs/quickstart.py --workdir {tmp_path}"
    assert done.returncode == 2 and expected in done.stderr and done.stderr.count("\n") == 1


def test_sample_takes_the_last_stage_of_each_role(tmp_path):
    for role in ("gm", "im"):
        (tmp_path / f"{role}_dpo").mkdir()
        (tmp_path / f"{role}_dpo" / "model.json").write_text(json.dumps({}))
    args = command.parser().parse_args(["--sample", "--workdir", str(tmp_path)])
    assert command._specs(args) == {r: str(tmp_path / f"{r}_dpo") for r in ("gm", "im")}


@pytest.mark.parametrize("flags", [[], ["--gm", "x"], ["--sample", "--im", "x"]])
def test_models_must_be_named_one_way(flags):
    with pytest.raises(cli.UserError, match="--sample"):
        command.main(flags)


def test_a_port_in_use_is_said_before_anything_is_loaded():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(cli.UserError, match=f"port {port}.*--port"):
            command.main(["--gm", "x", "--im", "x", "--port", str(port)])
    with pytest.raises(cli.UserError, match="--port"):
        command._listen(99999)
