"""Times DPO: llumi_jax against TRL and Tunix on the same pairs, weights and processors.

One system, for a look or for a script:

    python -m benchmarks.dpo --json out.json
    python -m benchmarks.dpo --peer trl --trl_python TRL/bin/python --dtype bfloat16 --json out.json

The comparison, alternating, medians of five; the same command again goes on where it stopped:

    python -m benchmarks.dpo --compare --trl_python TRL/bin/python --tunix_python TUNIX/bin/python

What is counted, and how: docs/benchmarks.md.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks import command
from benchmarks.command import Bench
from benchmarks.jobs import Job
from benchmarks.tables import Goal, Line, fastest
from llumi_jax import cli

_SET, _THREADS = "independent", "threads"
# TRL's ways to share out eight pairs of a step. Like lengths together pad less; small batches pad less, too.
_DEFAULT = {"batch": 8, "accumulate": 1, "grouped": False}
_LAYOUTS = (
    _DEFAULT,
    {"batch": 8, "grouped": True},
    {"batch": 2, "accumulate": 4, "grouped": True},
    {"batch": 1, "accumulate": 8, "grouped": False},
)


def main(argv: Sequence[str]) -> int:
    flags = command.parser("dpo", __doc__)
    flags.add_argument("--reference", choices=("live", "cached"), default="live", help="one system: its reference")
    args = flags.parse_args(argv)
    bench = Bench("dpo", args)
    return command.compare(bench, search, plan, goals) if args.compare else command.one(bench)


def search(bench: Bench) -> list[Job]:
    """TRL's batch layouts for each dtype, with a live reference."""
    if not bench.has("trl"):
        return []
    return [bench.job("trl", _SET, dtype=dtype, **layout) for dtype in bench.dtypes for layout in _LAYOUTS]


def plan(bench: Bench, tried: Sequence[Line]) -> list[Job]:
    """Each system at its best; beside it ours in less memory, TRL at its default batches and with checkpointing."""
    jobs: list[Job] = []
    for dtype in bench.dtypes:
        for reference in ("live", "cached"):
            for remat in _remats(bench, reference):
                jobs += _of(bench, "llumi_jax", _SET, dtype=dtype, reference=reference, remat=remat)
            for layout in _trl_layouts(tried, dtype):
                jobs += _of(bench, "trl", _SET, dtype=dtype, reference=reference, **layout)
        jobs += _of(bench, "trl", _SET, dtype=dtype, checkpointing=True, **_DEFAULT)
        if not bench.args.lora_rank:
            jobs += _of(bench, "tunix", _SET, dtype=dtype)
    threads = bench.dtypes[0]
    jobs += _of(bench, "llumi_jax", _THREADS, dtype=threads)
    for layout in _trl_layouts(tried, threads):
        jobs += _of(bench, "trl", _THREADS, dtype=threads, **layout)
    return jobs


def _remats(bench: Bench, reference: str) -> list[str]:
    """What is kept for the backward pass: as asked; with a live reference the policy that needs the least, too."""
    return list(dict.fromkeys((bench.args.remat, *(["attention"] if reference == "live" else []))))


def _of(bench: Bench, system: str, data: str, **settings) -> list[Job]:
    return [bench.job(system, data, **settings)] if bench.has(system) else []


def _trl_layouts(tried: Sequence[Line], dtype: str) -> list[dict]:
    """The default layout, and the fastest one where that is another."""
    best = fastest(tried, "trl", dtype=dtype)
    if best is None:
        return [_DEFAULT]
    chosen = {name: best.job[name] for name in ("batch", "accumulate", "grouped")}
    return [_DEFAULT] if chosen == _DEFAULT else [_DEFAULT, chosen]


def goals(peak: float | None = None) -> list[Goal]:
    """What is to be reached: against TRL in batches of 8, which one would take first, and against its fastest setting.

    Args:
      peak: the accelerator's FLOP/s; None = a processor.
    """
    live = {"data": _SET, "reference": "live"}
    bf16 = {**live, "dtype": "bfloat16"}
    if peak is not None:
        mfu = lambda found: _useful(found, "bfloat16", peak)
        return [
            Goal("MFU, bfloat16, live reference", 0.45, mfu, percent=True),
            Goal("bfloat16, live reference, x TRL", 1, _ratio(bf16, bf16)),
        ]
    return [
        *_against("in batches of 8", {**_DEFAULT, "checkpointing": False}),
        *_against("at its fastest", {}),
        Goal("useful FLOPs, float32, live reference", 0.45, lambda f: _useful(f, "float32"), percent=True),
        Goal("useful FLOPs, bfloat16, live reference", 0.45, lambda f: _useful(f, "bfloat16"), percent=True),
    ]


def _against(whose: str, layout: Mapping[str, Any]) -> Iterator[Goal]:
    """Pace and memory against TRL with these settings; without any, against the fastest."""
    for reference in ("live", "cached"):
        where = {"data": _SET, "reference": reference}
        f32, bf16 = {**where, "dtype": "float32"}, {**where, "dtype": "bfloat16"}
        yield Goal(f"float32, {reference} reference, x TRL {whose}", 8, _ratio(f32, {**f32, **layout}))
        yield Goal(f"best dtype, {reference} reference, x TRL's bfloat16 {whose}", 6, _ratio(where, {**bf16, **layout}))
    threads = {"data": _THREADS, "reference": "live", "dtype": "float32"}
    yield Goal(f"threads, float32, x TRL {whose}", 16, _ratio(threads, {**threads, **layout}))
    for dtype in ("float32", "bfloat16"):
        live = {"data": _SET, "reference": "live", "dtype": dtype}
        memory = _ratio(live, {**live, **layout}, lambda line: line.memory_mb)
        yield Goal(f"peak memory, {dtype}, of TRL's {whose}", 0.25, memory, at_most=True)


def _ratio(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], of: Callable[[Line], float] = lambda line: line.rate
) -> Callable[[Sequence[Line]], float | None]:
    """Ours to TRL's, each the fastest among the lines whose jobs have the given values."""

    def value(found: Sequence[Line]) -> float | None:
        mine, trl = fastest(found, "llumi_jax", **ours), fastest(found, "trl", **theirs)
        return of(mine) / of(trl) if mine and trl else None

    return value


def _useful(found: Sequence[Line], dtype: str, peak: float | None = None) -> float | None:
    mine = fastest(found, "llumi_jax", data=_SET, reference="live", dtype=dtype)
    return mine.utilisation(peak) if mine else None


if __name__ == "__main__":
    cli.run(main)
