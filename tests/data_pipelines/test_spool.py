"""Rows on disk between two steps: what goes in comes out, in its partition, whatever was killed on the way."""

import zlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines import spool
from data_pipelines.ingest import Kept
from data_pipelines.records import Post, Reply, Thread
from data_pipelines.spool import Rows

TEXT = st.text(max_size=30)  # No lone surrogates: sources replace them.
POSTS = st.builds(Post, id=TEXT, community=TEXT, title=TEXT, body=TEXT, created=st.none() | st.integers(0, 2**40))
SCORES = st.none() | st.integers(-(2**53), 2**53)
REPLIES = st.builds(Reply, id=TEXT, post_id=TEXT, text=TEXT, score=SCORES, by_poster=st.sampled_from([None, True]))
BATCH = st.tuples(
    st.lists(POSTS, max_size=5), st.lists(REPLIES, max_size=9), st.lists(st.tuples(TEXT, TEXT), max_size=3)
)


def kept(batch) -> Kept:
    posts, replies, gone = batch
    return Kept(posts=list(posts), replies=list(replies), gone=list(gone))


def read(folder, partitions: int) -> list[Rows]:
    """The rows of each partition, put together."""
    found = []
    for index in range(partitions):
        rows = Rows([], [], [])
        for part in spool.frames(folder / f"{index}.rows", Rows):
            rows.posts += part.posts
            rows.replies += part.replies
            rows.gone += part.gone
        found.append(rows)
    return found


def sorted_by_hand(batches, partitions: int) -> list[Rows]:
    found = [Rows([], [], []) for _ in range(partitions)]
    place = lambda post_id: zlib.crc32(post_id.encode()) % partitions
    for posts, replies, gone in batches:
        for post in posts:
            found[place(post.id)].posts.append(post)
        for reply in replies:
            found[place(reply.post_id)].replies.append(reply)
        for entry in gone:
            found[place(entry[0])].gone.append(entry)
    return found


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(BATCH, max_size=6), partitions=st.integers(1, 7), flush=st.integers(1, 12))
def test_rows_come_back_in_their_partition_and_order(tmp_path_factory, batches, partitions, flush):
    folder = tmp_path_factory.mktemp("spool")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "FLUSH_ROWS", flush)
        writer = spool.Writer(folder / "part", partitions)
        for batch in batches:
            waiting = kept(batch)
            writer.take(waiting)
            assert not (waiting.posts or waiting.replies or waiting.gone)
        sizes = writer.sizes()
        writer.close()
    assert read(folder / "part", partitions) == sorted_by_hand(batches, partitions)
    assert sizes == [(folder / "part" / f"{index}.rows").stat().st_size for index in range(partitions)]


@settings(max_examples=60, deadline=None)
@given(st.lists(BATCH, max_size=3), st.lists(BATCH, max_size=3), st.lists(BATCH, max_size=3), st.binary(max_size=9))
def test_what_was_written_after_a_checkpoint_is_forgotten(tmp_path_factory, before, lost, after, torn):
    folder = tmp_path_factory.mktemp("spool") / "part"
    writer = spool.Writer(folder, 3)
    for batch in before:
        writer.take(kept(batch))
    sizes = writer.sizes()
    for batch in lost:
        writer.take(kept(batch))
    writer.sizes()
    writer.close()
    with open(folder / "1.rows", "ab") as file:
        file.write(torn)  # The kill came while a frame was written.
    writer = spool.Writer(folder, 3)
    writer.cut(sizes)
    assert writer.sizes() == sizes
    for batch in after:
        writer.take(kept(batch))
    writer.sizes()
    writer.close()
    assert read(folder, 3) == sorted_by_hand([*before, *after], 3)


def test_long_posts_do_not_wait_by_the_thousand(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "FLUSH_CHARACTERS", 1000)
    writer = spool.Writer(tmp_path / "part", 1)
    for number in range(10):
        writer.take(Kept(posts=[Post(str(number), "c", "t", "x" * 600)]))
    assert sum(len(buffer.posts) for buffer in writer._buffers) <= 1
    writer.sizes()
    writer.close()
    assert len(read(tmp_path / "part", 1)[0].posts) == 10


def test_a_partition_is_the_same_in_every_process():
    """Python's own hash of a string differs from run to run; this must not: other tasks read what these wrote."""
    assert spool.partition_of("123456789", 1 << 16) == 0x3926  # The check value of CRC-32 is cbf43926.
    assert spool.partition_of("\ud800", 8) in range(8)


THREADS = [Thread(Post(str(n), "c", "t", "b"), (Reply("r", str(n), "x"),)) for n in range(5)]


def test_a_file_of_frames_is_whole_or_absent(tmp_path):
    path = tmp_path / "3.threads"
    spool.write_frames(path, (THREADS[at : at + 2] for at in range(0, 5, 2)))
    assert [thread for some in spool.frames(path, list[Thread]) for thread in some] == THREADS

    def broken():
        yield THREADS
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        spool.write_frames(path, broken())
    assert [thread for some in spool.frames(path, list[Thread]) for thread in some] == THREADS
    with pytest.raises(OSError, match="full"):
        spool.write_frames(tmp_path / "4.threads", broken())
    assert not (tmp_path / "4.threads").exists()
    assert list(spool.frames(tmp_path / "4.threads", list[Thread])) == []


@pytest.mark.parametrize("bytes_left", [1, 3, 5, 40])
def test_a_torn_file_is_an_error_and_never_fewer_rows(tmp_path, bytes_left):
    path = tmp_path / "0.threads"
    spool.write_frames(path, [THREADS])
    path.write_bytes(path.read_bytes()[:bytes_left])
    with pytest.raises(msgspec.DecodeError):
        list(spool.frames(path, list[Thread]))
