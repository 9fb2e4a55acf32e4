"""Named tensors in files, read and written one at a time, and trees assembled from them."""

import dataclasses
import functools
import json
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from llumi_jax.cli import UserError, suggestion
from llumi_jax.models import families
from llumi_jax.models.config import DecoderConfig
from llumi_jax.storage.files import read_json

INDEX = "model.safetensors.index.json"
SHARD_BYTES = 5 * 10**9
_IGNORED_ENDINGS = ("rotary_emb.inv_freq", "masked_bias", "attn.bias")


class TensorSource(Protocol):
    """Where tensors come from, by their Hugging Face names and in Hugging Face layout."""

    where: str  # for error messages

    def names(self) -> Iterable[str]: ...

    def shape(self, name: str) -> tuple[int, ...]: ...

    def read(self, name: str) -> np.ndarray: ...


class SafetensorsFolder:
    """The safetensors files of a folder, one or sharded. Nothing is read before it is asked for."""

    def __init__(self, folder: Path):
        self.where = str(folder)
        self._file_of: dict[str, Path] = {}
        self._open: dict[Path, Any] = {}
        for path in _safetensors_files(folder):
            for name in self._handle(path).keys():
                self._file_of[name] = path

    def names(self) -> Iterable[str]:
        return self._file_of

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._handle(self._file_of[name]).get_slice(name).get_shape())

    def read(self, name: str) -> np.ndarray:
        return self._handle(self._file_of[name]).get_tensor(name)

    def _handle(self, path: Path):
        import ml_dtypes  # noqa: F401  (teaches numpy bfloat16)
        import safetensors

        if path not in self._open:
            try:
                self._open[path] = safetensors.safe_open(path, framework="numpy")
            except (safetensors.SafetensorError, OSError) as error:
                raise UserError(f"{path} is truncated or no safetensors file ({error}). Fetch it again.") from error
        return self._open[path]


def _safetensors_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights, all present. UserError names the one that is missing."""
    index = folder / INDEX
    if index.exists():
        names = sorted(set(read_json(index)["weight_map"].values()))
    else:
        present = sorted(path.name for path in folder.glob("*.safetensors"))
        names = ["model.safetensors"] if "model.safetensors" in present else present
    if not names:
        raise UserError(
            f"{folder} has no .safetensors files. Save the model with safe_serialization=True and try again."
        )
    if len(names) > 1 and not index.exists():
        raise UserError(f"{folder} has {len(names)} .safetensors files but no {INDEX}. Fetch the folder again.")
    for name in names:
        if not (folder / name).exists():
            raise UserError(f"{folder} lacks {name}, which its {INDEX} names. Fetch that file and try again.")
    return [folder / name for name in names]


def assemble(source: TensorSource, config: DecoderConfig, *, dtype: Any, shardings: Mapping | None = None) -> dict:
    """Reads a decoder's tree: nested dict of jax arrays in `dtype`, each placed on its sharding.

    Holds at most one stacked weight [L, …] in host memory beside what is already placed. UserError names a tensor
    that is missing, left over, or of another shape than the configuration says.
    """
    _check(source, config)
    leaves = {}
    for weight in families.weights(config):
        host = _stack(source, weight, config, np.dtype(dtype))
        leaves[weight.path] = place(host, _lookup(shardings, weight.path))
    return nest(leaves)


def _check(source: TensorSource, config: DecoderConfig) -> None:
    expected = {name: weight for weight in families.weights(config) for name in hf_names(weight, config)}
    present = set(source.names())
    for name, weight in expected.items():
        if name not in present:
            raise UserError(
                f"{source.where} has no tensor {name!r}.{suggestion(name, present)} Fetch the weights again."
            )
        shape = source.shape(name)
        if shape != weight.hf_shape(config):
            raise UserError(
                f"{source.where}: tensor {name!r} has shape {shape}, but the configuration says "
                f"{weight.hf_shape(config)}. Weights and configuration belong to different models."
            )
    tied_copy = {"lm_head.weight"} if config.tie_embeddings else set()
    extra = sorted(n for n in present - set(expected) - tied_copy if not n.endswith(_IGNORED_ENDINGS))
    if extra:
        raise UserError(
            f"{source.where} holds {len(extra)} tensors that a {config.family} decoder does not have, "
            f"first {extra[0]!r}. Is config.json the right one for these weights?"
        )


def hf_names(weight: families.Weight, config: DecoderConfig) -> list[str]:
    """The Hugging Face names of one row of the table: one per layer, or one."""
    return [weight.hf.format(layer=layer) for layer in range(config.num_layers)] if weight.stacked else [weight.hf]


def _stack(source: TensorSource, weight: families.Weight, config: DecoderConfig, dtype: np.dtype) -> np.ndarray:
    shape = weight.tree_shape(config)
    if not weight.stacked:
        return np.ascontiguousarray(weight.to_tree(source.read(weight.hf), config), dtype=dtype)
    host = np.empty((config.num_layers, *shape), dtype)
    for layer, name in enumerate(hf_names(weight, config)):
        host[layer] = weight.to_tree(source.read(name), config)
    return host


def place(host: np.ndarray, sharding: Any = None):
    """Puts a host array on the devices of `sharding`, each process giving its own part, or on the default device."""
    import jax

    if sharding is None:
        return jax.device_put(host)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor to be written: its name and shape outside, and a function that fetches its values when asked."""

    name: str
    shape: tuple[int, ...]
    fetch: Callable[[], np.ndarray]


