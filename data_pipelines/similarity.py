"""How alike two replies are: behind one small interface, so that an embedding can take the place of words.

The default is lexical: cosine of TF-IDF vectors (1 + log count, smoothed idf). It knows nothing of synonyms, so its
scale is not that of embeddings: `threshold` says from where on two replies to one post count as saying related
things.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

_WORD = re.compile(r"[^\W\d_]{2,}(?:['’][^\W\d_]+)?")
_CACHE = 4096  # A vector takes about 8 kB.


class Similarity(Protocol):
    """Compares texts. `threshold` is the similarity from which a reply may serve as another's revision."""

    name: str
    threshold: float

    def cosine(self, a: str, b: str) -> float:
        """Returns the similarity of two texts in [-1, 1]."""
        ...


class LexicalSimilarity:
    """TF-IDF cosine, its document frequencies fitted on the replies of the training split."""

    name = "tf-idf words"

    def __init__(self, texts: Iterable[str], threshold: float) -> None:
        self.threshold = threshold
        frequency: Counter[str] = Counter()
        documents = 0
        for text in texts:
            frequency.update(set(_words(text)))
            documents += 1
        self._documents = documents
        self._frequency = frequency
        self._vectors: dict[str, dict[str, float]] = {}

    def cosine(self, a: str, b: str) -> float:
        small, large = sorted((self._vector(a), self._vector(b)), key=len)
        return sum(weight * large.get(word, 0.0) for word, weight in small.items())

    def _vector(self, text: str) -> dict[str, float]:
        vector = self._vectors.get(text)
        if vector is None:
            if len(self._vectors) >= _CACHE:
                self._vectors.clear()
            vector = self._vectors[text] = self._weigh(Counter(_words(text)))
        return vector

    def _weigh(self, counted: Counter[str]) -> dict[str, float]:
        total = self._documents + 1
        raw = {word: (1 + math.log(n)) * math.log(total / (self._frequency[word] + 1)) for word, n in counted.items()}
        norm = math.sqrt(sum(weight * weight for weight in raw.values())) or 1.0
        return {word: weight / norm for word, weight in raw.items()}


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower().replace("’", "'"))
