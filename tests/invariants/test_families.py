"""Families of settings that change how a step is computed, and never what is learned: one trajectory for all of them.

Six steps of AdamW in float32, from an adapter that has already moved, on threads whose replies stand in several pairs.
A learning rate that is far too high makes the trajectory turn sharply: what differs does not stay hidden.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llumi_jax.data import packing
from llumi_jax.data.dataset import Pair
from llumi_jax.data.tokenization import TokenThread
from llumi_jax.models import attention, decoder, remat
from llumi_jax.models.config import DecoderConfig
from llumi_jax.models.partitioning import MESH_AXES
from llumi_jax.training import build, forward, recipe

STEPS, THREADS, T = 6, 8, 128  # threads of a batch
CONFIG = DecoderConfig("llama", 61, 16, 24, 2, 4, 2, 4, rope_theta=1000.0)
TOLERANCE = 1e-5


# --- the data: the same threads in every batch, in rows of different kinds -----------------------------------------


def _thread(rng, name: str) -> TokenThread:
    ids = lambda most: rng.integers(0, CONFIG.vocab_size, rng.integers(2, most)).astype(np.int32)
    replies = tuple(ids(12) for _ in range(3))
    pairs = tuple(
        Pair(f"{name}-{i}", c, r, float(rng.uniform(0.5, 1)), float(rng.uniform(0.3, 1)))
        for i, (c, r) in enumerate([(0, 1), (0, 2), (2, 1)][: rng.integers(1, 4)])
    )
    return TokenThread(name, "", ids(20), replies, (1.0, 0.0, 0.5), pairs)


@functools.cache
def _threads(step: int) -> tuple[TokenThread, ...]:
    rng = np.random.default_rng(step)
    return tuple(_thread(rng, f"{step}-{i}") for i in range(THREADS))


def _alone(thread: TokenThread) -> list[TokenThread]:
    """A thread as one of its own for every pair: the prompt again and again, each reply once for every pair."""
    return [
        TokenThread(
            pair.pair_id, "", thread.prefix, (thread.replies[pair.chosen], thread.replies[pair.rejected]), (0.0, 0.0),
            (Pair(pair.pair_id, 0, 1, pair.probability, pair.weight),),
        )
        for pair in thread.pairs
    ]  # fmt: skip


# rows of a batch, as lists of threads
PACKINGS = {
    "packed": lambda threads: [threads[i::4] for i in range(4)],
    "one thread a row": lambda threads: [[thread] for thread in threads],
    "one pair a row": lambda threads: [[part] for thread in threads for part in _alone(thread)],
}


@functools.cache
def _batches(packed: str) -> list[dict[str, np.ndarray]]:
    """Batches of one shape, whatever the packing: rows of padding fill them up to a multiple of four."""
    made = [PACKINGS[packed](_threads(step)) for step in range(STEPS)]
    count = -(-max(map(len, made)) // 4) * 4
    shape = packing.RowShape(T, 128, 8, 8)
    batches = []
    for lists in made:
        assert all(sum(t.size for t in row) <= T for row in lists)
        rows = [packing.build_row(row, shape) for row in [*lists, *[[]] * (count - len(lists))]]
        batches.append({name: np.stack([row[name] for row in rows]) for name in rows[0]})
    return batches


# --- the trajectory ------------------------------------------------------------------------------------------------


def _noise(tree, seed: int, size: float = 0.3):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(size * rng.standard_normal(x.shape), jnp.float32), tree)


def _plain(tree):
    """An adapter with A = 0: the base."""
    return jax.tree_util.tree_map_with_path(lambda path, x: x * (path[-1].key != "lora_a"), tree)


@functools.cache
def trajectory(packed="packed", micro=0, reference="frozen", objective="dpo", start="moved", lora=True, **settings):
    """(losses, what is trained at the end) of six steps.

    `start`: whether the policy begins away from the reference ("moved") or at the base ("base").
    """
    one = jax.devices()[:1]
    mesh = jax.make_mesh((1, 1, 1, 1), MESH_AXES, axis_types=(jax.sharding.AxisType.Auto,) * 4, devices=one)
    batches = _batches(packed)
    adapter = {"rank": 2, "alpha": 4.0} if lora else None
    made = recipe.from_config(
        dict(
            stage={"s": dict(role="gm", objective=objective, steps=STEPS, reference=reference, beta=0.5)},
            batch_rows=len(batches[0]["tokens"]), micro_batch_rows=micro * len(batches[0]["tokens"]) // 4,
            row_length=T, max_prompt_tokens=64, lora=adapter,
            optimizer=dict(name="adamw", eps=1e-4, weight_decay=0.01, clip_norm=1.0),
            schedule=dict(name="constant_schedule", value=0.03),
            **{"attention": "dense", **settings},  # the backend that compiles sooner
        )
    )  # fmt: skip
    stage = made.stage["s"]
    with jax.set_mesh(mesh):
        model = build.decoder(made, CONFIG)
        shapes = build.abstract_trained(made, CONFIG)
        base = _noise(decoder.abstract_params(CONFIG), 0)
        begin = _noise(shapes, 1) if start == "moved" else _plain(_noise(shapes, 1))
        compared = _plain(begin) if lora else _noise(shapes, 2)
        frozen = {"base": base if lora else None, "reference": compared if reference == "frozen" else None}
        trainer = build.trainer(made, stage, begin, mesh, STEPS, STEPS)
        state = jax.jit(trainer.create, out_shardings=trainer.places)(begin)
        step = build.train_step(made, stage, model, 8, trainer)
        score = jax.jit(functools.partial(forward.reply_logps, model, slots=8))
        losses = []
        for batch in batches:
            rows = {name: jnp.asarray(array) for name, array in batch.items()}
            if reference == "cached" and objective == "dpo":
                rows["reference_logps"] = score(compared, frozen, rows)
            state, metrics = step(state, frozen, rows)
            losses.append(float(metrics["loss"][0]) / float(metrics["loss"][1]))
    return np.array(losses), jax.device_get(state.params)


def same(found, expected) -> None:
    losses, params = found
    np.testing.assert_allclose(losses, expected[0], rtol=TOLERANCE)
    assert np.ptp(expected[0]) > 0.01 * np.mean(expected[0]), "a trajectory that stands still shows nothing"
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(expected[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE * np.abs(b).max())


@pytest.mark.parametrize(("objective", "micro"), [("dpo", 1), ("dpo", 2), ("sft", 1)])
def test_batch_and_accumulation(objective, micro):
    same(trajectory(objective=objective, micro=micro), trajectory(objective=objective))


@pytest.mark.parametrize("packed", ["one thread a row", "one pair a row"])
def test_packed_or_not(packed):
    same(trajectory(packed=packed), trajectory())


def test_packed_or_not_for_replies():
    same(trajectory(packed="one thread a row", objective="sft"), trajectory(objective="sft"))


@pytest.mark.parametrize("reference", ["cached", "adapter_off"])
def test_cached_or_live_reference(reference):
    same(trajectory(reference=reference), trajectory())


def test_cached_or_live_reference_for_all_weights():
    same(trajectory(reference="cached", lora=False), trajectory(lora=False))


@pytest.mark.parametrize("remat", sorted(set(remat.REMAT_POLICIES) - {"none"}))
def test_remat_or_not(remat):
    same(trajectory(remat=remat), trajectory())


def test_scan_or_not():
    same(trajectory(scan_layers=False), trajectory())


@pytest.mark.parametrize("backend", sorted(set(attention.BACKENDS) - {"dense"}))
def test_attention_backends(backend):
    same(trajectory(attention=backend), trajectory())


def test_all_at_once():
    changed = dict(packed="one thread a row", micro=2, reference="cached", remat="full", scan_layers=False)
    same(trajectory(**changed), trajectory())


def test_the_base_as_a_start_gives_another_trajectory():
    """What the families share is no accident of numbers that never move."""
    losses, _ = trajectory(start="base")
    assert losses[0] == pytest.approx(np.log(2), rel=1e-6)
    assert np.abs(losses / trajectory()[0] - 1).max() > 1e-2
