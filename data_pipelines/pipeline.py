"""The whole way from records to a dataset, as one pure function of records, rule, key and seed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from data_pipelines import card, collect, examples, pairing, revisions, splits
from data_pipelines.balance import balance_length, comparable
from data_pipelines.funnel import Funnel
from data_pipelines.identity import Hasher
from data_pipelines.records import Example, Pair, Post, Reply, Thread, Traits
from data_pipelines.similarity import LexicalSimilarity, Similarity

SAME_TEXT = 0.9
IM_WEIGHT = 0.5
# Replies to *different* posts stay under this TF-IDF cosine in 95 % of cases (.068, .076, .084 on three corpora):
# from here on a likeness comes from what the two replies say about their common post.
LEXICAL_THRESHOLD = 0.07


@dataclass(frozen=True)
class Dataset:
    """Pairs and replies by split, and everything the card says about them."""

    pairs: dict[str, list[Pair]]
    replies: dict[str, list[Example]]
    card: dict


def build(
    records: Iterable[Post | Reply], traits: Traits, rule_name: str, funnel: Funnel, hasher: Hasher, seed: int = 0
) -> Dataset:
    """Turns records into splits of pairs and replies.

    Args:
      records: what a source's `read` yields; it counts its rows in `funnel`.
      seed: changes which pairs leave when ties or lengths have to be balanced, nothing else.

    Raises:
      UserError: an unknown rule, or one that the source cannot satisfy.
    """
    rule = pairing.rule_for(rule_name, traits)
    threads = collect.threads(records, traits, funnel)
    threads, clusters = collect.without_copies(threads, traits, funnel)
    table = funnel.table(kept=_rows(threads, traits))
    pairing.check_reach(rule, [reply for thread in threads for reply in thread.replies])
    by_split = splits.assign(threads, clusters, traits, hasher)
    train = [reply for thread in by_split["train"] for reply in thread.replies]
    calibration = pairing.calibrate(rule, traits, train)
    standing = examples.Standing.fit(by_split["train"], traits, calibration.prior)
    similarity = LexicalSimilarity((reply.text for reply in train), LEXICAL_THRESHOLD)

    def order(pair: Pair) -> float:
        names = (pair.post.id, pair.chosen.id, pair.rejected.id, pair.draft.id if pair.draft else "")
        return hasher.uniform(f"order:{seed}", *names)

    makers = {split: _Maker(group, rule, traits, calibration, similarity, order) for split, group in by_split.items()}
    replies = {
        split: examples.gm_examples(by_split[split], standing) + examples.im_examples(maker.revisions, order)
        for split, maker in makers.items()
    }
    pairs, purged = _make_pairs(makers, replies["train"])
    settings = card.Settings(rule, traits, calibration, standing, similarity, seed)
    steps = {split: maker.steps for split, maker in makers.items()}
    return Dataset(pairs, replies, card.make(settings, pairs, replies, funnel, table, steps, purged))


def _rows(threads: Sequence[Thread], traits: Traits) -> int:
    return sum(len(thread.replies) + traits.posts_are_rows for thread in threads)


class _Maker:
    """Makes the pairs of one split, and remembers how many candidates each step left."""

    def __init__(self, threads, rule, traits, calibration, similarity: Similarity, order) -> None:
        self._threads, self._rule, self._order, self._similarity = threads, rule, order, similarity
        found = [pair for thread in threads for pair in pairing.candidates(thread, rule, traits, calibration)]
        different = [pair for pair in found if similarity.cosine(pair.chosen.text, pair.rejected.text) < SAME_TEXT]
        sized = [pair for pair in different if comparable(pair)]
        self._capped = pairing.cap(pairing.best_first(sized, order), rule)
        self.revisions = revisions.revisions(different, similarity)
        self.steps = {
            "candidates": len(found),
            "same_text": len(found) - len(different),
            "length_ratio": len(different) - len(sized),
            "caps": len(sized) - len(self._capped),
        }

    def candidates(self) -> dict[str, list[Pair]]:
        """GM pairs within the caps, and IM pairs, before the authors are looked at."""
        im = revisions.candidates(self.revisions, self._threads, self._similarity, self._order)
        return {"gm": self._capped, "im": im}

    def finish(self, found: dict[str, list[Pair]]) -> list[Pair]:
        """Balances the lengths of the pairs that are left and weighs everything by post."""
        gm = balance_length(found["gm"], self._order)
        self.steps |= {
            "author_purge": len(self._capped) - len(found["gm"]),
            "length_balance": len(found["gm"]) - len(gm),
            "kept": len(gm),
        }
        im = revisions.balanced(found["im"], self._order)
        return pairing.weighted(gm) + pairing.weighted(im, IM_WEIGHT)


def _make_pairs(makers: dict[str, _Maker], imitated: Sequence[Example]) -> tuple[dict[str, list[Pair]], dict]:
    """Train first: the held-out splits then lose the people who are in it, in its pairs or its replies (`imitated`)."""
    pairs = {"train": makers["train"].finish(makers["train"].candidates())}
    known = splits.people(pairs["train"]) | splits.people(imitated)
    held_out = [split for split in makers if split != "train"]
    found = {split: makers[split].candidates() for split in held_out}
    reports = {}
    for task in ("gm", "im"):
        left, reports[task] = splits.purge({split: found[split][task] for split in held_out}, known)
        for split in held_out:
            found[split][task] = left[split]
    pairs |= {split: makers[split].finish(found[split]) for split in held_out}
    return pairs, reports
