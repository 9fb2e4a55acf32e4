"""Files that the workers of a Beam pipeline and this machine share, on any of Beam's file systems."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apache_beam.coders import BytesCoder
from apache_beam.io.filebasedsink import FileBasedSink
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from data_pipelines import spool
from data_pipelines.beam import is_far
from llumi_jax.cli import UserError


@contextmanager
def at_hand(path: str) -> Iterator[str]:
    """Yields a file on this machine: a copy of one that lies elsewhere (gs://, hdfs://, s3://), for the time being.

    Raises:
      UserError: the worker cannot read the file.
    """
    if not is_far(path):
        if not Path(path).exists():
            raise UserError(f"{path}: a worker does not see it. Put it where all can read it: a mounted folder, gs://…")
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="llumi-beam-") as folder:
        near = str(Path(folder) / path.rpartition("/")[2])
        try:
            with (
                FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as there,
                open(near, "wb") as here,
            ):
                shutil.copyfileobj(there, here, 1 << 20)
        except (BeamIOError, OSError, ValueError) as error:
            why = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"{path}: a worker cannot read it ({why}). Check the URL and the workers' rights."
            ) from None
        yield near


class Frames(FileBasedSink):
    """Files of frames as `spool` makes them; Beam leaves them whole or not at all, on any of its file systems."""

    def __init__(self, prefix: str) -> None:
        super().__init__(prefix, coder=BytesCoder(), file_name_suffix=".frames")

    def write_encoded_record(self, file_handle: Any, encoded_value: bytes) -> None:
        file_handle.write(encoded_value)


def read_frames(folder: str, name: str, kind: Any) -> Iterator[Any]:
    """Yields the values of all files of frames of that name."""
    for found in FileSystems.match([FileSystems.join(folder, f"{name}-*.frames")]):
        for file in found.metadata_list:
            with at_hand(file.path) as path:
                yield from spool.frames(Path(path), kind)
