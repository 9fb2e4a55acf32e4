"""Frozen weights in 8 bits: LoRA over them needs a quarter of the memory (QLoRA's idea, arXiv:2305.14314, in int8).

Each layer's matrix W [L, *in, *out] becomes int8 values and one float32 scale for each output of each layer,
W ~ values * scale, symmetric about 0: scale = max |W| / 127 over the inputs. Embedding, output matrix, norms and biases
stay as they are: the output matrix is multiplied whole, so its 8 bits would have to be unpacked beside it.

No library is needed for that. Those that quantise whole models do it by replacing JAX's own functions while a model
runs, and bring trees of their own; here a weight keeps its name, its sharding rule and its place in the scan.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from llumi_jax.models.partitioning import matrix_axes, path_names

METHODS = ("int8",)
_MOST = 127  # -128 is left out: the range is symmetric


def quantize(params: Any) -> Any:
    """Returns the tree with {"kernel": int8, "kernel_scale": float32} at every layer's matrix; numpy's stay numpy's.

    A leaf is let go of as soon as its 8 bits are there, if the caller keeps no other hold of it.
    """

    def change(node: dict, path: tuple[str, ...]) -> dict:
        out: dict[str, Any] = {}
        for name in sorted(node):
            leaf = node.pop(name)
            axes = None if isinstance(leaf, dict) else _layer_matrix((*path, name))
            if isinstance(leaf, dict):
                out[name] = change(dict(leaf), (*path, name))
            elif axes is None:
                out[name] = leaf
            else:
                out[name], out[f"{name}_scale"] = _to_int8(leaf, axes[0])
        return out

    return change(dict(params), ())


def dequantize(params: Any, dtype: Any = jnp.float32) -> Any:
    """The tree as `quantize` was given it, with what 8 bits have left of its matrices, in `dtype`."""

    def change(node: dict, path: tuple[str, ...]) -> dict:
        out = {name: change(leaf, (*path, name)) for name, leaf in node.items() if isinstance(leaf, dict)}
        if "kernel_scale" in node:
            inputs, _ = _layer_matrix((*path, "kernel")) or ((), ())
            scale = jnp.expand_dims(node["kernel_scale"], inputs)
            out["kernel"] = (node["kernel"].astype(jnp.float32) * scale).astype(dtype)
        kept = {name: leaf for name, leaf in node.items() if not isinstance(leaf, dict) and name != "kernel_scale"}
        return {**kept, **out}

    return change(params, ())


def is_quantized(params: Any) -> bool:
    return any(path_names(path)[-1] == "kernel_scale" for path, _ in jax.tree_util.tree_leaves_with_path(params))


def matmul(x: jax.Array, kernel: jax.Array, scale: jax.Array, inputs: int) -> jax.Array:
    """x @ (kernel * scale) over the last `inputs` axes of x, computed in x's dtype.

    Shapes: x [*B, *in], kernel int8 [*in, *out], scale [*out]; returns [*B, *out].

    The scale is multiplied in after the product, which is the same and cheaper. Kernel and scale have no gradient.
    """
    return _matmul(x, kernel, jax.lax.stop_gradient(scale), inputs)


def _layer_matrix(path: tuple[str, ...]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Input and output axes of a layer's kernel; None for everything else."""
    return matrix_axes(path) if path[-1] == "kernel" and "layers" in path else None


def _to_int8(kernel: Any, inputs: tuple[int, ...]) -> tuple[Any, Any]:
    xp: Any = np if isinstance(kernel, np.ndarray) else jnp
    wide = kernel.astype(np.float32)
    most = xp.max(xp.abs(wide), axis=inputs, keepdims=True)
    scale = xp.where(most > 0, most / _MOST, 1.0).astype(np.float32)
    values = xp.clip(xp.round(wide / scale), -_MOST, _MOST).astype(np.int8)
    return values, xp.squeeze(scale, inputs)


def _product(x: jax.Array, kernel: jax.Array, scale: jax.Array, inputs: int) -> jax.Array:
    last = tuple(range(x.ndim - inputs, x.ndim))
    y = jax.lax.dot_general(x, kernel.astype(x.dtype), ((last, tuple(range(inputs))), ((), ())))
    return y * scale.astype(x.dtype)


# The backward pass unpacks the 8 bits again. Left to itself, it would keep what the forward pass unpacked: a whole
# base in floating point, layer by layer.
_matmul = jax.custom_vjp(_product, nondiff_argnums=(3,))


def _forward(x: jax.Array, kernel: jax.Array, scale: jax.Array, inputs: int) -> tuple[jax.Array, Any]:
    return _product(x, kernel, scale, inputs), (kernel, scale)


def _backward(inputs: int, kept: Any, gradient: jax.Array) -> tuple[jax.Array, None, None]:
    kernel, scale = kept
    outputs = kernel.ndim - inputs
    last = tuple(range(gradient.ndim - outputs, gradient.ndim))
    scaled = gradient * scale.astype(gradient.dtype)
    over = (last, tuple(range(inputs, kernel.ndim)))
    return jax.lax.dot_general(scaled, kernel.astype(gradient.dtype), (over, ((), ()))), None, None


_matmul.defvjp(_forward, _backward)
