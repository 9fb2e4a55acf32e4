"""The dataset contract: any TFDS builder with these features trains, wherever its pairs come from.

Two feature sets. Pairs: a post (and draft), a chosen and a rejected reply, the chance that chosen is truly preferred.
Replies, for SFT: a post (and draft) and one reply worth learning. Rows of one post and draft share a `thread_id`.
"""

import contextlib
import dataclasses
import importlib
import io
import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from llumi_jax.cli import UserError, suggestion

_POST = ("thread_id", "task", "community", "title", "body", "draft", "weight", "source")
FEATURES = {
    "pairs": (*_POST, "pair_id", "chosen", "rejected", "probability"),
    "replies": (*_POST, "reply_id", "reply"),
}


@dataclasses.dataclass(frozen=True)
class Pair:
    """A preference between two replies of one thread, as indices into its replies."""

    pair_id: str
    chosen: int
    rejected: int
    probability: float
    weight: float


@dataclasses.dataclass
class Thread:
    """A post (with its draft) once, each distinct reply once, and what is known about them."""

    thread_id: str
    community: str
    title: str
    body: str
    draft: str
    replies: list[str] = dataclasses.field(default_factory=list)
    reply_weights: list[float] = dataclasses.field(default_factory=list)  # of SFT targets; 0 = no target
    pairs: list[Pair] = dataclasses.field(default_factory=list)

    def slot(self, text: str) -> int:
        """The index of a reply, added when it is new."""
        if text not in self.replies:
            self.replies.append(text)
            self.reply_weights.append(0.0)
        return self.replies.index(text)


Spec = Any  # "module:Builder/config", several of them joined by commas, or a mixture: [(such a text, its share), …]


def mixture(spec: Spec) -> list[tuple[str, float]]:
    """The parts of a mixture with their shares; one text is one part, whatever it joins.

    Raises:
      UserError: it is neither a text nor a list of pairs with shares above 0.
    """
    if isinstance(spec, str):
        return [(spec, 1.0)]
    is_pair = lambda part: isinstance(part, list | tuple) and len(part) == 2 and isinstance(part[0], str)
    is_share = lambda value: isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
    if not isinstance(spec, list | tuple) or not spec or not all(is_pair(p) and is_share(p[1]) for p in spec):
        raise UserError(
            f"dataset {spec!r}: give 'package.module:Builder/config', or a mixture [('…:…/…', 0.7), ('…:…/…', 0.3)]."
        )
    return [(name, float(share)) for name, share in spec]


def names(spec: Spec) -> list[str]:
    """Every dataset that a spec names."""
    return [one.strip() for part, _ in mixture(spec) for one in part.split(",")]


def in_words(spec: Spec) -> str:
    """The spec as a person reads it."""
    parts = mixture(spec)
    return parts[0][0] if len(parts) == 1 else ", ".join(f"{name} ({share:g})" for name, share in parts)


def read_threads(spec: Spec, split: str, task: str, data_dir: str | os.PathLike, kind: str) -> list[Thread]:
    """Reads one split's threads of one task, in an order that depends on the data alone.

    Args:
      spec: one dataset or several; of a mixture all threads are read, and its shares do not count.
      split: a TFDS split name; a dataset without it gives no threads.
      task: "gm" or "im".
      data_dir: where prepared datasets lie, and where one is prepared that is not there yet.
      kind: "pairs" or "replies".

    Raises:
      UserError: the spec cannot be resolved, or the dataset lacks a feature of the contract.
    """
    threads: dict[str, Thread] = {}
    for one in names(spec):
        builder = open_builder(one, data_dir)
        _check_features(one, builder, kind)
        if split in builder.info.splits:
            _collect(threads, _rows(builder, split), task, kind)
    return [threads[key] for key in sorted(threads)]


def check(spec: Spec, data_dir: str | os.PathLike, kind: str) -> None:
    """Opens the datasets of a spec. Raises UserError as `read_threads` does, without reading a row."""
    for one in names(spec):
        _check_features(one, open_builder(one, data_dir), kind)


