"""Writes replies for a file of posts: `python -m llumi_jax.generate --gm DIR --im DIR --input FILE --output FILE`."""

import contextlib
import functools
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llumi_jax import cli

if TYPE_CHECKING:
    from llumi_jax.inference.cascade import Cascade, Result
    from llumi_jax.inference.sampling import Sampling

DESCRIPTION = """\
Writes replies for a file of posts.

  python -m llumi_jax.generate --gm W/gm_dpo --im W/im_dpo --input posts.jsonl --output out.jsonl

Each input line is {"id", "title", "body", "draft"?}; each output line is {"id", "gm", "im", "safety", "provenance"},
in the same order. A model is a stage of a work directory, an exported folder, an adapter, a .gguf file or a hub id.
The same command goes on where an interrupted one stopped, and gives the same bytes as if it had never stopped."""

_WINDOW = 4  # batches; after a kill, at most this much is written again
_SECONDS_BETWEEN_LINES = 15


def parser() -> cli.Parser:
    """The command's flags."""
    p = cli.Parser(prog="python -m llumi_jax.generate", description=DESCRIPTION)
    p.add_argument("--gm", metavar="DIR", help="the model that drafts a reply")
    p.add_argument("--im", metavar="DIR", help="the model that improves a draft")
    p.add_argument("--input", required=True, metavar="FILE", help="posts, one JSON object a line")
    p.add_argument("--output", required=True, metavar="FILE", help="replies, one a line; continued if it exists")
    p.add_argument(
        "--mode",
        choices=("gm", "im", "cascade"),
        help="gm: drafts. im: revisions of each line's own draft. cascade: GM drafts, IM revises that. "
        "Without it: what the given models allow",
    )
    p.add_argument("--seed", type=int, default=0, help="the same seed gives the same replies")
    p.add_argument("--temperature", type=float, default=0.7, help="0 = greedy")
    p.add_argument("--top_k", type=int, default=0, help="draw among the k likeliest tokens; 0 = off")
    p.add_argument("--top_p", type=float, default=0.95, help="draw among the likeliest tokens of this total; 1 = off")
    p.add_argument("--min_p", type=float, default=0.0, help="drop what is below this share of the likeliest; 0 = off")
    p.add_argument("--repetition_penalty", type=float, default=1.0, help="above 1 repeats less")
    p.add_argument("--max_tokens", type=int, default=256, help="most tokens of a reply")
    p.add_argument("--batch_size", type=int, default=8, help="replies written side by side")
    p.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of weights and computation")
    return p


def main(argv: Sequence[str]) -> None:
    """Checks everything that can be checked cheaply, loads the models, writes."""
    args = parser().parse_args(argv)
    mode = _mode(args)
    if args.batch_size < 1:
        raise cli.UserError(f"--batch_size {args.batch_size}: give 1 or more.")
    if os.path.exists(args.output) and os.path.exists(args.input) and os.path.samefile(args.input, args.output):
        raise cli.UserError("--input and --output are the same file. Choose another --output.")
    from llumi_jax.training.signals import Stopped, StopRequest

    with StopRequest() as stop:
        try:
            total = _generate(args, mode, stop.check)
        except Stopped:
            print(f"Stopped on a signal; whole replies are saved in {args.output}. The same command again goes on.")
        else:
            print(f"{total} posts: {args.output}")


def _generate(args: Any, mode: str, check: Callable[[], None]) -> int:
    """Writes what is not written yet and returns how many posts there are. What `check` raises ends it soon."""
    from llumi_jax.inference import files
    from llumi_jax.inference.sampling import Sampling

    files.check_input(args.input)
    sampling = Sampling(args.temperature, args.top_k, args.top_p, args.min_p, args.repetition_penalty, args.max_tokens)
    posts = functools.partial(files.read_posts, args.input, need_draft=mode == "im")
    total = sum(1 for _ in posts())  # one reading to find every mistake before hours of work
    if not total:
        raise cli.UserError(f'{args.input} holds no posts. Each line is {{"id", "title", "body"}}.')

    check()
    from llumi_jax.inference import cascade, writers

    roles = cascade.MODES[mode]
    cascade_ = cascade.Cascade(writers.load({role: getattr(args, role) for role in roles}, dtype=args.dtype))
    check()
    if cascade_.banner:
        print(cascade_.banner, file=sys.stderr)
    settings = provenance(cascade_, mode, sampling, args.seed, args.dtype)
    ids = (post["id"] for post in posts())
    with files.open_output(args.output, settings, ids) as output:
        if output.done:
            print(f"{output.done} of {total} posts are in {args.output} already; going on.", file=sys.stderr)
        write_all(cascade_, posts(), total, output, settings, sampling, min(args.batch_size, total), check)
        if output.done != total:
            raise cli.UserError(
                f"{args.input} changed while it was read: it held {total} posts, {output.done} are answered. "
                "Leave the file alone and run the same command again."
            )
    return total


