"""Jobs here and apart: results, errors, and what becomes of the workers; then whole builds that are killed.

Jobs are functions that any process knows.
"""

import contextlib
import json
import math
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest import mock

import pytest
from test_scale import in_memory, plan_for, say, world

from data_pipelines import build, scale, sources, storage, workers
from data_pipelines.workers import WorkerLost, Workers
from llumi_jax.cli import UserError

ROOT = Path(__file__).parents[2]


def collect(processes: int, jobs, sizes=(), total=0) -> tuple[dict, list[int]]:
    """Returns the results by index, and by how much the bar advanced each time."""
    advanced: list[int] = []
    bar = mock.patch.object(workers.progress, "counting", lambda what, total: contextlib.nullcontext(advanced.append))
    with bar, Workers(processes) as pool:
        return dict(pool.run("Working", jobs, total, sizes)), advanced


@pytest.mark.parametrize("processes", [1, 2])
def test_every_result_comes_with_its_index(processes):
    jobs = [(math.sqrt, (number * number,)) for number in range(9)]
    found, advanced = collect(processes, jobs, sizes=range(9))
    assert found == {number: number for number in range(9)}
    assert sum(advanced) == sum(range(9))


@pytest.mark.parametrize("processes", [1, 2])
def test_jobs_advance_the_bar_themselves(processes):
    _, advanced = collect(processes, [(workers.advance, (amount,)) for amount in (5, 70, 900)])
    assert sum(advanced) == 975


def test_without_a_pool_nothing_is_counted():
    workers.advance(5)


@pytest.mark.parametrize("processes", [1, 8])
def test_no_jobs(processes):
    assert collect(processes, []) == ({}, [])


def test_one_job_needs_no_other_process():
    assert collect(8, [(os.getpid, ())])[0] == {0: os.getpid()}


def test_many_jobs_run_apart():
    assert os.getpid() not in collect(2, [(os.getpid, ()), (os.getpid, ())])[0].values()


@pytest.mark.parametrize("processes", [1, 2])
def test_the_first_error_is_raised_and_nobody_is_waited_for(processes):
    start = time.monotonic()
    with pytest.raises(ValueError, match="invalid literal"):
        collect(processes, [(int, ("x",)), (time.sleep, (60,)), (time.sleep, (60,))])
    assert time.monotonic() - start < 30
    assert not multiprocessing.active_children()


def test_an_error_of_whoever_takes_the_results_ends_the_workers():
    """A full disk, say: the generator may live on in the traceback."""
    jobs = [(int, ("1",)), (time.sleep, (60,)), (time.sleep, (60,))]
    start = time.monotonic()
    with pytest.raises(OSError, match="full"), Workers(2) as pool:
        for _ in pool.run("Working", jobs, 0):
            raise OSError("full")
    assert time.monotonic() - start < 30
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("code", [0, 9])
def test_a_worker_that_is_gone(code):
    with pytest.raises(WorkerLost, match="memory ran out. Run the same command again") as error:
        collect(2, [(os._exit, (code,)), (time.sleep, (60,))])
    assert "\n" not in str(error.value)
    assert not multiprocessing.active_children()


def test_a_worker_that_is_lost_between_two_steps():
    """What was finished before must count as good: any other error would delete an unfinished build."""
    with Workers(2) as pool:
        jobs = [(os.getpid, ()), (time.sleep, (0.2,))]
        (number,) = (result for _, result in pool.run("First", jobs, 0) if result)
        os.kill(number, signal.SIGKILL)
        time.sleep(1)
        with pytest.raises(WorkerLost, match="Run the same command again"):
            list(pool.run("Second", jobs, 0))
        assert len(list(pool.run("Third", jobs, 0))) == 2
    assert not multiprocessing.active_children()


