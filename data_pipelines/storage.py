"""DATA folders: which datasets lie there, writing one whole or not at all, and reading its card."""

import contextlib
import io
import json
import os
import platform
import re
import shutil
import tempfile
import time
from pathlib import Path

from data_pipelines import progress
from data_pipelines.export import KINDS
from data_pipelines.identity import Hasher
from data_pipelines.pipeline import Dataset
from llumi_jax.cli import UserError

BUILDER = "llumi_pairs"
CARD = "card.json"
_BUILDING = ".building-"
_ASIDE = ".replaced-"
_ALL_ASIDE = "all"
_ABANDONED_AFTER = 3600  # Seconds.


def quiet_tfds():
    """Imports TFDS without its chatter, and keeps TensorFlow off the accelerators: they belong to JAX."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # Nothing is computed here, and its greeting knows no level.
    import absl.logging
    import tensorflow as tf
    import tensorflow_datasets as tfds

    absl.logging.set_verbosity(absl.logging.ERROR)
    tf.config.set_visible_devices([], "GPU")
    tfds.disable_progress_bar()
    return tfds


def datasets(data: Path) -> list[str]:
    """Returns the names of the datasets in a DATA folder: configs less `_pairs` or `_replies`."""
    folders = (data / BUILDER).glob("*_*") if data.is_dir() else ()
    names = {
        folder.name.removesuffix(f"_{kind}") for folder in folders for kind in KINDS if folder.name.endswith(f"_{kind}")
    }
    return sorted(names)


def choose(data: Path, name: str | None) -> str:
    """Returns the dataset to read: the one named, or the only one there is.

    Raises:
      UserError: there is none, none of that name, or several and no name.
    """
    found = datasets(data)
    if not found:
        raise UserError(f"{data}: no dataset here. Make one with 'python -m data_pipelines.build … --out {data}'.")
    if name is None and len(found) > 1:
        raise UserError(f"{data} holds {', '.join(found)}: say which with --dataset NAME.")
    if name is not None and name not in found:
        raise UserError(f"{data} holds no dataset {name!r}. It has: {', '.join(found)}.")
    return name or found[0]


def check_free(out: Path, name: str, named: bool) -> None:
    """Refuses to mix two sources or rules in one folder unless the user names the second one.

    Raises:
      UserError: `out` is a file, or holds another dataset and `--dataset` was not given.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: this is a file. Name a folder.")
    others = [other for other in datasets(out) if other != name]
    if others and not named:
        raise UserError(
            f"--out {out} already holds the dataset {', '.join(others)}. Choose another folder, or keep both with "
            "--dataset NAME, a name of your own for this one."
        )


def unfinished(out: Path, name: str) -> Path:
    """Returns where an unfinished build of a dataset waits: beside the folder, since it holds texts as they came."""
    out = out.resolve()
    return out.parent / f".{out.name}-{name}-unfinished"


def known_cutoff(out: Path, name: str) -> int | None:
    """Returns the cut-off of `test_later` that the first build of this dataset fixed, None if there is none yet."""
    path = out / f"card_{name}.json"
    return read_card(out, name).get("cutoff") if path.is_file() else None


def write(dataset: Dataset, hasher: Hasher, name: str, out: Path) -> None:
    """Writes the configs `<name>_pairs` and `<name>_replies`, then the card. Replaces an older build of that name.

    Everything is written beside its place first: a build that is killed or finds the disk full leaves no half dataset.
    """
    quiet_tfds()
    from data_pipelines.llumi_pairs import LlumiConfig, LlumiPairs

    out.mkdir(parents=True, exist_ok=True)
    _sweep(out)
    _roll_back(name, out)
    counts = {"pairs": sum(map(len, dataset.pairs.values())), "replies": sum(map(len, dataset.replies.values()))}
    prefix = f"{_BUILDING}{_host()}-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=out, ignore_cleanup_errors=True) as building:
        with progress.counting("Writing the dataset", sum(counts.values())) as advance:
            for kind in (kind for kind in KINDS if counts[kind]):
                config = LlumiConfig(
                    name=f"{name}_{kind}",
                    description=f"{name}, {kind}.",
                    kind=kind,
                    content=lambda: (dataset, hasher),
                    advance=advance,
                )
                # TFDS prints the folder under construction as the place.
                with contextlib.redirect_stdout(io.StringIO()), _same_bytes_everywhere():
                    LlumiPairs(config=config, data_dir=building).download_and_prepare()
        write_card(dataset.card, name, Path(building))
        write_page(dataset, name, Path(building))
        _replace(name, Path(building), out)
        for card in Path(building).glob("card*"):
            os.replace(card, out / card.name)


