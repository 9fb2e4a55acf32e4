"""Replies beside a post that they were not written to: what KTO's estimate of the KL divergence is taken on."""

import dataclasses
from collections.abc import Sequence

from llumi_jax.data.tokenization import TokenThread


def with_mismatched(threads: Sequence[TokenThread], row_length: int) -> list[TokenThread]:
    """Every thread with one reply more, which stands in none of its pairs: one of the next thread's, in turn.

    A post shares its row with its replies, so that the estimate costs these replies' tokens and nothing else.

    Args:
      threads: in an order that has nothing to do with what they say, as the ids give it; the last is followed by the
        first. The same threads always get the same replies.
      row_length: tokens of a row; a thread that would not fit with the reply stays as it is.
    """
    if len(threads) < 2:
        return list(threads)
    following = [*threads[1:], threads[0]]
    return [
        _extended(thread, other, i, row_length)
        for i, (thread, other) in enumerate(zip(threads, following, strict=True))
    ]


def _extended(thread: TokenThread, other: TokenThread, turn: int, row_length: int) -> TokenThread:
    reply = other.replies[turn % len(other.replies)]
    if thread.size + len(reply) > row_length:
        return thread
    return dataclasses.replace(thread, replies=(*thread.replies, reply), reply_weights=(*thread.reply_weights, 0.0))
