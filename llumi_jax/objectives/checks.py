"""Whether a stage's preference options make sense, alone and together: one line for each mistake."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from llumi_jax.cli import UserError, suggestion
from llumi_jax.objectives.options import DIVERGENCES, PreferenceOptions
from llumi_jax.objectives.preference import LOSSES, ORTHOGONAL

_DEFAULTS = {field.name: field.default for field in dataclasses.fields(PreferenceOptions)}
# Read by particular losses or together with particular values: set elsewhere they would be silently without effect.
_PARTICULAR = [*ORTHOGONAL, "label_smoothing", "simpo_gamma", "cpo_alpha", "discopop_tau"]
_PARTICULAR += ["desirable_weight", "undesirable_weight"]


def check(options: PreferenceOptions, where: str) -> None:
    """Raises UserError, which names the key below `where`, unless the options can be trained with."""
    _check_losses(options.loss, where)
    _check_numbers(options, where)
    _check_labels(options, where)
    for key in _PARTICULAR:
        if getattr(options, key) != _DEFAULTS[key]:
            _check_read(options, key, where)
    if options.f_alpha != _DEFAULTS["f_alpha"] and options.f_divergence != "alpha":
        raise UserError(
            f"{where}.f_alpha={options.f_alpha} is read with f_divergence='alpha' alone. Set both, or none."
        )


def unused(options: PreferenceOptions, where: str) -> None:
    """Raises UserError where an option is set that only a preference stage reads."""
    for key in (*_PARTICULAR, "entropy"):
        if getattr(options, key) != _DEFAULTS[key]:
            raise UserError(f"{where}.{key} is read by stages with objective='dpo' alone. Leave it out.")


def _check_losses(loss: Any, where: str) -> None:
    if not isinstance(loss, str | Mapping) or not loss:
        raise UserError(f'{where}.loss={loss!r} must be a name, or names with weights: {{"sigmoid": 1.0, "sft": 0.1}}.')
    for name in [loss] if isinstance(loss, str) else loss:
        if name not in LOSSES:
            known = ", ".join(LOSSES)
            raise UserError(f"{where}.loss={name!r} is not one of {known}.{suggestion(str(name), LOSSES)}")
    for name, weight in loss.items() if isinstance(loss, Mapping) else ():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise UserError(f"{where}.loss.{name}={weight!r} must be a number above 0; leave out a loss of weight 0.")


def _check_numbers(options: PreferenceOptions, where: str) -> None:
    if options.f_divergence not in DIVERGENCES:
        near = suggestion(options.f_divergence, DIVERGENCES)
        raise UserError(f"{where}.f_divergence={options.f_divergence!r} is not one of {', '.join(DIVERGENCES)}.{near}")
    ranges = {
        "beta": (0 < options.beta < math.inf, "above 0"),
        "label_smoothing": (0 <= options.label_smoothing < 0.5, "at least 0 and below 0.5"),
        "f_alpha": (0 < options.f_alpha < 1, "between 0 and 1 (reverse_kl and forward_kl are the ends)"),
        "ld_alpha": (0 <= options.ld_alpha <= 1, "from 0 to 1"),
        "rdpo_alpha": (0 <= options.rdpo_alpha < math.inf, "at least 0"),
        "simpo_gamma": (0 <= options.simpo_gamma < math.inf, "at least 0"),
        "cpo_alpha": (0 <= options.cpo_alpha < math.inf, "at least 0"),
        "discopop_tau": (0 < options.discopop_tau < math.inf, "above 0"),
        "desirable_weight": (0 < options.desirable_weight < math.inf, "above 0"),
        "undesirable_weight": (0 < options.undesirable_weight < math.inf, "above 0"),
    }
    for key, (fine, words) in ranges.items():
        if not fine:
            raise UserError(f"{where}.{key}={getattr(options, key)} must be {words}.")


def _check_labels(options: PreferenceOptions, where: str) -> None:
    names = options.losses
    if options.soft_labels:
        for name in names:
            if not (LOSSES[name].soft_labels or LOSSES[name].neutral):
                able = ", ".join(n for n, loss in LOSSES.items() if loss.soft_labels)
                raise UserError(
                    f"{where}.soft_labels=True: the loss {name!r} takes no soft labels. "
                    f"Set it to False, or choose among {able}."
                )
        if options.label_smoothing and "exo_pair" not in names:
            raise UserError(
                f"{where}.label_smoothing={options.label_smoothing} is one label for all pairs, and soft_labels=True "
                "gives each its own. Set soft_labels=False, or leave label_smoothing out."
            )
    if "exo_pair" in names and not options.label_smoothing:
        raise UserError(
            f"{where}.label_smoothing=0: the loss 'exo_pair' is infinite for labels of 1. Set it to 1e-3, say."
        )


def _check_read(options: PreferenceOptions, key: str, where: str) -> None:
    """An orthogonal option must go with every loss of a sum, any other with at least one."""
    readers = _named(name for name, loss in LOSSES.items() if key in loss.options)
    able = [name for name in options.losses if key in LOSSES[name].options]
    unable = [name for name in options.losses if key not in LOSSES[name].options and not LOSSES[name].neutral]
    if not able or (key in ORTHOGONAL and unable):
        wrong = (unable or list(options.losses))[0]
        raise UserError(
            f"{where}.{key}={getattr(options, key)!r} does not go with the loss {wrong!r}; it is for {readers}."
        )


def _named(names: Iterable[str]) -> str:
    return ", ".join(names)
