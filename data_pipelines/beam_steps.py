"""The steps of `pipeline` as transforms of Apache Beam: what `scale` does with processes and folders, on any runner.

    parts ─ Ingest ─► (partition, rows) ─ GroupByKey ─ Join ─► threads ─ select ─► files of frames
               └► counts ─► Opening ──── side input ────┘ └► sums ─► Learned ─┘ side input

Rows travel as MessagePack under a number, so keys and rows are the same bytes on every worker. A partition is a share
of the posts by hash, with all that was said about them: small enough for a worker's memory, large enough that the
runner's toil for each element does not count.

A mistake of the user found by a worker travels on as a `Mistake` to whoever started the job: an exception would be
tried again, and end in a stack trace. The other steps then have nothing to do.
"""

import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.pvalue import AsSingleton, TaggedOutput
from apache_beam.typehints.decorators import no_annotations

from data_pipelines import ingest, join, months, pairing, pipeline, scale, spool
from data_pipelines.beam_files import Frames, at_hand, read_frames
from data_pipelines.calibration import Sums
from data_pipelines.funnel import Funnel
from data_pipelines.ingest import Kept
from data_pipelines.pipeline import Learnt, Plan
from data_pipelines.records import Thread
from data_pipelines.scale import Ingested, Joined
from data_pipelines.selection import Selected
from data_pipelines.sources import Part
from data_pipelines.sources.broken import BrokenLines
from data_pipelines.splits import Splitter
from llumi_jax.cli import UserError

# `no_annotations`: Beam would take data classes that it finds in annotations for rows of a table, field by field.
ROWS, COUNTS = "rows", "counts"  # What a step yields.
ROWS_AT_ONCE = 4096
THREADS_PER_FRAME = 256
SELECTED, ENDING = "selected", "ending"  # How the names of the files begin.
_encode = msgspec.msgpack.Encoder().encode
_decode_threads = msgspec.msgpack.Decoder(list[Thread]).decode


@dataclass(frozen=True)
class Mistake:
    """What a `UserError` says, found on a worker."""

    text: str


@dataclass(frozen=True)
class Opening:
    """What the counts of all parts say, before posts meet replies."""

    funnel: Funnel
    splitter: Splitter
    refused: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Learned:
    """What all threads say together, and where the rows went until then."""

    funnel: Funnel
    learnt: Learnt


class _Piece(msgspec.Struct, array_like=True):
    """What some rows left in one partition: the `number`-th rows of the `part`-th part of the input."""

    part: int
    number: int
    rows: spool.Rows

    @property
    def place(self) -> tuple[int, int]:
        return self.part, self.number


_decode_piece = msgspec.msgpack.Decoder(_Piece).decode


def lay_out(job: Any, parts: Sequence[Part], plan: Plan, partitions: int, folder: str) -> None:
    """Adds all steps to a Beam pipeline (`job`), which leaves what `read_selected` and `read_ending` return."""
    # `Create` deals its elements out to the workers: nothing is read by whoever happened to hold the list.
    read = (
        job
        | "Parts" >> beam.Create(list(enumerate(parts)))
        | "Ingest" >> _with_counts(beam.ParDo(Ingest(plan, partitions)), tuple[int, bytes])
    )
    opening = AsSingleton(read[COUNTS] | "All counts" >> beam.combiners.ToList() | "Open" >> beam.Map(opened, plan))
    threads = (
        read[ROWS]
        | "To partitions" >> beam.GroupByKey()
        | "Join" >> _with_counts(beam.ParDo(Join(plan), opening), bytes)
    )
    learned = (
        threads[COUNTS] | "Add up" >> beam.CombineGlobally(AddUp(plan)) | "Learn" >> beam.Map(learn, plan, opening)
    )
    selected = threads[ROWS] | "Select" >> _with_counts(beam.FlatMap(select, plan, AsSingleton(learned)), bytes)
    funnel = AsSingleton(selected[COUNTS] | "Where rows went" >> beam.CombineGlobally(_counted))
    ending = learned | "End" >> beam.Map(ended, funnel).with_output_types(bytes)
    for name, frames in ((SELECTED, selected[ROWS]), (ENDING, ending)):
        frames | f"Write {name}" >> beam.io.Write(Frames(FileSystems.join(folder, name)))


