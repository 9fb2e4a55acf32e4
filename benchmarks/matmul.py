"""How fast this machine multiplies the matrices that a decoder is made of: what utilisation is measured against.

For every matrix of a layer and for the output matrix: the product of the forward pass and the two of the backward
pass, at the number of tokens of a micro-batch. The best of them all counts, so utilisation is read against the most
favourable shape and never flatters.
"""

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

CHUNK = 128  # predictions of a row that meet the output matrix at one time

# [n, i] x [i, o]: the sizes, whatever the operands' layout
Product = tuple[str, int, int, int]


def products(sizes: Mapping[str, int], tokens: int, predictions: int) -> Iterator[Product]:
    """(name, n, i, o) of every distinct product of a training step.

    Args:
      sizes: D, F, V, H, K, N.
      tokens: of a micro-batch. predictions: of a chunk of the output matrix.
    """
    D, F, V = sizes["D"], sizes["F"], sizes["V"]
    queries, keys = sizes["H"] * sizes["N"], sizes["K"] * sizes["N"]
    matrices = {(D, queries): "q", (D, keys): "k", (queries, D): "o", (D, F): "up", (F, D): "down"}
    seen = set()
    for (i, o), name in matrices.items():
        for product in ((f"{name}", tokens, i, o), (f"{name} dx", tokens, o, i), (f"{name} dw", i, tokens, o)):
            if product[1:] not in seen:
                seen.add(product[1:])
                yield product
    yield "head", predictions, D, V
    yield "head dx", predictions, V, D
    yield "head dw", D, predictions, V


def sizes_of(values: Mapping[str, Any]) -> dict[str, int]:
    """D, F, V, H, K, N of a config.json."""
    H = values["num_attention_heads"]
    names = {"D": "hidden_size", "F": "intermediate_size", "V": "vocab_size", "K": "num_key_value_heads"}
    return {**{letter: values[name] for letter, name in names.items()}, "H": H, "N": values["head_dim"]}


def best(
    sizes: Mapping[str, int], tokens: int, predictions: int, run: Callable[[int, int, int], Callable[[], None]]
) -> tuple[float, str]:
    """(FLOP/s, name) of the fastest product. `run(n, i, o)` gives a function that computes it once and waits."""
    found = (0.0, "")
    for name, n, i, o in products(sizes, tokens, predictions):
        rate = 2 * n * i * o / _quickest(run(n, i, o))
        found = max(found, (rate, name))
    return found


def _quickest(once: Callable[[], None], repeats: int = 5, least: float = 0.02) -> float:
    """Seconds of the quickest of some runs; short ones are run often enough to be told from the clock's grain."""
    once()
    began = time.perf_counter()
    once()
    inner = max(1, int(least / max(time.perf_counter() - began, 1e-9)))
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in range(inner):
            once()
        times.append((time.perf_counter() - began) / inner)
    return min(times)


def jax_run(dtype: str) -> Callable[[int, int, int], Callable[[], None]]:
    """`jnp.dot` on the default device; of bfloat16 with a float32 result, which XLA is faster at on a processor."""
    import jax
    import jax.numpy as jnp

    dot = jax.jit(functools.partial(jnp.dot, preferred_element_type=jnp.float32))

    def run(n: int, i: int, o: int) -> Callable[[], None]:
        a, b = (jax.random.normal(jax.random.key(s), shape).astype(dtype) for s, shape in enumerate([(n, i), (i, o)]))
        return lambda: dot(a, b).block_until_ready()

    return run


def torch_run(dtype: str) -> Callable[[int, int, int], Callable[[], None]]:
    """`torch.matmul` on the accelerator if there is one."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    def run(n: int, i: int, o: int) -> Callable[[], None]:
        a, b = (torch.randn(*shape, device=device).to(getattr(torch, dtype)) for shape in ((n, i), (i, o)))

        def once() -> None:
            torch.matmul(a, b)
            wait()

        return once

    return run
