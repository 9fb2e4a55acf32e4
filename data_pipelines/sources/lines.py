"""Raw lines of plain, gzip and zstd files, split on bytes before anything is decoded.

Decoding chunk by chunk would corrupt characters that lie across two chunks, so only whole lines leave this file.
"""

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

from llumi_jax.cli import UserError

CHUNK_BYTES = 1 << 18  # Of the file; a compressed one becomes five to ten times as much.
MAX_WINDOW = 2**31  # Monthly dumps are written with --long=31.
MAX_LINE_BYTES = 64 << 20
Progress = Callable[[int], None]


class _CutShort(Exception):
    """The compressed stream ends before its end marker."""


def read_lines(path: str | Path, progress: Progress = lambda read: None) -> Iterator[bytes]:
    """Yields every line of a file without its newline, blank ones included; see `read_blocks`."""
    for _, block in read_blocks(path, progress):
        yield from block.split(b"\n")


def read_blocks(path: str | Path, progress: Progress = lambda read: None) -> Iterator[tuple[int, bytes]]:
    """Yields the file as blocks of whole lines, each with the number of its first line (from 1), last newline cut off.

    Where blocks end depends on the file alone: its n-th block is the same for every reader.

    Args:
      path: a plain, `.gz` or `.zst` file; told apart by its first bytes, not by its name.
      progress: called with the number of bytes just read from the disk.

    Raises:
      UserError: no such file, or a compressed file that is cut short or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no such file: {path}. Check the path.")
    number = 1
    rest: list[bytes] = []  # Pieces of a line that has not come to its end: put together once, however many they are.
    with path.open("rb") as file:
        try:
            for chunk in _decompressed(file, progress):
                end = chunk.rfind(b"\n")
                if end < 0:
                    rest.append(chunk)
                    if sum(map(len, rest)) > MAX_LINE_BYTES:
                        raise UserError(
                            f"{path}: line {number} is longer than {MAX_LINE_BYTES >> 20} MiB. "
                            "Is this a file with one JSON object a line?"
                        )
                    continue
                block = b"".join((*rest, chunk[:end]))
                rest = [chunk[end + 1 :]]
                yield number, block
                number += block.count(b"\n") + 1
        except _CutShort:
            raise UserError(
                f"{path} is cut short: {number - 1:,} whole lines were read, then the compressed data ends too "
                "early. Fetch the file again and compare its size with the original's."
            ) from None
        except (zstandard.ZstdError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"{path} is damaged after {number - 1:,} lines ({error}). Fetch the file again.") from None
    if last := b"".join(rest):
        yield number, last


def _decompressed(file: BinaryIO, progress: Progress) -> Iterator[bytes]:
    magic = file.read(4)
    file.seek(0)
    chunks = iter(lambda: file.read(CHUNK_BYTES), b"")
    watched = _watched(chunks, progress)
    if magic[:2] == b"\x1f\x8b":
        return _gunzip(watched)
    if magic == b"\x28\xb5\x2f\xfd" or (len(magic) == 4 and magic[1:] == b"\x2a\x4d\x18"):
        return _unzstd(watched)
    return watched


def _watched(chunks: Iterator[bytes], progress: Progress) -> Iterator[bytes]:
    for chunk in chunks:
        progress(len(chunk))
        yield chunk


def _unzstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    context = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    return _frames(chunks, context.decompressobj)


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    return _frames(chunks, lambda: zlib.decompressobj(wbits=31))


def _frames(chunks: Iterator[bytes], new_frame: Callable) -> Iterator[bytes]:
    """Decompresses one frame after another; the last one must have come to its end."""
    frame = None
    for data in chunks:
        while data:
            frame = frame or new_frame()
            yield frame.decompress(data)
            data = b""
            if frame.eof:
                data, frame = frame.unused_data, None
    if frame is not None:
        raise _CutShort
