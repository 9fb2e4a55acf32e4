"""The Beam path gives what the plain path gives: every field of every pair and reply, and every number of the card."""

import argparse
import gzip
import json
import random
import sys
from dataclasses import replace
from pathlib import Path

import corpus
import pytest
import zstandard
from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.localfilesystem import LocalFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines import beam, pairing, pipeline, scale, sources
from data_pipelines.eligibility import Options
from data_pipelines.funnel import Funnel
from data_pipelines.identity import Hasher
from data_pipelines.ingest import Tombstones
from data_pipelines.llumi_pairs import sample
from data_pipelines.pipeline import Dataset, Plan
from data_pipelines.sources import Settings, lines, reddit_dump, table
from llumi_jax.cli import RunFailure, UserError

HASHER = Hasher(b"a key")
PLAN = Plan(reddit_dump.TRAITS, pairing.rule_for("strict", reddit_dump.TRAITS), HASHER)
PARTITIONS = 7
Files = list[tuple[str, str]]


def plan(rule: str, **changes) -> Plan:
    return replace(PLAN, rule=pairing.rule_for(rule, PLAN.traits), **changes)


@pytest.fixture
def many_of_all(monkeypatch):
    """Makes small inputs look large: many shares of a file, blocks in a share, batches in a block."""
    from data_pipelines import beam_steps

    monkeypatch.setattr(sources, "MIN_SHARED_BYTES", 0)
    monkeypatch.setattr(lines, "CHUNK_BYTES", 4000)
    monkeypatch.setattr(beam_steps, "ROWS_AT_ONCE", 3)
    monkeypatch.setattr(beam_steps, "THREADS_PER_FRAME", 2)


def by_beam(files: Files, plan: Plan = PLAN, runner: str = beam.DIRECT, options: tuple[str, ...] = ()) -> Dataset:
    parts = beam.parts("reddit_dump", files, 2, Settings())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scale, "BYTES_PER_PARTITION", max(1, sum(part.bytes for part in parts) // PARTITIONS))
        return beam.build(parts, plan, runner, options)


def plainly(files: Files, plan: Plan = PLAN) -> Dataset:
    paths = [[path for kind, path in files if kind == wanted] for wanted in reddit_dump.KINDS]
    funnel = Funnel()
    return pipeline.build_plan(reddit_dump.read(*paths, funnel), plan, funnel)


def assert_same(one: Dataset, other: Dataset) -> None:
    assert one.pairs == other.pairs
    assert one.replies == other.replies
    assert one.card == other.card


def dump(folder: Path, posts: list, comments: list) -> Files:
    tables = (("submissions", posts), ("comments", comments))
    return [(kind, corpus.write(folder / f"{kind}.jsonl", table)) for kind, table in tables]


def threads(count: int) -> tuple[list, list]:
    """Threads of many days with poor replies and, later, good ones: most give pairs and replies to imitate."""
    posts, comments = [], []
    for i in range(count):
        created = corpus.START + i * corpus.DAY // 4
        posts.append(corpus.post(f"p{i}", created_utc=created))
        for side, score, later in (("a", 1, 60), ("b", 0, 90), ("c", 40 + i, 120), ("d", 55, 150)):
            times = {"created_utc": created + later, "retrieved_on": created + 2 * corpus.DAY}
            comments.append(corpus.comment(f"{side}{i}", f"p{i}", score, **times))
    return posts, comments


def test_the_shipped_sample():
    files = [("submissions", str(sample.SUBMISSIONS)), ("comments", str(sample.COMMENTS))]
    rule = pairing.rule_for("strict", sample.TRAITS)
    made = by_beam(files, Plan(sample.TRAITS, rule, Hasher(sample.KEY)))
    assert_same(made, sample.build()[0])
    assert made.card["input"] == sum(made.card["funnel"].values()) > 900


def drifted(folder: Path) -> Files:
    """Writes a dump with every form that the fields took, two copies of some rows, and one dead month."""
    posts, comments = threads(40)
    posts[0] |= {"created_utc": str(corpus.START), "edited": 1.7e9}
    posts[1] |= {"retrieved_on": None, "retrieved_utc": corpus.START + 3 * corpus.DAY}
    posts += [
        corpus.post("gone", author="[deleted]"),
        corpus.post("link", is_self=False),
        corpus.post("back", _meta={"was_deleted_later": True, "retrieved_2nd_on": corpus.START}),
        corpus.post(
            "late", selftext="A post of enough length &amp; a &lt;sign&gt;, \u00e9\u4e16\U0001f642 and all of that."
        ),
    ]
    comments[0] |= {"created_utc": str(corpus.START + 60), "edited": corpus.START + 99}
    comments[1] |= {"retrieved_on": None, "_meta": {"retrieved_2nd_on": corpus.START + 9 * corpus.DAY}}
    comments[2].pop("is_submitter")
    comments += [
        corpus.comment("own", "p3", author="poster_p3", is_submitter=None),
        corpus.comment("null", "p3", score=None),
        corpus.comment("float", "p0", score=77.0, created_utc=float(corpus.START + 300)),
        corpus.comment("hidden", "p4", score_hidden=True),
        corpus.comment("nested", "p4", parent_id="t1_a4"),
        corpus.comment("orphan", "never"),
        corpus.comment("under", "gone"),
        *(corpus.comment(f"dead{i}", f"p{i % 40}", 1, created_utc=corpus.START - 40 * corpus.DAY) for i in range(200)),
    ]
    again = [
        comments[3] | {"retrieved_on": corpus.START + 30 * corpus.DAY, "score": 21},
        comments[5] | {"body": "[removed]"},
        posts[2],
    ]
    (folder / "RS.zst").write_bytes(zstandard.ZstdCompressor(write_content_size=False).compress(rows(posts)))
    (folder / "RC.gz").write_bytes(gzip.compress(rows(comments) + b"\n{broken\n"))
    (folder / "RS_again").write_bytes(rows(again[2:]))
    (folder / "RC_again").write_bytes(rows(again[:2]) + b"{broken too\n")
    # Replies come before their posts.
    names = (("comments", "RC.gz"), ("submissions", "RS.zst"), ("comments", "RC_again"), ("submissions", "RS_again"))
    return [(kind, str(folder / name)) for kind, name in names]


def rows(some: list) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in some).encode()


