"""Which split a post belongs to: decided by a keyed hash of its id alone, so that it stays there as data grows."""

from collections.abc import Sequence

from data_pipelines.identity import Hasher
from data_pipelines.near_duplicates import Clusters
from data_pipelines.records import SPLITS, Example, Pair, Post, Thread, Traits

MIN_SURVIVORS = 0.5


def split_of(post: Post, fractions: dict[str, float], hasher: Hasher) -> str:
    """Returns the split of a post. Train, validation and test lie in this order on the line from 0 to 1."""
    point = hasher.uniform("split", post.id)
    if point < fractions["train"]:
        return "train"
    return "validation" if point < fractions["train"] + fractions["validation"] else "test"


def assign(threads: Sequence[Thread], clusters: Clusters, traits: Traits, hasher: Hasher) -> dict[str, list[Thread]]:
    """Returns the threads by split; near-duplicate posts follow the oldest of them."""
    oldest: dict[int, Post] = {}
    for index, thread in enumerate(threads):
        leader = clusters.leader(index)
        known = oldest.get(leader)
        if known is None or (thread.post.created or 0) < (known.created or 0):
            oldest[leader] = thread.post
    found: dict[str, list[Thread]] = {split: [] for split in SPLITS}
    for index, thread in enumerate(threads):
        found[split_of(oldest[clusters.leader(index)], traits.fractions, hasher)].append(thread)
    return found


def people(rows: Sequence[Pair | Example]) -> set[str]:
    """Returns everybody who wrote a post, a reply or a draft of these pairs or replies to imitate."""
    return {name for row in rows for name in (row.post.author, *_repliers(row)) if name is not None}


def _repliers(row: Pair | Example) -> set[str | None]:
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