def _with_counts(step: Any, rows: Any) -> Any:
    """Returns a step whose rows, of this type, and counts are told apart by their tags."""
    return step.with_output_types(rows).with_outputs(COUNTS, main=ROWS)


class Ingest(beam.DoFn):
    """(place, part) -> (partition, rows) for what `ingest.keep` keeps; a part's counts or mistake under COUNTS."""

    def __init__(self, plan: Plan, partitions: int) -> None:
        super().__init__()
        self._plan, self._partitions = plan, partitions
        self._bytes = Metrics.counter("llumi_pairs", "bytes_read")

    @no_annotations
    def process(self, numbered: tuple[int, Part]) -> Iterable[tuple[int, bytes]]:
        place, part = numbered
        kept, broken = Kept(), BrokenLines(part.path)
        try:
            for number, rows in enumerate(self._batches(part, kept.funnel, broken)):
                plan = self._plan
                ingest.keep(rows, plan.traits, plan.options, plan.tombstones, plan.hasher, kept)
                for partition, piece in _partitioned(kept, self._partitions).items():
                    yield partition, _encode(_Piece(place, number, piece))
        except UserError as error:
            yield TaggedOutput(COUNTS, (place, Mistake(str(error))))
            return
        counted = (broken.path, broken.lines, broken.count, broken.first)
        file = part.name.partition("-")[0]
        yield TaggedOutput(COUNTS, (place, Ingested(kept.funnel, kept.votes_by_day, kept.posts_by_day, counted, file)))

    def _batches(self, part: Part, funnel: Funnel, broken: BrokenLines) -> Iterator[list]:
        with at_hand(part.path) as path:
            try:
                for records in replace(part, path=path).read(funnel, broken, self._bytes.inc):
                    rest = iter(records)
                    while rows := list(islice(rest, ROWS_AT_ONCE)):
                        yield rows
            except UserError as error:
                raise UserError(str(error).replace(path, part.path)) from None


def _partitioned(kept: Kept, partitions: int) -> dict[int, spool.Rows]:
    """Moves the rows out of `kept`, whose counts stay."""
    found: dict[int, spool.Rows] = {}

    def of(post_id: str) -> spool.Rows:
        return found.setdefault(spool.partition_of(post_id, partitions), spool.Rows([], [], []))

    for post in kept.posts:
        of(post.id).posts.append(post)
    for reply in kept.replies:
        of(reply.post_id).replies.append(reply)
    for gone in kept.gone:
        of(gone[0]).gone.append(gone)
    kept.posts, kept.replies, kept.gone = [], [], []
    return found


@no_annotations
def opened(counts: list[tuple[int, Ingested | Mistake]], plan: Plan) -> Opening | Mistake:
    """Adds up what the parts count, in the order of the input."""
    ingested = []
    for _, one in sorted(counts, key=lambda numbered: numbered[0]):
        if isinstance(one, Mistake):
            return one
        ingested.append(one)
    funnel = Funnel()
    try:
        votes, posts_by_day = scale.add_up(ingested, funnel)
    except UserError as error:
        return Mistake(str(error))
    refused = months.refused(votes) if plan.traits.fuzz else {}
    return Opening(funnel, pipeline.splitter_for(plan, posts_by_day), refused)