def test_workers_hear_no_signal_of_the_terminal():
    """Neither Ctrl-C nor SIGTERM ends them: whoever started them does."""
    jobs = [(signal.pthread_sigmask, (signal.SIG_BLOCK, ())), (os.getpid, ())]
    found, _ = collect(2, jobs)
    assert {signal.SIGINT, signal.SIGTERM} <= found[0]
    assert not {signal.SIGINT, signal.SIGTERM} & signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_sigterm_is_ctrl_c_inside_and_what_it_was_outside():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), workers.interruptible():
        signal.raise_signal(signal.SIGTERM)
        time.sleep(1)
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_thread_may_build_too():
    failed = []

    def use():
        try:
            with workers.interruptible():
                pass
        except ValueError as error:
            failed.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert not failed


# Builds of their own process, to be killed.

DRIVER = '''
"""A build with small limits that says what it does, and takes its time."""
import json, os, sys, time
from pathlib import Path

from data_pipelines import pairing, pipeline, scale, sources, workers
from data_pipelines.identity import Hasher
from data_pipelines.pipeline import Plan
from data_pipelines.sources import lines, reddit_dump
from llumi_jax import cli

pace = json.loads(os.environ["PACE"])
sources.MIN_SHARED_BYTES, scale.BYTES_PER_PARTITION, scale.CHECKPOINT_BLOCKS, lines.CHUNK_BYTES = 1, 20_000, 2, 4096

def log(*words):
    with open(os.environ["LOG"], "a") as file:
        file.write(" ".join(map(str, words)) + "\\n")

real = {name: getattr(scale, name) for name in ("_ingest", "_join", "_prefer", "_clean")}
records, finish = reddit_dump.records, pipeline.finish

def _ingest(part, *rest):
    log("ingest", part.name)
    return real["_ingest"](part, *rest)

def _join(index, *rest):
    log("join", index)
    time.sleep(pace["join"])
    return real["_join"](index, *rest)

def _prefer(threads, *rest):
    log("prefer", threads.name)
    time.sleep(pace["prefer"])
    return real["_prefer"](threads, *rest)

def _clean(preferred, *rest):
    log("clean", preferred.name)
    time.sleep(pace["clean"])
    return real["_clean"](preferred, *rest)

def slow_records(kind, block, number, funnel, broken):
    log("block", broken.path, number)
    time.sleep(pace["ingest"])
    yield from records(kind, block, number, funnel, broken)

def slow_finish(*args):
    log("finish", 0)
    time.sleep(pace["finish"])
    return finish(*args)

scale._ingest, scale._join, scale._prefer, scale._clean = _ingest, _join, _prefer, _clean
reddit_dump.records, pipeline.finish = slow_records, slow_finish

def main(argv):
    files, folder, out, processes = json.loads(argv[0]), Path(argv[1]), Path(argv[2]), int(argv[3])
    traits = reddit_dump.TRAITS
    plan = Plan(traits, pairing.rule_for("strict", traits), Hasher(b"a key"))
    dataset = scale.build(sources.parts("reddit_dump", files, 4), plan, folder, processes)
    out.write_text(f"{dataset.pairs!r}\\n{dataset.replies!r}\\n{json.dumps(dataset.card, indent=1)}")

if __name__ == "__main__":
    cli.run(main)
'''

SLOW = {"ingest": 0.02, "join": 0.15, "prefer": 0.1, "clean": 0.1, "finish": 0.5}
PATIENCE = 120  # Seconds, for a machine that has other things to do.
STUCK = {"ingest": 60, "join": 60, "prefer": 60, "clean": 60, "finish": 60}


