"""Trains the stages of a config: python -m llumi_jax.train --config configs/quickstart.py --workdir runs/quickstart"""

import contextlib
import dataclasses
import functools
import hashlib
import math
import os
import runpy
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llumi_jax import cli
from llumi_jax.training import heap, options
from llumi_jax.training.hosts import place
from llumi_jax.training.planner import accelerators

_EPILOG = """\
Any key of the config can be set on the command line:
  --config.seed=1  --config.roles=gm  --config.only=gm_dpo  --config.stage.gm_dpo.beta=0.2

The same command again goes on where it stopped, also after a kill.
Exit codes: 0 done, or saved on a signal; 2 a mistake that you can mend; 1 anything else."""


def parser() -> cli.Parser:
    p = cli.Parser(prog="python -m llumi_jax.train", description=__doc__, epilog=_EPILOG)
    p.add_argument(
        "--config", required=True, metavar="FILE", help="a Python file with get_config(), e.g. configs/quickstart.py"
    )
    p.add_argument("--workdir", required=True, metavar="DIR", help="checkpoints, metrics and report.html go here")
    p.add_argument(
        "--data_dir", metavar="DIR", help="where datasets lie: --out of data_pipelines.build (default: WORKDIR/data)"
    )
    p.add_argument("--dry_run", action="store_true", help="print the plan (weights, memory, FLOPs, sharding) and stop")
    p.add_argument("--virtual_devices", type=int, default=0, metavar="N", help="pretend that the CPU is N devices")
    p.add_argument(
        "--accelerator", choices=list(accelerators.ACCELERATORS), default="",
        help="with --dry_run: what to change for this one, where a step does not fit it",
    )  # fmt: skip
    p.add_argument(
        "--overfit_one_batch", type=int, nargs="?", const=options.OVERFIT_STEPS, metavar="STEPS",
        help=f"learn the first batch of each stage by heart (STEPS: {options.OVERFIT_STEPS}), say how well, and stop",
    )  # fmt: skip
    p.add_argument("--profile_steps", metavar="A:B", help="profile these steps of each stage into its folder")
    p.add_argument("--layer_norms", action="store_true", help="log norms of gradients, updates and weights by layer")
    p.add_argument(
        "--hang_seconds", type=float, default=options.HANG_SECONDS, metavar="N",
        help="print the stacks of all threads when nothing has happened for so long; 0 = never",
    )  # fmt: skip
    p.add_argument(
        "--time_limit", metavar="TIME", help="save and stop in time for this limit, counted from now: 3h30m, 1-12:00:00"
    )
    p.add_argument(
        "--maintenance_file", metavar="FILE", help="save and stop when this file appears or changes ('NONE' in it: not)"
    )
    _add_processes(p)
    return p


def _add_processes(p: cli.Parser) -> None:
    several = p.add_argument_group(
        "several processes", "Found by themselves under SLURM, Open MPI, Kubernetes jobs and on Cloud TPU slices."
    )
    several.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 is, and a free port there")
    several.add_argument("--processes", type=int, metavar="N", help="how many there are; 1 = alone, whatever is found")
    several.add_argument("--process_id", type=int, metavar="I", help="which of them this is, from 0")
    several.add_argument(
        "--join_seconds", type=float, default=place.JOIN_SECONDS, metavar="N", help="wait so long for all to be there"
    )
    several.add_argument(
        "--heartbeat_seconds", type=float, default=place.HEARTBEAT_SECONDS, metavar="N",
        help="a process that is silent for so long is lost, and all others stop",
    )  # fmt: skip


