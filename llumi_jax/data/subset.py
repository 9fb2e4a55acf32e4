"""A part of packed rows, as packed rows of the same shape: what is compiled for the whole fits the part."""

import dataclasses
from collections.abc import Sequence

from llumi_jax.data.packing import PackedRows
from llumi_jax.data.tokenization import TokenThread


def take(rows: PackedRows, indices: Sequence[int]) -> PackedRows:
    """The rows at `indices`, in that order, with their threads and no others."""
    plan: list[tuple[int, ...]] = []
    threads: list[TokenThread] = []
    for index in indices:
        found = rows.threads_of(int(index))
        plan.append(tuple(range(len(threads), len(threads) + len(found))))
        threads += found
    return dataclasses.replace(rows, threads=tuple(threads), plan=tuple(plan), dropped=0)
