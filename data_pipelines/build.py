"""Turns voted threads into preference pairs: reads, filters, pairs, balances, splits and writes a TFDS dataset.

python -m data_pipelines.build --source counselchat --input counsel_chat.csv --out data/counselchat
python -m data_pipelines.build --source reddit_dump --submissions RS_2024-03.zst --comments RC_2024-03.zst --out data/r
"""

import re
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from llumi_jax import cli
from llumi_jax.cli import UserError

SOURCES = ("reddit_dump", "counselchat")
RULES = ("strict", "paper")


def parser() -> cli.Parser:
    flags = cli.Parser(prog="python -m data_pipelines.build", description=__doc__)
    flags.add_argument("--source", required=True, help=f"the kind of input: {', '.join(SOURCES)}")
    flags.add_argument("--input", metavar="FILE", help="counselchat: the CSV file")
    flags.add_argument(
        "--submissions",
        action="append",
        default=[],
        metavar="FILE",
        help="reddit_dump: posts (.zst, .gz or plain; repeatable)",
    )
    flags.add_argument(
        "--comments", action="append", default=[], metavar="FILE", help="reddit_dump: comments (repeatable)"
    )
    flags.add_argument("--rule", default="strict", help=f"what makes a preference: {', '.join(RULES)}")
    flags.add_argument("--out", required=True, metavar="DATA", help="folder of the dataset and its card")
    flags.add_argument(
        "--dataset", metavar="NAME", help="name of the dataset, if DATA holds another one (default: SOURCE_RULE)"
    )
    flags.add_argument(
        "--key_file", metavar="FILE", help="key of the hashed ids (default: one of your own is made and used again)"
    )
    flags.add_argument(
        "--seed", type=int, default=0, help="breaks ties and chooses what leaves when lengths are balanced"
    )
    return flags


def main(argv: Sequence[str]) -> None:
    flags = parser().parse_args(argv)
    _check_choice("source", flags.source, SOURCES)
    if flags.rule != "exposure":  # `rule_for` says what to do instead.
        _check_choice("rule", flags.rule, RULES)
    paths = _input_files(flags)
    name = flags.dataset or f"{flags.source}_{flags.rule}"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"--dataset {name!r}: use lower-case letters, digits and underscores, a letter first.")
    _build(flags, name, paths)


def _check_choice(flag: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UserError(
            f"unknown {flag} {value!r}. Choose --{flag} from: {', '.join(choices)}.{cli.suggestion(value, choices)}"
        )


def _input_files(flags: Namespace) -> list[Path]:
    """Checks that the flags fit the source and that every file is there, before anything heavy is loaded."""
    wanted = {"counselchat": ("input",), "reddit_dump": ("submissions", "comments")}[flags.source]
    for flag in ("input", "submissions", "comments"):
        if bool(getattr(flags, flag)) != (flag in wanted):
            verb = "needs" if flag in wanted else "does not take"
            names = " and ".join(f"--{name} FILE" for name in wanted)
            raise UserError(f"--source {flags.source} {verb} --{flag}. Give {names}.")
    paths = [Path(path) for path in ([flags.input] if flags.input else flags.submissions + flags.comments)]
    for path in paths:
        if not path.is_file():
            kind = "is a folder, not a file" if path.is_dir() else "does not exist"
            raise UserError(f"{path} {kind}. Check the path.")
    return paths


def _build(flags: Namespace, name: str, paths: list[Path]) -> None:
    from data_pipelines import identity, pairing, pipeline, progress, sources, storage, summary
    from data_pipelines.funnel import Funnel

    out = Path(flags.out)
    storage.check_free(out, name, named=flags.dataset is not None)
    traits = sources.TRAITS[flags.source]
    pairing.rule_for(flags.rule, traits)
    key, key_path, key_is_new = identity.load_key(flags.key_file, out)
    hasher, funnel, start = identity.Hasher(key), Funnel(), time.monotonic()
    with progress.reading("Reading", sum(path.stat().st_size for path in paths)) as advance:
        dataset = pipeline.build(_records(flags, funnel, advance), traits, flags.rule, funnel, hasher, flags.seed)
    if not any(dataset.pairs.values()):
        raise UserError(summary.no_pairs(dataset.card))
    storage.write(dataset, hasher, name, out)
    summary.show(dataset.card, name, out, key_path, key_is_new, time.monotonic() - start)


def _records(flags: Namespace, funnel, advance: Callable[[int], None]) -> Iterator:
    from data_pipelines.sources import counselchat, reddit_dump

    if flags.source == "counselchat":
        return counselchat.read(flags.input, funnel, advance)
    return reddit_dump.read(flags.submissions, flags.comments, funnel, advance)


if __name__ == "__main__":
    cli.run(main)
