"""Where weights come from: folders, GGUF files, packages, the hub, our checkpoints, stage folders and adapters.

A *spec* is one string that names any of them. `load_model` turns it into weights, tokenizer and a manifest.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llumi_jax.cli import UserError
from llumi_jax.interchange import hub, packages, tensors, tokenizers
from llumi_jax.interchange.gguf import GGUFFile
from llumi_jax.interchange.locations import (
    Location,
    base_of,
    base_spec,
    is_remote,
    license_of,
    resolve,
    root_of,
    tokenizer_folder,
)
from llumi_jax.models import families
from llumi_jax.models.config import DecoderConfig
from llumi_jax.safety import banner
from llumi_jax.storage.files import read_json

TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


@dataclasses.dataclass(eq=False)
class LoadedModel:
    """A model ready to run.

    params: the weights (of the base, where there is an adapter). lora: the adapter's tree, or None.
    manifest: what is known about where it comes from: spec, kind, path, base, license, role, objective,
    prompt_version, token_ids, tokenizer_folder (original tokenizer files, or None) and, for a stage, its model.json.
    """

    config: DecoderConfig
    params: dict
    lora: dict | None
    lora_config: Any
    tokenizer: Any
    manifest: dict[str, Any]

    @property
    def lora_scale(self) -> float:
        return self.lora_config.scale if self.lora_config else 1.0

    @property
    def variables(self) -> dict[str, dict]:
        """What `Decoder.apply` takes."""
        return {"params": self.params} if self.lora is None else {"params": self.params, "lora": self.lora}

    @property
    def num_params(self) -> int:
        """Number of weights, an adapter's left out."""
        layers = {True: self.config.num_layers, False: 1}
        return sum(layers[w.stacked] * math.prod(w.tree_shape(self.config)) for w in families.weights(self.config))

    @property
    def banner(self) -> str | None:
        """What must stand wherever a model this small speaks, or None."""
        return banner.for_parameters(self.num_params)


def load_model(spec: str, *, dtype: Any = "float32", shardings: Mapping | None = None) -> LoadedModel:
    """Loads a model from any spec, the weights in `dtype` and placed on `shardings` (a tree like the parameters).

    UserError says in one line what is missing or unsupported. A base that itself carries an adapter is merged.
    """
    return load_models([spec], dtype=dtype, shardings=shardings)[0]


def load_models(specs: Sequence[str], *, dtype: Any = "float32", shardings: Mapping | None = None) -> list[LoadedModel]:
    """Loads several models; those that stand on the same base share its weights in memory."""
    loader = _Loader(dtype, shardings)
    return [loader.load(resolve(spec)) for spec in specs]


def load_config(spec: str) -> DecoderConfig:
    """A model's sizes and switches, without its weights. For a few hub ids it needs no hub."""
    return _config(spec)


def _config(spec: str, near: Path | None = None) -> DecoderConfig:
    if is_remote(spec, near):
        try:
            folder = hub.fetch(spec, weights=False, tokenizer=False)
        except UserError:
            if spec in hub.KNOWN_CONFIGS:
                return hub.KNOWN_CONFIGS[spec]
            raise
        if (folder / "config.json").exists():
            return families.config_from_hf(read_json(folder / "config.json"))
    location = resolve(spec, near)
    if location.kind == "adapter":
        return _config(base_spec(location), location.path)
    if location.kind == "gguf":
        return GGUFFile(location.path).config
    if location.kind == "hf":
        return families.config_from_hf(read_json(location.path / "config.json"))
    return DecoderConfig.from_dict(location.manifest["decoder"])


def load_tokenizer(spec: str) -> Any:
    """The tokenizer of any spec; for a stage or an adapter, its base's."""
    return _tokenizer(resolve(spec))


def _tokenizer(location: Location) -> Any:
    location = root_of(location)
    if location.kind == "gguf":
        return _gguf_tokenizer(GGUFFile(location.path))
    return tokenizers.load(tokenizer_folder(location) or location.path)


def _gguf_tokenizer(file: GGUFFile) -> Any:
    """The tokenizer whose files lie beside a GGUF file, else the one inside it."""
    if tokenizers.has_files(file.path.parent):
        return tokenizers.load(file.path.parent)
    return tokenizers.with_template(file.tokenizer(), file.path)


def _token_ids(tokenizer: Any) -> dict[str, int | None]:
    return {name: getattr(tokenizer, name, None) for name in TOKEN_IDS}