def tensors_of(params: Mapping, config: DecoderConfig) -> Iterator[Tensor]:
    """Every tensor of a tree under its Hugging Face name and in Hugging Face layout, in a fixed order."""
    flat = flatten(params)
    for weight in families.weights(config):
        for layer, name in enumerate(hf_names(weight, config)):
            at = layer if weight.stacked else ...
            yield Tensor(
                name, weight.hf_shape(config), functools.partial(_fetch, weight, flat[weight.path], at, config)
            )


def _fetch(weight: families.Weight, leaf: Any, at: Any, config: DecoderConfig) -> np.ndarray:
    return weight.to_hf(np.asarray(leaf[at]), config)


def write_safetensors(path: Path, tensors: Sequence[Tensor], dtype: str) -> None:
    """Writes one safetensors file, fetching one tensor at a time. dtype: "float32", "bfloat16" or "float16".

    The library's own writer wants all tensors of a file in memory at once, and copies them; hence this one.
    """
    numpy_dtype, code = _numpy_dtype(dtype), {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}[dtype]
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        start, end = end, end + math.prod(tensor.shape) * numpy_dtype.itemsize
        header[tensor.name] = {"dtype": code, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors:
            file.write(np.ascontiguousarray(tensor.fetch(), dtype=numpy_dtype).tobytes())


def write_sharded(
    folder: Path, params: Mapping, config: DecoderConfig, dtype: str, shard_bytes: int = SHARD_BYTES
) -> None:
    """Writes a decoder's weights as `model.safetensors`, or as numbered shards with an index above `shard_bytes`."""
    itemsize = _numpy_dtype(dtype).itemsize
    shards: list[list[Tensor]] = [[]]
    filled = total = 0
    for tensor in tensors_of(params, config):
        size = math.prod(tensor.shape) * itemsize
        if shards[-1] and filled + size > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(tensor)
        filled, total = filled + size, total + size
    if len(shards) == 1:
        write_safetensors(folder / "model.safetensors", shards[0], dtype)
        return
    weight_map = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_safetensors(folder / name, shard, dtype)
        weight_map.update({tensor.name: name for tensor in shard})
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def _numpy_dtype(name: str) -> np.dtype:
    import ml_dtypes  # noqa: F401  (teaches numpy bfloat16)

    return np.dtype(name)


def flatten(tree: Mapping, prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": x}} -> {"a.b": x}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value})
    return flat


def nest(flat: Mapping[str, Any]) -> dict:
    """{"a.b": x} -> {"a": {"b": x}}."""
    tree: dict = {}
    for path, value in flat.items():
        *parents, last = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return tree


def _lookup(tree: Mapping | None, path: str) -> Any:
    return None if tree is None else flatten(tree)[path]
