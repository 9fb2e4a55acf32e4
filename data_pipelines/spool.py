"""Rows on their way between two steps wait on disk, in partitions by post: memory holds one partition at a time.

A file is a row of frames: four bytes of length, then MessagePack. Partitions of a post are the same for every reader,
so all replies to it end in the same one. The folder is private (mode 0700) and goes when the build ends.
"""

import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from data_pipelines.ingest import Gone, Kept
from data_pipelines.records import Post, Reply

T = TypeVar("T")
FLUSH_ROWS = 4096
FLUSH_CHARACTERS = 16 << 20  # A post may be as long as a line.
_LENGTH = 4
_encoder = msgspec.msgpack.Encoder()


class Rows(msgspec.Struct, array_like=True):
    """What a part of the input left in one partition."""

    posts: list[Post] = []
    replies: list[Reply] = []
    gone: list[Gone] = []


def partition_of(post_id: str, partitions: int) -> int:
    return zlib.crc32(post_id.encode("utf-8", "surrogatepass")) % partitions


class Writer:
    """Appends rows to the partition files of one task."""

    def __init__(self, folder: Path, partitions: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._files = [open(folder / f"{index}.rows", "ab", buffering=1 << 16) for index in range(partitions)]
        self._buffers = [Rows([], [], []) for _ in range(partitions)]
        self._waiting = self._characters = 0

    def take(self, kept: Kept) -> None:
        """Moves the rows out of `kept`, whose counts stay."""
        partitions = len(self._files)
        for post in kept.posts:
            self._buffers[partition_of(post.id, partitions)].posts.append(post)
            self._characters += len(post.body)
        for reply in kept.replies:
            self._buffers[partition_of(reply.post_id, partitions)].replies.append(reply)
        for gone in kept.gone:
            self._buffers[partition_of(gone[0], partitions)].gone.append(gone)
        self._waiting += len(kept.posts) + len(kept.replies) + len(kept.gone)
        kept.posts, kept.replies, kept.gone = [], [], []
        if self._waiting >= FLUSH_ROWS or self._characters >= FLUSH_CHARACTERS:
            self._write()

    def _write(self) -> None:
        for index, buffer in enumerate(self._buffers):
            if buffer.posts or buffer.replies or buffer.gone:
                self._files[index].write(frame(buffer))
                self._buffers[index] = Rows([], [], [])
        self._waiting = self._characters = 0

    def sizes(self) -> list[int]:
        """Brings everything to the files and returns how long they are now."""
        self._write()
        for file in self._files:
            file.flush()
        return [file.tell() for file in self._files]

    def cut(self, sizes: Iterable[int]) -> None:
        """Forgets what was written after `sizes` was returned, by a run that was killed then."""
        for file, size in zip(self._files, sizes, strict=True):
            file.truncate(size)
            file.seek(size)

    def close(self) -> None:
        for file in self._files:
            file.close()


def frame(value: Any) -> bytes:
    body = _encoder.encode(value)
    return len(body).to_bytes(_LENGTH, "little") + body


def frames(path: Path, kind: type[T]) -> Iterator[T]:
    """Yields the values of a file of frames; none if it does not exist."""
    if not path.exists():
        return
    decode = msgspec.msgpack.Decoder(kind).decode
    with path.open("rb") as file:
        while head := file.read(_LENGTH):
            yield decode(file.read(int.from_bytes(head, "little")))


def write_frames(path: Path, values: Iterable[Any]) -> None:
    """Writes a whole file of frames, or none."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        for value in values:
            file.write(frame(value))
    os.replace(partial, path)
