"""What must never be in a dataset, looked for once more in what is about to be written; any find fails the build.

The steps before have seen to all of it. This looks at the finished pairs and replies alone and asks the rules again.
"""

from collections.abc import Iterator, Sequence

from data_pipelines import gate, privacy, revisions
from data_pipelines.near_duplicates import Clusters
from data_pipelines.records import Example, Pair
from data_pipelines.splits import HELD_OUT, people
from llumi_jax.cli import RunFailure
from llumi_jax.safety import rules

Row = Pair | Example
Rows = dict[str, list[Pair]]


def check(pairs: Rows, replies: dict[str, list[Example]], purged: dict[str, dict]) -> dict[str, int]:
    """Returns the counts of leaks between train and the held-out splits, all 0.

    Args:
      purged: as `splits.purge` returned it, by task.

    Raises:
      RunFailure: a T0 text (in a post: one that is not masked), a T1 text among those to imitate, a revision by a
        model that is none, or a leak. Nothing was written.
    """
    train, measured = (_rows(pairs, replies, splits) for splits in (("train",), HELD_OUT))
    held_out = [row for row in measured if isinstance(row, Pair)]
    _check_posts([*train, *measured])
    _check_texts(pairs, replies)
    _check_made([row for row in (*train, *measured) if revisions.is_made(row.source)])
    found = {
        "posts_in_train": len(_posts(measured) & _posts(train)),
        "near_duplicate_posts_in_train": _near_duplicates(measured, train),
    }
    known = people(train)
    for task, report in purged.items():
        apart = [pair for pair in held_out if pair.task == task]
        found[f"{task}_posters_in_train"] = len({pair.post.author for pair in apart if pair.post.author} & known)
        if report["repliers_purged"]:
            found[f"{task}_people_in_train"] = len(people(apart) & known)
    if any(found.values()):
        raise RunFailure(f"the splits leak ({found}). This is a fault of the program; nothing was written.")
    return found


def _rows(pairs: Rows, replies: dict[str, list[Example]], splits: Sequence[str]) -> list[Row]:
    return [*(row for split in splits for row in pairs[split]), *(row for split in splits for row in replies[split])]


def _posts(rows: Sequence[Row]) -> set[str]:
    return {row.post.id for row in rows}


def _near_duplicates(held_out: Sequence[Row], train: Sequence[Row]) -> int:
    """Counts held-out posts that are near-duplicates of a post of train."""
    posts = {row.post.id: row.post for row in (*train, *held_out)}
    names = list(posts)
    ours = _posts(held_out)
    clusters = Clusters.of([f"{posts[name].title}\n{posts[name].body}" for name in names]).groups()
    count = 0
    for cluster in clusters:
        inside = sum(names[index] in ours for index in cluster)
        count += inside if inside < len(cluster) else 0
    return count


def _check_posts(rows: Sequence[Row]) -> None:
    for text in {text for row in rows for text in (row.post.title, row.post.body)}:
        if rules.mask_post(text) != text:
            raise RunFailure(
                "a post with a T0 text reached the output. This is a fault of the program; nothing was written."
            )


def _check_texts(pairs: Rows, replies: dict[str, list[Example]]) -> None:
    for text, imitated, draft in _texts(pairs, replies):
        found = gate.judge(text)
        harmful = imitated and (not gate.may_revise(found, gate.judge(draft)) or privacy.has_placeholder(text))
        if gate.is_deadly(found) or harmful:
            raise RunFailure(
                f"a reply that breaks {', '.join(found) or 'a mask'} reached the output. "
                "This is a fault of the program; nothing was written."
            )


def _check_made(rows: Sequence[Row]) -> None:
    """What a model wrote is longer than people's words at times, and holds what it made up: numbers, or a mask."""
    for row in rows:
        target, draft = (row.chosen if isinstance(row, Pair) else row.reply), row.draft
        if (
            draft is None
            or len(target.text) > revisions.MAX_GROWTH * len(draft.text)
            or privacy.mask(target.text) != target.text
            or rules.METHOD in target.text
            or target.author != draft.author
        ):
            raise RunFailure(
                f"a revision by {row.source!r} that breaks its own rules reached the output. "
                "This is a fault of the program; nothing was written."
            )


def _texts(pairs: Rows, replies: dict[str, list[Example]]) -> Iterator[tuple[str, bool, str]]:
    """Yields (text, whether a model is to imitate it, the draft it revises)."""
    for pair in (pair for some in pairs.values() for pair in some):
        draft = pair.draft.text if pair.draft else ""
        yield pair.chosen.text, True, draft
        yield pair.rejected.text, False, draft
        yield draft, False, ""
    for row in (row for some in replies.values() for row in some):
        draft = row.draft.text if row.draft else ""
        yield row.reply.text, True, draft
        yield draft, False, ""
