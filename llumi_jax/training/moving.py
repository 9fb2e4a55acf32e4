"""Trees that follow the weights while they are trained: an average of them, and a reference that moves.

Both are part of the state, so that a run that is resumed has them to the last bit.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from llumi_jax.cli import UserError


class Moving(NamedTuple):
    """What follows the weights, and how.

    ema_decay: d of average = d * average + (1 - d) * weights after every step; 0 = no average.
    reference_sync_steps: steps between two moves of the reference; 0 = it stands still.
    reference_mixup_alpha: share of the weights in the new reference; 1 = it becomes them.
    """

    ema_decay: float = 0.0
    reference_sync_steps: int = 0
    reference_mixup_alpha: float = 1.0


NOTHING = Moving()


def of(stage: Any) -> Moving:
    """What follows the weights of a stage."""
    return Moving(*(getattr(stage, name) for name in Moving._fields))


def follow_average(average: Any, params: Any, moving: Moving) -> Any:
    """One step of the exponential moving average; it begins as the weights that the stage starts from."""
    decay = moving.ema_decay
    return jax.tree.map(lambda a, p: (decay * a + (1 - decay) * p).astype(a.dtype), average, params)


def follow_reference(reference: Any, params: Any, step: jax.Array, moving: Moving) -> Any:
    """TR-DPO's update (arXiv:2404.09656), soft or (alpha 1) hard, made when `step` steps are done.

    At every `reference_sync_steps`-th step the reference becomes alpha * weights + (1 - alpha) * reference.
    """
    alpha = moving.reference_mixup_alpha
    mix = lambda r, p: (alpha * p + (1 - alpha) * r).astype(r.dtype)
    # Not a where(): between two moves, which is nearly always, nothing is read or written.
    return jax.lax.cond(
        step % moving.reference_sync_steps == 0, lambda: jax.tree.map(mix, reference, params), lambda: reference
    )


def check(moving: Moving, where: str, *, objective: str, reference: str, lora: bool, param_dtype: str) -> None:
    """Raises UserError, which names the key below `where`, unless trees can follow as asked.

    Args:
      moving: what follows. where: the stage's place in the config.
      objective, reference: the stage's. lora: whether an adapter is trained. param_dtype: of all weights, where not.
    """
    decay, steps, alpha = moving
    if not 0 <= decay < 1:
        raise UserError(f"{where}.ema_decay={decay} must be at least 0 and below 1.")
    if decay and not lora and param_dtype != "float32":
        raise UserError(
            f"{where}.ema_decay={decay}: in {param_dtype} an average stands still. Set config.param_dtype='float32'."
        )
    if steps < 0:
        raise UserError(f"{where}.reference_sync_steps={steps} must be at least 0 (0 = the reference stands still).")
    if not 0 < alpha <= 1:
        raise UserError(f"{where}.reference_mixup_alpha={alpha} must be above 0 and at most 1.")
    if alpha != 1 and not steps:
        raise UserError(f"{where}.reference_mixup_alpha={alpha} is read with reference_sync_steps alone. Set both.")
    if not steps:
        return
    if objective != "dpo":
        raise UserError(f"{where}.reference_sync_steps={steps}: only stages with objective='dpo' have a reference.")
    if reference != "frozen":
        raise UserError(
            f"{where}.reference_sync_steps={steps}: a reference that moves cannot be {reference!r}. "
            "Set reference='frozen', a second tree."
        )
    if alpha != 1 and lora:
        raise UserError(
            f"{where}.reference_mixup_alpha={alpha} mixes weights, and a mixture of LoRA factors is no mixture of "
            "weights. Set it to 1, or config.lora=None."
        )


def copies(tree: Any) -> Any:
    """Buffers of their own: the state is donated, and a buffer can be given away only once."""
    return jax.tree.map(jnp.copy, tree)
