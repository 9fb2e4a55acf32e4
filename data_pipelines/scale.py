"""The same four steps as `pipeline.build`, on files of any size: all cores, bounded memory, and a build goes on.

    ingest   one task per file, or per share of a large file: rows -> partitions on disk
    join     one task per partition: rows -> threads, and sums over the training split
    prefer   one task per partition: threads -> those whose votes say something
    clean    one task per partition: those with their texts masked and judged
    finish   one process: what is left -> the dataset

Each task leaves its result whole or not at all, so a build that was killed runs only what is missing; the tasks of a
large file go on from their last checkpoint.
"""

import contextlib
import hashlib
import json
import os
import pickle
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import llumi_jax
from data_pipelines import ingest, join, months, pairing, pipeline, spool, workers
from data_pipelines.calibration import Sums
from data_pipelines.funnel import Funnel
from data_pipelines.ingest import Kept
from data_pipelines.pipeline import Dataset, Learnt, Plan
from data_pipelines.records import Thread
from data_pipelines.selection import Preferred, Selected
from data_pipelines.sources import Part
from data_pipelines.sources.broken import BrokenLines
from data_pipelines.workers import WorkerLost, Workers
from llumi_jax.storage import files

FORMAT = 2  # of the files between the steps
MARK = "fingerprint"
BYTES_PER_PARTITION = 4 << 20  # of the input, which is compressed as a rule
MAX_PARTITIONS = 64
CHECKPOINT_BLOCKS = 64
_THREADS_PER_FRAME = 256


@dataclass
class Ingested:
    """The counts of one ingest task. `broken`: (path, lines, broken lines, numbers of the first ones).

    `file`: tells tasks on one file from those on another, since the same path may be given twice.
    """

    funnel: Funnel = field(default_factory=Funnel)
    votes_by_day: dict[int, list[int]] = field(default_factory=dict)
    posts_by_day: Counter[int] = field(default_factory=Counter)
    broken: tuple[str, int, int, list[int]] = ("", 0, 0, [])
    file: str = ""


@dataclass
class Joined:
    """The counts of one join task."""

    funnel: Funnel
    sums: Sums
    scores: tuple[int, int] | None  # lowest and highest


def build(parts: Sequence[Part], plan: Plan, folder: Path, processes: int) -> Dataset:
    """Returns the dataset of all parts of the input; see `building`."""
    with building(parts, plan, folder, processes) as dataset:
        return dataset


