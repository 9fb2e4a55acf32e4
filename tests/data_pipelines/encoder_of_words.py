"""A sentence encoder without weights or a network: texts with the same words lie close together."""

import re
import zlib
from pathlib import Path

import numpy as np

SIZE = 4096


class Encoder:
    """Unit vectors of word counts, each word at a place of its own (nearly)."""

    def encode(self, texts, on_done=lambda n: None):
        vectors = np.zeros((len(texts), SIZE), np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"[\w']+", text.lower()):
                vectors[row, zlib.crc32(word.encode()) % SIZE] += 1
        on_done(len(texts))
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    def reserve(self, texts):
        pass


def install(put=setattr) -> None:
    """Puts it in the place of the published one; `put` sets attributes, as that of a monkeypatch does."""
    from llumi_jax.interchange import packages
    from llumi_jax.models.sentence_encoder import SentenceEncoder

    put(packages, "fetch_package", lambda package: Path("nowhere") / "weights")
    put(SentenceEncoder, "load", classmethod(lambda cls, folder: Encoder()))
