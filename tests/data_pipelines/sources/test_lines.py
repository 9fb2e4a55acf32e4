import gzip

import pytest
import zstandard

from data_pipelines.sources import lines
from llumi_jax.cli import UserError

TEXT = "\n".join(f"line {i} with ü, 漢 and 🙂" for i in range(20_000)).encode() + b"\n"


def long_window(data: bytes) -> bytes:
    """As monthly dumps are written: `zstd --long=31`."""
    parameters = zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return compressor.compress(data) + compressor.flush()


def two_frames(data: bytes) -> bytes:
    middle = len(data) // 2 + 3
    return b"".join(zstandard.ZstdCompressor().compress(part) for part in (data[:middle], data[middle:]))


WRITERS = {"plain": bytes, "gzip": gzip.compress, "zstd": zstandard.ZstdCompressor().compress, "frames": two_frames}


@pytest.mark.parametrize("kind", WRITERS)
def test_lines_come_out_whole(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(lines, "CHUNK_BYTES", 997)  # Chunks that end inside characters.
    (tmp_path / "file").write_bytes(WRITERS[kind](TEXT))
    read = []
    assert list(lines.read_lines(tmp_path / "file", read.append)) == TEXT.split(b"\n")[:-1]
    assert sum(read) == (tmp_path / "file").stat().st_size


def test_largest_window_of_the_dumps(tmp_path):
    (tmp_path / "file").write_bytes(long_window(TEXT))
    assert len(list(lines.read_lines(tmp_path / "file"))) == 20_000


def test_last_line_needs_no_newline(tmp_path):
    (tmp_path / "file").write_bytes(b"a\n\nb")
    assert list(lines.read_lines(tmp_path / "file")) == [b"a", b"", b"b"]


@pytest.mark.parametrize("kind", ["gzip", "zstd", "frames"])
@pytest.mark.parametrize("share", [0.4, 0.9])
def test_a_file_cut_short_says_what_was_read(tmp_path, kind, share, monkeypatch):
    monkeypatch.setattr(lines, "CHUNK_BYTES", 997)
    data = WRITERS[kind](TEXT)
    (tmp_path / "cut.file").write_bytes(data[: int(len(data) * share)])
    read = []
    with pytest.raises(UserError, match=r"cut\.file is cut short: [\d,]+ whole lines .* Fetch the file again") as error:
        read.extend(lines.read_lines(tmp_path / "cut.file"))
    assert f"{len(read):,} whole lines" in str(error.value)


def test_a_damaged_file(tmp_path):
    data = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(TEXT))
    data[60:90] = bytes(30)
    (tmp_path / "bad.zst").write_bytes(data)
    with pytest.raises(UserError, match=r"bad\.zst is (damaged|cut short)"):
        list(lines.read_lines(tmp_path / "bad.zst"))


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        list(lines.read_lines(tmp_path / "none"))
