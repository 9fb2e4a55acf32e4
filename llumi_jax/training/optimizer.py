"""Optimisers and schedules by their optax names, checked against their signatures."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from llumi_jax.cli import UserError, suggestion
from llumi_jax.models.partitioning import matrix_axes, path_names

_MATRIX_AXES = "muon_weight_dimension_numbers"
_LENGTHS = ("warmup_steps", "decay_steps", "transition_steps", "transition_begin")
_PEAKS = ("peak_value", "value", "init_value", "end_value")  # where a schedule's main learning rate stands


def make_schedule(spec: Any, total_steps: int, steps_per_epoch: float, learning_rate: float = 0.0) -> optax.Schedule:
    """Builds a schedule from dict(name=<optax schedule>, …), or from a list of them with `steps`, to be joined.

    Lengths may be given in steps (int), as a fraction of the stage (float below 1) or as "2 epochs". A decay or
    transition length that is left out is the whole stage.

    Raises:
      UserError: an unknown name or argument, a length that cannot be read, a missing argument.
    """
    steps = lambda value, key: _steps(value, key, total_steps, steps_per_epoch)
    if isinstance(spec, list | tuple):
        parts, boundaries, at = [], [], 0
        for part in spec:
            part = dict(part)
            length = steps(part.pop("steps", total_steps - at), "config.schedule.steps")
            parts.append(make_schedule(part, length, steps_per_epoch, learning_rate))
            boundaries.append(at := at + length)
        return optax.join_schedules(parts, boundaries[:-1])
    arguments = dict(spec)
    name = arguments.pop("name", "")
    factory = _look_up(name, "config.schedule.name", optax.schedules)
    known = inspect.signature(factory).parameters
    arguments = {key: steps(v, f"config.schedule.{key}") if key in _LENGTHS else v for key, v in arguments.items()}
    for key in ("decay_steps", "transition_steps"):
        if key in known:
            arguments.setdefault(key, max(1, total_steps))
    if name.startswith("warmup") and "init_value" in known:
        arguments.setdefault("init_value", 0.0)
    if learning_rate:
        # A warm-up from 0 keeps its 0: the main learning rate is then where it ends.
        peak = next((key for key in _PEAKS if key in known and arguments.get(key) != 0), None)
        if peak is None:
            raise UserError(f"config.schedule: {name} has no peak for learning_rate to replace; set that to 0.")
        arguments[peak] = learning_rate
    return _call(factory, arguments, "config.schedule")


def make_optimizer(
    spec: Mapping[str, Any], schedule: optax.Schedule, per_pattern: Any, params: Any
) -> optax.GradientTransformation:
    """Builds dict(name=<dotted optax name>, clip_norm=…, …), with settings per parameter pattern.

    Args:
      spec: `name` and the optimiser's own arguments; `clip_norm` bounds the gradient's global norm first.
      schedule: learning rate by step.
      per_pattern: (regular expression, {"scale": factor} or None = frozen), matched against names such as
        "layers/attention/q/lora_b"; the first match wins, and where patterns are given every parameter must match one.
      params: the tree to be trained (shapes suffice).

    Raises:
      UserError: an unknown name or argument, or a parameter that no pattern covers.
    """
    arguments = dict(spec)
    factory = _look_up(arguments.pop("name", ""), "config.optimizer.name", optax)
    clip_norm = arguments.pop("clip_norm", None)
    if _MATRIX_AXES in inspect.signature(factory).parameters:
        # Left to itself, Muon takes arrays of two axes for matrices: with layers stacked, none of theirs would be one.
        arguments.setdefault(_MATRIX_AXES, _muon_axes)
    make = lambda scale: _call(
        factory, {**arguments, "learning_rate": lambda step: scale * schedule(step)}, "config.optimizer"
    )
    optimizer = _by_pattern(per_pattern, params, make) if per_pattern else make(1.0)
    clip = [optax.clip_by_global_norm(clip_norm)] if clip_norm else []
    return optax.chain(*clip, optimizer)


def keep_finite(finite: jax.Array, new: Any, old: Any) -> Any:
    """`new` where the step was finite, else `old`: a broken batch must not reach the weights."""
    return jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)


def _muon_axes(params: Any) -> Any:
    """Which axes of each weight make its matrices; those of layers stand for many. None for vectors and embeddings."""

    def axes(path, _):
        found = matrix_axes(path_names(path))
        return found and optax.contrib.MuonDimensionNumbers(*found)

    return jax.tree_util.tree_map_with_path(axes, params)


def _by_pattern(per_pattern: Any, params: Any, make: Callable[[float], optax.GradientTransformation]):
    patterns = [_pattern(pattern) for pattern, _ in per_pattern]
    scales = [_scale(pattern, setting) for pattern, setting in per_pattern]

    def label(path, _):
        name = "/".join(path_names(path))
        for index, pattern in enumerate(patterns):
            if pattern.search(name):
                return str(index)
        raise UserError(
            f"config.per_pattern covers no parameter {name!r}. Add ('.*', dict(scale=1.0)) as the last entry."
        )

    labels = jax.tree_util.tree_map_with_path(label, params)
    transforms = {
        str(index): optax.set_to_zero() if scale is None else make(scale) for index, scale in enumerate(scales)
    }
    return optax.partition(transforms, labels)


def _pattern(text: str) -> re.Pattern:
    try:
        return re.compile(text)
    except re.error as error:
        raise UserError(f"config.per_pattern: {text!r} is no regular expression: {error}.") from None


def _scale(pattern: str, setting: Mapping[str, Any] | None) -> float | None:
    """The factor of the learning rate, or None for frozen."""
    for key in setting or ():
        if key != "scale":
            raise UserError(f"config.per_pattern: unknown setting {key!r} of {pattern!r}.{suggestion(key, ['scale'])}")
    return None if setting is None else float(setting.get("scale", 1.0))


def _steps(value: Any, key: str, total: int, per_epoch: float) -> int:
    if isinstance(value, str) and (match := re.fullmatch(r"\s*(\d+\.?\d*)\s*epochs?\s*", value)):
        return round(float(match[1]) * per_epoch)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise UserError(f"{key}={value!r}: give steps (20), a fraction of the stage (0.1) or epochs ('2 epochs').")
    return round(value * total) if isinstance(value, float) and value < 1 else int(value)


def _look_up(name: str, key: str, root: Any) -> Callable:
    found = root
    for part in str(name).split("."):
        if not part or not hasattr(found, part):
            names = [n for n in dir(found) if not n.startswith("_")]
            raise UserError(f"{key}={name!r} is not in {found.__name__}.{suggestion(part, names)}")
        found = getattr(found, part)
    if not callable(found):
        raise UserError(f"{key}={name!r} is a module of optax, not something to call.")
    return found


def _call(factory: Callable, arguments: Mapping[str, Any], where: str) -> Any:
    signature = inspect.signature(factory)
    for key in arguments:
        if key not in signature.parameters:
            known = ", ".join(signature.parameters)
            raise UserError(
                f"{where}.{key} is no argument of {factory.__name__}({known}).{suggestion(key, signature.parameters)}"
            )
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise UserError(f"{where}: {factory.__name__} {error}.") from None
    try:
        return factory(**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {factory.__name__} refuses its arguments: {error}") from None
