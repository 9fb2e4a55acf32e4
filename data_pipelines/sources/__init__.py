"""One file per raw format. Each has TRAITS and `read(…) -> Iterator[Post | Reply]`, in any order."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_pipelines.funnel import Funnel
from data_pipelines.records import Post, Reply, Traits
from data_pipelines.sources import convokit, counselchat, reddit_api, reddit_dump, shp, table
from data_pipelines.sources.broken import BrokenLines
from data_pipelines.sources.lines import Progress, read_blocks

TRAITS: dict[str, Traits] = {
    source.TRAITS.name: source.TRAITS for source in (reddit_dump, reddit_api, counselchat, shp, convokit, table)
}
# A file smaller than this is read by one process.
MIN_SHARED_BYTES = 16 << 20


@dataclass(frozen=True)
class Settings:
    """What a user says about the files of a source. columns: of a table.  retrieved_utc: of files of the API."""

    columns: Mapping[str, str] = field(default_factory=dict)
    self_vote: bool = False
    fuzz: bool = False
    retrieved_utc: int | None = None


@dataclass(frozen=True)
class Part:
    """A file, or every `shares`-th block of a large one, as a task of its own. `bytes` is its size on the disk."""

    name: str
    source: str
    path: str
    bytes: int
    kind: str = ""
    share: int = 0
    shares: int = 1
    settings: Settings = Settings()

    @property
    def resumable(self) -> bool:
        return self.source == reddit_dump.TRAITS.name

    def describe(self) -> list:
        """Returns what makes the part what it is, for telling whether a file or a setting has changed since."""
        names = [self.source, self.path, self.kind, self.share, self.shares, repr(self.settings)]
        read = convokit.files(self.path) if self.source == "convokit" else (Path(self.path),)
        return [*names, *((file.stat().st_size, file.stat().st_mtime_ns) for file in read)]

    def read(self, funnel: Funnel, broken: BrokenLines, progress: Progress) -> Iterator[Iterable[Post | Reply]]:
        """Yields records by the block; a block that is not iterated over is neither read nor counted."""
        if self.resumable:
            blocks = read_blocks(self.path, lambda read: progress(read // self.shares))
            for index, (number, block) in enumerate(blocks):
                if index % self.shares == self.share:
                    yield reddit_dump.records(self.kind, block, number, funnel, broken)
        else:
            yield self._whole(funnel, progress)

    def _whole(self, funnel: Funnel, progress: Progress) -> Iterator[Post | Reply]:
        if self.source == "counselchat":
            return counselchat.read(self.path, funnel, progress)
        if self.source == "reddit_api":
            return reddit_api.read([self.path], funnel, progress, self.settings.retrieved_utc)
        if self.source == "table":
            return table.read([self.path], self.settings.columns, funnel, progress)
        return {"shp": shp.read, "convokit": convokit.read}[self.source]([self.path], funnel, progress)


def traits(source: str, settings: Settings) -> Traits:
    """Returns what a source has; of a table its columns decide."""
    if source == "table":
        return table.traits(settings.columns, settings.self_vote, settings.fuzz)
    return TRAITS[source]


def parts(source: str, files: Sequence[tuple[str, str]], processes: int, settings: Settings = Settings()) -> list[Part]:
    """Returns the tasks for (kind, path) of each file: large files are shared where there are fewer than processes.

    Every reader of a shared file decompresses all of it, which is cheap beside what it does with its share.
    """
    made = []
    for number, (kind, path) in enumerate(files):
        if source == "convokit":
            path = str(convokit.files(path)[0])
        size = Path(path).stat().st_size
        large = source == reddit_dump.TRAITS.name and size >= MIN_SHARED_BYTES
        shares = processes if large and len(files) < 2 * processes else 1
        for share in range(shares):
            name = f"{number:04d}-{share:02d}"
            made.append(Part(name, source, str(Path(path).resolve()), size // shares, kind, share, shares, settings))
    return made