def test_all_drifts(tmp_path, many_of_all):
    files = drifted(tmp_path)
    made = by_beam(files)
    assert_same(made, plainly(files))
    counted = {
        "broken_line": 2, "post_deleted": 1, "post_link": 1, "post_restored": 1, "post_repeated": 1, "reply_nested": 1,
        "reply_orphan": 1, "reply_post_dropped": 1, "reply_by_poster": 1, "reply_no_score": 1, "reply_dead_month": 200,
        "reply_removed": 1, "reply_taken_back": 1, "reply_repeated": 1, "reply_score_hidden": 1,
    }  # fmt: skip
    assert counted.items() <= made.card["funnel"].items()
    assert [month["month"] for month in made.card["months_refused"]] == ["2023-10"]
    assert made.card["score_merge"] == {"copies": 1, "other_score": 1}
    assert made.card["pairs"]["gm"] >= 40


CHANGES = (
    {},
    {"author": "[deleted]"},
    {"author": "somebody"},
    {"author": "helper_bot"},
    {"_meta": {"removal_type": "deleted"}},
    {"created_utc": str(corpus.START + 500)},
    {"created_utc": corpus.START + 40 * corpus.DAY, "retrieved_on": corpus.START + 90 * corpus.DAY},
    {"retrieved_on": corpus.START + 5 * corpus.DAY},
    {"retrieved_on": None},
    {"score": None},
    {"score": 90},
    {"score": -4},
    {"controversiality": 1},
    {"selftext": "[removed]", "body": "[removed]"},
    {"selftext": "The same words stand here as in another post.", "body": corpus.LONG_ENOUGH * 2},
    {"parent_id": "t1_a0"},
    {"is_submitter": None, "author": "poster_p1"},
)


def noisy(seed: int) -> tuple[list, list]:
    """Returns threads that give pairs among rows drawn at random: copies, orphans and changes of all kinds."""
    draw = random.Random(seed)
    posts, comments = threads(draw.randrange(1, 12))
    posts += [corpus.post(f"p{draw.randrange(16)}") | draw.choice(CHANGES) for _ in range(draw.randrange(12))]
    for _ in range(draw.randrange(90)):
        name = f"{draw.choice('abcdefgh')}{draw.randrange(12)}"
        comments.append(corpus.comment(name, f"p{draw.randrange(18)}", draw.randrange(60)) | draw.choice(CHANGES))
    draw.shuffle(posts)
    draw.shuffle(comments)
    return posts, comments


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["u/somebody", "t3_p3", "t1_c2", ""]))
def test_random_dumps(tmp_path_factory, seed, forget):
    files = dump(tmp_path_factory.mktemp("dump"), *noisy(seed))
    changed = plan("strict", tombstones=Tombstones.of([forget]), options=Options(edited=False), seed=seed)
    assert_same(by_beam(files, changed), plainly(files, changed))


def test_percentiles_of_the_whole_and_a_community_held_out(tmp_path, many_of_all):
    posts, comments = threads(60)
    for post in posts[4::5]:
        post["subreddit"] = "elsewhere"
    files = dump(tmp_path, posts, comments)
    changed = plan("paper", options=Options(left_out=("elsewhere",)))
    made = by_beam(files, changed)
    assert_same(made, plainly(files, changed))
    assert {pair.post.community for pair in made.pairs["test"]} >= {"elsewhere"}