def _options(args: Any) -> options.Options:
    if args.overfit_one_batch is not None and args.overfit_one_batch < 2:
        raise cli.UserError(f"--overfit_one_batch {args.overfit_one_batch}: at least 2 steps are needed.")
    if not args.hang_seconds >= 0:
        raise cli.UserError(f"--hang_seconds {args.hang_seconds:g} must be at least 0 (0 = never).")
    for flag in ("join_seconds", "heartbeat_seconds"):
        if not 1 <= getattr(args, flag) < math.inf:
            raise cli.UserError(f"--{flag} {getattr(args, flag):g} must be at least 1.")
    steps = options.parse_steps(args.profile_steps) if args.profile_steps is not None else None
    return options.Options(steps, args.hang_seconds, args.layer_norms)


def main(argv: Sequence[str]) -> int:
    overrides, others = _split_overrides(argv)
    began = time.monotonic()
    args = parser().parse_args(others)
    watched = _options(args)
    limit = options.parse_duration(args.time_limit) if args.time_limit else math.inf
    _prepare_environment(args.virtual_devices)
    if args.dry_run:
        return _dry_run(_recipe(args, overrides), args.accelerator)
    if args.accelerator:
        raise cli.UserError("--accelerator says what to change in a plan: give --dry_run, too.")
    from llumi_jax.training.hosts import joining

    here = place.find(args.coordinator, args.processes, args.process_id, os.environ, args.join_seconds)
    with joining.joined(here, joining.Patience(args.join_seconds, args.heartbeat_seconds)):
        recipe = _recipe(args, overrides)
        if args.overfit_one_batch is not None:
            return _overfit(recipe, args, watched)
        return _train(recipe, args, watched, options.Term(began, limit), here)


def _recipe(args: Any, overrides: Sequence[str]) -> Any:
    from llumi_jax.training import recipe as recipes

    return recipes.from_config(read_config(args.config, overrides))


def _split_overrides(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Parts `--config.key=value` flags from the others; `--config.key value` is joined to that form."""
    overrides: list[str] = []
    others: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if not word.startswith("--config."):
            others.append(word)
        elif "=" in word:
            overrides.append(word)
        elif words and not words[0].startswith("--"):
            overrides.append(f"{word}={words.pop(0)}")
        else:
            raise cli.UserError(f"{word} needs a value: {word}=VALUE.")
    return overrides, others


def read_config(path: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Runs get_config() of a config file and applies `--config.key=value` flags.

    Raises:
      UserError: the file is missing or broken, or a flag names no key or gives a value of another type.
    """
    from absl import flags
    from ml_collections import config_flags

    config = _config_of(path)
    known = _flat_keys(config.to_dict())
    argv = ["train"]
    for flag in overrides:
        key, equals, text = flag.removeprefix("--config.").partition("=")
        if key not in known:
            raise cli.UserError(f"unknown key config.{key}.{cli.suggestion(key, known)}")
        if not equals:
            raise cli.UserError(f"{flag}: write it as {flag}=VALUE.")
        if (key, text) == ("lora", "None"):  # a flag cannot replace a mapping
            with config.ignore_type():
                config.lora = None
        else:
            argv.append(flag)
    values = flags.FlagValues()  # of our own: absl's global flags would exit with 1 and a page of help
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
    try:
        values(argv)
    except (flags.Error, TypeError, ValueError, AttributeError, KeyError) as error:
        said = _first_line(error).rstrip(".")
        raise cli.UserError(f"{said}. Give a value of the kind that the config file has there.") from None
    return values.config.to_dict()


def _config_of(path: str) -> Any:
    """What get_config() of the file returns; `file.py:text` hands it the text."""
    file, colon, text = path.partition(":")
    if not Path(file).is_file():
        near = cli.suggestion(file, (str(p) for p in Path(file).parent.glob("*.py")))
        raise cli.UserError(f"--config {file}: no such file.{near}")
    sys.path.insert(0, os.getcwd())  # a config may import its neighbours
    try:
        get_config = runpy.run_path(file).get("get_config")
        config = get_config(*([text] if colon else [])) if get_config else None
    except cli.UserError:
        raise
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        where = f" at line {lines[-1]}" if lines else ""
        said = f"{type(error).__name__}: {_first_line(error)}"
        raise cli.UserError(f"--config {file} cannot be read{where}: {said}. Mend the file.") from error
    if not hasattr(config, "to_dict"):
        raise cli.UserError(f"--config {file} needs get_config() that returns a ConfigDict; see configs/quickstart.py.")
    return config


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0]


