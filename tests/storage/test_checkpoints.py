"""Checkpoints come back bit by bit, onto any mesh, whatever happens to the arrays after the save or to the process."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from llumi_jax.cli import UserError
from llumi_jax.storage import checkpoints
from llumi_jax.storage.checkpoints import Checkpoints, tree_sha256
from llumi_jax.training.sharding import make_mesh

ROOT = Path(__file__).parents[2]


def trees(seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)

    def draw(shape, dtype):
        return jnp.asarray(rng.standard_normal(shape), dtype)

    return {
        "params": {"w": draw((16, 8), jnp.float32), "b": draw(8, jnp.bfloat16)},
        "opt_state": (jnp.int32(seed), {"w": draw((16, 8), jnp.float32)}),
        "progress": {"step": jnp.int32(seed), "rng": jax.random.key_data(jax.random.key(seed))},
    }


def abstract(tree, sharding=None):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding or x.sharding), tree)


@pytest.fixture
def saved(tmp_path):
    made = Checkpoints(tmp_path / "checkpoints")
    yield made
    made.close()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- save and restore ----------------------------------------------------------------------------------------------


def test_what_is_saved_comes_back(saved):
    assert saved.latest is None
    saved.save(3, trees())
    saved.wait()
    back = saved.restore(abstract(trees()))
    assert saved.latest == 3
    assert tree_sha256(back) == tree_sha256(trees())
    assert jax.tree.structure(back) == jax.tree.structure(trees())


def test_the_newest_ones_are_kept(saved, tmp_path):
    for step in (1, 5, 9):
        saved.save(step, trees(step))
    saved.wait()
    assert names(tmp_path / "checkpoints") >= {"5", "9"} and "1" not in names(tmp_path / "checkpoints")
    assert tree_sha256(saved.restore(abstract(trees()))) == tree_sha256(trees(9))
    assert tree_sha256(saved.restore(abstract(trees()), 5)) == tree_sha256(trees(5))


def test_saves_leave_no_threads_behind(saved):
    saved.save(1, trees())
    saved.wait()
    before = threading.active_count()
    for step in range(2, 8):
        saved.save(step, trees(step))
    saved.wait()
    assert threading.active_count() <= before + 1  # one may be starting to remove an old checkpoint


def test_a_step_that_is_there_is_kept_as_it_is(saved):
    saved.save(4, trees(1))
    saved.wait()
    saved.save(4, trees(2))
    saved.wait()
    assert tree_sha256(saved.restore(abstract(trees()))) == tree_sha256(trees(1))


def test_donated_arrays_do_not_change_what_is_saved(saved):
    """Each save is followed at once by a step that reuses its memory, as in training."""
    advance = jax.jit(lambda x: x + 1, donate_argnums=0)
    state = {"params": {"w": jnp.zeros(400_000)}}
    for step in range(1, 7):
        saved.save(step, state)
        for _ in range(3):
            state = jax.tree.map(advance, state)
        saved.wait()
        back = saved.restore(abstract(state))["params"]["w"]
        np.testing.assert_array_equal(back, np.full(400_000, 3.0 * (step - 1), np.float32))


# --- meshes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fsdp", "tensor"), [(2, 2), (8, 1), (1, 1)])
def test_a_checkpoint_comes_back_onto_another_mesh(saved, fsdp, tensor):
    def on(*sizes):
        return NamedSharding(
            make_mesh(dict(zip(("data", "fsdp", "tensor", "context"), (*sizes, 1), strict=True))), P("fsdp", "tensor")
        )

    array = jnp.arange(128.0).reshape(16, 8)
    saved.save(1, {"params": {"w": jax.device_put(array, on(2, 4, 1))}})
    saved.wait()
    target = on(8 // (fsdp * tensor), fsdp, tensor)
    back = saved.restore({"params": {"w": jax.ShapeDtypeStruct((16, 8), jnp.float32, sharding=target)}})["params"]["w"]
    assert back.sharding == target
    assert back.addressable_shards[0].data.shape == (16 // fsdp, 8 // tensor)
    np.testing.assert_array_equal(back, array)


# --- kills ---------------------------------------------------------------------------------------------------------

KILLED = """
import os, sys, jax, jax.numpy as jnp
from llumi_jax.storage.checkpoints import Checkpoints
saved = Checkpoints(sys.argv[1])
make = lambda value: {"params": {"w": jnp.full(4_000_000, value)}}
saved.save(1, make(1.0)); saved.wait()
saved.save(2, make(2.0))
os._exit(9)  # while step 2 is being written
"""


def test_a_kill_during_a_save_leaves_the_last_whole_checkpoint(tmp_path):
    folder = tmp_path / "checkpoints"
    subprocess.run(
        [sys.executable, "-c", KILLED, folder],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        check=False,
        timeout=120,
    )
    saved = Checkpoints(folder)
    value = {"params": {"w": jnp.zeros(4_000_000)}}
    assert saved.latest == 1
    assert float(saved.restore(abstract(value))["params"]["w"].min()) == 1.0
    saved.save(2, value)
    saved.wait()
    assert saved.latest == 2 and not any("tmp" in name for name in names(folder))
    assert float(saved.restore(abstract(value))["params"]["w"].max()) == 0.0
    saved.close()


# --- parts and plain trees -----------------------------------------------------------------------------------------


def test_the_weights_alone_can_be_read(saved, tmp_path):
    for step in (2, 6):
        saved.save(step, trees(step))
    saved.wait()
    shapes = abstract(trees())["params"]
    folder = tmp_path / "checkpoints"
    assert tree_sha256(checkpoints.restore_params(folder, shapes)) == tree_sha256(trees(6)["params"])
    assert tree_sha256(checkpoints.restore_params(folder, shapes, 2)) == tree_sha256(trees(2)["params"])


@pytest.mark.parametrize("there", [False, True])
def test_a_stage_without_a_checkpoint_says_so(tmp_path, there):
    folder = tmp_path / "checkpoints"
    if there:
        folder.mkdir()
    with pytest.raises(UserError, match="holds no checkpoint yet"):
        checkpoints.restore_params(folder, {"w": jax.ShapeDtypeStruct((1,), jnp.float32)})
    assert folder.exists() == there


def test_a_step_that_is_gone_says_so(saved, tmp_path):
    saved.save(2, trees())
    saved.wait()
    with pytest.raises(UserError, match="no checkpoint of step 1; the newest is 2"):
        checkpoints.restore_params(tmp_path / "checkpoints", abstract(trees())["params"], 1)


def test_a_plain_tree_is_replaced_and_read(tmp_path):
    path = tmp_path / "params"
    for seed in (0, 1):
        checkpoints.save_tree(path, trees(seed)["params"])
        back = checkpoints.restore_tree(path, abstract(trees())["params"])
        assert tree_sha256(back) == tree_sha256(trees(seed)["params"])
    with pytest.raises(UserError, match="is missing. Check the path"):
        checkpoints.restore_tree(tmp_path / "other", abstract(trees())["params"])


# --- digests -------------------------------------------------------------------------------------------------------


def test_a_digest_is_of_the_bits_not_of_the_place():
    tree = {"a": jnp.arange(8.0), "b": {"c": np.array([[1, 2]], np.int32)}}
    spread = jax.device_put(tree["a"], NamedSharding(make_mesh(dict(data=8, fsdp=1, tensor=1, context=1)), P("data")))
    assert tree_sha256(tree) == tree_sha256({"b": tree["b"], "a": spread}) == tree_sha256(jax.device_get(tree))


@pytest.mark.parametrize(
    "other",
    [
        {"a": np.float32([0.0, 2.0])},
        {"b": np.float32([0.0, 1.0])},
        {"a": np.float64([0.0, 1.0])},
        {"a": np.float32([[0.0, 1.0]])},
        {"a": np.float32([-0.0, 1.0])},
        {"a": np.float32([0.0]), "b": np.float32([1.0])},
        {"a": np.float32([0.0, 1.0]), "b": np.float32([])},
    ],
    ids=["value", "path", "dtype", "shape", "sign of zero", "cut in two", "an empty leaf more"],
)
def test_a_digest_changes_with_everything(other):
    assert tree_sha256(other) != tree_sha256({"a": np.float32([0.0, 1.0])})


def test_digests_of_odd_leaves():
    assert tree_sha256({"k": jax.random.key(0)}) != tree_sha256({"k": jax.random.key(1)})
    bits = jnp.array([1.0, 2.0], jnp.bfloat16)
    assert tree_sha256({"a": bits}) == tree_sha256({"a": np.asarray(bits)}) != tree_sha256({"a": bits + 1})
    assert tree_sha256({}) != tree_sha256({"a": jnp.zeros(())})


# --- a checkpoint that is held -------------------------------------------------------------------------------------


def test_a_held_checkpoint_stays_until_another_is(saved, tmp_path):
    folder = tmp_path / "checkpoints"
    saved.hold(1)
    for step in (1, 2, 3, 4):
        saved.save(step, trees(step))
    saved.wait()
    assert {"1", "3", "4"} <= names(folder) and "2" not in names(folder)
    saved.hold(4)
    for step in (5, 6, 7):
        saved.save(step, trees(step))
    saved.wait()
    assert {"4", "6", "7"} <= names(folder) and not {"1", "3", "5"} & names(folder)


def test_the_result_of_a_stage_is_its_best_step_where_one_is_named(saved, tmp_path):
    for step in (2, 6):
        saved.save(step, trees(step))
    saved.wait()
    shapes, folder = abstract(trees())["params"], tmp_path / "checkpoints"
    (tmp_path / checkpoints.BEST_FILE).write_text('{"step": 2}')
    assert tree_sha256(checkpoints.restore_params(folder, shapes)) == tree_sha256(trees(2)["params"])
    assert tree_sha256(checkpoints.restore_params(folder, shapes, 6)) == tree_sha256(trees(6)["params"])
    assert saved.latest == 6 and tree_sha256(saved.restore(abstract(trees()))) == tree_sha256(trees(6))
    (tmp_path / checkpoints.BEST_FILE).write_text('{"step": 4}')
    with pytest.raises(UserError, match="no checkpoint of step 4"):
        checkpoints.restore_params(folder, shapes)
