"""The train command in two processes of four virtual devices each, on loopback."""

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.tiny_run import ROOT, Train, metrics

HEARTBEAT = 20


@dataclasses.dataclass
class Pair:
    """Two processes of one run and what they print."""

    processes: list[subprocess.Popen]
    outputs: list[Path]

    def said(self, index: int) -> str:
        return self.outputs[index].read_text()

    def codes(self, seconds: float = 300) -> list[int]:
        """Exit codes, once both have ended."""
        deadline = time.monotonic() + seconds
        return [process.wait(max(0.1, deadline - time.monotonic())) for process in self.processes]

    def at(self, workdir: Path, stage: str, step: int) -> None:
        """Returns when the step's line is written."""
        deadline = time.monotonic() + 300
        while len(metrics(workdir, stage)) < step:
            assert all(process.poll() is None for process in self.processes), [self.said(i) for i in (0, 1)]
            assert time.monotonic() < deadline, "the moment never came"
            time.sleep(0.002)


def free_port() -> int:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as found:
        return found.getsockname()[1]


@contextlib.contextmanager
def started(train: Train, workdir: Path, *flags: str) -> Iterator[Pair]:
    """Starts both processes; what is left of them at the end is killed."""
    there, port = workdir.with_name(f"{workdir.name}-said"), free_port()
    there.mkdir(exist_ok=True)
    pair = Pair([], [there / f"{index}.txt" for index in (0, 1)])
    try:
        for index, path in enumerate(pair.outputs):
            where = ("--coordinator", f"127.0.0.1:{port}", "--processes", "2", "--process_id", str(index))
            limits = ("--virtual_devices", "4", "--heartbeat_seconds", str(HEARTBEAT), "--join_seconds", "120")
            with open(path, "w") as said:
                pair.processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "llumi_jax.train", *train.arguments(workdir, *where, *limits, *flags)],
                        cwd=ROOT, env=train.environment, stdout=said, stderr=said, stdin=subprocess.DEVNULL,
                    )
                )  # fmt: skip
        yield pair
    finally:
        for process in pair.processes:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
            process.wait()


def finish(train: Train, workdir: Path, *flags: str) -> Path:
    """Runs both processes to their end, which must be a good one."""
    with started(train, workdir, *flags) as pair:
        assert pair.codes() == [0, 0], pair.said(0) + pair.said(1)
        assert "Report" in pair.said(0) and "Report" not in pair.said(1)  # one speaks
    return workdir