def test_exposures_learnt_from_all_partitions(tmp_path):
    files = dump(tmp_path, *threads(60))
    assert_same(by_beam(files, plan("exposure")), plainly(files, plan("exposure")))


def test_replies_without_times_keep_the_order_of_the_file(tmp_path, many_of_all):
    """Only the first 50 of a post count, whatever batch and partition they travelled in."""
    columns = {name: name for name in ("post_id", "post", "reply", "score")}
    lines_ = [
        {
            "post_id": f"p{post}",
            "post": corpus.distinct(1000 + post),
            "reply": corpus.comment(f"r{number}", "")["body"],
            "score": score,
        }
        for number, (post, score) in enumerate((i % 5, 3 * i % 83) for i in range(5 * 58))
    ]
    path = corpus.write(tmp_path / "t.jsonl", lines_)
    traits = sources.traits("table", Settings(columns))
    changed = replace(PLAN, traits=traits, rule=pairing.rule_for("strict", traits))
    funnel = Funnel()
    expected = pipeline.build_plan(table.read([path], columns, funnel), changed, funnel)
    made = beam.build(beam.parts("table", [("", path)], 2, Settings(columns)), changed, beam.DIRECT, [])
    assert_same(made, expected)
    assert made.card["funnel"]["reply_beyond_first_50"] == 5 * 8
    assert made.card["pairs"]["gm"]


def test_a_worker_in_a_process_of_its_own(tmp_path):
    files = dump(tmp_path, *threads(12))
    options = ("--direct_running_mode=multi_processing", "--direct_num_workers=1")
    assert_same(by_beam(files, options=options), plainly(files))


def test_a_job_server_as_flink_and_spark_have_one(tmp_path):
    from apache_beam.runners.portability.local_job_service import LocalJobServicer

    files = dump(tmp_path, *threads(12))
    shared = tmp_path / "shared"
    shared.mkdir()
    server = LocalJobServicer(str(tmp_path / "staging"))
    try:
        endpoint = f"--job_endpoint=localhost:{server.start_grpc_server(0)}"
        options = (endpoint, "--environment_type=LOOPBACK", f"--temp_location={shared}")
        assert_same(by_beam(files, runner="PortableRunner", options=options), plainly(files))
    finally:
        server.stop()
    assert not list(shared.iterdir())  # It held texts.


class Elsewhere(LocalFileSystem):
    """A file system of its own for Beam: elsewhere://bucket/file lies in the folder `root`."""

    root = Path()
    scheme = classmethod(lambda cls: "elsewhere")

    def _near(self, url):
        return str(self.root / url.removeprefix("elsewhere://bucket/"))

    def join(self, base, *paths):
        return "/".join([base.rstrip("/"), *paths])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def _list(self, folder):
        for found in super()._list(self._near(folder)):
            name = Path(found.path).relative_to(self.root)
            yield FileMetadata(f"elsewhere://bucket/{name}", found.size_in_bytes)

    def metadata(self, path):
        return FileMetadata(path, super().metadata(self._near(path)).size_in_bytes)

    def mkdirs(self, path):
        super().mkdirs(self._near(path))

    def exists(self, path):
        return super().exists(self._near(path))

    def create(self, path, *how):
        return super().create(self._near(path), *how)

    def open(self, path, *args, **how):
        return super().open(self._near(path), *args, **how)

    def rename(self, sources, targets):
        super().rename([self._near(path) for path in sources], [self._near(path) for path in targets])

    def delete(self, paths):
        super().delete([self._near(path) for path in paths])


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(Elsewhere, "root", tmp_path / "bucket")
    Elsewhere.root.mkdir()
    return Elsewhere.root


def test_files_and_folder_on_another_file_system(tmp_path, elsewhere, many_of_all):
    files = dump(elsewhere, *threads(12))
    far = [(kind, f"elsewhere://bucket/{Path(path).name}") for kind, path in files]
    assert_same(by_beam(far, options=("--temp_location=elsewhere://bucket/tmp",)), plainly(files))
    assert not list((elsewhere / "tmp").iterdir())


