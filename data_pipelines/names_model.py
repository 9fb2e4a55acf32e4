"""The spaCy pipeline behind `--names_model`: found on this machine, checked before long work, loaded once a process.

Nothing is fetched. Presidio would download a model that is not there, and would take a GPU that is: here it is handed
a pipeline that is loaded already, and the one recognizer that asks it for people.
"""

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llumi_jax.cli import UserError

Spans = list[tuple[int, int]]
# Texts -> where people are named in each, as [start, end) in characters.
Find = Callable[[Sequence[str]], list[Spans]]

BATCH = 16  # Texts at once; more are hardly faster and need more memory.
_LANGUAGE = "en"  # What presidio files the pipeline under, whatever its language is.
_PERSON_LABELS = frozenset({"PERSON", "PER"})  # English and Chinese pipelines say the first, most others the second.
_NEEDED_BY_NER = frozenset({"ner", "tok2vec", "transformer", "curated_transformer"})
_EXTRA = "--names_model needs {}, which is not installed. Run: pip install -c constraints.txt -e '.[names]'"


@dataclass(frozen=True)
class NamesModel:
    """What masks names. `given`: package or folder as the user named it; `digest`: of all files of the pipeline."""

    given: str
    name: str
    version: str
    digest: str
    spacy: str
    presidio: str

    def for_card(self) -> dict[str, str]:
        """Returns what decides which names are found, without the place of the model."""
        return {
            "model": self.name,
            "version": self.version,
            "sha256": self.digest,
            "spacy": self.spacy,
            "presidio": self.presidio,
        }


def check(given: str) -> NamesModel:
    """Returns the pipeline that a user named, after it was loaded.

    Args:
      given: an installed package (`en_core_web_lg`) or the folder of a pipeline.

    Raises:
      UserError: the extra is not installed; no such pipeline, or one that finds no people, cannot be loaded or was
        made for another spaCy.
    """
    for package, called in (("spacy", "spaCy"), ("presidio_analyzer", "presidio-analyzer")):
        if importlib.util.find_spec(package) is None:
            raise UserError(_EXTRA.format(called))
    import spacy

    folder = _folder_of(given)
    meta = _meta(folder, given)
    _check_made_for(str(meta.get("spacy_version", "")), spacy.__version__, meta, given)
    _pipeline(folder, given)
    return NamesModel(
        given,
        f"{meta.get('lang', '')}_{meta.get('name', '')}".strip("_") or folder.name,
        str(meta.get("version", "")),
        _digest(folder),
        spacy.__version__,
        importlib.metadata.version("presidio-analyzer"),
    )


@functools.cache
def finder(model: NamesModel) -> Find:
    """Returns what finds people, loaded on first use in this process.

    Raises:
      UserError: as `check`; the model on this machine is another one than the build began with.
    """
    here = check(model.given)
    if here != model:
        raise UserError(
            f"--names_model {model.given}: this machine has {_told(here)}, the build began with {_told(model)}. "
            "Install the same everywhere, and leave the model alone while a build runs."
        )
    return _finder(_pipeline(_folder_of(model.given), model.given))


def _told(model: NamesModel) -> str:
    versions = f"spaCy {model.spacy}, presidio {model.presidio}"
    return f"{model.name} {model.version} (sha256 {model.digest[:12]}, {versions})"


def _folder_of(given: str) -> Path:
    """Returns the folder that holds the pipeline itself; an installed or unpacked package has it further down."""
    top = Path(given)
    if given.isidentifier() and (spec := importlib.util.find_spec(given)) and spec.submodule_search_locations:
        top = Path(next(iter(spec.submodule_search_locations)))
    elif top.is_file():
        raise UserError(f"--names_model {given}: this is a file. Unpack it, and name the folder with config.cfg in it.")
    elif not top.is_dir():
        way = f"Run: python -m spacy download {given}. Or give" if given.isidentifier() else "Check the path, or give"
        raise UserError(
            f"--names_model {given}: no such package is installed, and there is no such folder. {way} the folder of "
            "an unpacked model."
        )
    found = [path.parent for depth in ("", "*/", "*/*/") for path in sorted(top.glob(f"{depth}config.cfg"))]
    if not found or not (found[0] / "meta.json").is_file():
        raise UserError(
            f"--names_model {given}: this is no spaCy pipeline, which holds config.cfg and meta.json. Name one, such "
            "as en_core_web_sm."
        )
    return found[0]


