"""Tokenizers and their files: loaded without torch, and carried into exports byte for byte where there are files."""

import json
import shutil
from pathlib import Path

from llumi_jax.cli import UserError

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
_TEMPLATE = "chat_template.jinja"


def has_files(folder: Path) -> bool:
    """Whether a folder holds a tokenizer."""
    return any((folder / name).exists() for name in ("tokenizer.json", "tokenizer.model"))


def load(folder: Path):
    """The fast tokenizer of a folder. UserError when there is none, or when it has no chat template."""
    from transformers import AutoTokenizer

    if not has_files(folder):
        raise UserError(
            f"{folder} has no tokenizer.json or tokenizer.model. Copy the tokenizer files of the model there."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (ValueError, OSError, KeyError) as error:
        raise UserError(f"the tokenizer in {folder} cannot be read ({error}). Fetch its files again.") from error
    return with_template(tokenizer, folder)


def with_template(tokenizer, where: Path):
    """Returns the tokenizer if it has a chat template, which every prompt needs."""
    if not tokenizer.chat_template:
        raise UserError(f"the tokenizer of {where} has no chat template. Take an instruction-tuned ('Instruct') model.")
    return tokenizer


def save(tokenizer, source: Path | None, out: Path) -> None:
    """Writes a tokenizer's files into `out`: the original ones from the folder `source`, or new ones where none are.

    The chat template ends up in both places where tools look for it.
    """
    if source is not None and has_files(source):
        for name in FILES:
            if (source / name).exists():
                shutil.copyfile(source / name, out / name)
    else:
        tokenizer.save_pretrained(str(out))
    _complete(tokenizer, out)


def _complete(tokenizer, out: Path) -> None:
    """Adds the chat template where it is missing, and a class name that every version of transformers knows."""
    path = out / "tokenizer_config.json"
    values = json.loads(path.read_text()) if path.exists() else {}
    before = dict(values)
    if values.get("tokenizer_class", "TokenizersBackend") == "TokenizersBackend":
        values["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(tokenizer.chat_template, str):
        values.setdefault("chat_template", tokenizer.chat_template)
        if not (out / _TEMPLATE).exists():
            (out / _TEMPLATE).write_text(tokenizer.chat_template)
    if values != before:
        path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