class _Loader:
    """Loads models and remembers the bases it has already loaded, by their place on disk."""

    def __init__(self, dtype: Any, shardings: Mapping | None):
        self.dtype = dtype
        self.shardings = shardings
        self._loaded: dict[Path, LoadedModel] = {}

    def load(self, location: Location) -> LoadedModel:
        key = location.path.resolve()
        if key not in self._loaded:
            self._loaded[key] = getattr(self, f"_{location.kind}")(location)
        return self._loaded[key]

    def _hf(self, location: Location) -> LoadedModel:
        values = read_json(location.path / "config.json")
        config = families.config_from_hf(values)
        source = tensors.SafetensorsFolder(location.path)
        generation = location.path / "generation_config.json"
        ids = {**values, **(read_json(generation) if generation.exists() else {})}
        known = {name: ids.get(name) for name in TOKEN_IDS}
        return self._model(location, config, source, tokenizers.load(location.path), known)

    def _gguf(self, location: Location) -> LoadedModel:
        file = GGUFFile(location.path)
        tokenizer = _gguf_tokenizer(file)
        return self._model(location, file.config, file, tokenizer, _token_ids(tokenizer))

    def _model(self, location: Location, config: DecoderConfig, source: Any, tokenizer: Any, ids: dict) -> LoadedModel:
        params = tensors.assemble(source, config, dtype=self.dtype, shardings=self.shardings)
        return LoadedModel(config, params, None, None, tokenizer, _manifest(location, token_ids=ids))

    def _native(self, location: Location) -> LoadedModel:
        from llumi_jax.storage import checkpoints

        config = DecoderConfig.from_dict(location.manifest["decoder"])
        abstract = abstract_params(config, self.dtype, self.shardings)
        params = checkpoints.restore_tree(location.path / "params", abstract)
        tokenizer = tokenizers.load(location.path / "tokenizer")
        known = {key: location.manifest.get(key) for key in ("license", "base_model", "token_ids")}
        return LoadedModel(config, params, None, None, tokenizer, _manifest(location, **known))

    def _stage(self, location: Location) -> LoadedModel:
        from llumi_jax.models.lora import LoraConfig, abstract
        from llumi_jax.storage import checkpoints

        stage = location.manifest
        config = DecoderConfig.from_dict(stage["decoder"])
        base = base_of(location)
        folder = location.path / "checkpoints"
        if stage["lora"] is None:
            params = checkpoints.restore_params(folder, abstract_params(config, self.dtype, self.shardings))
            model = LoadedModel(config, params, None, None, _tokenizer(base), _manifest(base))
        else:
            lora_config = LoraConfig.from_dict(stage["lora"])
            model = self._merged(base)
            _same_decoder(location, config, model.config)
            lora = checkpoints.restore_params(folder, _placed(abstract(lora_config, config, "float32")))
            model = dataclasses.replace(model, lora=lora, lora_config=lora_config)
        ids = model.manifest.get("token_ids") or _token_ids(model.tokenizer)
        own = {key: stage.get(key) for key in ("role", "objective", "prompt_version", "max_prompt_tokens")}
        manifest = {**model.manifest, **own, "token_ids": ids, "base": base.spec, "stage": stage}
        manifest |= {"spec": location.spec, "kind": "stage", "path": str(location.path), "name": stage["name"]}
        return dataclasses.replace(model, manifest=manifest)

    def _adapter(self, location: Location) -> LoadedModel:
        from llumi_jax.interchange import peft

        base = base_of(location)
        model = self._merged(base)
        lora, lora_config = peft.read(location.path, model.config)
        own = {
            "spec": location.spec,
            "kind": "adapter",
            "path": str(location.path),
            "base": base.spec,
            "name": location.path.name,
        }
        return dataclasses.replace(model, lora=lora, lora_config=lora_config, manifest={**model.manifest, **own})

    def _merged(self, location: Location) -> LoadedModel:
        """A base to put an adapter on: its own adapter, if it has one, becomes part of its weights."""
        from llumi_jax.models import lora

        model = self.load(location)
        if model.lora is None:
            return model
        params = lora.merge(model.params, model.lora, model.lora_scale)
        return dataclasses.replace(model, params=params, lora=None, lora_config=None)


def _manifest(location: Location, **known: Any) -> dict[str, Any]:
    """What is known about a base from its place alone, with `known` over it."""
    location = root_of(location)
    package = packages.PACKAGES.get(location.spec)
    folder = tokenizer_folder(location)
    values = {
        "spec": location.spec,
        "kind": location.kind,
        "path": str(location.path),
        "name": location.path.stem if location.kind == "gguf" else location.path.name,
        "base": location.spec,
        "base_model": package.base_model if package else (location.spec if hub.is_id(location.spec) else None),
        "license": package.license if package else license_of(location.path),
        "tokenizer_folder": str(folder) if folder else None,
    }
    return {**values, **{key: value for key, value in known.items() if value is not None}}


def _same_decoder(location: Location, expected: DecoderConfig, found: DecoderConfig) -> None:
    if expected != found:
        differing = [f.name for f in dataclasses.fields(found) if getattr(expected, f.name) != getattr(found, f.name)]
        raise UserError(
            f"{location.path} was trained on another base than {location.base!r}: {', '.join(differing)} differ."
        )


def abstract_params(config: DecoderConfig, dtype: Any, shardings: Mapping | None = None) -> dict:
    """Shapes, dtypes and shardings of every weight, for restoring onto them."""
    import jax

    placed = tensors.flatten(shardings) if shardings is not None else None
    default = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    leaves = {}
    for weight in families.weights(config):
        shape = weight.tree_shape(config)
        shape = (config.num_layers, *shape) if weight.stacked else shape
        leaves[weight.path] = jax.ShapeDtypeStruct(shape, dtype, sharding=placed[weight.path] if placed else default)
    return tensors.nest(leaves)


def _placed(abstract: dict) -> dict:
    """The same abstract tree on this process's first device."""
    import jax

    default = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=default), abstract)
