"""Useful floating-point operations of training: the one home of how they are counted.

A matrix product of [n, i] with [i, o] is 2 n i o. Counted is what the result needs: tokens that are not padding
through the layers' matrices, predicted tokens alone through the output matrix, and the (query, key) pairs that may
attend. The backward pass is twice the forward one. Never counted: padding, a reference model, recomputation (remat),
norms, activations, the softmax, the optimiser.
"""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from llumi_jax.models.config import DecoderConfig


@dataclasses.dataclass(frozen=True)
class Work:
    """What a decoder is given to do, whatever its sizes.

    tokens: that are not padding. predictions: tokens whose log-probability is asked for.
    attended: (query, key) pairs of one head in one layer.
    """

    tokens: int = 0
    predictions: int = 0
    attended: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.tokens + other.tokens, self.predictions + other.predictions, self.attended + other.attended)

    @classmethod
    def total(cls, parts: Iterable["Work"]) -> "Work":
        return sum(parts, cls())


def of_rows(rows: Mapping[str, np.ndarray], window: int | None = None) -> Work:
    """The work of packed rows: `segment`, `positions` [*B, T] and `weight` [*B, M] of numpy.

    A token sees its own line (prefix, then its reply) up to itself, that is position + 1 keys: what
    `models.attention.may_attend` allows, without the square.
    """
    real = np.asarray(rows["segment"]) > 0
    seen = np.asarray(rows["positions"], np.int64)[real] + 1
    seen = seen if window is None else np.minimum(seen, window)
    return Work(int(real.sum()), int((np.asarray(rows["weight"]) > 0).sum()), int(seen.sum()))


def of_sequence(prompt: int, reply: int) -> Work:
    """The work of one causal sequence whose last `reply` tokens are predicted; a pair without sharing is two."""
    tokens = prompt + reply
    return Work(tokens, reply, tokens * (tokens + 1) // 2)


def forward(config: DecoderConfig, work: Work) -> int:
    """FLOPs of one forward pass."""
    return _matrices(config, work) + _attention(config, work)


def training(config: DecoderConfig, work: Work, adapter_weights: int | None = None) -> int:
    """FLOPs of forward and backward.

    Args:
      adapter_weights: weights of the LoRA factors where only those are trained (the frozen matrices then have no
        gradient of their own: once through them forward, once backward); None where all weights are.
    """
    if adapter_weights is None:
        return 3 * forward(config, work)
    low_rank = 2 * adapter_weights * work.tokens
    return 2 * _matrices(config, work) + 3 * _attention(config, work) + 3 * low_rank


def _matrices(config: DecoderConfig, work: Work) -> int:
    return 2 * (config.matmul_params * work.tokens + config.head_params * work.predictions)


def _attention(config: DecoderConfig, work: Work) -> int:
    """Scores and weighted sums of values: two products of N for each head, layer and pair that may attend."""
    return 4 * config.num_layers * config.num_heads * config.head_dim * work.attended
