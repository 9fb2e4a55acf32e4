"""The whole way from records to a dataset, as pure functions of records, rule, key and seed.

Four steps, each for a part of the posts alone, so that parts can be worked on anywhere:
`ingest.keep` judges rows, `join.threads` brings posts and replies together, `calibration.Sums` adds up the training
split, `selection` keeps the threads that teach something. `finish` then makes the dataset of what is left.
`build` runs them on records in memory; `scale` on files of any size.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from data_pipelines import (
    calibration,
    card,
    checks,
    copies,
    examples,
    exposure,
    gate,
    ingest,
    join,
    months,
    names_tier,
    pairing,
    progress,
    revisions,
    splits,
)
from data_pipelines.balance import balance_length, comparable
from data_pipelines.calibration import Calibration, Sums
from data_pipelines.eligibility import Options
from data_pipelines.exposure_sums import ExposureSums
from data_pipelines.funnel import Funnel
from data_pipelines.identity import Hasher
from data_pipelines.ingest import Kept, Tombstones
from data_pipelines.names import mask_names
from data_pipelines.names_model import NamesModel
from data_pipelines.pairing import Rule
from data_pipelines.records import SPLITS, Example, Pair, Post, Reply, Thread, Traits
from data_pipelines.revising import Revising, revise
from data_pipelines.selection import Preferred, Selected, clean, prefer, texts_to_hide, with_keys, with_masked_names
from data_pipelines.similarity import LexicalSimilarity, Similarity
from data_pipelines.splits import HELD_OUT, Splitter

SAME_TEXT = 0.9
IM_WEIGHT = 0.5
# Replies to *different* posts stay under this TF-IDF cosine in 95 % of cases (.068, .076, .084 on three corpora):
# from here on a likeness comes from what the two replies say about their common post.
LEXICAL_THRESHOLD = 0.07


@dataclass(frozen=True)
class Plan:
    """What decides a dataset, apart from the records. `cutoff`: of an earlier build; None lets this one fix it."""

    traits: Traits
    rule: Rule
    hasher: Hasher
    seed: int = 0
    options: Options = Options()
    tombstones: Tombstones = Tombstones()
    cutoff: int | None = None
    similarity: str = "words"  # | "embeddings"
    revising: Revising | None = None
    names_model: NamesModel | None = None  # masks the names of people; None leaves that out


@dataclass(frozen=True)
class Dataset:
    """Pairs and replies by split, and everything the card says about them."""

    pairs: dict[str, list[Pair]]
    replies: dict[str, list[Example]]
    card: dict


@dataclass(frozen=True)
class Learnt:
    """What all rows together say, before threads are selected."""

    calibration: Calibration
    splitter: Splitter
    refused_months: dict[str, dict[str, float]] = field(default_factory=dict)


def build(
    records: Iterable[Post | Reply], traits: Traits, rule_name: str, funnel: Funnel, hasher: Hasher, seed: int = 0
) -> Dataset:
    """Turns records into splits of pairs and replies, in memory.

    Args:
      records: what a source's `read` yields, in any order; it counts its rows in `funnel`.
      seed: changes which pairs leave when ties or lengths have to be balanced, nothing else.

    Raises:
      UserError: an unknown rule, or one that the source cannot satisfy.
    """
    plan = Plan(traits, pairing.rule_for(rule_name, traits), hasher, seed)
    return build_plan(records, plan, funnel)


def build_plan(records: Iterable[Post | Reply], plan: Plan, funnel: Funnel) -> Dataset:
    """As `build`, with everything that a plan can say."""
    kept = ingest.keep(records, plan.traits, plan.options, plan.tombstones, plan.hasher, Kept(funnel))
    refused = months.refused(kept.votes_by_day) if plan.traits.fuzz else {}
    threads = join.threads(kept.posts, kept.replies, kept.gone, plan.traits, funnel, refused)
    splitter = splitter_for(plan, kept.posts_by_day)
    train = (thread for thread in threads if splitter.split_of(thread.post) == "train")
    sums = Sums.of(train, exposure_sums(plan))
    pairing.check_reach(plan.rule, (reply.score or 0 for thread in threads for reply in thread.replies))
    learnt = Learnt(calibrate(plan, sums), splitter, refused)
    preferred = prefer_all(threads, plan, learnt, funnel)
    return finish(clean_all(preferred, plan, funnel), plan, learnt, funnel)


def splitter_for(plan: Plan, posts_by_day) -> Splitter:
    cutoff = splits.cutoff(posts_by_day, plan.traits) if plan.cutoff is None else plan.cutoff
    return Splitter(plan.traits.fractions, plan.hasher, cutoff, plan.options.left_out)


def exposure_sums(plan: Plan) -> ExposureSums | None:
    """Returns empty sums for the rule that learns from them."""
    return ExposureSums(plan.traits.self_vote) if plan.rule.name == "exposure" else None


def calibrate(plan: Plan, sums: Sums) -> Calibration:
    return calibration.fit(sums, plan.traits, plan.rule.chosen_quantile, plan.rule.rejected_quantile)


def prefer_all(threads: Iterable[Thread], plan: Plan, learnt: Learnt, funnel: Funnel) -> list[Preferred]:
    """Returns what the votes of the threads say; what says nothing is counted."""
    split_of, calibration = learnt.splitter.split_of, learnt.calibration
    found = (prefer(one, split_of(one.post), plan.rule, plan.traits, calibration, funnel) for one in threads)
    return [one for one in found if one is not None]


def clean_all(preferred: Sequence[Preferred], plan: Plan, funnel: Funnel) -> list[Selected]:
    """Returns the threads with their texts masked, judged and hashed; what must not be learnt from is counted.

    Raises:
      UserError: the model that masks names cannot be used on this machine.
    """
    hide: names_tier.Hide = names_tier.unchanged
    if plan.names_model:
        hide = names_tier.hider(plan.names_model, texts_to_hide(preferred, plan.options))
    cleaned = (clean(one, plan.traits, plan.options, funnel, hide) for one in preferred)
    return with_keys([one for one in cleaned if one is not None])


def finish(selected: Sequence[Selected], plan: Plan, learnt: Learnt, funnel: Funnel) -> Dataset:
    """Makes the dataset. The order of `selected` does not matter."""
    with progress.counting("Looking for names and copies", 2) as done:
        selected = _with_masked_names(selected, plan)
        done(1)
        selected = copies.without_copies(selected, plan.traits, funnel)
        done(1)
    table = funnel.table(kept=sum(len(one.thread.replies) + plan.traits.posts_are_rows for one in selected))
    by_split = {split: [one for one in selected if one.split == split] for split in SPLITS}
    made = revise(plan.revising, by_split, forget=bool(plan.tombstones.entries))
    natural = plan.revising is None or plan.revising.natural
    similarity = _similarity(plan, by_split)

    def order(pair: Pair) -> float:
        names = (pair.post.id, pair.chosen.id, pair.rejected.id, pair.draft.id if pair.draft else "")
        return plan.hasher.uniform(f"order:{plan.seed}", *names)

    with progress.counting("Making the pairs", 4) as done:
        makers = {
            split: _Maker(group, plan.rule, similarity, order, made.pairs[split], natural)
            for split, group in by_split.items()
        }
        replies = {
            split: [
                *examples.gm_examples(by_split[split]),
                *examples.im_examples(maker.revisions, order),
                *made.examples[split],
            ]
            for split, maker in makers.items()
        }
        done(1)
        pairs, purged = _make_pairs(makers, replies["train"])
        done(1)
        leaks = checks.check(pairs, replies, purged)
        done(1)
        settings = card.Settings(
            plan.rule, plan.traits, learnt.calibration, similarity, plan.seed, learnt.splitter.cutoff, made.card,
            plan.names_model.for_card() if plan.names_model else None,
        )  # fmt: skip
        steps = {split: maker.steps for split, maker in makers.items()}
        told = card.make(settings, pairs, replies, funnel, table, steps, purged, leaks, learnt.refused_months)
        done(1)
    return Dataset(pairs, replies, told)


def _with_masked_names(selected: Sequence[Selected], plan: Plan) -> list[Selected]:
    selected = sorted(selected, key=lambda one: one.thread.post.id)
    people = [one.people for one in selected]
    masked = mask_names([one.thread for one in selected], people, plan.tombstones.entries)
    return [with_masked_names(one, thread) for one, thread in zip(selected, masked, strict=True)]


def _similarity(plan: Plan, by_split: dict[str, list[Selected]]) -> Similarity:
    """Returns the similarity of replies, words by their weight in the training split or embeddings made beforehand."""
    if plan.similarity == "words":
        train = (reply.text for one in by_split["train"] for reply in one.thread.replies)
        return LexicalSimilarity(train, LEXICAL_THRESHOLD)
    from data_pipelines import embeddings

    found = embeddings.EmbeddingSimilarity(embeddings.threshold_for(plan.traits))
    everything = [one for some in by_split.values() for one in some if one.candidates]
    found.prepare([reply.text for one in everything for reply in one.thread.replies])
    return found


class _Maker:
    """Makes the pairs of one split, and remembers how many candidates each step left.

    `made` are the IM pairs of synthetic revisions; without `natural` there are no others.
    """

    def __init__(
        self,
        threads: Sequence[Selected],
        rule: Rule,
        similarity: Similarity,
        order,
        made: Sequence[Pair] = (),
        natural: bool = True,
    ) -> None:
        self._rule, self._order, self._similarity, self._made = rule, order, similarity, made
        self._threads = [one.thread for one in threads]
        self._alike = 0
        found = [_pair(one, *candidate) for one in threads for candidate in one.candidates]
        gm = [pair for pair, for_gm in found if for_gm]
        sized = [pair for pair in gm if comparable(pair)]
        best_first = exposure.best_first if rule.name == "exposure" else pairing.best_first
        self._capped = pairing.cap(best_first(sized, order), rule, unless=self._say_the_same)
        self.revisions = revisions.revisions([pair for pair, _ in found if natural], similarity, SAME_TEXT)
        self.steps = {
            "candidates": len(found),
            "lived_experience": len(found) - len(gm),
            "length_ratio": len(gm) - len(sized),
            "same_text": self._alike,
            "caps": len(sized) - self._alike - len(self._capped),
        }

    def _say_the_same(self, pair: Pair) -> bool:
        alike = self._similarity.cosine(pair.chosen.text, pair.rejected.text) >= SAME_TEXT
        self._alike += alike
        return alike

    def candidates(self) -> dict[str, list[Pair]]:
        """GM pairs within the caps, and IM pairs, before the authors are looked at."""
        im = revisions.candidates(self.revisions, self._threads, self._similarity, self._order)
        return {"gm": self._capped, "im": [*im, *self._made]}

    def finish(self, found: dict[str, list[Pair]]) -> list[Pair]:
        """Balances the lengths (and order, under `exposure`) of what is left, and weighs everything by post."""
        balance = exposure.balance if self._rule.name == "exposure" else balance_length
        gm = balance(found["gm"], self._order)
        self.steps |= {
            "author_purge": len(self._capped) - len(found["gm"]),
            "balance": len(found["gm"]) - len(gm),
            "kept": len(gm),
        }
        im = revisions.balanced([pair for pair in found["im"] if not revisions.is_made(pair.source)], self._order)
        made = revisions.balanced([pair for pair in found["im"] if revisions.is_made(pair.source)], self._order, im)
        im = [replace(pair, weight=pair.weight * IM_WEIGHT) for pair in im]
        return pairing.weighted(gm) + pairing.weighted([*im, *made])


def _pair(one: Selected, chosen: int, rejected: int, probability: float) -> tuple[Pair, bool]:
    """Returns the preference, and whether GM may learn it too: what tells an experience may only revise a draft."""
    replies, found = one.thread.replies, one.found[chosen]
    weight = gate.weight(found)
    pair = Pair("gm", one.thread.post, replies[chosen], replies[rejected], probability, weight=weight)
    return pair, gate.may_be_imitated(found)


def _make_pairs(makers: dict[str, _Maker], imitated: Sequence[Example]) -> tuple[dict[str, list[Pair]], dict]:
    """Train first: the held-out splits then lose the people who are in it, in its pairs or its replies (`imitated`)."""
    pairs = {"train": makers["train"].finish(makers["train"].candidates())}
    known = splits.people(pairs["train"]) | splits.people(imitated)
    found = {split: makers[split].candidates() for split in HELD_OUT}
    reports = {}
    for task in ("gm", "im"):
        left, reports[task] = splits.purge({split: found[split][task] for split in HELD_OUT}, known)
        for split in HELD_OUT:
            found[split][task] = left[split]
    pairs |= {split: makers[split].finish(found[split]) for split in HELD_OUT}
    return pairs, reports
