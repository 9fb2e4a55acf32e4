"""Exports: a Hugging Face folder or a PEFT adapter, each with a report that proves it; and our own checkpoints."""

import contextlib
import dataclasses
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llumi_jax
from llumi_jax import prompts
from llumi_jax.cli import UserError
from llumi_jax.interchange import card, parity, peft, sources, tensors, tokenizers
from llumi_jax.interchange.locations import FORMAT, MANIFEST, resolve
from llumi_jax.interchange.packages import sha256
from llumi_jax.interchange.sources import LoadedModel
from llumi_jax.models import families, lora
from llumi_jax.storage.files import write_json

REPORT = "export_report.json"


def from_hf(src: str, out: Path, *, dtype: str = "float32") -> Path:
    """Converts any source into a checkpoint folder of our own: model.json, params/ and the tokenizer's files."""
    from llumi_jax.storage import checkpoints

    with _new_folder(out) as folder:
        model = _merged(sources.load_model(src, dtype=dtype))
        checkpoints.save_tree(folder / "params", model.params)
        (folder / "tokenizer").mkdir()
        tokenizers.save(model.tokenizer, _tokenizer_folder(model), folder / "tokenizer")
        known = {key: model.manifest.get(key) for key in ("name", "base", "base_model", "license", "token_ids")}
        manifest = {"format": FORMAT, "kind": "model", **known, "decoder": model.config.to_dict(), "dtype": dtype}
        write_json(folder / MANIFEST, manifest)
    return out


def to_hf(checkpoint: str, out: Path, *, dtype: str | None = None, shard_bytes: int = tensors.SHARD_BYTES) -> dict:
    """Exports a model as a Hugging Face folder, an adapter merged into its base, and returns its report.

    Raises parity.ParityError when the files, read back, do not say what the trained weights say; they are then kept
    for inspection, in the folder that the message names.
    """
    with _new_folder(out) as folder:
        model = sources.load_model(checkpoint, dtype=_trained_dtype(checkpoint))
        dtype = dtype or _trained_dtype(checkpoint)
        trained = parity.probe(model)
        tensors.write_sharded(folder, _merged(model).params, model.config, dtype, shard_bytes)
        # What was written is let go before it is read back: an export holds two copies at most.
        model = dataclasses.replace(model, params={}, lora=None)
        _write_configs(folder, model, dtype)
        tokenizers.save(model.tokenizer, _tokenizer_folder(model), folder)
        report = verify(trained, model, folder, dtype)
        card.write(folder, model, report, adapter=False)
        _finish(folder, report)
    return report


def to_peft(checkpoint: str, out: Path, *, base: str | None = None) -> dict:
    """Exports a stage's LoRA tree as a PEFT adapter and returns its report.

    base: what the adapter names as its base model, where that is not the spec it was trained on.
    """
    with _new_folder(out) as folder:
        model = sources.load_model(checkpoint, dtype=_trained_dtype(checkpoint))
        if model.lora is None:
            raise UserError(f"{checkpoint} was trained without LoRA: there is no adapter. Use 'convert to_hf'.")
        trained = parity.probe(model)
        peft.write(folder, model.lora, model.lora_config, model.config, base or model.manifest["base"])
        tokenizers.save(model.tokenizer, _tokenizer_folder(model), folder)
        tree, lora_config = peft.read(folder, model.config)
        reread = dataclasses.replace(model, lora=tree, lora_config=lora_config)
        report = _judge(trained, reread, model, folder, "float32")
        card.write(folder, model, report, adapter=True)
        _finish(folder, report)
    return report


def verify(trained: parity.Probe, model: LoadedModel, folder: Path, dtype: str) -> dict[str, Any]:
    """Reads an exported folder back, compares it with what the trained weights answered, and returns the report."""
    return _judge(trained, sources.load_model(str(folder), dtype=dtype), model, folder, dtype)


def _judge(
    trained: parity.Probe, exported: LoadedModel, model: LoadedModel, folder: Path, dtype: str
) -> dict[str, Any]:
    """The report of an export. Raises parity.ParityError, the report written, when it is over a limit."""
    figures = parity.compare(trained, parity.probe(exported))
    faults = parity.problems(figures, dtype)
    end = prompts.end_of_turn_id(exported.tokenizer)
    if end != prompts.end_of_turn_id(model.tokenizer) or end not in _as_list(
        exported.manifest["token_ids"]["eos_token_id"]
    ):
        faults.append(f"token {end}, which ends a reply, is not an end-of-sequence token of the export")
    report = {
        "llumi_jax": llumi_jax.__version__,
        "source": model.manifest["spec"],
        "base": model.manifest.get("base"),
        "dtype": dtype,
        "parity": figures,
        "limits": parity.LIMITS[dtype],
        "end_of_turn_token_id": end,
        "passed": not faults,
        "problems": faults,
    }
    if faults:
        write_json(folder / REPORT, report)
        raise parity.ParityError(
            f"the export is not faithful: {'; '.join(faults)}. It is kept, with {REPORT}, in {folder}."
        )
    return report


def _finish(folder: Path, report: dict[str, Any]) -> None:
    """Adds the checksum of every file to the report and writes it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != REPORT)
    report["files"] = {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in files
    }
    write_json(folder / REPORT, report)


def _write_configs(folder: Path, model: LoadedModel, dtype: str) -> None:
    ids = dict(model.manifest["token_ids"])
    end = prompts.end_of_turn_id(model.tokenizer)
    stops = list(dict.fromkeys([*_as_list(ids.get("eos_token_id")), end]))
    ids["eos_token_id"] = stops[0] if len(stops) == 1 else stops
    known = {name: value for name, value in ids.items() if value is not None}
    write_json(folder / "config.json", {**families.config_to_hf(model.config, dtype), **known})
    write_json(folder / "generation_config.json", {"_from_model_config": True, **known})


def _as_list(value: int | list[int] | None) -> list[int]:
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def _merged(model: LoadedModel) -> LoadedModel:
    """The same model with its adapter, if it has one, in its weights."""
    if model.lora is None:
        return model
    params = lora.merge(model.params, model.lora, model.lora_scale)
    return dataclasses.replace(model, params=params, lora=None, lora_config=None)


def _trained_dtype(checkpoint: str) -> str:
    location = resolve(checkpoint)
    return location.manifest.get("dtype", "float32") if location.kind in ("native", "stage") else "float32"


def _tokenizer_folder(model: LoadedModel) -> Path | None:
    folder = model.manifest.get("tokenizer_folder")
    return Path(folder) if folder else None


@contextlib.contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder that takes the name `out` only when it is complete. UserError when something is there already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists already. Choose another --out, or remove it first.")
    partial = _unused_folder(out)
    try:
        yield partial
    except parity.ParityError:
        raise
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.replace(out)


def _unused_folder(out: Path) -> Path:
    """Makes OUT.partial; where that name is taken, by a failed export or by anything else, OUT.partial-2 and so on."""
    for number in itertools.count(1):
        folder = out.with_name(f"{out.name}.partial{f'-{number}' if number > 1 else ''}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise AssertionError("unreachable")
