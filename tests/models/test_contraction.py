"""The product with a weight and its gradients, against numpy's sums over the same indices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llumi_jax.models.contraction import contract, gradient_of_kernel

pytestmark = pytest.mark.optimized

# (tokens, inputs, outputs): plain, several axes on either side, more inputs than outputs, a single token
SHAPES = [
    ((6,), (4,), (5,)),
    ((2, 3), (4,), (2, 3)),
    ((2, 3), (2, 3), (4,)),
    ((2, 3), (24,), (5,)),
    ((1,), (3,), (7,)),
    ((2, 64), (128,), (256,)),
    ((2, 64), (256,), (128,)),
]


def drawn(tokens, inputs, outputs, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) for shape in ((*tokens, *inputs), (*inputs, *outputs), (*tokens, *outputs)))


def expected(x, kernel, d_y, tokens, inputs, outputs):
    """Product and gradients as matrices of float64."""
    n, i, o = (int(np.prod(axes)) for axes in (tokens, inputs, outputs))
    x, kernel, d_y = x.reshape(n, i), kernel.reshape(i, o), d_y.reshape(n, o)
    return (
        (x @ kernel).reshape(*tokens, *outputs),
        (d_y @ kernel.T).reshape(*tokens, *inputs),
        (x.T @ d_y).reshape(*inputs, *outputs),
    )


def made(x, kernel, d_y, inputs):
    y, back = jax.vjp(lambda x, kernel: contract(x, kernel, len(inputs)), x, kernel)
    return y, *back(jnp.asarray(d_y, y.dtype))


@pytest.mark.parametrize(("tokens", "inputs", "outputs"), SHAPES)
def test_product_and_gradients(tokens, inputs, outputs):
    x, kernel, d_y = drawn(tokens, inputs, outputs)
    with jax.enable_x64(True):
        found = jax.jit(lambda *arrays: made(*arrays, inputs))(x, kernel, d_y)
    for one, right in zip(found, expected(x, kernel, d_y, tokens, inputs, outputs), strict=True):
        assert one.shape == right.shape and one.dtype == np.float64
        np.testing.assert_allclose(one, right, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("tokens", "inputs", "outputs"), SHAPES)
def test_bfloat16_keeps_its_sums_and_the_kernel_s_gradient_in_float32(tokens, inputs, outputs):
    x, kernel, d_y = (np.asarray(jnp.asarray(a, jnp.bfloat16), np.float64) for a in drawn(tokens, inputs, outputs))
    y, d_x, d_kernel = jax.jit(lambda *arrays: made(*arrays, inputs))(
        jnp.asarray(x, jnp.bfloat16), jnp.asarray(kernel, jnp.float32), jnp.asarray(d_y, jnp.bfloat16)
    )
    right = expected(x, kernel, d_y, tokens, inputs, outputs)
    assert (y.dtype, d_x.dtype, d_kernel.dtype) == (jnp.bfloat16, jnp.bfloat16, jnp.float32)
    # Inputs are exact in bfloat16, so only the result is rounded: to 8 bits, the kernel's gradient not at all.
    np.testing.assert_allclose(np.float64(y), right[0], rtol=2**-8, atol=1e-4)
    np.testing.assert_allclose(np.float64(d_x), right[1], rtol=2**-8, atol=1e-4)
    np.testing.assert_allclose(d_kernel, right[2], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(("tokens", "inputs", "outputs"), SHAPES)
def test_under_a_scan_of_checkpoints_as_the_decoder_has_it(tokens, inputs, outputs, dtype):
    """XLA chooses other layouts there; each must be one that it can compute."""
    x, kernel, _ = drawn(tokens, inputs, outputs)
    there, back = (np.stack([kernel, -kernel]), np.stack([kernel * 0.5, kernel]))
    axes = tuple(range(len(inputs)))
    back = np.moveaxis(back, [1 + a for a in axes], [a - len(inputs) for a in axes])

    @jax.checkpoint
    def layer(x, kernels):
        up, down = kernels
        return contract(jax.nn.silu(contract(x, up, len(inputs))), down, len(outputs)).astype(x.dtype), None

    def total(kernels, x, wide):
        run = jax.lax.scan(layer, x, kernels)[0] if wide is None else wide(x, kernels)
        return jnp.sum(run.astype(jnp.float32) ** 2)

    def plain(x, kernels):
        for up, down in zip(*kernels, strict=True):
            x = jnp.tensordot(jax.nn.silu(jnp.tensordot(x, up, len(inputs))), down, len(outputs))
        return x

    kernels = (jnp.float32(there) * 0.1, jnp.float32(back) * 0.1)
    found = jax.jit(jax.grad(lambda k: total(k, x.astype(dtype), None)))(kernels)
    right = jax.grad(lambda k: total(k, jnp.float32(x), plain))(kernels)
    for a, b in zip(found, right, strict=True):
        limit = 1e-4 if dtype == jnp.float32 else 0.06
        np.testing.assert_allclose(a, b, atol=limit * float(jnp.abs(b).max()))


def test_a_kernel_that_is_not_trained_costs_no_product():
    """Two products are left of three: forward and to the input."""
    x, kernel, _ = (jnp.float32(a) for a in drawn((16,), (8,), (8,)))
    compiled = jax.jit(jax.grad(lambda x: jnp.sum(contract(x, kernel, 1) ** 2))).lower(x).compile()
    everything = jax.jit(jax.grad(lambda x, k: jnp.sum(contract(x, k, 1) ** 2), (0, 1))).lower(x, kernel).compile()
    assert compiled.cost_analysis()["flops"] < 0.75 * everything.cost_analysis()["flops"]


def test_gradient_of_a_sum_over_tokens_alone():
    found = gradient_of_kernel(jnp.ones((5, 2)), jnp.full((5, 3), 2.0), 1, jnp.float32)
    np.testing.assert_array_equal(found, np.full((2, 3), 10.0))


def test_a_gradient_that_is_turned_round_in_bfloat16():
    """As that of an untied output matrix: XLA has no product of bfloat16 with a float32 result laid out so."""
    x, _, d_y = (jnp.asarray(a, jnp.bfloat16) for a in drawn((2, 8), (24,), (50,)))
    found = jax.jit(lambda x, d_y: gradient_of_kernel(d_y, x, 2, jnp.float32).T + 0)(x, d_y)
    right = np.einsum("abi,abo->io", np.float64(x), np.float64(d_y))
    np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-4)
