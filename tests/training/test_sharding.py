"""On eight virtual devices, weights and moments are really split: counted in bytes that lie on a device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from llumi_jax.cli import UserError
from llumi_jax.models import decoder, lora
from llumi_jax.models.config import DecoderConfig
from llumi_jax.training import sharding
from llumi_jax.training.optimizer import make_optimizer
from llumi_jax.training.state import TrainState

pytestmark = pytest.mark.optimized

AXES = ("data", "fsdp", "tensor", "context")
CONFIG = DecoderConfig("llama", 2048, 256, 512, 4, 4, 2, 64)  # every matrix over 1 MB
MEGABYTE = 2**20


def mesh_of(*sizes: int):
    return sharding.make_mesh(dict(zip(AXES, sizes, strict=True)))


def bytes_on(device, tree) -> int:
    shards = [shard for leaf in jax.tree.leaves(tree) for shard in leaf.addressable_shards]
    return sum(shard.data.nbytes for shard in shards if shard.device == device)


def total_bytes(tree) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def make_state(params_shapes, mesh, name: str) -> TrainState:
    """As the stage makes it: the weights placed by rule, the state created under explicit shardings."""
    optimizer = make_optimizer({"name": name, "clip_norm": 1.0}, optax.constant_schedule(0.1), (), params_shapes)
    create = functools.partial(TrainState.create, optimizer=optimizer, seed=0)
    abstract = jax.eval_shape(create, params_shapes)
    whole = sharding.replicated(mesh)
    places = TrainState(
        step=whole,
        params=sharding.tree_shardings(abstract.params, mesh),
        opt_state=sharding.state_shardings(abstract.opt_state, abstract.params, mesh),
        rng=whole,
        position=whole,
    )

    def zeros():
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), params_shapes)

    return jax.jit(lambda: create(zeros()), out_shardings=places)()


@pytest.mark.parametrize("name", ["adamw", "contrib.muon", "lion"])
def test_weights_and_moments_are_split(name):
    state = make_state(decoder.abstract_params(CONFIG), mesh_of(2, 2, 2, 1), name)
    for tree in (state.params, state.opt_state):
        assert total_bytes(tree) > 10 * MEGABYTE
        for device in jax.devices():
            # fsdp x tensor = 4 parts, over data twice the same; norms and counters are all that may lie everywhere.
            assert bytes_on(device, tree) < total_bytes(tree) / 4 * 1.01
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if leaf.nbytes > MEGABYTE:
            assert leaf.addressable_shards[0].data.nbytes == leaf.nbytes // 4, jax.tree_util.keystr(path)


def test_an_adapters_moments_lie_where_the_adapter_lies():
    mesh = mesh_of(1, 4, 2, 1)
    state = make_state(lora.abstract(lora.LoraConfig(rank=64), CONFIG), mesh, "adamw")
    moments = state.opt_state[1][0]
    assert jax.tree.map(lambda x: x.sharding, moments.mu) == jax.tree.map(lambda x: x.sharding, state.params)
    assert bytes_on(jax.devices()[0], state) < total_bytes(state) / 2.5


def test_factored_moments_are_split_like_the_axes_that_they_keep():
    """Adafactor sums each matrix over one of its two largest axes."""
    mesh, params = mesh_of(1, 4, 2, 1), {"layers": decoder.abstract_params(CONFIG)["layers"]}
    opt_state = jax.eval_shape(optax.adafactor(1e-3).init, params)
    places = sharding.state_shardings(opt_state, params, mesh)
    factored = jax.tree.map(lambda x: x.spec, places[0])
    assert factored.v_row["layers"]["mlp"]["up"]["kernel"] == P(None, "fsdp")  # L, D
    assert factored.v_col["layers"]["mlp"]["up"]["kernel"] == P(None, "tensor")  # L, F
    assert factored.v_row["layers"]["mlp"]["down"]["kernel"] == P(None, "fsdp")  # L, D
    assert not sharding.whole_leaves(opt_state, places, over=100_000)


def test_what_stands_whole_is_named():
    mesh = mesh_of(1, 8, 1, 1)
    tree = {"m": {"odd": jax.ShapeDtypeStruct((512, 1024), jnp.float32), "small": jnp.zeros(3)}}
    places = jax.tree.map(lambda _: sharding.replicated(mesh), tree)
    assert sharding.whole_leaves(tree, places) == {"m.odd": 2 * MEGABYTE}


def test_a_moment_may_be_kept_in_bfloat16():
    shapes = {"layers": {"mlp": {"up": {"kernel": jax.ShapeDtypeStruct((2, 8, 16), jnp.float32)}}}}
    spec = {"name": "adamw", "mu_dtype": "bfloat16"}
    state = jax.eval_shape(make_optimizer(spec, optax.constant_schedule(0.1), (), shapes).init, shapes)
    assert sorted(str(x.dtype) for x in jax.tree.leaves(state) if x.ndim) == ["bfloat16", "float32"]


def test_a_state_of_another_shape_than_its_parameter_stands_everywhere():
    mesh, params = mesh_of(2, 2, 2, 1), {"final_norm": {"scale": jnp.zeros(8)}}
    opt_state = {"mu": params, "odd": {"final_norm": {"scale": jnp.zeros(3)}}, "count": jnp.zeros(())}
    found = sharding.state_shardings(opt_state, params, mesh)
    assert found["mu"]["final_norm"]["scale"].spec == P("fsdp")
    assert found["odd"]["final_norm"]["scale"].spec == found["count"].spec == P()


def test_batches_are_split_over_data_and_fsdp():
    mesh = mesh_of(2, 2, 2, 1)
    placed = sharding.to_device({"tokens": np.arange(32).reshape(8, 4), "row": np.arange(8)}, mesh)
    for name, array in placed.items():
        assert array.addressable_shards[0].data.shape[0] == 2, name
    np.testing.assert_array_equal(placed["tokens"], np.arange(32).reshape(8, 4))


# --- meshes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((2, 2, 2, 1), (2, 2, 2, 1)),
        ((-1, 2, 2, 1), (2, 2, 2, 1)),
        ((1, -1, 1, 1), (1, 8, 1, 1)),
        ((8, 1, -1, 1), (8, 1, 1, 1)),
    ],
)
def test_a_mesh_holds_every_device(sizes, expected):
    mesh = mesh_of(*sizes)
    assert mesh.axis_names == AXES and tuple(mesh.shape.values()) == expected
    assert {d.id for d in mesh.devices.ravel()} == {d.id for d in jax.devices()}
    assert all(kind == jax.sharding.AxisType.Auto for kind in mesh.axis_types)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((3, 1, 1, 1), "does not fit 8 devices. Make the sizes multiply to it, or use -1 once"),
        ((-1, 3, 1, 1), "does not fit 8 devices"),
        ((-1, -1, 1, 1), "only one axis may be -1"),
        ((0, 8, 1, 1), "does not fit 8 devices"),
        ((-1, 0, 1, 1), "does not fit 8 devices"),
        ((-2, -4, 1, 1), "does not fit 8 devices"),
        ((16, 1, 1, 1), "does not fit 8 devices"),
    ],
)
def test_a_mesh_that_does_not_fit_is_refused(sizes, message):
    with pytest.raises(UserError, match=message):
        mesh_of(*sizes)


def test_rows_that_do_not_divide_are_refused():
    mesh = mesh_of(2, 2, 2, 1)
    sharding.check_batch(mesh, 8, 4)
    with pytest.raises(UserError, match=r"config.batch_rows=6 must be a multiple of 4 \(mesh data x fsdp\)"):
        sharding.check_batch(mesh, 6, 6)
    with pytest.raises(UserError, match="config.micro_batch_rows=2 must be a multiple of 4"):
        sharding.check_batch(mesh, 8, 2)


@pytest.mark.parametrize(
    ("context", "length", "backend", "message"),
    [
        (4, 510, "dense", "config.row_length=510 must be a multiple of 4: config.mesh.context=4 splits a row over 4"),
        (
            4,
            256,
            "block",
            "multiple of 512: .* needs a multiple of 128 tokens on each. Or set config.attention='dense'",
        ),
        (8, 516, "block", "multiple of 1024: .* on each.$"),
    ],
)
def test_rows_that_do_not_split_over_context_are_refused(context, length, backend, message):
    mesh = mesh_of(-1, 1, 1, context)
    sharding.check_rows(mesh, 1024, backend)
    with pytest.raises(UserError, match=message):
        sharding.check_rows(mesh, length, backend)