class Build:
    """A build in a process of its own, and the processes that it starts."""

    script = DRIVER

    def __init__(self, folder: Path, files, processes: int = 1) -> None:
        self.folder, self._files, self._processes = folder, files, processes
        self.unfinished, self.out, self.log = folder / "un", folder / "out", folder / "log"
        self.mark = f"{folder}-{os.getpid()}"

    def start(self, pace=SLOW, before: tuple[str, ...] = ()) -> subprocess.Popen:
        self.log.write_text("")
        (self.folder / "driver.py").write_text(self.script)
        environment = os.environ | {"PACE": json.dumps(pace), "LOG": str(self.log), "MARK": self.mark}
        return subprocess.Popen(
            [*before, sys.executable, str(self.folder / "driver.py"), *self.argv()],
            env=environment | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def argv(self) -> list[str]:
        return [json.dumps(self._files), str(self.unfinished), str(self.out), str(self._processes)]

    def said(self, kind: str) -> list[str]:
        """What was logged of a kind ("block", "join", …)."""
        found = [line.split(" ", 1) for line in self.log.read_text().splitlines()]
        return [rest for word, rest in found if word == kind]

    def wait_for(self, kind: str, process: subprocess.Popen) -> None:
        end = time.monotonic() + PATIENCE
        while not self.said(kind):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.02)

    def done(self) -> set[str]:
        return {path.name.removesuffix(".done") for path in self.unfinished.glob("*.done")}

    def left(self, seconds: float = 10) -> list[str]:
        """Processes of this build that are still there after a while."""
        end = time.monotonic() + seconds
        while (found := running(self.mark)) and time.monotonic() < end:
            time.sleep(0.05)
        return found