@contextlib.contextmanager
def _same_bytes_everywhere():
    """Protocol buffers write a map in another order in every process, unless they are asked not to."""
    from tensorflow_datasets.core.example_serializer import ExampleSerializer

    usual = ExampleSerializer.serialize_example
    ExampleSerializer.serialize_example = lambda serializer, example: serializer.get_tf_example(
        example
    ).SerializeToString(deterministic=True)
    try:
        yield
    finally:
        ExampleSerializer.serialize_example = usual


def _replace(name: str, building: Path, out: Path) -> None:
    """Puts the new configs in the place of the old ones, which stand aside until all are there."""
    aside = out / f"{_ASIDE}{name}"
    aside.mkdir()
    targets = [out / BUILDER / f"{name}_{kind}" for kind in KINDS]
    for target in targets:
        if target.exists():
            os.replace(target, aside / target.name)
    (aside / _ALL_ASIDE).touch()
    for target in targets:
        made = building / BUILDER / target.name
        if made.exists():
            target.parent.mkdir(exist_ok=True)
            os.replace(made, target)
    # One step from "the old build counts" to "the new one does"; what was moved goes with the folder of this build.
    os.replace(aside, building / "replaced")


def _roll_back(name: str, out: Path) -> None:
    """Puts back what a build that was killed half-way had moved aside."""
    aside = out / f"{_ASIDE}{name}"
    if not aside.is_dir():
        return
    for target in (out / BUILDER / f"{name}_{kind}" for kind in KINDS):
        old = aside / target.name
        if old.exists() or (aside / _ALL_ASIDE).exists():  # Then what stands there is new, and perhaps not all of it.
            shutil.rmtree(target, ignore_errors=True)
        if old.exists():
            target.parent.mkdir(exist_ok=True)
            os.replace(old, target)
    shutil.rmtree(aside)


def _sweep(out: Path) -> None:
    """Deletes the folders of builds that were killed: they hold texts, and nobody else would ever remove them."""
    for folder in out.glob(f"{_BUILDING}*"):
        if _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    """Whether the process of a build is gone, or nothing was written there for an hour."""
    host, _, process = folder.name.removeprefix(_BUILDING).rpartition("-")[0].rpartition("-")
    if host == _host() and process.isdecimal() and not _is_running(int(process)):
        return True
    try:
        newest = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:  # Something there was moved or removed just now, so somebody is at work.
        return False
    return time.time() - newest > _ABANDONED_AFTER


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9.]", "_", platform.node())


def write_card(card: dict, name: str, out: Path) -> None:
    """Writes `card.json`; beside other datasets also `card_<name>.json`, which is never overwritten by them."""
    text = json.dumps({"dataset": name, **card}, indent=2, ensure_ascii=False) + "\n"
    for path in (out / f"card_{name}.json", out / CARD):
        part = path.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)


def write_page(dataset: Dataset, name: str, out: Path) -> None:
    """Writes the card for people: `card_<name>.html`, and `card.html` as the one of the last build."""
    from data_pipelines import card_page

    series = card_page.series_of([pair for pairs in dataset.pairs.values() for pair in pairs])
    for path in (out / f"card_{name}.html", out / "card.html"):
        card_page.write_card_page({"dataset": name, **dataset.card}, series, path)


def read_card(data: Path, name: str) -> dict:
    """Returns the card of a dataset."""
    return json.loads((data / f"card_{name}.json").read_text(encoding="utf-8"))
