"""What the forward pass of a layer keeps for the backward pass, by name, with what that costs.

Shapes in the words: D model, F feed-forward, H query heads, K key/value heads, N head size; "a token" is one token of
one layer. What is not kept is computed a second time.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

_NAMED = jax.checkpoint_policies.save_only_these_names


@dataclasses.dataclass(frozen=True)
class Remat:
    """A policy of `jax.checkpoint` (None = no checkpoint at all), and what a user chooses it by."""

    policy: Callable[..., Any] | None
    keeps: str  # of each layer
    cost: str


# From most to least of an accelerator's memory. "attention" is the name of the block backend's output and log-sum-exp.
REMAT_POLICIES: dict[str, Remat] = {
    "none": Remat(
        None,
        keeps="everything",
        cost="nothing is computed twice; the most memory",
    ),
    "products": Remat(
        _NAMED("attention", "q", "k", "v", "gate", "up"),
        keeps="attention's output; q, k, v; gate, up: (2H + 2K)N + 2F + D numbers a token",
        cost="norms, the activation, attention's o and LoRA's inner products again: a few per cent of a step",
    ),
    "attention": Remat(
        _NAMED("attention"),
        keeps="attention's output: HN + D numbers a token",
        cost="the layer's products again: a third more of them (LoRA: a half); attention itself only once",
    ),
    "full": Remat(
        jax.checkpoint_policies.nothing_saveable,
        keeps="the layer's input: D numbers a token",
        cost="the layer's forward pass again, attention too: a third more of a step (LoRA: a half)",
    ),
    "offload": Remat(
        jax.checkpoint_policies.save_and_offload_only_these_names(
            names_which_can_be_saved=[],
            names_which_can_be_offloaded=["input"],
            offload_src="device",
            offload_dst="pinned_host",
        ),
        keeps="nothing on the device; the layer's input in the host's memory",
        cost="as full, and D numbers a token to the host and back, beside the computation",
    ),
}
