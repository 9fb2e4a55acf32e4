"""What recipes are made of: the defaults of `llumi_jax.training.recipe`, as an ml_collections config."""

from typing import Any

from ml_collections import ConfigDict

from llumi_jax.training import recipe


def stage(role: str, objective: str, name: str = "", **settings: Any) -> dict[str, Any]:
    """One stage with its defaults; its name is `<role>_<objective>` unless given."""
    return {
        **recipe.defaults(recipe.Stage),
        "name": name or f"{role}_{objective}",
        "role": role,
        "objective": objective,
        **settings,
    }


def config(*stages: dict[str, Any], **settings: Any) -> ConfigDict:
    """A whole recipe: the stages in order, and settings that differ from the defaults."""
    values = {**recipe.defaults(recipe.Recipe), **settings}
    values["stages"] = tuple(s["name"] for s in stages)
    values["stage"] = {s["name"]: s for s in stages}
    # ConfigDict turns nested dicts into configs whose keys can be set by flags; None stays a value of any type.
    return ConfigDict(values)
