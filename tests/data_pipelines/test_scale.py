"""The steps on files: always the dataset that `pipeline.build_plan` makes in memory, whatever is killed on the way."""

import errno
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import corpus
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines import pairing, pipeline, scale, sources
from data_pipelines.funnel import Funnel
from data_pipelines.identity import Hasher
from data_pipelines.ingest import Tombstones
from data_pipelines.pipeline import Dataset, Plan
from data_pipelines.sources import counselchat, lines, reddit_dump
from data_pipelines.sources.broken import BrokenLines
from llumi_jax.cli import UserError

ROOT = Path(__file__).parents[2]
HASHER = Hasher(b"a key")


def plan_for(rule: str = "strict", traits=reddit_dump.TRAITS, **changes) -> Plan:
    return Plan(traits, pairing.rule_for(rule, traits), HASHER, **changes)


def world(folder: Path, seed: int, posts: int = 60) -> list[tuple[str, str]]:
    """Writes posts and comments of every kind to several files, some rows to two of them; returns (kind, path)."""
    chance = random.Random(seed)
    rows: dict[str, list] = {"submissions": [], "comments": []}
    for i in range(posts):
        odd = chance.choice([{}] * 12 + [{"author": "[deleted]"}, {"selftext": "short"}, {"contest_mode": True}])
        day = chance.randrange(60) * corpus.DAY
        rows["submissions"].append(
            corpus.post(f"p{i}", created_utc=corpus.START + day, score=chance.randrange(9), **odd)
        )
        for j in range(chance.randrange(9)):
            odd = chance.choice(
                [{}] * 14 + [{"body": "[removed]"}, {"score": None}, {"body": "tiny"}, {"author": f"poster_p{i}"},
                {"parent_id": "t1_other"}, {"link_id": "t3_nowhere", "parent_id": "t3_nowhere"}, {"author": "a_bot"}]
            )  # fmt: skip
            score = int(chance.expovariate(1 / 15)) - 1
            created = corpus.START + day + 60 + chance.randrange(4) * 600
            rows["comments"].append(
                corpus.comment(f"c{i}x{j}", f"p{i}", score, created_utc=created, retrieved_on=created + 30 * corpus.DAY)
                | odd
            )
    for kind, some in rows.items():
        copies = [row | {"score": chance.randrange(60)} for row in some if chance.random() < 0.1]
        chance.shuffle(some)
        rows[kind] = some + copies
    rows["comments"].insert(len(rows["comments"]) // 2, '{"id": "cut')
    files = []
    for kind, some in rows.items():
        for number in range(3):
            files.append((kind, corpus.write(folder / f"{kind}{number}", some[number::3])))
    return files


def in_memory(parts, plan: Plan) -> Dataset:
    """The dataset by way of `pipeline`, from the same readers."""
    funnel, notes, records = Funnel(), [], []
    for _, group in itertools.groupby(parts, key=lambda part: part.path):
        broken = None
        for part in group:
            broken = broken or BrokenLines(part.path)
            records += itertools.chain.from_iterable(part.read(funnel, broken, lambda read: None))
        notes += broken.finish()
    funnel.notes += notes
    return pipeline.build_plan(records, plan, funnel)


def say(dataset: Dataset) -> str:
    """Everything in a dataset, as text."""
    return f"{dataset.pairs!r}\n{dataset.replies!r}\n{json.dumps(dataset.card, indent=1)}"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return world(tmp_path_factory.mktemp("world"), seed=7)


@pytest.fixture(scope="module")
def expected(files):
    dataset = in_memory(sources.parts("reddit_dump", files, 1), plan_for())
    assert dataset.card["pairs"]["gm"] > 20
    assert len(dataset.card["funnel"]) > 12
    return say(dataset)


@settings(max_examples=12, deadline=None)
@given(
    order=st.permutations(range(6)),
    shares=st.integers(1, 5),
    limits=st.tuples(st.sampled_from([1, 5, 64]), st.sampled_from([1, 3000, 40_000, 1 << 30])),
    chunk=st.sampled_from([700, 5000, 1 << 18]),
    checkpoint=st.integers(1, 4),
)
def test_any_order_of_files_shares_and_partitions_gives_the_same(
    tmp_path_factory, files, expected, order, shares, limits, chunk, checkpoint
):
    folder = tmp_path_factory.mktemp("unfinished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "MIN_SHARED_BYTES", 1)
        patch.setattr(scale, "MAX_PARTITIONS", limits[0])
        patch.setattr(scale, "BYTES_PER_PARTITION", limits[1])
        patch.setattr(scale, "CHECKPOINT_BLOCKS", checkpoint)
        patch.setattr(lines, "CHUNK_BYTES", chunk)
        # More shares than processes: a share of a file is a task whoever runs it.
        parts = sources.parts("reddit_dump", [files[index] for index in order], max(shares, 4) if shares > 1 else 1)
        dataset = scale.build(parts, plan_for(), folder, processes=1)
    # Where the broken line lies depends on nothing but the file; its note stands where the file stands.
    assert say(dataset) == expected
    assert not folder.exists()


def test_two_processes_give_the_same(tmp_path, files, expected, monkeypatch):
    monkeypatch.setattr(sources, "MIN_SHARED_BYTES", 1)
    monkeypatch.setattr(scale, "BYTES_PER_PARTITION", 20_000)
    seen = []
    write = scale._write_result
    monkeypatch.setattr(scale, "_write_result", lambda mark, result: (seen.append(mark.name), write(mark, result)))
    assert say(scale.build(sources.parts("reddit_dump", files, 4), plan_for(), tmp_path / "un", 2)) == expected
    assert sum(name.startswith("00") for name in seen) == 24 and "3.selected.done" in seen
    assert not (tmp_path / "un").exists()


@pytest.mark.parametrize("rule", ["paper", "exposure"])
def test_other_rules(tmp_path, files, monkeypatch, rule):
    monkeypatch.setattr(scale, "BYTES_PER_PARTITION", 20_000)
    parts = sources.parts("reddit_dump", files, 1)
    expected, found = in_memory(parts, plan_for(rule)), scale.build(parts, plan_for(rule), tmp_path / "un", 1)
    assert expected.card["pairs"]["gm"] > 3
    assert found.card == expected.card and found.replies == expected.replies
    # `exposure` adds up fractions, and a sum of them depends on their order in its last digits.
    for split, pairs in expected.pairs.items():
        assert [replace(pair, probability=0) for pair in found.pairs[split]] == [
            replace(pair, probability=0) for pair in pairs
        ]
        assert [p.probability for p in found.pairs[split]] == pytest.approx([p.probability for p in pairs], abs=1e-9)


def questions(folder: Path, seed: int, count: int = 80) -> str:
    """Writes a table as CounselChat has it."""
    chance = random.Random(seed)
    rows = [",".join(counselchat.COLUMNS)]
    for q in range(count):
        text = f"{corpus.distinct(q)} is a question that is long enough"
        rows += [
            f"q{q},Title {q},{text},topic,person {chance.randrange(30)},"
            f"{corpus.distinct(1000 + 10 * q + a)} {corpus.LONG_ENOUGH.format(a).replace(',', '')},"
            f"{chance.randrange(6)},{chance.randrange(20, 900)}"
            for a in range(chance.randrange(2, 5))
        ]
    return corpus.write(folder / "counsel.csv", rows)


@pytest.mark.xfail(strict=True, reason="the prior's last digits follow the order in which parts are added up")
def test_a_source_with_views_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(scale, "BYTES_PER_PARTITION", 5000)
    parts, plan = sources.parts("counselchat", [("", questions(tmp_path, 3))], 1), plan_for(traits=counselchat.TRAITS)
    assert say(scale.build(parts, plan, tmp_path / "un", 1)) == say(in_memory(parts, plan))


def test_the_same_file_twice_is_two_files(tmp_path):
    """Its rows are copies; its broken lines are named for each."""
    rows = [corpus.comment(f"c{i}", "p") for i in range(150)] + ["{cut"]
    files = [("submissions", corpus.write(tmp_path / "RS", [corpus.post("p")]))]
    files += [("comments", corpus.write(tmp_path / "RC", rows))] * 2
    card = scale.build(sources.parts("reddit_dump", files, 1), plan_for(), tmp_path / "un", 1).card
    assert card["warnings"][:2] == ["RC: 1 broken lines skipped (line 151)"] * 2
    assert (card["input"], card["funnel"]["reply_repeated"]) == (303, 150)


def test_broken_lines_are_judged_by_file_and_not_by_share(tmp_path, monkeypatch):
    """A stretch of broken lines, 3 of 400, lies in one share of four alone: 3 of 100."""
    rows = [corpus.comment(f"c{i}", "p") for i in range(400)]
    rows[40:43] = ["{"] * 3
    files = [("submissions", corpus.write(tmp_path / "RS", [corpus.post("p")]))]
    files.append(("comments", corpus.write(tmp_path / "RC", rows)))
    monkeypatch.setattr(sources, "MIN_SHARED_BYTES", 1)
    monkeypatch.setattr(lines, "CHUNK_BYTES", 5000)
    card = scale.build(sources.parts("reddit_dump", files, 4), plan_for(), tmp_path / "un", 1).card
    assert card["warnings"][0] == "RC: 3 broken lines skipped (line 41, 42, 43)"
    rows[50:53] = ["{"] * 3
    corpus.write(tmp_path / "RC", rows)
    with pytest.raises(UserError, match=r"6 of 400 lines are broken \(first: line 41, 42, 43, 51, 52, …\)"):
        scale.build(sources.parts("reddit_dump", files, 4), plan_for(), tmp_path / "un", 1)
    assert not (tmp_path / "un").exists()


# What changes the files between the steps, and what does not.


def interrupted(folder: Path, parts, plan: Plan, patch: pytest.MonkeyPatch, at: str = "finish") -> None:
    """Runs a build up to its last step, where it is interrupted."""

    def stop(*args):
        raise KeyboardInterrupt

    with patch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(pipeline, at, stop)
        scale.build(parts, plan, folder, 1)


@pytest.fixture
def tasks(monkeypatch):
    """Names of the tasks that run."""
    ran = []
    for name in ("_ingest", "_join", "_select"):
        step = getattr(scale, name)
        monkeypatch.setattr(scale, name, lambda *args, step=step, name=name: (ran.append(name), step(*args))[1])
    return ran


CHANGES = {
    "nothing": ({}, 0),
    "seed": ({"seed": 5}, 0),
    "tombstones": ({"tombstones": Tombstones.of(["poster_p1"])}, 1),
    "cutoff": ({"cutoff": corpus.START}, 1),
    "key": ({"hasher": Hasher(b"another")}, 1),
    "rule": ({"rule": pairing.rule_for("paper", reddit_dump.TRAITS)}, 1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_build_goes_on_only_with_what_is_its_own(tmp_path, files, monkeypatch, tasks, change):
    parts = sources.parts("reddit_dump", files, 1)
    interrupted(tmp_path / "un", parts, plan_for(), monkeypatch)
    assert len(tasks) == 6 + 1 + 1
    tasks.clear()
    changes, again = CHANGES[change]
    plan = replace(plan_for(), **changes)
    found = scale.build(parts, plan, tmp_path / "un", 1)
    assert len(tasks) == again * 8
    assert say(found) == say(in_memory(parts, plan))


def test_a_file_that_changed_is_read_again(tmp_path, monkeypatch, tasks):
    files = world(tmp_path, seed=8, posts=30)
    interrupted(tmp_path / "un", sources.parts("reddit_dump", files, 1), plan_for(), monkeypatch)
    tasks.clear()
    with open(files[3][1], "a") as file:
        file.write(json.dumps(corpus.comment("new", "p1", 99)) + "\n")
    parts = sources.parts("reddit_dump", files, 1)
    assert say(scale.build(parts, plan_for(), tmp_path / "un", 1)) == say(in_memory(parts, plan_for()))
    assert len(tasks) == 8


@pytest.mark.parametrize("killed_after", range(6))
def test_a_kill_while_the_folder_is_cleared_leaves_nothing_that_counts(
    tmp_path, files, expected, monkeypatch, killed_after
):
    """The build of other settings clears the folder, and is killed at that; then the first command runs again."""
    parts = sources.parts("reddit_dump", files, 1)
    interrupted(tmp_path / "un", parts, plan_for(), monkeypatch)
    calls = itertools.count()

    def kill(*args):
        if next(calls) >= killed_after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        unlink, rmtree, iterdir = Path.unlink, shutil.rmtree, Path.iterdir
        patch.setattr(Path, "iterdir", lambda path: iter(sorted(iterdir(path))))  # Some order: the mark comes late.
        patch.setattr(Path, "unlink", lambda path, **how: (kill(), unlink(path, **how)))
        patch.setattr(shutil, "rmtree", lambda path, **how: (kill(), rmtree(path, **how)))
        scale.build(parts, plan_for(seed=1, cutoff=corpus.START), tmp_path / "un", 1)
    assert say(scale.build(parts, plan_for(), tmp_path / "un", 1)) == expected


def test_errors_of_the_input_leave_no_texts_behind(tmp_path):
    paths = [corpus.write(tmp_path / "RS", ["{"] * 50), corpus.write(tmp_path / "RC", [])]
    parts = sources.parts("reddit_dump", list(zip(reddit_dump.KINDS, paths, strict=True)), 1)
    with pytest.raises(UserError, match="50 of 50 lines are broken"):
        scale.build(parts, plan_for(), tmp_path / "un", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["RC", "RS"]


def test_what_waits_is_for_the_owner_alone(tmp_path, files, monkeypatch):
    interrupted(tmp_path / "un", sources.parts("reddit_dump", files, 1), plan_for(), monkeypatch)
    assert (tmp_path / "un").stat().st_mode & 0o777 == 0o700


# A full disk.


@pytest.mark.parametrize("place", ["_write_result", "spool", "mark"])
def test_a_full_disk_keeps_what_is_done(tmp_path, files, expected, monkeypatch, place):
    parts = sources.parts("reddit_dump", files, 1)
    room = itertools.count()

    def full(*args, real):
        if next(room) >= 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")
        return real(*args)

    target, name = {
        "_write_result": (scale, "_write_result"),
        "spool": (scale.spool, "frame"),
        "mark": (scale.os, "replace"),
    }[place]
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        real = getattr(target, name)
        patch.setattr(target, name, lambda *args: full(*args, real=real))
        scale.build(parts, plan_for(), tmp_path / "un", 1)
    done = list((tmp_path / "un").glob("*.done"))
    assert done
    before = {path: path.stat().st_mtime_ns for path in done}
    with monkeypatch.context() as patch:
        remove = scale._remove
        kept = {}
        patch.setattr(
            scale, "_remove", lambda folder: (kept.update({p: p.stat().st_mtime_ns for p in done}), remove(folder))
        )
        assert say(scale.build(parts, plan_for(), tmp_path / "un", 1)) == expected
    assert kept == before  # Not made again.


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

real = {name: getattr(scale, name) for name in ("_ingest", "_join", "_select")}
records, finish = reddit_dump.records, pipeline.finish

def _ingest(part, *rest):
    log("ingest", part.name)
    return real["_ingest"](part, *rest)

def _join(index, *rest):
    log("join", index)
    time.sleep(pace["join"])
    return real["_join"](index, *rest)

def _select(threads, *rest):
    log("select", threads.name)
    time.sleep(pace["select"])
    return real["_select"](threads, *rest)

def slow_records(kind, block, number, funnel, broken):
    log("block", broken.path, number)
    time.sleep(pace["ingest"])
    yield from records(kind, block, number, funnel, broken)

def slow_finish(*args):
    log("finish", 0)
    time.sleep(pace["finish"])
    return finish(*args)

scale._ingest, scale._join, scale._select = _ingest, _join, _select
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

SLOW = {"ingest": 0.02, "join": 0.15, "select": 0.15, "finish": 0.5}
STUCK = {"ingest": 60, "join": 60, "select": 60, "finish": 60}


class Build:
    """A build in a process of its own, and the processes that it starts."""

    def __init__(self, folder: Path, files, processes: int = 1) -> None:
        self.folder, self._files, self._processes = folder, files, processes
        self.unfinished, self.out, self.log = folder / "un", folder / "out", folder / "log"
        (folder / "driver.py").write_text(DRIVER)
        self.mark = f"{folder}-{os.getpid()}"

    def start(self, pace=SLOW, before: tuple[str, ...] = ()) -> subprocess.Popen:
        self.log.write_text("")
        argv = [json.dumps(self._files), str(self.unfinished), str(self.out), str(self._processes)]
        environment = os.environ | {"PACE": json.dumps(pace), "LOG": str(self.log), "MARK": self.mark}
        return subprocess.Popen(
            [*before, sys.executable, str(self.folder / "driver.py"), *argv],
            env=environment | {"PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def said(self, kind: str) -> list[str]:
        """What was logged of a kind ("block", "join", …)."""
        found = [line.split(" ", 1) for line in self.log.read_text().splitlines()]
        return [rest for word, rest in found if word == kind]

    def wait_for(self, kind: str, process: subprocess.Popen) -> None:
        while not self.said(kind):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)

    def done(self) -> set[str]:
        return {path.name.removesuffix(".done") for path in self.unfinished.glob("*.done")}

    def left(self, seconds: float = 5) -> list[str]:
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
def reference(files):
    """The same, with the names of files that the driver gives."""
    return say(in_memory(sources.parts("reddit_dump", files, 1), plan_for()))


@pytest.mark.parametrize(("processes", "steps"), [(1, ("block", "join", "select", "finish")), (2, ("join",))])
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
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
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
    selected = {name.replace("threads", "selected") for name in build.said("select")}
    return {*build.said("ingest"), *joined, *selected}


@pytest.mark.parametrize("moment", ["starting", "working"])
def test_workers_end_with_a_build_that_is_killed(tmp_path, files, moment):
    """Also those that were not up yet: their parent is another one from the first."""
    build = Build(tmp_path, files, processes=2)
    process = build.start(STUCK)
    if moment == "working":
        build.wait_for("block", process)
    else:
        while len(running(build.mark)) < 3:  # The build, the resource tracker of multiprocessing, and a worker.
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
    _, said = process.communicate(timeout=30)
    assert time.monotonic() - start < 5
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
    _, said = second.communicate(timeout=30)
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
    _, said = process.communicate(timeout=60)
    first, code, *listed = said.splitlines()
    assert process.returncode == 0
    assert first.startswith("error: no space left on the disk") and "it will go on" in first
    assert code == "2" and "fingerprint" in listed
    assert build.out.read_text() == reference
