"""The preference objective in two parts: rows to numbers of pairs, and those to a loss.

Only the first part needs the model, only the second sees all pairs at once. Losses that couple the pairs of a batch
can so be exact over micro-batches (`gradients`).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from llumi_jax.models.decoder import Decoder, output_matrix
from llumi_jax.objectives import coupled, logprobs, preference, replies
from llumi_jax.objectives.options import PreferenceOptions
from llumi_jax.objectives.pairs import Pairs
from llumi_jax.training import forward
from llumi_jax.training.forward import Rows

# name -> (sum, weight), so that accumulation stays exact; the value is their ratio, or the sum where the weight is 0
Metrics = dict[str, tuple[jax.Array, jax.Array]]
Numbers = dict[str, Array]


@dataclasses.dataclass(frozen=True, eq=False)  # jitted as it is: by identity, since a sum of losses has no hash
class PairObjective:
    """(params, frozen, rows) -> (sum of weighted losses, metrics), as `score` of `measure`.

    options: the losses and their options. slots: S, reply slots of a row. model: the decoder.
    """

    options: PreferenceOptions
    slots: int
    model: Decoder

    @property
    def coupled(self) -> bool:
        return preference.is_coupled(self.options)

    def __call__(self, params: Any, frozen: Any, rows: Rows) -> tuple[Array, Metrics]:
        return self.score(*self.measure(params, frozen, rows))

    def with_reference(self, frozen: Any, rows: Rows) -> dict[str, Array]:
        """The rows with what the reference makes of their pairs, where the losses ask for it: `reference_chosen`, ….

        To be called outside of what is differentiated: inside, JAX would keep what a backward pass of the reference
        would need, and XLA could not drop all of it. Cached log-probabilities come with the rows as `reference_logps`
        [B, S].
        """
        if "reference_chosen" in rows or not preference.needs_reference(self.options):
            return dict(rows)
        return {**rows, **{f"reference_{name}": value for name, value in self._reference(frozen, rows).items()}}

    def measure(self, params: Any, frozen: Any, rows: Rows) -> tuple[Numbers, Numbers]:
        """Returns (what depends on params, what does not), arrays [B, P] and for KTO [B, S]."""
        rows = self.with_reference(frozen, rows)
        base, adapter = forward.weights(params, frozen)
        hidden = forward.hidden_states(self.model, base, adapter, rows)
        logps = logprobs.prediction_logps(hidden, output_matrix(base), rows)
        policy = self.of_replies(logps, rows)
        fixed = {name: rows[name] for name in ("probability", "pair_weight")}
        lengths = logprobs.reply_lengths(rows, self.slots)
        fixed |= {f"{side}_length": replies.of_pair(lengths, rows, side) for side in ("chosen", "rejected")}
        fixed |= {name: rows[name] for name in rows if name.startswith("reference_") and name != "reference_logps"}
        if "kto" in self.options.losses:
            fixed["mismatched"] = replies.mismatched_slots(rows, self.slots)
        if self.options.wpo or self.options.entropy:
            fixed |= self._statistics(hidden, output_matrix(base), logps, rows)
        return policy, fixed

    def score(self, policy: Numbers, fixed: Numbers) -> tuple[Array, Metrics]:
        """The loss and the metrics of all pairs given, whatever the shape they come in."""
        policy, fixed = jax.tree.map(jnp.ravel, (policy, fixed))
        pairs = self._pairs(policy, fixed)
        sums, weights = preference.loss_sums(pairs, self.options), jnp.sum(pairs.weight)
        total = sum((factor * sums[name] for name, factor in self.options.losses.items()), jnp.zeros_like(weights))
        metrics = {"loss": (total, weights), **self._metrics(pairs, fixed)}
        if len(sums) > 1:
            metrics |= {f"loss_{name}": (value, weights) for name, value in sums.items()}
        if "kto" in sums:
            metrics["kl_mismatched"] = (pairs.kl, jnp.ones_like(pairs.kl))
        return total, metrics

    def of_replies(self, logps: Array, rows: Rows) -> Numbers:
        """What a model makes of the replies: of both sides of each pair, and for KTO of every slot."""
        sums = logprobs.reply_logps(logps, rows, self.slots)
        chosen, rejected = (replies.of_pair(sums, rows, side) for side in ("chosen", "rejected"))
        found = {"chosen": chosen, "rejected": rejected}
        if self.options.ld_alpha != 1:
            found["chosen_whole"] = chosen
            chosen, rejected = replies.desensitised(logps, rows, self.slots, self.options.ld_alpha)
            found |= {"chosen": chosen, "rejected": rejected}
        if "kto" in self.options.losses:
            found["slots"] = sums
        return found

    def _reference(self, frozen: Any, rows: Rows) -> Numbers:
        cached = rows.get("reference_logps")
        if cached is None:
            return self.of_replies(forward.reference_logps(self.model, frozen, rows), rows)
        return {side: replies.of_pair(cached, rows, side) for side in ("chosen", "rejected")} | {"slots": cached}

    def _statistics(self, hidden: Array, matrix: Array, logps: Array, rows: Rows) -> Numbers:
        entropy, collision = logprobs.prediction_statistics(hidden, matrix, rows)
        found = {}
        if self.options.entropy:
            found = {"entropy": entropy, "predicted": rows["weight"] > 0}
        if self.options.wpo:
            found["multiplier"] = replies.wpo_multiplier(jax.lax.stop_gradient(logps), collision, rows, self.slots)
        return found

    def _pairs(self, policy: Numbers, fixed: Numbers) -> Pairs:
        chosen, rejected = policy["chosen"], policy["rejected"]
        nothing = jnp.zeros_like(chosen)
        kl = jnp.zeros((), chosen.dtype)
        if "kto" in self.options.losses:
            kl = coupled.kl_estimate(policy["slots"] - fixed["reference_slots"], fixed["mismatched"])
        return Pairs(
            chosen=chosen,
            rejected=rejected,
            reference_chosen=fixed.get("reference_chosen", nothing),
            reference_rejected=fixed.get("reference_rejected", nothing),
            chosen_whole=policy.get("chosen_whole", chosen),
            chosen_length=fixed["chosen_length"],
            rejected_length=fixed["rejected_length"],
            probability=fixed["probability"],
            weight=fixed["pair_weight"],
            multiplier=fixed.get("multiplier", jnp.ones_like(chosen)),
            kl=kl,
        )

    def _metrics(self, pairs: Pairs, fixed: Numbers) -> Metrics:
        """Plain means over the pairs that count, whatever their weights."""
        real = pairs.weight > 0
        count = jnp.sum(real.astype(jnp.float32))
        mean = lambda values: (jnp.sum(jnp.where(real, values, 0.0)), count)
        values = preference.rewards(pairs, self.options)
        values |= {"logp_chosen": pairs.chosen, "logp_rejected": pairs.rejected}
        values |= {"length_chosen": pairs.chosen_length, "length_rejected": pairs.rejected_length}
        if preference.needs_reference(self.options):
            # k1 on the data's own replies (k3 would raise a whole reply's ratio to a power, which has no bound).
            values["kl"] = (pairs.chosen_log_ratio + pairs.rejected_log_ratio) / 2
        if self.options.wpo:
            values["wpo_weight"] = pairs.multiplier
        metrics = {"pairs": (count, jnp.float32(0)), **{name: mean(value) for name, value in values.items()}}
        if self.options.entropy:
            predicted = fixed["predicted"].astype(jnp.float32)
            metrics["entropy"] = (jnp.sum(jnp.where(fixed["predicted"], fixed["entropy"], 0.0)), jnp.sum(predicted))
        return metrics