def _meta(folder: Path, given: str) -> dict[str, Any]:
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        meta = None
    if not isinstance(meta, dict):
        raise UserError(f"--names_model {given}: {folder / 'meta.json'} cannot be read. Get the model again.")
    return meta


def _check_made_for(wanted: str, installed: str, meta: dict[str, Any], given: str) -> None:
    import spacy

    if spacy.util.is_compatible_version(installed, wanted) is False:
        name = f"{meta.get('lang', 'en')}_{meta.get('name', 'core_web_sm')}"
        raise UserError(
            f"--names_model {given}: made for spaCy {wanted}, and {installed} is installed. Get the model that fits: "
            f"python -m spacy download {name}"
        )


@functools.cache
def _pipeline(folder: Path, given: str) -> Any:
    """Returns the pipeline with the parts that finding people needs, and no others.

    Raises:
      UserError: it finds no people, or cannot be loaded.
    """
    import spacy

    try:
        config = spacy.util.load_config(folder / "config.cfg")
        parts = {name: config["components"][name].get("factory", name) for name in config["nlp"]["pipeline"]}
    except Exception as error:  # Whatever stands in a file that is no configuration.
        raise _not_loaded(given, error) from None
    if "ner" not in parts:
        raise UserError(
            f"--names_model {given}: no component 'ner', so it finds no people (it has {', '.join(parts) or 'none'}). "
            "Choose another, such as en_core_web_sm."
        )
    try:
        nlp = spacy.load(folder, exclude=[name for name, factory in parts.items() if factory not in _NEEDED_BY_NER])
    except Exception as error:  # Missing weights, unknown parts, or a file cut short: each has an error of its own.
        raise _not_loaded(given, error) from None
    labels = nlp.pipe_labels["ner"]
    if not _PERSON_LABELS.intersection(labels):
        raise UserError(
            f"--names_model {given}: its 'ner' knows no people (it knows {', '.join(labels) or 'nothing'}). "
            "Choose another, such as en_core_web_sm."
        )
    nlp.max_length = sys.maxsize  # The limit is for parsers; what is read here is one post at a time.
    return nlp


def _not_loaded(given: str, error: Exception) -> UserError:
    why = " ".join(str(error).split())[:200] or type(error).__name__
    return UserError(f"--names_model {given}: it cannot be loaded ({why}). Get the model again.")


def _finder(nlp: Any) -> Find:
    from presidio_analyzer import AnalyzerEngine, BatchAnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    labels = set(nlp.pipe_labels["ner"])
    configuration = NerModelConfiguration(
        labels_to_ignore=sorted(labels - _PERSON_LABELS),
        model_to_presidio_entity_mapping=dict.fromkeys(_PERSON_LABELS, "PERSON"),
    )
    engine = SpacyNlpEngine([{"lang_code": _LANGUAGE, "model_name": "loaded"}], configuration)
    engine.nlp = {_LANGUAGE: nlp}  # Its own `load` would download, and take a GPU.
    recognizer = SpacyRecognizer(supported_language=_LANGUAGE, supported_entities=["PERSON"])
    registry = RecognizerRegistry([recognizer], supported_languages=[_LANGUAGE])
    analyzer = BatchAnalyzerEngine(AnalyzerEngine(registry, engine, supported_languages=[_LANGUAGE]))

    def find(texts: Sequence[str]) -> list[Spans]:
        found = analyzer.analyze_iterator(texts, _LANGUAGE, batch_size=BATCH, entities=["PERSON"])
        return [sorted((one.start, one.end) for one in some) for some in found]

    return find


def _digest(folder: Path) -> str:
    """Returns SHA-256 over the names, sizes and contents of all files, in the order of their names."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size} {content}\n".encode())
    return total.hexdigest()
