"""The whole way from records to a dataset, as one pure function of records, rule, key and seed."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from data_pipelines import audit, collect, examples, pairing, revisions, splits
from data_pipelines.balance import balance_length, comparable
from data_pipelines.funnel import Funnel
from data_pipelines.identity import Hasher
from data_pipelines.records import SPLITS, Example, Pair, Post, Reply, Thread, Traits
from data_pipelines.similarity import LexicalSimilarity, Similarity

FORMAT = 1
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
    by_split = splits.assign(threads, clusters, traits, hasher)
    train = [reply for thread in by_split["train"] for reply in thread.replies]
    calibration = pairing.calibrate(rule, traits, train)
    standing = examples.Standing.fit(by_split["train"], traits, calibration.prior)
    similarity = LexicalSimilarity((reply.text for reply in train), LEXICAL_THRESHOLD)

    def order(pair: Pair) -> float:
        names = (pair.post.id, pair.chosen.id, pair.rejected.id, pair.draft.id if pair.draft else "")
        return hasher.uniform(f"order:{seed}", *names)

    makers = {
        split: _Maker(group, rule, traits, calibration, similarity, order) for split, group in by_split.items()
    }
    pairs, purged = _make_pairs(makers)
    replies = {
        split: examples.gm_examples(by_split[split], standing) + examples.im_examples(maker.revisions, order)
        for split, maker in makers.items()
    }
    card = _card(rule, traits, calibration, standing, similarity, pairs, replies, table, makers)
    card |= {"input": funnel.input, "purge": purged, "seed": seed}
    return Dataset(pairs, replies, card)


def _rows(threads: Sequence[Thread], traits: Traits) -> int:
    return sum(len(thread.replies) + traits.posts_are_rows for thread in threads)


class _Maker:
    """Makes the pairs of one split, and remembers how many candidates each step left."""

    def __init__(self, threads, rule, traits, calibration, similarity: Similarity, order) -> None:
        self._threads, self._rule, self._order, self._similarity = threads, rule, order, similarity
        found = [pair for thread in threads for pair in pairing.candidates(thread, rule, traits, calibration)]
        alike = [pair for pair in found if similarity.cosine(pair.chosen.text, pair.rejected.text) < SAME_TEXT]
        sized = [pair for pair in alike if comparable(pair)]
        self._capped = pairing.cap(pairing.best_first(sized, order), rule)
        self.revisions = revisions.revisions(alike, similarity)
        self.steps = {
            "candidates": len(found),
            "same_text": len(found) - len(alike),
            "length_ratio": len(alike) - len(sized),
            "caps": len(sized) - len(self._capped),
        }

    def candidates(self) -> dict[str, list[Pair]]:
        """GM pairs within the caps, and IM pairs, before the authors are looked at."""
        return {"gm": self._capped, "im": revisions.candidates(self.revisions, self._threads, self._similarity, self._order)}

    def finish(self, found: dict[str, list[Pair]]) -> list[Pair]:
        """Balances the lengths of the pairs that are left and weighs everything by post."""
        gm = balance_length(found["gm"], self._order)
        self.steps |= {"author_purge": len(self._capped) - len(found["gm"]), "length_balance": len(found["gm"]) - len(gm)}
        self.steps["kept"] = len(gm)
        im = revisions.balanced(found["im"], self._order)
        return pairing.weighted(gm) + pairing.weighted(im, IM_WEIGHT)


def _make_pairs(makers: dict[str, _Maker]) -> tuple[dict[str, list[Pair]], dict]:
    """Train first: the held-out splits then lose the people who are in it."""
    pairs = {"train": makers["train"].finish(makers["train"].candidates())}
    known = splits.people(pairs["train"])
    held_out = [split for split in makers if split != "train"]
    found = {split: makers[split].candidates() for split in held_out}
    reports = {}
    for task in ("gm", "im"):
        left, reports[task] = splits.purge({split: found[split][task] for split in held_out}, known)
        for split in held_out:
            found[split][task] = left[split]
    pairs |= {split: makers[split].finish(found[split]) for split in held_out}
    return pairs, reports


def _card(rule, traits, calibration, standing, similarity, pairs, replies, table, makers) -> dict:
    everything = [pair for split in SPLITS for pair in pairs[split]]
    gm = [pair for pair in everything if pair.task == "gm"]
    steps: dict[str, int] = {}
    for maker in makers.values():
        for name, count in maker.steps.items():
            steps[name] = steps.get(name, 0) + count
    settings = {"format": FORMAT, "rule": rule.to_dict(), "traits": asdict(traits)}
    return {
        "source": traits.name,
        "rule": rule.name,
        "rule_hash": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16],
        "settings": settings,
        "clauses_off": rule.clauses_off(traits),
        "prior": asdict(calibration.prior),
        "similarity": {"name": similarity.name, "threshold": similarity.threshold},
        "cells_pooled": standing.pooled_cells,
        "funnel": table,
        "pair_funnel": steps,
        "pairs": {task: sum(pair.task == task for pair in everything) for task in ("gm", "im")},
        "pairs_by_split": {s: {t: sum(p.task == t for p in pairs[s]) for t in ("gm", "im")} for s in SPLITS},
        "replies": sum(map(len, replies.values())),
        "replies_by_split": {s: {t: sum(e.task == t for e in replies[s]) for t in ("gm", "im")} for s in SPLITS},
        "overwritten_share": _share(everything),
        "audits": audit.audit(gm, traits),
        "audits_test": audit.audit([pair for pair in pairs["test"] if pair.task == "gm"], traits),
    }


def _share(pairs: Sequence[Pair]) -> float | None:
    im = [pair for pair in pairs if pair.task == "im"]
    return round(sum(pair.source == revisions.OVERWRITTEN for pair in im) / len(im), 4) if im else None
