"""Near-duplicate texts: MinHash over 5-grams of words finds candidates, exact Jaccard >= .8 decides.

Source: Broder 1997, "On the resemblance and containment of documents". 16 bands of 4 rows find a pair at Jaccard .8
with probability .9998.
"""

import re
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

THRESHOLD = 0.8
GRAM = 5
BANDS, ROWS = 16, 4
_WORD = re.compile(r"\w+")
_PRIME = np.uint64((1 << 31) - 1)


def shingles(text: str) -> frozenset[int]:
    """Returns hashes of the text's 5-grams of words; a shorter text is one gram."""
    words = _WORD.findall(text.lower())
    grams = (" ".join(words[i : i + GRAM]) for i in range(max(len(words) - GRAM + 1, 1)))
    return frozenset(zlib.crc32(gram.encode()) for gram in grams)


def jaccard(a: frozenset[int], b: frozenset[int]) -> float:
    union = len(a | b)
    return len(a & b) / union if union else 0.0


class Clusters:
    """Groups of near-duplicates among texts known by their index (union-find; the smallest index leads)."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Clusters":
        clusters = cls(len(texts))
        sets = [shingles(text) for text in texts]
        for a, b in _candidates(sets):
            if clusters.leader(a) != clusters.leader(b) and jaccard(sets[a], sets[b]) >= THRESHOLD:
                clusters.join(a, b)
        return clusters

    def leader(self, index: int) -> int:
        while self._parent[index] != index:
            self._parent[index] = self._parent[self._parent[index]]
            index = self._parent[index]
        return index

    def join(self, a: int, b: int) -> None:
        low, high = sorted((self.leader(a), self.leader(b)))
        self._parent[high] = low

    def groups(self) -> list[list[int]]:
        """Returns the clusters of two texts or more."""
        members = defaultdict(list)
        for index in range(len(self._parent)):
            members[self.leader(index)].append(index)
        return [group for group in members.values() if len(group) > 1]


def _signature(grams: frozenset[int], factors: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    values = np.fromiter(grams, np.uint64, len(grams)) % _PRIME
    return ((values[:, None] * factors + offsets) % _PRIME).min(axis=0)


def _candidates(sets: Sequence[frozenset[int]]) -> Iterator[tuple[int, int]]:
    """Yields pairs of indices that agree in a band; a text equal to many others is compared with the first alone."""
    random = np.random.default_rng(0)
    factors = random.integers(1, int(_PRIME), BANDS * ROWS, dtype=np.uint64)
    offsets = random.integers(0, int(_PRIME), BANDS * ROWS, dtype=np.uint64)
    buckets: dict[tuple[int, bytes], list[int]] = {}
    for index, grams in enumerate(sets):
        signature = _signature(grams, factors, offsets).reshape(BANDS, ROWS)
        for band, values in enumerate(signature):
            bucket = buckets.setdefault((band, values.tobytes()), [])
            yield from ((other, index) for other in bucket)
            if not any(sets[other] == grams for other in bucket):
                bucket.append(index)