def split_names(spec: Spec, data_dir: str | os.PathLike) -> list[str]:
    """The splits that a dataset (or any of several) has."""
    return sorted({name for one in names(spec) for name in open_builder(one, data_dir).info.splits})


def open_builder(spec: str, data_dir: str | os.PathLike) -> Any:
    """Finds a prepared dataset below `data_dir`, or imports its builder and prepares it there.

    Raises:
      UserError: the module, class or config does not exist.
    """
    tfds = _tensorflow_datasets()
    match = re.fullmatch(r"([\w.]+):(\w+)/([^/]+)", spec)
    if match is None:
        raise UserError(f"dataset {spec!r} is not of the form package.module:Builder/config")
    module_name, class_name, config = match.groups()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(f"dataset {spec!r}: no module named {error.name!r}. Run from the project's folder.") from None
    if not hasattr(module, class_name):
        raise UserError(f"dataset {spec!r}: {module_name} has no {class_name}.{suggestion(class_name, dir(module))}")
    builder_class = getattr(module, class_name)
    if not (isinstance(builder_class, type) and issubclass(builder_class, tfds.core.DatasetBuilder)):
        raise UserError(
            f"dataset {spec!r}: {class_name} is no TFDS builder. Name a class of tfds.core.GeneratorBasedBuilder."
        )
    prepared = Path(data_dir) / cast(Any, builder_class).name / config
    version = lambda path: tuple(map(int, path.parent.name.split(".")))
    # A kill while a dataset is written leaves a folder <version>.incomplete…, which is not one.
    whole = [p for p in prepared.glob("*/dataset_info.json") if re.fullmatch(r"\d+\.\d+\.\d+", p.parent.name)]
    if whole:
        return tfds.builder_from_directory(max(whole, key=version).parent)
    known = [c.name for c in cast(Any, builder_class).BUILDER_CONFIGS]
    if config not in known:
        nearby = suggestion(config, [*known, *(p.name for p in prepared.parent.glob("*"))])
        raise UserError(
            f"no dataset {config!r} below {data_dir}. Build it with data_pipelines.build, or pass --data_dir.{nearby}"
        )
    builder = builder_class(config=config, data_dir=os.fspath(data_dir))
    with contextlib.redirect_stdout(io.StringIO()):  # it speaks of downloads, and nothing is downloaded
        builder.download_and_prepare()
    return builder


def _tensorflow_datasets():
    """Imports TFDS with TensorFlow kept off the accelerators, whose memory is JAX's."""
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    return tfds


def _check_features(spec: str, builder: Any, kind: str) -> None:
    missing = [name for name in FEATURES[kind] if name not in builder.info.features]
    if missing:
        raise UserError(
            f"dataset {spec!r} has no feature {missing[0]!r}, which {kind} need. Use a dataset of kind {kind!r}."
        )


def _rows(builder: Any, split: str) -> Iterable[Mapping[str, Any]]:
    import tensorflow_datasets as tfds

    decode = lambda value: value.decode("utf-8") if isinstance(value, bytes) else value
    for row in tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False)):
        yield {key: decode(value) for key, value in row.items()}


def _collect(threads: dict[str, Thread], rows: Iterable[Mapping[str, Any]], task: str, kind: str) -> None:
    id_name = "pair_id" if kind == "pairs" else "reply_id"
    for row in sorted((r for r in rows if r["task"] == task), key=lambda r: r[id_name]):
        texts = {name: row[name] for name in ("thread_id", "community", "title", "body", "draft")}
        thread = threads.setdefault(row["thread_id"], Thread(**texts))
        weight = float(row["weight"])
        if kind == "pairs":
            chosen, rejected = thread.slot(row["chosen"]), thread.slot(row["rejected"])
            thread.pairs.append(Pair(row["pair_id"], chosen, rejected, float(row["probability"]), weight))
        else:
            thread.reply_weights[thread.slot(row["reply"])] = weight
