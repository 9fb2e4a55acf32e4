"""Optimisers and schedules by their optax names, checked against their signatures."""

import dataclasses
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


def check_lengths(spec: Any, total_steps: int, steps_per_epoch: float) -> None:
    """Raises UserError where the parts of a joined schedule do not fit the stage: the last ones would never come."""
    if not isinstance(spec, list | tuple):
        return
    given = [part["steps"] for part in spec if "steps" in part]
    lengths = [_steps(value, "config.schedule.steps", total_steps, steps_per_epoch) for value in given]
    last_is_open = "steps" not in spec[-1]
    if sum(lengths) > total_steps or (last_is_open and sum(lengths) >= total_steps):
        raise UserError(
            f"config.schedule: its parts take {sum(lengths)} steps{' and more' if last_is_open else ''}, the stage has "
            f"{total_steps}. Shorten them, or give them as fractions of the stage (0.8)."
        )


def make_optimizer(
    spec: Mapping[str, Any], schedule: optax.Schedule, per_pattern: Any, params: Any
) -> optax.GradientTransformation:
    """Builds dict(name=<dotted optax name>, clip_norm=…, …), with settings per parameter pattern.

    Args:
      spec: `name` and the optimiser's own arguments; `clip_norm` bounds the gradient's global norm first.
      schedule: learning rate by step.
      per_pattern: (regular expression, settings or None = frozen), matched against names such as
        "layers/attention/q/lora_b"; the first match wins, and where patterns are given every parameter must match one.
        Settings: {"scale": factor of the learning rate}, and arguments of the optimiser in place of `spec`'s.
      params: the tree to be trained (shapes suffice).

    Raises:
      UserError: an unknown name or argument, a parameter that no pattern covers, or an optimiser that asks for more
        than gradients.
    """
    arguments = dict(spec)
    name = arguments.pop("name", "")
    factory = _look_up(name, "config.optimizer.name", optax)
    if "learning_rate" in arguments:
        raise UserError("config.optimizer.learning_rate: it is the schedule's. Set it in config.schedule (peak_value).")
    clip_norm = arguments.pop("clip_norm", None)
    if _MATRIX_AXES in inspect.signature(factory).parameters:
        # Left to itself, Muon takes arrays of two axes for matrices: with layers stacked, none of theirs would be one.
        arguments.setdefault(_MATRIX_AXES, _muon_axes)

    def make(settings: Mapping[str, Any], where: str) -> optax.GradientTransformation:
        scale = float(settings.get("scale", 1.0))
        own = {key: value for key, value in settings.items() if key != "scale"}
        rate = lambda step: scale * schedule(step)
        return _call(factory, {**arguments, **own, "learning_rate": rate}, where)

    optimizer = _by_pattern(per_pattern, params, make, factory) if per_pattern else make({}, "config.optimizer")
    clip = [optax.clip_by_global_norm(clip_norm)] if clip_norm else []
    made = optax.chain(*clip, optimizer)
    _try(made, params, name)
    return made


def _try(optimizer: optax.GradientTransformation, params: Any, name: str) -> None:
    """Takes a step in shapes alone: some ask for the loss itself, or for a fixed learning rate."""
    try:
        jax.eval_shape(lambda tree: optimizer.update(tree, optimizer.init(tree), tree), params)
    except (TypeError, ValueError) as error:
        said = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        raise UserError(
            f"config.optimizer.name={name!r} asks for more than gradients and a schedule ({said}). Choose another."
        ) from None


def keep_finite(finite: jax.Array, new: Any, old: Any) -> Any:
    """`new` where the step was finite, else `old`: a broken batch must not reach the weights."""
    return jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)


def _muon_axes(params: Any) -> Any:
    """Which axes of each weight make its matrices; those of layers stand for many. None for vectors and embeddings."""

    def axes(path, _):
        found = matrix_axes(path_names(path))
        return found and optax.contrib.MuonDimensionNumbers(*found)

    return jax.tree_util.tree_map_with_path(axes, params)


def frozen_leaves(per_pattern: Any, params: Any) -> Any:
    """A tree of bools: which parameters a pattern freezes."""
    patterns = [(_pattern(pattern), settings is None) for pattern, settings in per_pattern]

    def frozen(path, _):
        name = "/".join(path_names(path))
        return next((is_frozen for pattern, is_frozen in patterns if pattern.search(name)), False)

    return jax.tree_util.tree_map_with_path(frozen, params)


def keep_frozen(step: Callable, frozen: Any) -> Callable:
    """The step with frozen parameters handed through untouched: an update of 0 would still wash out the smallest."""

    def keeping(state: Any, *others: Any) -> tuple[Any, Any]:
        new, metrics = step(state, *others)
        params = jax.tree.map(lambda kept, old, moved: old if kept else moved, frozen, state.params, new.params)
        return dataclasses.replace(new, params=params), metrics

    return keeping


def _by_pattern(
    per_pattern: Any,
    params: Any,
    make: Callable[[Mapping[str, Any], str], optax.GradientTransformation],
    factory: Callable,
) -> optax.GradientTransformation:
    patterns = [_pattern(pattern) for pattern, _ in per_pattern]
    transforms = {}
    for index, (pattern, settings) in enumerate(per_pattern):
        _check_settings(pattern, settings, factory)
        made = optax.set_to_zero() if settings is None else make(settings, f"config.per_pattern, {pattern!r}")
        transforms[str(index)] = made

    def label(path, _):
        name = "/".join(path_names(path))
        for index, pattern in enumerate(patterns):
            if pattern.search(name):
                return str(index)
        raise UserError(
            f"config.per_pattern covers no parameter {name!r}. Add ('.*', dict(scale=1.0)) as the last entry."
        )

    return optax.partition(transforms, jax.tree_util.tree_map_with_path(label, params))


def _pattern(text: str) -> re.Pattern:
    try:
        return re.compile(text)
    except re.error as error:
        raise UserError(f"config.per_pattern: {text!r} is no regular expression: {error}.") from None


def _check_settings(pattern: str, settings: Mapping[str, Any] | None, factory: Callable) -> None:
    known = ["scale", *(key for key in inspect.signature(factory).parameters if key != "learning_rate")]
    for key in settings or ():
        if key not in known:
            raise UserError(
                f"config.per_pattern: unknown setting {key!r} of {pattern!r}.{suggestion(key, known)} "
                f"There are scale, and the arguments of {_signature(factory)}."
            )


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
            near = suggestion(key, signature.parameters)
            raise UserError(f"{where}.{key} is no argument of {_signature(factory)}.{near}")
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise UserError(f"{where}: {factory.__name__} {error}: {_signature(factory)}.") from None
    try:
        return factory(**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {factory.__name__} refuses its arguments: {error}") from None


def _signature(factory: Callable) -> str:
    """name(argument, argument=default, …), types left out."""
    parts = []
    for name, parameter in inspect.signature(factory).parameters.items():
        default = parameter.default
        plain = default is None or isinstance(default, bool | int | float | str)
        shown = "" if default is inspect.Parameter.empty else f"={default!r}" if plain else "=…"
        parts.append(name + shown)
    return f"{factory.__name__}({', '.join(parts)})"
