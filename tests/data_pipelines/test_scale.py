"""The steps on files: always the dataset that `pipeline.build_plan` makes in memory, whatever stopped on the way.

Builds that are really killed are in `test_workers`.
"""

import errno
import itertools
import json
import os
import random
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import corpus
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines import build, pairing, pipeline, scale, sources, storage
from data_pipelines.funnel import Funnel
from data_pipelines.identity import Hasher
from data_pipelines.ingest import Tombstones
from data_pipelines.pipeline import Dataset, Plan
from data_pipelines.sources import counselchat, lines, reddit_dump
from data_pipelines.sources.broken import BrokenLines
from llumi_jax.cli import RunFailure, UserError

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
    expected = in_memory(parts, plan_for(rule))
    assert expected.card["pairs"]["gm"] > 3
    assert say(scale.build(parts, plan_for(rule), tmp_path / "un", 1)) == say(expected)


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


TASKS = 6 + 1 + 1 + 1  # Six files are read; one partition is joined, asked and cleaned.


@pytest.fixture
def tasks(monkeypatch):
    """Names of the tasks that run."""
    ran = []
    for name in ("_ingest", "_join", "_prefer", "_clean"):
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
    assert len(tasks) == TASKS
    tasks.clear()
    changes, again = CHANGES[change]
    plan = replace(plan_for(), **changes)
    found = scale.build(parts, plan, tmp_path / "un", 1)
    assert len(tasks) == again * TASKS
    assert say(found) == say(in_memory(parts, plan))


def test_a_file_that_changed_is_read_again(tmp_path, monkeypatch, tasks):
    files = world(tmp_path, seed=8, posts=30)
    interrupted(tmp_path / "un", sources.parts("reddit_dump", files, 1), plan_for(), monkeypatch)
    tasks.clear()
    with open(files[3][1], "a") as file:
        file.write(json.dumps(corpus.comment("new", "p1", 99)) + "\n")
    parts = sources.parts("reddit_dump", files, 1)
    assert say(scale.build(parts, plan_for(), tmp_path / "un", 1)) == say(in_memory(parts, plan_for()))
    assert len(tasks) == TASKS


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


# While the dataset is written.


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, MemoryError])
def test_who_is_stopped_while_writing_goes_on_there(tmp_path, files, expected, tasks, error):
    parts = sources.parts("reddit_dump", files, 1)
    with pytest.raises(error), scale.building(parts, plan_for(), tmp_path / "un", 1) as dataset:
        with pytest.raises(UserError, match="in use by process"):
            scale.build(parts, plan_for(), tmp_path / "un", 1)
        raise error
    assert tasks and say(dataset) == expected
    tasks.clear()
    assert say(scale.build(parts, plan_for(), tmp_path / "un", 1)) == expected
    assert not tasks and not (tmp_path / "un").exists()


@pytest.mark.parametrize("error", [UserError, RunFailure, ValueError])
def test_other_errors_while_writing_leave_no_texts_behind(tmp_path, files, error):
    parts = sources.parts("reddit_dump", files, 1)
    with pytest.raises(error), scale.building(parts, plan_for(), tmp_path / "un", 1):
        raise error
    assert not (tmp_path / "un").exists()


def test_the_command_writes_within(tmp_path, files, monkeypatch, tasks):
    (tmp_path / "key").write_bytes(b"0123456789abcdef0123456789abcdef")
    argv = ["--source", "reddit_dump", "--key_file", str(tmp_path / "key"), "--out", str(tmp_path / "data")]
    argv += [word for kind, path in files for word in (f"--{kind}", path)]
    handlers = []

    def stopped(*args):
        handlers.append(signal.getsignal(signal.SIGTERM))
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        build.main(argv)
    assert len(tasks) == TASKS and handlers != [signal.SIG_DFL]
    monkeypatch.setattr(storage, "write", lambda *args: None)
    build.main(argv)
    assert len(tasks) == TASKS


def test_a_card_is_that_of_its_dataset_whenever_a_build_is_killed(tmp_path, files, monkeypatch):
    parts = sources.parts("reddit_dump", files, 1)
    storage.write(in_memory(parts, plan_for()), HASHER, "x", tmp_path)

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "write_page", killed)
    monkeypatch.setattr(storage, "write_card", killed)
    with pytest.raises(KeyboardInterrupt):
        storage.write(in_memory(parts, plan_for(seed=5)), HASHER, "x", tmp_path)
    builder = storage.quiet_tfds().builder_from_directory(next((tmp_path / "llumi_pairs" / "x_pairs").iterdir()))
    assert builder.info.metadata["seed"] == storage.read_card(tmp_path, "x")["seed"]


def test_a_first_build_killed_between_its_two_halves_leaves_neither(tmp_path, monkeypatch):
    building, out = tmp_path / "building", tmp_path / "out"
    for kind in ("pairs", "replies"):
        (building / "llumi_pairs" / f"x_{kind}").mkdir(parents=True)
    out.mkdir()
    places, move = itertools.count(), os.replace

    def killed(*args):
        if next(places) == 1:
            raise KeyboardInterrupt
        move(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(storage.os, "replace", killed)
        storage._replace("x", building, out)
    storage._roll_back("x", out)
    assert storage.datasets(out) == []


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