def provenance(cascade: "Cascade", mode: str, sampling: "Sampling", seed: int, dtype: str) -> dict[str, Any]:
    """All that decides what a line says, besides the post itself."""
    import llumi_jax
    from llumi_jax import prompts

    return {
        "program": f"llumi_jax {llumi_jax.__version__}",
        "mode": mode,
        "models": {role: {"name": w.name, "weights": w.weights} for role, w in cascade.writers.items()},
        "dtype": dtype,
        "prompt_version": prompts.VERSION,
        "rules": cascade.hooks.name,
        "sampling": sampling.to_dict(),
        "seed": seed,
        "banner": cascade.banner,
    }


def write_all(
    cascade: "Cascade",
    posts: Iterator[dict[str, Any]],
    total: int,
    output: Any,
    settings: dict[str, Any],
    sampling: "Sampling",
    batch_size: int,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Writes window after window of the input. What `check` raises, asked every few tokens, drops the current one.

    A window that a kill interrupted is written again as a whole: the same replies then stand side by side as before,
    and come out the same to the last bit. Lines that are on the disk already are not repeated.
    """
    from llumi_jax.inference.writers import Post

    roles, window = len(settings["models"]), _WINDOW * batch_size
    skipped = output.done // window * window if output.done < total else total
    with _progress(total * roles, skipped * roles) as tick:
        for begin in range(0, total, window):
            several = list(itertools.islice(posts, window))
            if begin < skipped:
                continue
            results = cascade.run(
                [Post(**post) for post in several],
                sampling,
                settings["seed"],
                settings["mode"],
                batch_size=batch_size,
                on_done=tick,
                check=check,
            )
            output.write([record(result, settings) for result in results[output.done - begin :]])


def record(result: "Result", settings: dict[str, Any]) -> dict[str, Any]:
    """One output line. A role that did not write, or had nothing to write, is null."""
    replies = result.replies
    written = {role: {"finish": reply.finish, "attempts": reply.attempts} for role, reply in replies.items()}
    return {
        "id": result.post.id,
        "gm": replies["gm"].text if "gm" in replies else None,
        "im": replies["im"].text if "im" in replies else None,
        "safety": [finding.to_dict() for finding in result.findings],
        "provenance": {**settings, "written": written},
    }


@contextlib.contextmanager
def _progress(total: int, done: int) -> Iterator[Callable[[], None]]:
    """Yields what to call after each reply: a bar with the time left on a terminal, else a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if console.is_terminal:
        columns = ("replies", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("replies", total=total, completed=done)
            yield lambda: bar.advance(task)
        return
    began = said = time.monotonic()
    count = 0

    def tick() -> None:
        nonlocal count, said
        count += 1
        now = time.monotonic()
        if now - said >= _SECONDS_BETWEEN_LINES:
            said = now
            left = (now - began) / count * max(0, total - done - count)
            print(f"{done + count} of {total} replies, about {left / 60:.0f} min left", file=sys.stderr, flush=True)

    yield tick


def _mode(args: Any) -> str:
    given = tuple(role for role in ("gm", "im") if getattr(args, role))
    if not given:
        raise cli.UserError("no model given. Name one with --gm, --im or both.")
    mode = args.mode or ("cascade" if len(given) == 2 else given[0])
    for role in ("gm", "im") if mode == "cascade" else (mode,):
        if role not in given:
            raise cli.UserError(f"--mode {mode} needs a model for {role}. Add --{role} DIR.")
    return mode


if __name__ == "__main__":
    cli.run(main)