def running(mark: str) -> list[str]:
    """Returns the command lines of living processes with this mark in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"MARK={mark}\0".encode() in process.joinpath("environ").read_bytes():
                state = process.joinpath("stat").read_text().rpartition(")")[2].split()[0]
                found += [process.joinpath("cmdline").read_text()] if state != "Z" else []
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return world(tmp_path_factory.mktemp("world"), seed=7)


@pytest.fixture(scope="module")
def reference(files):
    return say(in_memory(sources.parts("reddit_dump", files, 1), plan_for()))


@pytest.mark.parametrize(("processes", "steps"), [(1, ("block", "join", "prefer", "clean", "finish")), (2, ("join",))])
def test_kill_in_every_step(tmp_path, files, reference, processes, steps):
    seed = int(os.environ.get("LLUMI_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"LLUMI_TEST_SEED={seed}")
    chance = random.Random(seed)
    build = Build(tmp_path, files, processes)
    read, finished = [], set()
    for step in steps:
        process = build.start()
        build.wait_for(step, process)
        time.sleep(chance.uniform(0, 0.4))
        process.kill()
        process.wait()
        process.stderr.close()
        assert not build.left(), "a worker outlived its build"
        assert not build.out.exists()
        read += build.said("block")
        assert not finished & ran(build), "done again"
        finished = build.done()
    process = build.start(dict.fromkeys(SLOW, 0))
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert build.out.read_text() == reference
    assert not finished & ran(build), "done again"
    assert not build.unfinished.exists() and not build.left()
    # Of every kill at most two blocks between checkpoints, and the one begun, are read again by each process.
    read += build.said("block")
    assert len(set(read)) > 30
    assert len(read) - len(set(read)) <= 3 * processes * len(steps)


def ran(build: Build) -> set[str]:
    """Names of the tasks that ran, as their marks have them."""
    joined = {f"{name}.threads" for name in build.said("join")}
    preferred = {name.replace("threads", "preferred") for name in build.said("prefer")}
    selected = {name.replace("preferred", "selected") for name in build.said("clean")}
    return {*build.said("ingest"), *joined, *preferred, *selected}


@pytest.mark.parametrize("moment", ["starting", "working"])
def test_workers_end_with_a_build_that_is_killed(tmp_path, files, moment):
    """Also those that were not up yet: their parent is another one from the first."""
    build = Build(tmp_path, files, processes=2)
    process = build.start(STUCK)
    if moment == "working":
        build.wait_for("block", process)
    else:
        end = time.monotonic() + PATIENCE
        while len(running(build.mark)) < 3:  # The build, the resource tracker of multiprocessing, and a worker.
            assert time.monotonic() < end
            time.sleep(0.005)
    process.kill()
    process.wait()
    process.stderr.close()
    assert not build.left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_signal_ends_a_build_quickly_with_one_line(tmp_path, files, number, processes):
    build = Build(tmp_path, files, processes)
    process = build.start(STUCK)
    build.wait_for("block", process)
    start = time.monotonic()
    # Ctrl-C reaches every process of the terminal.
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    _, said = process.communicate(timeout=PATIENCE)
    assert time.monotonic() - start < 10
    assert process.returncode == 1
    assert said == "error: interrupted. Run the same driver.py command again to go on.\n"
    assert not build.left()
    assert build.unfinished.exists()


def test_two_builds_at_once(tmp_path, files):
    build = Build(tmp_path, files)
    process = build.start(STUCK)
    build.wait_for("block", process)
    with pytest.raises(UserError, match=f"in use by process {process.pid}"):
        scale.build(sources.parts("reddit_dump", files, 4), plan_for(), build.unfinished, 1)
    other = Build(tmp_path, files)
    second = other.start()
    _, said = second.communicate(timeout=PATIENCE)
    assert second.returncode == 2 and said.count("\n") == 1 and "in use by process" in said
    process.kill()
    process.communicate()
    assert not build.left()


@pytest.mark.skipif(
    subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0, reason="no user namespaces here"
)
def test_a_disk_that_is_really_full(tmp_path, files, reference):
    """A file system of 150 kB, enlarged after the first try."""
    build = Build(tmp_path, files)
    build.unfinished.mkdir()
    small = tmp_path / "small"
    small.mkdir()
    build.unfinished = small / "un"
    script = (
        f'mount -t tmpfs -o size=150k tmpfs {small} || exit 77; "$@"; echo $? >&2; ls {small}/un >&2;'
        f'mount -o remount,size=50m {small}; "$@"'
    )
    process = build.start(dict.fromkeys(SLOW, 0), before=("unshare", "-rm", "sh", "-c", script, "sh"))
    _, said = process.communicate(timeout=PATIENCE)
    first, code, *listed = said.splitlines()
    assert process.returncode == 0
    assert first.startswith("error: no space left on the disk") and "it will go on" in first
    assert code == "2" and "fingerprint" in listed
    assert build.out.read_text() == reference


# While TFDS writes.

WRITER = '''
"""The command, slow at writing."""
import os, time

from data_pipelines import build, storage
from llumi_jax import cli

def main(argv):
    storage.quiet_tfds()
    from data_pipelines.llumi_pairs import LlumiPairs

    generate = LlumiPairs._generate_examples

    def slowly(self, examples):
        for example in generate(self, examples):
            with open(os.environ["LOG"], "a") as file:
                file.write("write 0\\n")
            time.sleep(float(os.environ["PACE"]))
            yield example

    LlumiPairs._generate_examples = slowly
    build.main(argv)

if __name__ == "__main__":
    cli.run(main)
'''


class Command(Build):
    """The whole command in a process of its own."""

    script = WRITER

    def argv(self, out: str = "data") -> list[str]:
        found = ["--source", "reddit_dump", "--key_file", str(self.folder / "key"), "--out", str(self.folder / out)]
        return found + [word for kind, path in self._files for word in (f"--{kind}", path)]


def test_a_kill_while_the_dataset_is_written(tmp_path, files):
    command = Command(tmp_path, files)
    (tmp_path / "key").write_bytes(b"0123456789abcdef0123456789abcdef")
    process = command.start(0.05)
    command.wait_for("write", process)
    process.kill()
    process.communicate()
    assert storage.datasets(tmp_path / "data") == []
    assert all(path.name.startswith(".building-") for path in (tmp_path / "data").iterdir())
    process = command.start(0)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    build.main(command.argv("whole"))
    assert tree(tmp_path / "data") == tree(tmp_path / "whole")
    assert not [path for path in (*tmp_path.glob(".*"), *(tmp_path / "data").rglob(".*"))]
    assert not command.left()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
