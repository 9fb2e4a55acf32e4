"""Times SFT: llumi_jax against TRL and Tunix on the same posts and replies, weights and processors.

What is learned are the chosen replies of the pairs that `benchmarks.dpo` uses, each under its post. One system:

    python -m benchmarks.sft --json out.json
    python -m benchmarks.sft --peer trl --trl_python TRL/bin/python --packing --json out.json

The comparison, alternating, medians of five; the same command again goes on where it stopped:

    python -m benchmarks.sft --compare --trl_python TRL/bin/python --tunix_python TUNIX/bin/python

What is counted, and how: docs/benchmarks.md.
"""

from collections.abc import Sequence

from benchmarks import command
from benchmarks.command import Bench
from benchmarks.jobs import Job
from benchmarks.tables import Goal, Line, fastest
from llumi_jax import cli

_SET, _THREADS = "independent", "threads"
# TRL's ways: packed rows one by one or together, and padded batches.
_LAYOUTS = (
    {"packing": True, "batch": 1, "accumulate": 4},
    {"packing": True, "batch": 4, "accumulate": 1},
    {"packing": False, "batch": 8, "accumulate": 1, "grouped": True},
    {"packing": False, "batch": 2, "accumulate": 4, "grouped": True},
)


def main(argv: Sequence[str]) -> int:
    flags = command.parser("sft", __doc__)
    flags.add_argument("--packing", action="store_true", help="one system: TRL packs its rows")
    args = flags.parse_args(argv)
    bench = Bench("sft", args)
    return command.compare(bench, search, plan, goals) if args.compare else command.one(bench)


def search(bench: Bench) -> list[Job]:
    """TRL's layouts for each dtype."""
    if not bench.has("trl"):
        return []
    return [bench.job("trl", _SET, dtype=dtype, **layout) for dtype in bench.dtypes for layout in _LAYOUTS]


def plan(bench: Bench, tried: Sequence[Line]) -> list[Job]:
    """Each system at its best; of TRL the fastest packed and the fastest padded layout."""
    jobs: list[Job] = []
    for data in (_SET, _THREADS):
        for dtype in bench.dtypes if data == _SET else bench.dtypes[:1]:
            jobs += _of(bench, "llumi_jax", data, dtype=dtype)
            for packing in (True, False):
                if best := fastest(tried, "trl", dtype=dtype, packing=packing):
                    names = ("packing", "batch", "accumulate", "grouped")
                    jobs += _of(bench, "trl", data, dtype=dtype, **{name: best.job[name] for name in names})
            if data == _SET and not bench.args.lora_rank:
                jobs += _of(bench, "tunix", data, dtype=dtype)
    return jobs


def _of(bench: Bench, system: str, data: str, **settings) -> list[Job]:
    return [bench.job(system, data, **settings)] if bench.has(system) else []


def goals(peak: float | None = None) -> list[Goal]:
    """What is to be reached: against TRL's packed rows, and against whatever is its fastest.

    Args:
      peak: the accelerator's FLOP/s; None = a processor.
    """
    if peak is not None:
        return [
            Goal("MFU, bfloat16", 0.5, lambda found: _useful(found, peak), percent=True),
            Goal("bfloat16, x TRL's packed SFT", 1, lambda found: _ratio(found, "bfloat16", packing=True)),
        ]
    return [
        Goal("float32, x TRL's packed SFT", 2, lambda found: _ratio(found, "float32", packing=True)),
        Goal("float32, x TRL's fastest SFT", 2, lambda found: _ratio(found, "float32")),
        Goal("best dtype, x TRL's packed bfloat16", 2, lambda found: _ratio(found, "bfloat16", packing=True)),
    ]


def _ratio(found: Sequence[Line], dtype: str, **theirs) -> float | None:
    own = {"dtype": "float32"} if dtype == "float32" else {}
    mine = fastest(found, "llumi_jax", data=_SET, **own)
    trl = fastest(found, "trl", data=_SET, dtype=dtype, **theirs)
    return mine.rate / trl.rate if mine and trl else None


def _useful(found: Sequence[Line], peak: float) -> float | None:
    mine = fastest(found, "llumi_jax", data=_SET, dtype="bfloat16")
    return mine.utilisation(peak) if mine else None


if __name__ == "__main__":
    cli.run(main)