@contextlib.contextmanager
def building(parts: Sequence[Part], plan: Plan, folder: Path, processes: int) -> Iterator[Dataset]:
    """Yields the dataset of all parts of the input, to be written while nobody else may build in the same place.

    Args:
      folder: private place for what waits between the steps; a build of the same input and plan goes on from there,
        anything else in it is deleted. It is deleted when the caller is done; where the build was interrupted or the
        disk was full it stays.
      processes: how many to run at once; with 1 everything stays in this one.

    Raises:
      UserError: whatever the sources and rules raise; another build holds the folder.
      WorkerLost: a process was ended from outside.
    """
    partitions = max(1, min(MAX_PARTITIONS, sum(part.bytes for part in parts) // BYTES_PER_PARTITION))
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    with files.locked(folder), workers.interruptible():
        _same_build_or_clear(folder, _fingerprint(parts, plan, partitions))
        try:
            with Workers(processes) as pool:
                found = _run(_Stages(folder, plan, partitions, pool), parts, plan, Funnel())
            dataset = pipeline.finish(*found)
            del found  # The texts that did not come into the dataset.
            yield dataset
        except (OSError, MemoryError, WorkerLost):
            raise  # A full disk or memory: what is done stays, and the same command goes on.
        except Exception:
            _remove(folder)
            raise
        _remove(folder)


def _run(
    stages: "_Stages", parts: Sequence[Part], plan: Plan, funnel: Funnel
) -> tuple[list[Selected], Plan, Learnt, Funnel]:
    ingested = stages.ingest(parts)
    votes, posts_by_day = add_up(ingested, funnel)
    refused = months.refused(votes) if plan.traits.fuzz else {}
    splitter = pipeline.splitter_for(plan, posts_by_day)
    sums = Sums(exposure=pipeline.exposure_sums(plan))
    scores: set[int] = set()
    for joined in stages.join([part.name for part in parts], splitter, tuple(refused)):
        funnel.add(joined.funnel)
        sums.merge(joined.sums)
        scores.update(joined.scores or ())
    pairing.check_reach(plan.rule, scores)
    learnt = Learnt(pipeline.calibrate(plan, sums), splitter, refused)
    for part_of_funnel in (*stages.prefer(learnt), *stages.clean()):
        funnel.add(part_of_funnel)
    return list(stages.selected()), plan, learnt, funnel


def add_up(ingested: Iterable[Ingested], funnel: Funnel) -> tuple[dict[int, list[int]], Counter[int]]:
    votes: dict[int, list[int]] = {}
    posts: Counter[int] = Counter()
    broken: dict[tuple[str, str], tuple[int, int, list[int]]] = {}
    for one in ingested:
        funnel.add(one.funnel)
        posts.update(one.posts_by_day)
        for day, sums in one.votes_by_day.items():
            votes[day] = [a + b for a, b in zip(votes.get(day, (0, 0, 0)), sums, strict=True)]
        path, lines, count, first = one.broken
        before = broken.get((one.file, path), (0, 0, []))
        broken[one.file, path] = (before[0] + lines, before[1] + count, before[2] + first)
    for (_, path), (lines, count, first) in broken.items():
        funnel.notes += BrokenLines.of(path, lines, count, first).finish()
    return votes, posts


def _fingerprint(parts: Sequence[Part], plan: Plan, partitions: int) -> str:
    """Names everything that the files between the steps depend on."""
    described = {
        "format": [FORMAT, llumi_jax.__version__],
        "parts": [part.describe() for part in parts],
        "partitions": partitions,
        "traits": asdict(plan.traits),
        "rule": plan.rule.to_dict(),
        "options": asdict(plan.options),
        "tombstones": sorted(plan.tombstones.entries),
        "key": plan.hasher.id("key"),
        "cutoff": plan.cutoff,
        "names_model": plan.names_model and asdict(plan.names_model),
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _same_build_or_clear(folder: Path, fingerprint: str) -> None:
    mark = folder / MARK
    if mark.exists() and mark.read_text() == fingerprint:
        return
    _clear(folder)
    files.write_text(mark, fingerprint)


def _clear(folder: Path) -> None:
    """Deletes all but the lock. The mark goes first: without it nothing that a kill leaves here counts."""
    (folder / MARK).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.name != ".lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _remove(folder: Path) -> None:
    _clear(folder)
    shutil.rmtree(folder, ignore_errors=True)


class _Stages:
    """The steps over one folder, each as tasks that are skipped where their result lies there already."""

    def __init__(self, folder: Path, plan: Plan, partitions: int, pool: Workers) -> None:
        self._folder, self._plan, self._partitions, self._pool = folder, plan, partitions, pool

    def ingest(self, parts: Sequence[Part]) -> list[Ingested]:
        jobs = [(_ingest, (part, self._plan, self._partitions, self._folder / part.name)) for part in parts]
        return self._all("Reading", jobs, [self._folder / f"{part.name}.done" for part in parts], parts)

    def join(self, names: Sequence[str], splitter, refused: tuple[str, ...]) -> list[Joined]:
        folders = [self._folder / name for name in names]
        jobs = [
            (_join, (index, folders, self._plan, splitter, refused, self._folder / f"{index}.threads"))
            for index in range(self._partitions)
        ]
        return self._all("Joining posts and replies", jobs, self._marks("threads"))

    def prefer(self, learnt: Learnt) -> list[Funnel]:
        jobs = [
            (_prefer, (self._folder / f"{index}.threads", self._plan, learnt, self._folder / f"{index}.preferred"))
            for index in range(self._partitions)
        ]
        return self._all("Looking for preferences", jobs, self._marks("preferred"))

    def clean(self) -> list[Funnel]:
        jobs = [
            (_clean, (self._folder / f"{index}.preferred", self._plan, self._folder / f"{index}.selected"))
            for index in range(self._partitions)
        ]
        return self._all("Masking and judging texts", jobs, self._marks("selected"))

    def selected(self) -> Iterator[Selected]:
        for index in range(self._partitions):
            for some in spool.frames(self._folder / f"{index}.selected", list[Selected]):
                yield from some

    def _marks(self, kind: str) -> list[Path]:
        return [self._folder / f"{index}.{kind}.done" for index in range(self._partitions)]

    def _all(
        self, what: str, jobs: list[tuple[Callable, tuple]], marks: list[Path], parts: Sequence[Part] = ()
    ) -> list:
        """Runs the jobs whose mark is missing; returns the results of all, in order."""
        missing = [index for index, mark in enumerate(marks) if not mark.exists()]
        sizes = [parts[index].bytes for index in missing] if parts else [1] * len(missing)
        left = [jobs[index] for index in missing]
        results = self._pool.run(what, left, sum(sizes), () if parts else sizes, in_bytes=bool(parts))
        with contextlib.closing(results):  # Its bar ends before an error is told.
            for place, result in results:
                _write_result(marks[missing[place]], result)
        return [pickle.loads(mark.read_bytes()) for mark in marks]


def _write_result(mark: Path, result: Any) -> None:
    partial = mark.with_suffix(".partial")
    partial.write_bytes(pickle.dumps(result))
    os.replace(partial, mark)


def _ingest(part: Part, plan: Plan, partitions: int, folder: Path) -> Ingested:
    """Reads a part of the input into partitions; goes on from a checkpoint if there is one."""
    state_path = folder / "state"
    done, kept, broken = 0, Kept(), BrokenLines(part.path)
    writer = spool.Writer(folder, partitions)
    if part.resumable and state_path.exists():
        done, sizes, kept, broken = pickle.loads(state_path.read_bytes())
        writer.cut(sizes)
    else:
        writer.cut([0] * partitions)
    try:
        for number, records in enumerate(part.read(kept.funnel, broken, workers.advance), start=1):
            if number <= done:
                continue
            ingest.keep(records, plan.traits, plan.options, plan.tombstones, plan.hasher, kept)
            writer.take(kept)
            if part.resumable and number % CHECKPOINT_BLOCKS == 0:
                _write_result(state_path, (number, writer.sizes(), kept, broken))
        writer.sizes()
    finally:
        writer.close()
    counts = (broken.path, broken.lines, broken.count, broken.first)
    return Ingested(kept.funnel, kept.votes_by_day, kept.posts_by_day, counts, part.name.partition("-")[0])


def _join(index: int, folders: Sequence[Path], plan: Plan, splitter, refused: tuple[str, ...], out: Path) -> Joined:
    rows = spool.Rows([], [], [])
    for folder in folders:
        for part in spool.frames(folder / f"{index}.rows", spool.Rows):
            rows.posts += part.posts
            rows.replies += part.replies
            rows.gone += part.gone
    funnel = Funnel()
    threads = join.threads(rows.posts, rows.replies, rows.gone, plan.traits, funnel, refused)
    train = (thread for thread in threads if splitter.split_of(thread.post) == "train")
    sums = Sums.of(train, pipeline.exposure_sums(plan))
    scores = [reply.score or 0 for thread in threads for reply in thread.replies]
    spool.write_frames(
        out, (threads[at : at + _THREADS_PER_FRAME] for at in range(0, len(threads), _THREADS_PER_FRAME))
    )
    return Joined(funnel, sums, (min(scores), max(scores)) if scores else None)


def _prefer(threads: Path, plan: Plan, learnt: Learnt, out: Path) -> Funnel:
    funnel = Funnel()
    some = spool.frames(threads, list[Thread])
    spool.write_frames(out, (pipeline.prefer_all(group, plan, learnt, funnel) for group in some))
    return funnel


def _clean(preferred: Path, plan: Plan, out: Path) -> Funnel:
    funnel = Funnel()
    some = spool.frames(preferred, list[Preferred])
    spool.write_frames(out, (pipeline.clean_all(group, plan, funnel) for group in some))
    return funnel
