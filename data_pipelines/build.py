"""Turns voted threads into preference pairs: reads, filters, pairs, balances, splits and writes a TFDS dataset.

python -m data_pipelines.build --source counselchat --input counsel_chat.csv --out data/counselchat
python -m data_pipelines.build --source reddit_dump --submissions RS_2024-03.zst --comments RC_2024-03.zst --out data/r
python -m data_pipelines.build --source table --input answers.parquet --columns post_id=thread,post=question,reply=answer,score=likes --out data/t

Run it again with another month of the same community and the same key, and every post stays in its split. A build
that was stopped goes on when the same command is run again.
"""  # noqa: E501

import os
import re
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_pipelines import beam
from llumi_jax import cli
from llumi_jax.cli import UserError

SOURCES = ("reddit_dump", "reddit_api", "counselchat", "shp", "convokit", "table")
RULES = ("strict", "exposure", "paper")
SIMILARITIES = ("words", "embeddings")
MIN_BYTES_FOR_PROCESSES = 8 << 20  # Below, starting them takes longer than the work.
# Flags that belong to some sources alone.
_FLAGS_OF = {
    "input": [source for source in SOURCES if source != "reddit_dump"],
    "submissions": ["reddit_dump"],
    "comments": ["reddit_dump"],
    "columns": ["table"],
    "self_vote": ["table"],
    "fuzz": ["table"],
    "retrieved_utc": ["reddit_api"],
}
_NEEDED = ("input", "submissions", "comments", "columns")


def parser() -> cli.Parser:
    flags = cli.Parser(prog="python -m data_pipelines.build", description=__doc__)
    flags.add_argument("--source", required=True, help=f"the kind of input: {', '.join(SOURCES)}")
    _add_inputs(flags.add_argument_group("input"))
    _add_settings(flags.add_argument_group("what becomes of it"))
    flags.add_argument("--out", required=True, metavar="DATA", help="folder of the dataset and its card")
    flags.add_argument(
        "--dataset", metavar="NAME", help="name of the dataset, if DATA holds another one (default: SOURCE_RULE)"
    )
    flags.add_argument(
        "--key_file", metavar="FILE", help="key of the hashed ids (default: one of your own is made and used again)"
    )
    _add_revisions(flags.add_argument_group("revisions by a model on this machine, for IM"))
    beam.add_flags(flags.add_argument_group("on many machines"))
    flags.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many to run at once")
    return flags


def _add_inputs(group) -> None:
    group.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="FILE",
        help="CSV (counselchat, table), JSON (reddit_api), JSONL, parquet (shp, table), folder (convokit); repeatable",
    )
    group.add_argument(
        "--submissions",
        action="append",
        default=[],
        metavar="FILE",
        help="reddit_dump: posts (.zst, .gz or plain; repeatable)",
    )
    group.add_argument(
        "--comments", action="append", default=[], metavar="FILE", help="reddit_dump: comments (repeatable)"
    )
    group.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="FIELD=COLUMN,…",
        help="table: the columns of post_id, post, reply, score; title, author, post_author, created, views, community",
    )
    group.add_argument("--self_vote", action="store_true", help="table: a reply starts at 1, its author's own vote")
    group.add_argument("--fuzz", action="store_true", help="table: the site blurs the scores that it shows")
    group.add_argument(
        "--retrieved_utc", type=int, metavar="SECONDS", help="reddit_api: when the files were fetched, if they lack it"
    )


def _add_settings(group) -> None:
    group.add_argument("--rule", default="strict", help=f"what makes a preference: {', '.join(RULES)}")
    group.add_argument(
        "--seed", type=int, default=0, help="breaks ties and chooses what leaves when lengths are balanced"
    )
    group.add_argument(
        "--similarity",
        default="words",
        help=f"which replies say related things, for IM: {' or '.join(SIMILARITIES)} (a model of 83 MB, fetched once)",
    )
    group.add_argument(
        "--tombstones", metavar="FILE", help="people, posts and replies to forget: a name, id or hash a line"
    )
    group.add_argument(
        "--leave_out", action="append", default=[], metavar="COMMUNITY", help="hold a whole community out of training"
    )
    group.add_argument(
        "--planted", action="store_true", help="score the rules on threads of known quality for the card (20 s)"
    )
    group.add_argument(
        "--names_model",
        metavar="MODEL",
        help="mask names of people too, where this spaCy model finds them: a package (en_core_web_lg) or a folder; "
        "needs the extra [names] (docs/data.md)",
    )
    group.add_argument("--english", action="store_true", help="leave out posts and replies in other languages")
    group.add_argument("--without_edited", action="store_true", help="leave out posts that were edited")
    group.add_argument("--without_over_18", action="store_true", help="leave out posts marked as for adults")
    group.add_argument("--with_minors", action="store_true", help="keep posts by people who say they are under 18")


def _add_revisions(group) -> None:
    group.add_argument(
        "--reviser",
        metavar="SPEC",
        help="who revises drafts: an address (http://127.0.0.1:8000, any OpenAI-compatible server on this machine), or "
        "a model of ours: a stage or Hugging Face folder, an adapter, a .gguf file, a hub id, pypi:NAME==VERSION",
    )
    group.add_argument("--reviser_model", metavar="NAME", help="the model behind an address, as its server calls it")
    group.add_argument("--reviser_token_file", metavar="FILE", help="what an address wants to hear as bearer token")
    group.add_argument(
        "--revisions",
        metavar="FILE",
        help="where revisions are kept for the next build, readable by you alone, a killed build's too (default: "
        "llumi_jax/revisions under your state folder, $XDG_STATE_HOME or ~/.local/state)",
    )
    group.add_argument(
        "--without_natural_revisions",
        action="store_true",
        help="do without other people's better replies as revisions",
    )


