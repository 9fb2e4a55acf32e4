"""Eight devices learn what one learns, however the mesh is laid out, and each holds its part alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.invariants import meshes

ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-5
NAMES = {meshes.name_of(sizes): dict(zip(meshes.MESH_AXES, sizes, strict=True)) for sizes in meshes.MESHES}


@pytest.fixture(scope="module")
def ran() -> subprocess.CompletedProcess:
    # Tiny programs: XLA would take longer to make them fast than to run them. And a program from the cache on disk
    # would not be complained about.
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_ENABLE_COMPILATION_CACHE": "false"}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "0", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.invariants.meshes"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def found(ran) -> dict:
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.parametrize("mesh", NAMES)
def test_the_losses_are_those_of_one_device(mesh, found):
    assert found[mesh]
    for kind, here in found[mesh].items():
        alone = found["alone"][kind]["losses"]
        worst = max(abs(a / b - 1) for a, b in zip(here["losses"], alone, strict=True))
        print(f"{mesh}, {kind}: largest relative difference {worst:.1e}")
        assert len(alone) == meshes.STEPS and worst < TOLERANCE


def ways(name: str, mesh: dict[str, int]) -> int:
    """Into how many parts an array is cut, by hand: D, F, V, H and the rank divide by 8, and there are 4 key heads."""
    *_, owner, leaf = name.split(".")
    fsdp, tensor = mesh["fsdp"], mesh["tensor"]
    if leaf == "scale":  # of a norm: D
        return fsdp
    if leaf == "lora_a" and owner not in ("o", "down"):  # D by rank
        return fsdp
    if leaf == "lora_b" and owner in ("o", "down"):  # rank by D
        return fsdp
    return fsdp * (1 if owner in ("k", "v") and tensor > 4 else tensor)


@pytest.mark.parametrize("mesh", NAMES)
def test_each_device_holds_its_part_of_weights_and_moments_alone(mesh, found):
    for here in found[mesh].values():
        # Adam's two moments of every weight; what else there is are counters.
        moments = {name: held for name, held in here["moments"].items() if held[0]}
        assert len(moments) == 2 * len(here["params"]) and len(here["params"]) >= 12
        for name, (shape, sizes) in {**here["params"], **moments}.items():
            whole = 4
            for size in shape:
                whole *= size
            assert sizes == [whole // ways(name, NAMES[mesh])] * 8, name


@pytest.mark.parametrize("mesh", NAMES)
def test_xla_moves_nothing_whole_against_our_will(mesh, ran):
    """It says so in a warning of its C++ side when it must replicate an array to split it otherwise."""
    (said,) = [part for part in ran.stderr.split("mesh ")[1:] if part.split("\n")[0] == mesh]
    assert "nvoluntary full rematerialization" not in said