class Join(beam.DoFn):
    """(partition, rows) -> frames of threads; what the partition adds to the sums under COUNTS."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan

    @no_annotations
    def process(self, keyed: tuple[int, Iterable[bytes]], opening: Opening | Mistake) -> Iterable[bytes]:
        if isinstance(opening, Mistake):
            return
        rows, plan, funnel = _in_order(keyed[1]), self._plan, Funnel()
        threads = join.threads(rows.posts, rows.replies, rows.gone, plan.traits, funnel, tuple(opening.refused))
        train = (thread for thread in threads if opening.splitter.split_of(thread.post) == "train")
        sums = Sums.of(train, pipeline.exposure_sums(plan))
        scores = [reply.score or 0 for thread in threads for reply in thread.replies]
        yield TaggedOutput(COUNTS, Joined(funnel, sums, (min(scores), max(scores)) if scores else None))
        for at in range(0, len(threads), THREADS_PER_FRAME):
            yield _encode(threads[at : at + THREADS_PER_FRAME])


def _in_order(pieces: Iterable[bytes]) -> spool.Rows:
    """Puts rows back in the order of the input: groups come in any, and replies without times keep theirs."""
    rows = spool.Rows([], [], [])
    for piece in sorted(map(_decode_piece, pieces), key=lambda piece: piece.place):
        rows.posts += piece.rows.posts
        rows.replies += piece.rows.replies
        rows.gone += piece.rows.gone
    return rows


class AddUp(beam.CombineFn):
    """Adds up what the join of every partition counted."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan

    @no_annotations
    def create_accumulator(self) -> Joined:
        return Joined(Funnel(), Sums(exposure=pipeline.exposure_sums(self._plan)), None)

    @no_annotations
    def add_input(self, total: Joined, one: Joined) -> Joined:
        total.funnel.add(one.funnel)
        total.sums.merge(one.sums)
        scores = (total.scores or ()) + (one.scores or ())
        total.scores = (min(scores), max(scores)) if scores else None
        return total

    @no_annotations
    def merge_accumulators(self, totals: Iterable[Joined]) -> Joined:
        whole = self.create_accumulator()
        for total in totals:
            whole = self.add_input(whole, total)
        return whole

    @no_annotations
    def extract_output(self, total: Joined) -> Joined:
        return total


@no_annotations
def learn(total: Joined, plan: Plan, opening: Opening | Mistake) -> Learned | Mistake:
    """Calibrates on the sums of all partitions."""
    if isinstance(opening, Mistake):
        return opening
    try:
        pairing.check_reach(plan.rule, total.scores or ())
        learnt = Learnt(pipeline.calibrate(plan, total.sums), opening.splitter, opening.refused)
    except UserError as error:
        return Mistake(str(error))
    return Learned(_add_funnels([opening.funnel, total.funnel]), learnt)


@no_annotations
def select(threads: bytes, plan: Plan, learned: Learned | Mistake) -> Iterable[bytes]:
    """Frame of threads -> frame of those that teach something; where the others went under COUNTS."""
    if isinstance(learned, Mistake):
        return
    funnel = Funnel()
    preferred = pipeline.prefer_all(_decode_threads(threads), plan, learned.learnt, funnel)
    try:
        selected = pipeline.clean_all(preferred, plan, funnel)
    except UserError as error:
        yield TaggedOutput(COUNTS, Mistake(str(error)))
        return
    yield TaggedOutput(COUNTS, funnel)
    if selected:
        yield spool.frame(selected)


@no_annotations
def _counted(counts: Iterable[Funnel | Mistake]) -> Funnel | Mistake:
    """Returns the sum, or the mistake if a worker found one."""
    funnels = []
    for one in counts:
        if isinstance(one, Mistake):
            return one
        funnels.append(one)
    return _add_funnels(funnels)


def _add_funnels(funnels: Iterable[Funnel]) -> Funnel:
    total = Funnel()
    for funnel in funnels:
        total.add(funnel)
    return total


@no_annotations
def ended(learned: Learned | Mistake, funnel: Funnel | Mistake) -> bytes:
    """Returns a frame of everything that is known when the last thread was looked at."""
    if isinstance(learned, Learned):
        whole = _counted([learned.funnel, funnel])
        learned = whole if isinstance(whole, Mistake) else replace(learned, funnel=whole)
    return spool.frame(pickle.dumps(learned))


def read_selected(folder: str) -> list[Selected]:
    """Returns the threads that teach something, in no order."""
    return [one for some in read_frames(folder, SELECTED, list[Selected]) for one in some]


def read_ending(folder: str) -> Learned:
    """Returns what was learnt from all rows.

    Raises:
      UserError: what a worker found.
    """
    (ending,) = read_frames(folder, ENDING, bytes)
    learned = pickle.loads(ending)
    if isinstance(learned, Mistake):
        raise UserError(learned.text)
    return learned