def main(argv: Sequence[str]) -> None:
    flags = parser().parse_args(argv)
    _check_choice("source", flags.source, SOURCES)
    _check_choice("rule", flags.rule, RULES)
    _check_choice("similarity", flags.similarity, SIMILARITIES)
    if flags.processes < 1:
        raise UserError(f"--processes {flags.processes}: at least 1 is needed.")
    files = _input_files(flags)
    name = flags.dataset or f"{flags.source}_{flags.rule}"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"--dataset {name!r}: use lower-case letters, digits and underscores, a letter first.")
    _build(flags, name, files)


def _check_choice(flag: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UserError(
            f"unknown {flag} {value!r}. Choose --{flag} from: {', '.join(choices)}.{cli.suggestion(value, choices)}"
        )


def _input_files(flags: Namespace) -> list[tuple[str, str]]:
    """Checks that the flags fit the source and that every file is there; returns (kind, path) of each."""
    for flag, sources in _FLAGS_OF.items():
        given, wanted = getattr(flags, flag) not in ([], None, False), flags.source in sources
        if (given and not wanted) or (wanted and not given and flag in _NEEDED):
            verb = "needs" if wanted else "does not take"
            names = [f"--{name}" for name in _NEEDED if flags.source in _FLAGS_OF[name]]
            raise UserError(f"--source {flags.source} {verb} --{flag}. Give {' and '.join(names)}.")
    files = [("submissions", path) for path in flags.submissions] + [("comments", path) for path in flags.comments]
    files += [("", path) for path in flags.input]
    for _, path in files:
        if flags.beam_runner and beam.is_far(path):
            continue
        folder = Path(path).is_dir()
        if not Path(path).exists() or folder != (flags.source == "convokit"):
            kind = "is a folder, not a file" if folder else "does not exist"
            raise UserError(f"{path} {kind}. Check the path.")
    return files


def _build(flags: Namespace, name: str, files: list[tuple[str, str]]) -> None:
    from data_pipelines import identity, names_model, pairing, revising, scale, sources, storage, summary
    from data_pipelines.pipeline import Plan

    out = Path(flags.out)
    storage.check_free(out, name, named=flags.dataset is not None)
    settings = _source_settings(flags)
    traits = sources.traits(flags.source, settings)
    revises = revising.of_flags(flags, out, name)
    key, key_path, key_is_new = identity.load_key(flags.key_file, out)
    plan = Plan(
        traits,
        pairing.rule_for(flags.rule, traits),
        identity.Hasher(key),
        flags.seed,
        _options(flags),
        _tombstones(flags.tombstones),
        cutoff=storage.known_cutoff(out, name),
        similarity=flags.similarity,
        revising=revises,
        names_model=names_model.check(flags.names_model) if flags.names_model else None,
    )
    if revises:
        revising.check(revises)
    start = time.monotonic()
    beam_options = beam.options_of(flags)
    if flags.beam_runner:
        parts = beam.parts(flags.source, files, flags.processes, settings)
        dataset = beam.build(parts, plan, flags.beam_runner, beam_options)
        _write(dataset, plan, flags, name, out)
    else:
        parts = sources.parts(flags.source, files, flags.processes, settings)
        processes = flags.processes if sum(part.bytes for part in parts) >= MIN_BYTES_FOR_PROCESSES else 1
        with scale.building(parts, plan, storage.unfinished(out, name), processes) as dataset:
            _write(dataset, plan, flags, name, out)
    store = Path(revises.store) if revises else None
    summary.show(dataset.card, name, out, key_path, key_is_new, time.monotonic() - start, store)


def _write(dataset: Any, plan: Any, flags: Namespace, name: str, out: Path) -> None:
    from data_pipelines import storage, summary

    if flags.planted:
        from data_pipelines import planted_report

        dataset.card["planted"] = planted_report.for_card()
    if not any(dataset.pairs.values()):
        raise UserError(summary.no_pairs(dataset.card))
    storage.write(dataset, plan.hasher, name, out)


def _source_settings(flags: Namespace) -> Any:
    from data_pipelines.sources import Settings, table

    columns = table.parse_mapping(flags.columns) if flags.columns else {}
    return Settings(columns, flags.self_vote, flags.fuzz, flags.retrieved_utc)


def _options(flags: Namespace) -> Any:
    from data_pipelines.eligibility import Options

    return Options(
        flags.english, not flags.without_edited, not flags.without_over_18, flags.with_minors, tuple(flags.leave_out)
    )


def _tombstones(path: str | None) -> Any:
    """Reads the file of people and texts to forget."""
    from data_pipelines.ingest import Tombstones

    if path is None:
        return Tombstones()
    if not Path(path).is_file():
        raise UserError(f"--tombstones {path}: no such file. It holds one name or id a line.")
    try:
        return Tombstones.of(Path(path).read_text(encoding="utf-8-sig").splitlines())
    except UnicodeDecodeError:
        raise UserError(f"--tombstones {path}: not UTF-8. Save the file again with the encoding UTF-8.") from None


if __name__ == "__main__":
    cli.run(main)
