"""Rows through the model: log-probabilities of what is trained, and of what it is compared with."""

from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import Array, Float

from llumi_jax.models.decoder import Decoder, output_matrix
from llumi_jax.objectives import logprobs

Rows = Mapping[str, Array]


def forward(model: Decoder, base: Any, lora: Any, rows: Rows) -> Float[Array, "B M"]:
    """Log-probabilities of the rows' predictions under `base`, adapted by `lora` unless it is None."""
    return logprobs.prediction_logps(hidden_states(model, base, lora, rows), output_matrix(base), rows)


def hidden_states(model: Decoder, base: Any, lora: Any, rows: Rows) -> Float[Array, "B T D"]:
    """What the output matrix makes logits of."""
    variables = {"params": base} if lora is None else {"params": base, "lora": lora}
    hidden: Any = model.apply(variables, rows["tokens"], rows["positions"], rows["segment"], rows["branch"])
    return hidden


def weights(params: Any, frozen: Any) -> tuple[Any, Any]:
    """(base, adapter) of what is trained: the LoRA tree over a frozen base, or all weights without one."""
    return (params, None) if frozen["base"] is None else (frozen["base"], params)


def policy_logps(model: Decoder, params: Any, frozen: Any, rows: Rows) -> Float[Array, "B M"]:
    """`forward` of what is trained."""
    return forward(model, *weights(params, frozen), rows)


def reference_logps(model: Decoder, frozen: Any, rows: Rows) -> Float[Array, "B M"]:
    """`forward` of a second tree where there is one, else of the base without its adapter; no gradient."""
    if frozen["reference"] is not None:
        logps = policy_logps(model, frozen["reference"], frozen, rows)
    else:
        logps = forward(model, frozen["base"], None, rows)
    return jax.lax.stop_gradient(logps)


def reply_logps(model: Decoder, params: Any, frozen: Any, rows: Rows, slots: int) -> Float[Array, "B S"]:
    """Summed log-probability of every reply of the rows."""
    return logprobs.reply_logps(policy_logps(model, params, frozen, rows), rows, slots)