def _flat_keys(config: Mapping[str, Any], prefix: str = "") -> list[str]:
    keys = []
    for key, value in config.items():
        keys.append(prefix + key)
        if isinstance(value, Mapping):
            keys += _flat_keys(value, f"{prefix}{key}.")
    return keys


def _prepare_environment(virtual_devices: int) -> None:
    """Settings that must stand before jax is imported."""
    heap.limit_arenas()
    if virtual_devices:
        os.environ["JAX_PLATFORMS"] = "cpu"
        os.environ["JAX_NUM_CPU_DEVICES"] = str(virtual_devices)


def _dry_run(recipe: Any, accelerator: str) -> int:
    from llumi_jax.interchange import sources
    from llumi_jax.training import plan, sharding

    config, mesh = sources.load_config(recipe.init_from or recipe.base), sharding.make_mesh(recipe.mesh)
    plan.show(recipe, config, mesh, accelerator=accelerator)
    return cli.EXIT_OK


def _overfit(recipe: Any, args: Any, watched: options.Options) -> int:
    from llumi_jax.training import overfit
    from llumi_jax.training.signals import Stopped, StopRequest

    workdir = Path(args.workdir)
    with StopRequest() as stop, contextlib.suppress(Stopped):
        with _workshop(recipe, workdir, Path(args.data_dir or workdir / "data"), stop, watched) as shop:
            for stage in recipe.selected():
                overfit.check(shop, stage, args.overfit_one_batch)
    return cli.EXIT_OK


def _train(recipe: Any, args: Any, watched: options.Options, term: options.Term, here: place.Place | None) -> int:
    from llumi_jax.storage import files
    from llumi_jax.training import run
    from llumi_jax.training.goodput import Goodput
    from llumi_jax.training.hosts import agreement
    from llumi_jax.training.signals import Stopped, StopRequest

    workdir = Path(args.workdir)
    notice = Path(args.maintenance_file) if args.maintenance_file else None
    lock = files.locked(workdir) if here is None or here.process_id == 0 else contextlib.nullcontext()
    with lock, StopRequest(here is not None, term.end, notice) as stop:
        agreement.share_folder(workdir)
        run.claim(workdir, recipe)
        goodput = Goodput(workdir, term.began)
        try:
            with _workshop(recipe, workdir, Path(args.data_dir or workdir / "data"), stop, watched, goodput) as shop:
                goodput.loaded()
                _run_stages(shop)
        except Stopped:
            said = f"Stopped on {stop.reason}" if stop.requested else "Stopped on what another process was told"
            print(f"{said}; all that was done is saved in {workdir}. The same command again goes on.")
        run.close(goodput)
    return cli.EXIT_OK


@contextlib.contextmanager
def _workshop(
    recipe: Any, workdir: Path, data_dir: Path, stop: Any, watched: options.Options, goodput: Any = None
) -> Iterator[Any]:
    """Loads the base onto the mesh, which is set within."""
    import jax

    from llumi_jax.interchange import packages
    from llumi_jax.models import attention
    from llumi_jax.training import sharding
    from llumi_jax.training.goodput import Goodput
    from llumi_jax.training.workshop import Workshop

    # Compiled programs are kept: a run that goes on, or one like it, starts at once.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(packages.cache_folder() / "compiled"))
    mesh = sharding.make_mesh(recipe.mesh)
    sharding.check_batch(mesh, recipe.batch_rows, recipe.micro_rows)
    backend = attention.resolve_backend(recipe.attention, recipe.row_length)
    sharding.check_rows(mesh, recipe.row_length, backend)
    devices = f"{jax.device_count()} {jax.devices()[0].device_kind} device(s)"
    print(f"Loading {recipe.init_from or recipe.base} on {devices}; attention {backend!r}", flush=True)
    with jax.set_mesh(mesh):
        base = _load_base(recipe, mesh)
        yield Workshop(recipe, workdir, data_dir, base, mesh, stop, watched, goodput or Goodput())


