"""The model card of an export: what the model is, where it comes from, how it was made, and its limits."""

from pathlib import Path
from typing import Any

from llumi_jax.interchange.sources import LoadedModel

_ROLES = {
    "gm": "drafts a supportive reply to a post in an online peer support community",
    "im": "revises a volunteer's draft of a reply in an online peer support community",
}
# Of a stage's model.json: keys and how they read.
_RECIPE = {
    "steps": "Steps",
    "loss": "Loss",
    "beta": "Beta",
    "learning_rate": "Learning rate",
    "optimizer": "Optimizer",
    "schedule": "Schedule",
    "batch_rows": "Rows a step",
    "row_length": "Tokens of a row",
    "seed": "Seed",
}
_DATA = {
    "dataset": "Dataset",
    "pairs": "Pairs trained on",
    "replies": "Replies trained on",
    "held_out_pairs": "Held-out pairs",
}
_PREFERENCES_ONLY = ("loss", "beta", "pairs")


def write(folder: Path, model: LoadedModel, report: dict[str, Any], *, adapter: bool) -> None:
    """Writes README.md for an export of `model` that `report` (export_report.json) belongs to."""
    manifest = model.manifest
    base = manifest.get("base_model") or manifest.get("base")
    front = {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-generation",
        "license": manifest.get("license") or "other",
        "base_model": base,
        "tags": "[peer-support, llumi_jax]",
    }
    header = "\n".join(f"{key}: {value}" for key, value in front.items())
    sections = [f"---\n{header}\n---", f"# {manifest['name']}"]
    if model.banner:
        sections.append(f"> **{model.banner}.**")
    sections += [_about(model, base, adapter), _training(manifest), _proof(report), _LIMITS]
    (folder / "README.md").write_text("\n\n".join(part for part in sections if part) + "\n", encoding="utf-8")


def _about(model: LoadedModel, base: str | None, adapter: bool) -> str:
    role = _ROLES.get(model.manifest.get("role", ""), "is a base model without further training")
    form = "an adapter (LoRA) for" if adapter else "the whole model, made from"
    lines = [
        f"This model {role}. The files are {form} `{base}`.",
        "",
        f"- Parameters: {model.num_params:,} ({model.config.family}); context {model.config.max_position:,} tokens",
        f"- License of the base: {model.manifest.get('license') or 'not declared; see the base'}",
    ]
    loaded_from = model.manifest.get("base")
    if adapter or loaded_from != base:
        lines.append(f"- Trained on exactly these base weights: `{loaded_from}`; other copies may be rounded otherwise")
    if model.manifest.get("prompt_version"):
        lines.append(
            f"- Prompts: version {model.manifest['prompt_version']} of `llumi_jax.prompts`, in the base's chat template"
        )
    return "\n".join(lines)


def _training(manifest: dict[str, Any]) -> str:
    stage = manifest.get("stage")
    if not stage:
        return ""
    lines = ["## Training", "", f"- Stage: {stage['name']} ({stage['objective']})"]
    if stage.get("lora"):
        lora = stage["lora"]
        lines.append(f"- LoRA: rank {lora['rank']}, alpha {lora['alpha']}, targets {', '.join(lora['targets'])}")
    recipe = dict(stage.get("recipe", {}))
    if not recipe.get("learning_rate"):  # then the schedule's own holds
        recipe.pop("learning_rate", None)
    lines += _listed(recipe, _RECIPE, stage["objective"])
    lines += _listed(stage.get("data", {}), _DATA, stage["objective"])
    return "\n".join(lines)


def _listed(values: dict[str, Any], names: dict[str, str], objective: str) -> list[str]:
    """One line for each value that is there and means something under this objective."""
    shown = [key for key in names if values.get(key) is not None]
    if objective == "sft":
        shown = [key for key in shown if key not in _PREFERENCES_ONLY]
    return [f"- {names[key]}: {_plain(values[key])}" for key in shown]


def _plain(value: Any) -> str:
    """Numbers and names as a person writes them; a mapping with its name first."""
    if isinstance(value, dict):
        named = [str(value["name"])] if "name" in value else []
        return ", ".join(named + [f"{key} {_plain(each)}" for key, each in value.items() if key != "name"])
    if isinstance(value, list | tuple):
        return "; ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _proof(report: dict[str, Any]) -> str:
    parity = report["parity"]
    return (
        "## Proof of export\n\n"
        f"Reloaded from these files and compared with the weights that were trained, on {parity['prompts']} prompts: "
        f"largest logit difference {parity['max_logit_difference']:.2e}, KL divergence {parity['kl']:.2e}, "
        f"same greedy tokens {parity['greedy_agreement']:.0%}. Checksums of all files: `export_report.json`."
    )


_LIMITS = (
    "## Limits\n\n"
    "A language model knows neither the person nor their situation. It can be wrong, miss danger and sound sure all "
    "the while. A trained person must read, change and take responsibility for every reply; it never replaces crisis "
    "help. Votes of a community are a noisy sign of quality and carry that community's biases into the model."
)
