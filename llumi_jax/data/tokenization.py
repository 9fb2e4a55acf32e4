"""Threads of text to threads of token ids, cached on disk under everything that shaped them."""

import dataclasses
import hashlib
import json
import os
import uuid
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llumi_jax import prompts
from llumi_jax.cli import UserError
from llumi_jax.data.dataset import Pair, Thread


@dataclasses.dataclass(frozen=True)
class TokenThread:
    """A thread in token ids: the prompt once, each distinct reply (with its end-of-turn token) once."""

    thread_id: str
    community: str
    prefix: np.ndarray  # int32
    replies: tuple[np.ndarray, ...]  # int32 each
    reply_weights: tuple[float, ...]
    pairs: tuple[Pair, ...]

    @property
    def size(self) -> int:
        """Tokens of a row that the thread takes."""
        return len(self.prefix) + sum(map(len, self.replies))


def tokenize(
    threads: Sequence[Thread],
    tokenizer: Any,
    task: str,
    max_prompt_tokens: int,
    *,
    cache: str | os.PathLike | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[TokenThread]:
    """Tokenises threads; with `cache` (a folder) the second time is a read.

    Raises:
      UserError: a draft alone is longer than `max_prompt_tokens`, or the base's chat template cannot be trained on.
    """
    if cache is None:
        return [_tokenize_one(t, tokenizer, task, max_prompt_tokens) for t in threads]
    path = Path(cache) / f"{_fingerprint(threads, tokenizer, task, max_prompt_tokens)}.npz"
    if path.exists() and (read := _load(path)) is not None:
        return read
    result = []
    for done, thread in enumerate(threads):
        result.append(_tokenize_one(thread, tokenizer, task, max_prompt_tokens))
        progress(done + 1)
    _save(path, result)
    return result


def _tokenize_one(thread: Thread, tokenizer: Any, task: str, max_prompt_tokens: int) -> TokenThread:
    try:
        prefix = prompts.prompt_ids(tokenizer, task, thread.title, thread.body, thread.draft, max_prompt_tokens)
        ids = tuple(np.asarray(prompts.reply_ids(tokenizer, text), np.int32) for text in thread.replies)
    except prompts.PromptTooLong as error:
        raise UserError(f"thread {thread.thread_id}: {error}. Raise config.max_prompt_tokens.") from None
    except ValueError as error:
        raise UserError(f"thread {thread.thread_id}: {error}.") from None
    return TokenThread(
        thread.thread_id,
        thread.community,
        np.asarray(prefix, np.int32),
        ids,
        tuple(thread.reply_weights),
        tuple(thread.pairs),
    )


def _fingerprint(threads: Sequence[Thread], tokenizer: Any, task: str, max_prompt_tokens: int) -> str:
    """Changes with any text, with the vocabulary, the template, the wording of the prompt and the limit."""
    digest = hashlib.sha256()
    template = tokenizer.chat_template or ""
    settings = [prompts.VERSION, prompts.messages(task, "t", "b", "d"), max_prompt_tokens, template, len(tokenizer)]
    digest.update(json.dumps(settings).encode())
    digest.update(tokenizer.backend_tokenizer.to_str().encode())
    for thread in threads:
        digest.update(json.dumps(dataclasses.asdict(thread), sort_keys=True).encode())
    return digest.hexdigest()[:32]


def _save(path: Path, threads: Sequence[TokenThread]) -> None:
    """One flat array of tokens with the lengths that cut it; the few other fields as JSON."""
    pieces = [piece for t in threads for piece in (t.prefix, *t.replies)]
    fields = [
        {
            "id": t.thread_id,
            "community": t.community,
            "weights": t.reply_weights,
            "pairs": [dataclasses.astuple(p) for p in t.pairs],
        }
        for t in threads
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.npz")  # several hosts may write the same at once
    np.savez(
        partial,
        tokens=np.concatenate(pieces) if pieces else np.zeros(0, np.int32),
        lengths=np.array([len(piece) for piece in pieces], np.int64),
        fields=np.frombuffer(json.dumps(fields).encode(), np.uint8),
    )
    partial.replace(path)


def _load(path: Path) -> list[TokenThread] | None:
    """Reads what `_save` wrote; None if the disk gave back something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            tokens, lengths, fields = (file[name] for name in ("tokens", "lengths", "fields"))
    except (zipfile.BadZipFile, EOFError, KeyError, ValueError):
        return None
    pieces, fields = iter(np.split(tokens, np.cumsum(lengths)[:-1])), json.loads(fields.tobytes())
    threads = []
    for f in fields:
        prefix = next(pieces)
        replies = tuple(next(pieces) for _ in f["weights"])
        pairs = tuple(Pair(*p) for p in f["pairs"])
        threads.append(TokenThread(f["id"], f["community"], prefix, replies, tuple(f["weights"]), pairs))
    return threads