def _run_stages(shop: Any) -> None:
    from llumi_jax import samples
    from llumi_jax.training import progress, run

    recipe, workdir, base = shop.recipe, shop.workdir, shop.base
    parameters = base.config.matmul_params + base.config.head_params
    run.add_parameters(workdir, parameters)
    summary = run.run(shop, samples.Answers(recipe, base, shop.mesh))
    progress.print_summary({**summary, "parameters": parameters, "next": _next_commands(recipe, workdir)})


def _load_base(recipe: Any, mesh: Any) -> Any:
    """Loads the base onto the mesh; where all weights are trained, each stage asks for a fresh copy."""
    import jax
    import numpy as np

    from llumi_jax.interchange import sources
    from llumi_jax.models import quantization
    from llumi_jax.training import sharding
    from llumi_jax.training.hosts import agreement
    from llumi_jax.training.workshop import Base

    spec = recipe.init_from or recipe.base
    if jax.process_count() > 1:
        with agreement.first_goes_first():  # where it is fetched, the others find it
            sources.resolve(spec)
    config = sources.load_config(spec)
    places = sharding.tree_shardings(sources.abstract_params(config, recipe.param_dtype), mesh)
    if recipe.base_quantization:  # read on the host: unpacked, it may be more than the devices hold
        here = jax.sharding.SingleDeviceSharding(jax.local_devices(backend="cpu")[0])
        places = jax.tree.map(lambda _: here, places)
    load = functools.partial(sources.load_model, spec, dtype=recipe.param_dtype, shardings=places)
    model = load()
    if recipe.base_quantization:
        packed = quantization.quantize(jax.tree.map(np.asarray, model.params))
        model = dataclasses.replace(model, params=sharding.place(packed, mesh))
    adapter = None if model.lora is None else (model.lora, model.lora_config)
    if adapter and recipe.lora is None:
        raise cli.UserError(
            f"config.init_from={spec!r} is an adapter: set config.lora to its settings, or merge it with convert to_hf."
        )
    params = (lambda: model.params) if recipe.lora is not None else (lambda: load().params)
    under = model.manifest["base"] if adapter else spec
    return Base(under, model.config, model.tokenizer, _identity(Path(model.manifest["path"])), params, adapter)


def _identity(path: Path) -> str:
    """A digest of the files that the weights came from."""
    holds_weights = lambda p: p.is_file() and (p.suffix in (".safetensors", ".gguf") or "params" in p.parts)
    digest = hashlib.sha256()
    for name in [path] if path.is_file() else sorted(filter(holds_weights, path.rglob("*"))):
        with open(name, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _next_commands(recipe: Any, workdir: Path) -> list[str]:
    """What can be done with the stages that are finished."""
    finished = [recipe.stage[name] for name in recipe.stages if (workdir / name / "done.json").exists()]
    last = {stage.role: workdir / stage.name for stage in finished}
    models = " ".join(f"--{role} {folder}" for role, folder in last.items())
    both, folder = len(last) == 2, next(iter(last.values()))
    mode = "cascade" if both else next(iter(last))
    commands = [
        f"python -m llumi_jax.generate {models} --mode {mode} --input posts.jsonl --output replies.jsonl",
        f"python -m llumi_jax.convert to_hf --checkpoint {folder} --out exports/{folder.name}",
    ]
    return [*commands, f"python -m demo {models}"] if both else commands


if __name__ == "__main__":
    cli.run(main)
