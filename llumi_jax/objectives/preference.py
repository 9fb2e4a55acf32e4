"""The preference losses by name, their sums, and what is known of each before anything is computed."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from llumi_jax.objectives import coupled, pairwise, reference_free
from llumi_jax.objectives.options import PreferenceOptions
from llumi_jax.objectives.pairs import Pairs, prepared

LOG_2 = math.log(2)
ORTHOGONAL = ("f_divergence", "f_alpha", "ld_alpha", "rdpo_alpha", "wpo")  # options that change what others compute
_RATIO = frozenset({"ld_alpha", "wpo"})
_SCORE = _RATIO | {"f_divergence", "f_alpha"}
_MARGIN = _SCORE | {"rdpo_alpha"}


class Loss(NamedTuple):
    """A loss and its nature.

    function: (pairs, options) -> one loss a pair, or (where `summed`) the weighted sum.
    first: its value where policy = reference, None where that depends on the data.
    options: the options that it reads, beside beta and soft_labels.
    reference: whether it compares with a reference. soft_labels: whether it takes labels below 1.
    coupled: whether the pairs of a batch see each other.
    neutral: whether it has no use for labels and orthogonal options, and so goes with all of them.
    """

    function: Callable[[Pairs, PreferenceOptions], Array]
    first: Callable[[PreferenceOptions], float | None]
    options: frozenset[str] = frozenset()
    reference: bool = True
    soft_labels: bool = False
    coupled: bool = False
    summed: bool = False
    neutral: bool = False


def _always(value: float | None) -> Callable[[PreferenceOptions], float | None]:
    return lambda options: value


def _first_exo(options: PreferenceOptions) -> float | None:
    """KL of (1/2, 1/2) to the label, which is the same for all pairs only if it is a constant."""
    smoothing = options.label_smoothing
    return None if options.soft_labels else -LOG_2 - (math.log(smoothing) + math.log1p(-smoothing)) / 2


def _first_kto(options: PreferenceOptions) -> float:
    return (options.desirable_weight + options.undesirable_weight) / 4


_SMOOTH = frozenset({"label_smoothing"})
_KTO = frozenset({"desirable_weight", "undesirable_weight"})
LOSSES: dict[str, Loss] = {
    "sigmoid": Loss(pairwise.sigmoid, _always(LOG_2), _MARGIN | _SMOOTH, soft_labels=True),
    "hinge": Loss(pairwise.hinge, _always(1.0), _MARGIN),
    "ipo": Loss(pairwise.ipo, lambda o: 1 / (4 * o.beta**2), _SCORE | _SMOOTH, soft_labels=True),
    "robust": Loss(pairwise.robust, _always(LOG_2), _MARGIN | _SMOOTH),
    "exo_pair": Loss(pairwise.exo_pair, _first_exo, _MARGIN | _SMOOTH, soft_labels=True),
    "nca_pair": Loss(pairwise.nca_pair, _always(2 * LOG_2), _RATIO | _SMOOTH, soft_labels=True),
    "bco_pair": Loss(coupled.bco_pair, _always(2 * LOG_2), _RATIO, coupled=True),
    "sppo_hard": Loss(pairwise.sppo_hard, lambda o: 1 / (2 * o.beta**2), _RATIO),
    "aot": Loss(coupled.aot, _always(LOG_2), _SMOOTH | {"ld_alpha"}, coupled=True, summed=True),
    "aot_unpaired": Loss(coupled.aot_unpaired, _always(LOG_2), _SMOOTH | {"ld_alpha"}, coupled=True, summed=True),
    "apo_zero": Loss(pairwise.apo_zero, _always(1.0), _RATIO),
    "apo_down": Loss(pairwise.apo_down, _always(1.0), _RATIO),
    "discopop": Loss(pairwise.discopop, _always((LOG_2 + 1) / 2), _MARGIN | {"discopop_tau"}),
    "sigmoid_norm": Loss(pairwise.sigmoid_norm, _always(LOG_2), _SCORE - {"ld_alpha"} | _SMOOTH, soft_labels=True),
    "kto": Loss(coupled.kto, _first_kto, _KTO, coupled=True),
    "sft": Loss(reference_free.sft, _always(None), reference=False, neutral=True),
    "simpo": Loss(reference_free.simpo, _always(None), frozenset({"simpo_gamma", "wpo"}), reference=False),
    "orpo": Loss(reference_free.orpo, _always(None), reference=False),
    "cpo": Loss(reference_free.cpo, _always(None), _SMOOTH | {"cpo_alpha"}, reference=False, soft_labels=True),
}


def needs_reference(options: PreferenceOptions) -> bool:
    """Whether any of the losses compares with a reference."""
    return any(LOSSES[name].reference for name in options.losses)


def is_coupled(options: PreferenceOptions) -> bool:
    """Whether any of the losses lets the pairs of a batch see each other."""
    return any(LOSSES[name].coupled for name in options.losses)


def first_loss(options: PreferenceOptions) -> float | None:
    """The loss where policy = reference, or None where theory does not give it without the data."""
    if options.wpo or options.rdpo_alpha:
        return None
    values = [(weight, LOSSES[name].first(options)) for name, weight in options.losses.items()]
    return None if any(value is None for _, value in values) else sum(weight * (value or 0) for weight, value in values)


def loss_sums(pairs: Pairs, options: PreferenceOptions) -> dict[str, Float[Array, ""]]:
    """The weighted sum over pairs of each loss, before its own weight; over the sum of weights it is the mean.

    Args:
      pairs: all pairs that the losses may see, as they come from the rows; those of weight 0 count nothing.
      options: losses and their options.
    """
    pairs = prepared(pairs, options)
    weight = pairs.weight * pairs.multiplier
    sums = {}
    for name in options.losses:
        loss = LOSSES[name]
        value = loss.function(pairs, options)
        sums[name] = value if loss.summed else jnp.sum((pairs.weight if loss.neutral else weight) * value)
    return sums


def rewards(pairs: Pairs, options: PreferenceOptions) -> dict[str, Float[Array, "*P"]]:
    """Implicit rewards beta * log ratio (arXiv:2305.18290, eq. 5), their margin, and whether chosen is higher.

    Without a reference: beta * log-probability, a token where the loss is over means (SimPO, ORPO).
    """
    if needs_reference(options):
        chosen, rejected = pairs.chosen_log_ratio, pairs.rejected_log_ratio
    elif {"simpo", "orpo"} & options.losses.keys():
        chosen, rejected = pairs.chosen_mean, pairs.rejected_mean
    else:
        chosen, rejected = pairs.chosen, pairs.rejected
    chosen, rejected = options.beta * chosen, options.beta * rejected
    accuracy = jnp.where(chosen == rejected, 0.5, (chosen > rejected).astype(jnp.float32))
    return {
        "reward_chosen": chosen,
        "reward_rejected": rejected,
        "reward_margin": chosen - rejected,
        "reward_accuracy": accuracy,
    }
