"""Rows of a parquet file, a small batch at a time: a row group of gigabytes is never in memory at once."""

import importlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_pipelines.sources.lines import Progress
from llumi_jax.cli import UserError

MAGIC = b"PAR1"
BATCH_ROWS = 1024


def columns(path: str | Path) -> list[str]:
    """Returns the names of the columns. Raises UserError for a damaged file, or where pyarrow is not installed."""
    with _opened(path) as file:
        return list(file.schema_arrow.names)


def rows(path: str | Path, wanted: Collection[str], progress: Progress = lambda read: None) -> Iterator[dict[str, Any]]:
    """Yields every row as a dictionary of the wanted columns; times come as datetimes in UTC.

    Raises:
      UserError: a damaged file, or text that is not UTF-8.
    """
    left = Path(path).stat().st_size
    with _opened(path) as file:
        names = [name for name in file.schema_arrow.names if name in wanted]
        for group in range(file.metadata.num_row_groups):
            for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=names, use_threads=False):
                yield from _plain_times(batch).to_pylist()
            chunks = file.metadata.row_group(group)
            size = sum(chunks.column(index).total_compressed_size for index in range(chunks.num_columns))
            progress(min(size, left))
            left -= min(size, left)
    progress(left)  # Headers and the footer.


def _pyarrow(part: str = "pyarrow") -> Any:
    try:
        return importlib.import_module(part)
    except ImportError:
        raise UserError("parquet files need pyarrow, which is not installed: pip install pyarrow") from None


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    arrow, parquet = _pyarrow(), _pyarrow("pyarrow.parquet")
    try:
        # Without the pre-buffer the pages are read as they are wanted, not a row group at a time.
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
            yield file
    except UnicodeDecodeError:
        raise UserError(f"{path}: a column of text is not UTF-8. Write the file again with text in UTF-8.") from None
    except (arrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is no parquet file or damaged ({reason.rstrip('.')}). Fetch it again.") from None


def _plain_times(batch: Any) -> Any:
    """Times in nanoseconds need pandas to become Python's, and time zones a database of them: neither is asked for."""
    arrow = _pyarrow()
    for index, field in enumerate(batch.schema):
        if arrow.types.is_timestamp(field.type):
            times = batch.column(index).cast(arrow.timestamp("us"), safe=False)
            batch = batch.set_column(index, field.name, times)
    return batch
