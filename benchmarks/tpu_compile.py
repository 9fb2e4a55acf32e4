"""A train step compiled for TPUs that are not here, by their own compiler: its memory beside the reckoning's.

    pip install --no-deps "libtpu==0.0.42.*"
    python -m benchmarks.tpu_compile --topology v5p:2x2x2 --config configs/gm_mistral_7b.py --config.only=gm_dpo

libtpu compiles for any topology on any x86 machine; the version must be the one that the installed jax asks for
(its extra "tpu"). Nothing runs, no weight is loaded.
"""

import importlib.metadata
import importlib.util
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llumi_jax import cli, train

# libtpu asks Google's metadata server what machine it is on, unless it is told.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1", "TPU_ACCELERATOR_TYPE": "v5p-8", "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0", "JAX_PLATFORMS": "cpu",
}  # fmt: skip


def main(argv: Sequence[str]) -> int:
    overrides, others = train._split_overrides(argv)
    p = cli.Parser(prog="python -m benchmarks.tpu_compile", description=__doc__)
    p.add_argument("--topology", default="v5p:2x2x2", help="chips, as libtpu names them: v5p:2x2x2, v6e:2x4")
    p.add_argument("--config", required=True, metavar="FILE", help="the recipe; --config.key=value changes it")
    p.add_argument("--json", metavar="FILE", help="write the figures here")
    args = p.parse_args(others)
    if importlib.util.find_spec("libtpu") is None:
        raise cli.UserError(
            "libtpu is not installed: pip install --no-deps, in the version that jax's extra 'tpu' asks for."
        )
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    values = train.read_config(args.config, [*overrides, "--config.attention=pallas"])
    found = [compiled(values, args.topology, stage) for stage in _stages(values)]
    for line in found:
        print("\n".join(f"{name:24} {value}" for name, value in line.items()) + "\n")
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1) + "\n")
    return cli.EXIT_OK


def _stages(values: dict[str, Any]) -> list[str]:
    from llumi_jax.training import recipe

    return [stage.name for stage in recipe.from_config(values).selected()]


def compiled(values: dict[str, Any], topology: str, name: str) -> dict[str, Any]:
    """Compiles one stage's step; bytes are those of one chip."""
    from llumi_jax.interchange import sources
    from llumi_jax.training import plan, recipe

    settings = recipe.from_config({**values, "only": name})
    config, mesh = sources.load_config(settings.base), _mesh(topology, settings.mesh)
    shape = plan.assumed_shape(settings.row_length)
    began = time.monotonic()
    counted = plan.step_memory(settings, settings.stage[name], config, mesh, shape)
    _, parts = plan.needed(settings, config, dict(mesh.shape))
    return {
        "stage": name,
        "chips": f"{topology}, {mesh.devices.flat[0].device_kind}",
        "mesh": dict(mesh.shape),
        "versions": {package: importlib.metadata.version(package) for package in ("jax", "libtpu")},
        "compile_seconds": round(time.monotonic() - began, 1),
        "compiler_arguments": counted.arguments,
        "compiler_within": counted.temporaries + counted.outputs,
        "compiler_total": counted.total,
        "reckoned_state_and_rows": parts.state + parts.rows,
        "reckoned_within": parts.total - parts.state - parts.rows,
        "reckoned_total": parts.total,
        "reckoned_of_compiler": round(parts.total / counted.total, 3),
    }


def _mesh(topology: str, sizes: Any) -> Any:
    import numpy as np
    from jax.experimental import topologies
    from jax.sharding import AxisType, Mesh

    from llumi_jax.models.partitioning import MESH_AXES

    chips = np.array(topologies.get_topology_desc(topology_name=topology, platform="tpu").devices)
    known = [sizes[axis] for axis in MESH_AXES]
    return Mesh(chips.reshape(known), MESH_AXES, axis_types=(AxisType.Auto,) * len(known))


if __name__ == "__main__":
    cli.run(main)
