"""Broken rows of files that have no lines: parquet, and JSON documents that run over many lines."""

from data_pipelines.sources.broken import BrokenLines


class BrokenRows(BrokenLines):
    """Counts as `BrokenLines` does; the numbers that it names are those of rows, the first being 1."""

    def where(self) -> str:
        return super().where().replace("line ", "row ", 1)
