"""Trains a tiny decoder on meshes of eight devices and on one device, and prints what came of it as JSON.

A process of its own, because XLA says on stderr what it moves whole, if it is asked before it starts. A line
`mesh …` on stderr stands before whatever it says of that mesh.

By default every mesh trains one of four ways, SFT or DPO, all weights or an adapter; `--all` trains all four ways on
each, and on more meshes, in a few minutes:

    python -m tests.invariants.meshes --all > found.json
"""

import functools
import json
import sys
from typing import Any

import jax
import numpy as np

from llumi_jax.data import packing
from llumi_jax.data.dataset import Pair
from llumi_jax.data.tokenization import TokenThread
from llumi_jax.models.config import DecoderConfig
from llumi_jax.models.partitioning import MESH_AXES
from llumi_jax.training import build, recipe, sharding

# Attention in blocks needs 128 tokens of a row on each device; the dense one does with less.
MESHES = {
    (8, 1, 1, 1): "block",
    (1, 8, 1, 1): "dense",
    (1, 1, 8, 1): "dense",  # more than there are key heads: those stay whole
    (1, 1, 1, 8): "dense",
    (1, 1, 4, 2): "block",
    (2, 2, 2, 1): "block",
    (2, 1, 2, 2): "block",
    (1, 2, 1, 4): "dense",
}
MORE = {(4, 1, 1, 2): "block", (1, 2, 2, 2): "block", (2, 2, 1, 2): "dense", (1, 4, 2, 1): "block"}
KINDS = [("sft", "all weights"), ("dpo", "lora"), ("sft", "lora"), ("dpo", "all weights")]
CONFIG = DecoderConfig("llama", 256, 32, 64, 2, 8, 4, 8, tie_embeddings=False, max_position=512)
T, ROWS, STEPS = 256, 8, 3
SHAPE = packing.RowShape(T, 128, 8, 8)


def name_of(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))


@functools.cache
def batches() -> list[dict[str, np.ndarray]]:
    """Rows of two threads of three replies each, and one of padding: the devices' shares are not alike."""
    rng = np.random.default_rng(0)
    draw = lambda least, most: rng.integers(0, CONFIG.vocab_size, rng.integers(least, most)).astype(np.int32)

    def thread() -> TokenThread:
        replies = tuple(draw(3, 20) for _ in range(3))
        pairs = tuple(Pair(f"{i}", 0, i, 0.9, 1.0 / i) for i in (1, 2))
        return TokenThread("t", "", draw(20, 60), replies, (1.0, 0.0, 0.5), pairs)

    made = []
    for _ in range(STEPS):
        lists = [[thread(), thread()] for _ in range(ROWS - 1)] + [[]]
        rows = [packing.build_row(threads, SHAPE) for threads in lists]
        batch = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        made.append({**batch, "reference_logps": rng.uniform(-60, -20, (ROWS, SHAPE.slots)).astype(np.float32)})
    return made


def noise(tree: Any, seed: int, size: float) -> Any:
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: (size * rng.standard_normal(x.shape)).astype(np.float32), tree)


def made_recipe(objective: str, trained: str, backend: str) -> recipe.Recipe:
    adapter = trained == "lora"
    reference, remat = ("adapter_off", "attention") if adapter else ("cached", "none")
    return recipe.from_config(
        dict(
            stage={"s": dict(role="gm", objective=objective, steps=STEPS, reference=reference, beta=0.5)},
            batch_rows=ROWS, row_length=T, max_prompt_tokens=128, attention=backend, remat=remat,
            lora=dict(rank=8, alpha=16.0) if adapter else None,
            optimizer=dict(name="adamw", eps=1e-4, weight_decay=0.01, clip_norm=1.0),
            schedule=dict(name="constant_schedule", value=0.01),
        )
    )  # fmt: skip


def train(mesh: jax.sharding.Mesh, settings: recipe.Recipe) -> dict[str, Any]:
    """Losses of each step, and bytes of weights and moments: of all, and as they lie on each device."""
    stage = settings.stage["s"]
    with jax.set_mesh(mesh):
        shapes, base = build.abstract_trained(settings, CONFIG), build.abstract_base(settings, CONFIG)
        place = lambda tree, seed, size: sharding.place(noise(tree, seed, size), mesh)
        begin = place(shapes, 1, 0.2)
        frozen = {"base": None, "reference": None}
        if settings.lora is not None:
            frozen["base"] = place(base, 0, 0.2)
        made = build.trainer(settings, stage, begin, mesh, STEPS, STEPS)
        state = jax.jit(made.create, out_shardings=made.places)(begin)
        step = build.train_step(settings, stage, build.decoder(settings, CONFIG), SHAPE.slots, made)
        losses, live = [], stage.reference != "cached"
        for batch in batches():
            rows = {name: array for name, array in batch.items() if name != "reference_logps" or not live}
            state, metrics = step(state, frozen, sharding.to_device(rows, mesh))
            total, weight = metrics["loss"]
            losses.append(float(total) / float(weight))
    return {"losses": losses, "params": held(state.params), "moments": held(state.opt_state)}


def held(tree: Any) -> dict[str, Any]:
    """{name: [shape, bytes on each device]}."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    name = lambda path: jax.tree_util.keystr(path, simple=True, separator=".")
    return {name(path): [leaf.shape, [s.data.nbytes for s in leaf.addressable_shards]] for path, leaf in leaves}


def main() -> None:
    jax.config.update("jax_num_cpu_devices", 8)
    jax.config.update("jax_platforms", "cpu")
    alone = jax.make_mesh(
        (1, 1, 1, 1), MESH_AXES, axis_types=(jax.sharding.AxisType.Auto,) * 4, devices=jax.devices()[:1]
    )
    found: dict[str, Any] = {"alone": {}}
    for kind in KINDS:
        found["alone"][" ".join(kind)] = train(alone, made_recipe(*kind, "dense"))
    everything = "--all" in sys.argv
    for number, (sizes, backend) in enumerate({**MESHES, **(MORE if everything else {})}.items()):
        print("mesh", name_of(sizes), file=sys.stderr, flush=True)
        mesh = sharding.make_mesh(dict(zip(MESH_AXES, sizes, strict=True)))
        kinds = KINDS if everything else [KINDS[number % len(KINDS)]]
        found[name_of(sizes)] = {" ".join(kind): train(mesh, made_recipe(*kind, backend)) for kind in kinds}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
