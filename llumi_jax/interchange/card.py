"""The model card of an export: what the model is, where it comes from, how it was made, and its limits."""

from pathlib import Path
from typing import Any

from llumi_jax.interchange.sources import LoadedModel

_ROLES = {
    "gm": "drafts a supportive reply to a post in an online peer support community",
    "im": "revises a volunteer's draft of a reply in an online peer support community",
}
_SHOWN = ("objective", "steps", "epochs", "beta", "peak_value", "optimizer", "seed")


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
    recipe = stage.get("recipe", {})
    lines += [f"- {key}: {recipe[key]}" for key in _SHOWN if key in recipe]
    lines += [f"- Data, {key}: {value}" for key, value in stage.get("data", {}).items()]
    return "\n".join(lines)


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
