"""Which split a post belongs to: decided by a keyed hash of its id and by its time alone, so that it stays there.

Near-duplicate posts never stand on two sides: those that fall elsewhere than the oldest of them are left out rather
than moved, so that a post that was held out once is never trained on, whatever the data grows by.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data_pipelines.identity import Hasher
from data_pipelines.ingest import DAY
from data_pipelines.records import SPLITS, Example, Pair, Post, Reply, Traits

MIN_SURVIVORS = 0.5
HELD_OUT = tuple(split for split in SPLITS if split != "train")


@dataclass(frozen=True)
class Splitter:
    """Knows the split of every post. `cutoff`: posts from this time (in seconds) on never enter train.

    `left_out`: communities that are test as a whole, for asking how a model does where it has never been.
    """

    fractions: Mapping[str, float]
    hasher: Hasher
    cutoff: int | None = None
    left_out: tuple[str, ...] = ()

    def split_of(self, post: Post) -> str:
        """Train, validation and test lie in this order on the line from 0 to 1."""
        if post.community in self.left_out:
            return "test"
        point = self.hasher.uniform("split", post.id)
        if point < self.fractions["train"]:
            later = self.cutoff is not None and post.created is not None and post.created >= self.cutoff
            return "test_later" if later else "train"
        return "validation" if point < self.fractions["train"] + self.fractions["validation"] else "test"


def cutoff(posts_by_day: Mapping[int, int], traits: Traits) -> int | None:
    """Returns the time from which on at most the share `traits.later` of the posts lies; None without times."""
    total = sum(posts_by_day.values())
    if not traits.time or not traits.later or not total:
        return None
    first, tail = max(posts_by_day) + 1, 0
    for day in sorted(posts_by_day, reverse=True):
        tail += posts_by_day[day]
        if tail > traits.later * total:
            break
        first = day
    return first * DAY


def people(rows: Sequence[Pair | Example]) -> set[str]:
    """Returns everybody who wrote a post, a reply or a draft of these pairs or replies to imitate."""
    return {name for row in rows for name in (row.post.author, *_repliers(row)) if name is not None}


def _repliers(row: Pair | Example) -> set[str | None]:
    replies: tuple[Reply | None, ...]
    replies = (row.chosen, row.rejected, row.draft) if isinstance(row, Pair) else (row.reply, row.draft)
    return {reply.author for reply in replies if reply is not None}


def purge(held_out: dict[str, list[Pair]], known: set[str]) -> tuple[dict[str, list[Pair]], dict[str, int | bool]]:
    """Removes held-out pairs whose poster or replier also stands in the training split, and counts them.

    Repliers are purged only if at least half of the held-out pairs survive that: on a small site a few people
    answer nearly everything, and there the split is by post alone.
    """
    strangers = {split: [pair for pair in pairs if pair.post.author not in known] for split, pairs in held_out.items()}
    apart = {split: [pair for pair in pairs if not _repliers(pair) & known] for split, pairs in strangers.items()}
    before, posters, both = (sum(map(len, pairs.values())) for pairs in (held_out, strangers, apart))
    purge_repliers = both >= MIN_SURVIVORS * before
    report = {
        "held_out_pairs": before,
        "poster_in_train": before - posters,
        "replier_in_train": posters - both,
        "repliers_purged": purge_repliers,
    }
    return (apart if purge_repliers else strangers), report