def test_mistakes_far_away_name_the_file_there(tmp_path, elsewhere):
    with pytest.raises(UserError, match="^elsewhere://bucket/none: no one file can be read there"):
        by_beam([("comments", "elsewhere://bucket/none")])
    with pytest.raises(UserError, match="a corpus is a folder"):
        beam.parts("convokit", [("", "elsewhere://bucket/c")], 1, Settings())
    (elsewhere / "RC.zst").write_bytes(zstandard.compress(rows(threads(9)[1]))[:-9])
    with pytest.raises(UserError, match="^elsewhere://bucket/RC.zst is cut short: "):
        by_beam([("comments", "elsewhere://bucket/RC.zst")])
    parts = beam.parts("reddit_dump", [("comments", "elsewhere://bucket/RC.zst")], 1, Settings())
    (elsewhere / "RC.zst").unlink()
    with pytest.raises(UserError, match="^elsewhere://bucket/RC.zst: a worker cannot read it"):
        beam.build(parts, PLAN, beam.DIRECT, [])


def too_many_broken(folder: Path) -> Files:
    posts, comments = threads(12)
    return dump(folder, posts, [*comments, "{broken", "{broken too"])


def cut_short(folder: Path) -> Files:
    files = dump(folder, *threads(12))
    (folder / "RC.zst").write_bytes(zstandard.compress(rows(threads(12)[1]))[:-9])
    return [files[0], ("comments", str(folder / "RC.zst"))]


def out_of_reach(folder: Path) -> Files:
    posts, comments = threads(12)
    return dump(folder, posts, [comment for comment in comments if comment["score"] < 15])


@pytest.mark.parametrize("mistaken", [too_many_broken, cut_short, out_of_reach])
def test_mistakes_in_files_are_told_as_on_one_machine(tmp_path, mistaken):
    files = mistaken(tmp_path)
    shared = tmp_path / "shared"
    shared.mkdir()
    with pytest.raises(UserError) as expected:
        plainly(files, plan("paper"))
    with pytest.raises(UserError) as told:
        by_beam(files, plan("paper"), options=(f"--temp_location={shared}",))
    assert str(told.value) == str(expected.value)
    assert not list(shared.iterdir())


def test_a_file_that_only_this_machine_sees(tmp_path):
    files = dump(tmp_path, *threads(2))
    parts = beam.parts("reddit_dump", files, 1, Settings())
    Path(files[1][1]).unlink()
    with pytest.raises(UserError, match="comments.jsonl: a worker does not see it. Put it where all can read it"):
        beam.build(parts, PLAN, beam.DIRECT, [])


@pytest.mark.parametrize(
    ("runner", "options", "message"),
    [
        ("FlinkRuner", (), "unknown --beam_runner 'FlinkRuner'. .* Did you mean 'FlinkRunner'?"),
        ("some.where.Runner", (), "--beam_runner some.where.Runner: No module named 'some'"),
        ("FlinkRunner", (), "--beam_runner FlinkRunner needs --beam_options temp_location=FOLDER"),
        (beam.DIRECT, ("--temp_location=/no/such/place",), "temp_location=/no/such/place: no folder can be made there"),
        (beam.DIRECT, ("--temp_locatoin=/tmp",), "Beam has no such option. Did you mean 'temp_location'?"),
        (beam.DIRECT, ("--direct_num_workers=many",), "--beam_options: argument --direct_num_workers: invalid int"),
    ],
)
def test_mistakes_in_flags(runner, options, message):
    with pytest.raises(UserError, match=message) as told:
        beam.build([], PLAN, runner, options)
    assert "\n" not in str(told.value)


def flags(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    beam.add_flags(parser)
    return parser.parse_args(words)


def test_flags():
    given = flags("--beam_runner", "FlinkRunner", "--beam_options", "parallelism=8", "save_main_session")
    assert beam.options_of(given) == ["--parallelism=8", "--save_main_session"]
    assert beam.options_of(flags()) == []
    for words, message in (
        (["parallelism=8"], "--beam_options needs --beam_runner"),
        (["a b=8", "--beam_runner", "x"], "'a b=8': write NAME=VALUE"),
        (["runner=x", "--beam_runner", "x"], "runner: not here, use --beam_runner"),
    ):
        with pytest.raises(UserError, match=message):
            beam.options_of(flags("--beam_options", *words))


def test_without_beam_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    parts = beam.parts("reddit_dump", dump(tmp_path, *threads(1)), 1, Settings())
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(UserError, match=r"not installed. Run: pip install .* '\.\[beam\]'"):
        beam.build(parts, PLAN, beam.DIRECT, [])


class Job:
    """A job of a runner elsewhere."""

    cancelled = False

    def run(self):
        return self

    def wait_until_finish(self):
        return "CANCELLED"

    def cancel(self):
        self.cancelled = True


def test_a_job_that_somebody_stopped_writes_nothing():
    with pytest.raises(RunFailure, match="ended as CANCELLED"):
        beam._run(Job())


def test_who_stops_the_build_stops_its_job(monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Job, "wait_until_finish", interrupted)
    job = Job()
    with pytest.raises(KeyboardInterrupt):
        beam._run(job)
    assert job.cancelled
