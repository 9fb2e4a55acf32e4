"""Processes that report, go missing, fail and vanish: real ones, without JAX."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from llumi_jax.cli import RunFailure, UserError
from llumi_jax.training.hosts.place import Place
from llumi_jax.training.hosts.roll_call import roll_call
from tests.distributed.two_processes import free_port
from tests.tiny_run import ROOT

# Joins, and once all others have, does what the last argument says.
_PROCESS = """
import sys, time
from llumi_jax.training.hosts.place import Place
from llumi_jax.training.hosts.roll_call import roll_call
index, of, port, how = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
company = roll_call(Place("flags", "deactivate", "127.0.0.1:" + port, of, index), 20)
company.listen(20)
print("joined", flush=True)
sys.stdin.readline()
if how == "fail":
    company.fail(2, "a mistake of mine")
if how == "leave":
    company.leave()
else:
    time.sleep(60)
"""


@contextlib.contextmanager
def started(*how: str) -> Iterator[list[subprocess.Popen]]:
    """One process for each thing to do; all have joined."""
    port = str(free_port())
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROCESS, str(index), str(len(how)), port, what],
            cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for index, what in enumerate(how)
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdout and process.stdout.readline() == "joined\n"
        for process in processes:
            assert process.stdin
            process.stdin.close()
        yield processes
    finally:
        for process in processes:
            with process:
                process.kill()


def ends(process: subprocess.Popen) -> tuple[int, str]:
    return process.wait(20), process.stderr.read() if process.stderr else ""


@pytest.mark.parametrize("killed", [0, 2])
def test_all_stop_when_one_is_killed(killed):
    with started("wait", "wait", "wait") as processes:
        os.kill(processes[killed].pid, signal.SIGKILL)
        for index in {0, 1, 2} - {killed}:
            code, said = ends(processes[index])
            assert code == 1 and said.count("\n") == 1
            assert f"process {killed} of 3" in said and f"pid {processes[killed].pid}" in said and "is gone" in said


@pytest.mark.parametrize("failing", [0, 1])
def test_a_mistake_is_said_once_and_ends_all_with_its_code(failing):
    how = ["wait", "wait", "wait"]
    how[failing] = "fail"
    with started(*how) as processes:
        found = [ends(process) for process in processes]
        assert [code for code, _ in found] == [2, 2, 2]
        assert "a mistake of mine" in found[0][1] and [said for _, said in found[1:]] == ["", ""]
        assert ("process 1 of 3" in found[0][1]) == (failing == 1)


def test_the_same_mistake_of_all_is_said_once():
    with started("fail", "fail") as processes:
        found = [ends(process) for process in processes]
        assert [code for code, _ in found] == [2, 2]
        assert "".join(said for _, said in found).count("a mistake of mine") == 1


def test_those_who_leave_are_not_missed():
    with started("leave", "leave", "leave") as processes:
        assert [ends(process) for process in processes] == [(0, ""), (0, ""), (0, "")]


def test_who_is_missing_is_said_to_all():
    at = f"127.0.0.1:{free_port()}"
    heard: list[BaseException] = []

    def report() -> None:
        try:
            roll_call(Place("flags", "deactivate", at, 4, 2), 20)
        except RunFailure as error:
            heard.append(error)

    other = threading.Thread(target=report)
    other.start()
    with pytest.raises(RunFailure, match=r"2 of 4 processes joined within 2 seconds; missing: process 1, 3\.") as told:
        roll_call(Place("flags", "deactivate", at, 4, 0), 2)
    other.join(20)
    assert [str(error) for error in heard] == [str(told.value)] and f"pid {os.getpid()}" in str(told.value)


def test_a_coordinator_that_does_not_answer():
    at = f"127.0.0.1:{free_port()}"
    with pytest.raises(RunFailure, match=f"process 0 does not answer at {at} within 1 seconds"):
        roll_call(Place("flags", "deactivate", at, 2, 1), 1)


def test_two_processes_of_one_number_and_strangers_on_the_port():
    port = free_port()
    found: list[BaseException] = []

    def report() -> None:
        try:
            roll_call(Place("flags", "deactivate", f"127.0.0.1:{port}", 3, 1), 20)
        except UserError as error:
            found.append(error)

    def stranger() -> None:
        with contextlib.suppress(OSError):
            while True:
                try:
                    line = socket.create_connection(("127.0.0.1", port), timeout=5)
                    break
                except ConnectionRefusedError:
                    continue
            line.sendall(b"GET / HTTP/1.1\r\n\r\n")
            line.close()

    threads = [threading.Thread(target=what) for what in (stranger, report, report)]
    for thread in threads:
        thread.start()
    with pytest.raises(UserError, match="--processes"):
        roll_call(Place("flags", "deactivate", f"127.0.0.1:{port}", 3, 0), 20)
    for thread in threads:
        thread.join(20)
    assert len(found) == 2


def test_a_port_in_use_is_named():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port}"):
            roll_call(Place("flags", "deactivate", f"127.0.0.1:{port}", 2, 0), 2)
