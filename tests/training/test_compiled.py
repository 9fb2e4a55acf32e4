"""One program a stage: its cost is told, a change of shape is an error, and what else is compiled is counted."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from llumi_jax.cli import RunFailure
from llumi_jax.training import compiled
from llumi_jax.training.sharding import make_mesh


class _State(SimpleNamespace):
    pass


jax.tree_util.register_pytree_node(
    _State, lambda s: ((s.params, s.opt_state), None), lambda _, c: _State(params=c[0], opt_state=c[1])
)


def a_step(state, frozen, rows):
    total = (rows["tokens"] @ frozen["w"]).sum()
    return _State(params=state.params + total, opt_state=state.opt_state), {"loss": total}


@pytest.fixture
def made(tmp_path):
    said = []
    step = compiled.CompiledStep(jax.jit(a_step), "gm_dpo", tmp_path, said.append)
    state = _State(params=jnp.zeros((3, 2)), opt_state={"mu": jnp.zeros((3, 2)), "count": jnp.int32(0)})
    return step, state, {"w": jnp.ones((8, 4))}, said


def rows(*shape: int, **more) -> dict:
    return {"tokens": jnp.ones(shape), **more}


def test_time_and_memory_are_told_once_and_left_in_a_file(made, tmp_path):
    step, state, frozen, said = made
    for _ in range(3):
        state, metrics = step(state, frozen, rows(2, 8))
    assert float(metrics["loss"]) == 64 and float(state.params[0, 0]) == 3 * 64
    found = json.loads((tmp_path / "compiled.json").read_text())
    assert found["weights_bytes"] == (3 * 2 + 8 * 4) * 4 and found["optimizer_bytes"] == (3 * 2 + 1) * 4
    assert found["rows_bytes"] == 2 * 8 * 4 and found["seconds"] >= 0
    assert found["total_bytes"] >= found["weights_bytes"] + found["optimizer_bytes"] + found["rows_bytes"]
    (line,) = said
    assert line.startswith("gm_dpo: step compiled in ") and "weights 152 B, optimiser 28 B, rows 64 B" in line


def test_a_device_holds_its_part():
    mesh = make_mesh(dict(data=2, fsdp=4, tensor=1, context=1))
    tree = {
        "split": jax.device_put(jnp.zeros((8, 6)), NamedSharding(mesh, P("fsdp", None))),
        "whole": jax.device_put(jnp.zeros(5, jnp.bfloat16), NamedSharding(mesh, P())),
    }
    assert compiled.bytes_on_a_device(tree) == 2 * 6 * 4 + 5 * 2


def test_rows_of_another_shape_are_an_error_that_names_it(made):
    step, state, frozen, _ = made
    state, _ = step(state, frozen, rows(2, 8, row=jnp.zeros(2, jnp.int32)))
    with pytest.raises(RunFailure, match=r"gm_dpo: .*tokens float32\[3, 8\] instead of float32\[2, 8\]\. All rows"):
        step(state, frozen, rows(3, 8, row=jnp.zeros(2, jnp.int32)))
    with pytest.raises(RunFailure, match=r"row nothing instead of int32\[2\]\. "):
        step(state, frozen, rows(2, 8))


def test_a_number_from_the_host_does_not_slip_in(made):
    step, state, frozen, _ = made
    state, _ = step(state, frozen, rows(2, 8))
    with pytest.raises(Exception, match="[Dd]isallowed host-to-device"):
        step(_State(params=jax.device_get(state.params), opt_state=state.opt_state), frozen, rows(2, 8))


def test_programs_are_counted_after_the_start():
    def program(x):
        return x * 3 - 1

    fresh = jax.jit(program)
    three, four, five, six = (jnp.ones(n) for n in (3, 4, 5, 6))
    with compiled.Recompiles() as found:
        fresh(three)
        assert found.count == 0
        found.start()
        fresh(three)
        assert found.count == 0 and found.take() == []
        fresh(four)
        assert found.count == 1 and found.take() == ["jit(program)"] and found.take() == []
        with found.expected():
            fresh(five)
        assert found.count == 1
    fresh(six)
    assert found.count == 1
