"""Times DPO: llumi_jax against TRL and Tunix on the same pairs, weights and processors.

One system, for a look or for a script:

    python -m benchmarks.dpo --json out.json
    python -m benchmarks.dpo --peer trl --trl_python TRL/bin/python --dtype bfloat16 --json out.json

The comparison, alternating, medians of five; the same command again goes on where it stopped:

    python -m benchmarks.dpo --compare --trl_python TRL/bin/python --tunix_python TUNIX/bin/python

What is counted, and how: docs/benchmarks.md.
"""

from collections.abc import Sequence

from benchmarks import command
from benchmarks.command import Bench
from benchmarks.jobs import Job
from benchmarks.tables import Goal, Line, fastest
from llumi_jax import cli

_SET, _THREADS = "independent", "threads"
# TRL's ways to share out eight pairs of a step. Like lengths together pad less; small batches pad less, too.
_LAYOUTS = (
    {"batch": 8, "grouped": False},
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
        jobs += _of(bench, "trl", _SET, dtype=dtype, checkpointing=True, **_LAYOUTS[0])
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
        return [_LAYOUTS[0]]
    chosen = {name: best.job[name] for name in ("batch", "accumulate", "grouped")}
    default = {"batch": 8, "accumulate": 1, "grouped": False}
    return [default] if chosen == default else [default, chosen]


def goals(peak: float | None = None) -> list[Goal]:
    """What is to be reached, TRL at the fastest of its settings.

    Args:
      peak: the accelerator's FLOP/s; None = a processor.
    """
    f32, bf16 = {"dtype": "float32"}, {"dtype": "bfloat16"}
    if peak is not None:
        mfu = lambda found: _useful(found, "bfloat16", peak)
        return [
            Goal("MFU, bfloat16, live reference", 0.45, mfu, percent=True),
            Goal("bfloat16, live reference, x TRL", 1, lambda found: _ratio(found, bf16, "live")),
        ]
    return [
        Goal("float32, live reference, x TRL", 8, lambda found: _ratio(found, f32, "live")),
        Goal("float32, cached reference, x TRL", 8, lambda found: _ratio(found, f32, "cached")),
        Goal("best dtype, live reference, x TRL's bfloat16", 6, lambda found: _ratio(found, {}, "live", bf16)),
        Goal("best dtype, cached reference, x TRL's bfloat16", 6, lambda found: _ratio(found, {}, "cached", bf16)),
        Goal("threads, float32, x TRL", 16, lambda found: _ratio(found, f32, "live", data=_THREADS)),
        Goal("peak memory, float32, of TRL's at its fastest", 0.25, lambda f: _memory(f, "float32"), at_most=True),
        Goal("peak memory, bfloat16, of TRL's at its fastest", 0.25, lambda f: _memory(f, "bfloat16"), at_most=True),
        Goal("useful FLOPs, float32, live reference", 0.45, lambda f: _useful(f, "float32"), percent=True),
        Goal("useful FLOPs, bfloat16, live reference", 0.45, lambda f: _useful(f, "bfloat16"), percent=True),
    ]


def _ratio(
    found: Sequence[Line], ours: dict, reference: str, theirs: dict | None = None, data: str = _SET
) -> float | None:
    mine = fastest(found, "llumi_jax", data=data, reference=reference, **ours)
    trl = fastest(found, "trl", data=data, reference=reference, **(ours if theirs is None else theirs))
    return mine.rate / trl.rate if mine and trl else None


def _memory(found: Sequence[Line], dtype: str) -> float | None:
    mine = fastest(found, "llumi_jax", data=_SET, reference="live", dtype=dtype)
    trl = fastest(found, "trl", data=_SET, reference="live", dtype=dtype)
    return mine.memory_mb / trl.memory_mb if mine and trl else None


def _useful(found: Sequence[Line], dtype: str, peak: float | None = None) -> float | None:
    mine = fastest(found, "llumi_jax", data=_SET, reference="live", dtype=dtype)
    return mine.utilisation(peak) if mine else None


if __name__ == "__main__":
    cli.run(main)
