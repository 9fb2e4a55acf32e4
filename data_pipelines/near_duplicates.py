"""Near-duplicate texts: MinHash over 5-grams of words finds candidates, exact Jaccard >= .8 decides.

Source: Broder 1997, "On the resemblance and containment of documents". 16 bands of 4 rows find a pair at Jaccard .8
with probability .9998. Hash functions are multiply-shift (Dietzfelbinger et al. 1997).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

THRESHOLD = 0.8
GRAM = 5
BANDS, ROWS = 16, 4
_BATCH = 16  # Texts whose table of hashes still fits the cache.
_random = np.random.default_rng(0)
_FACTORS = _random.integers(0, 1 << 31, BANDS * ROWS, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
_OFFSETS = _random.integers(0, 1 << 32, BANDS * ROWS, dtype=np.uint32)
_MIX = np.uint64(0x9E3779B97F4A7C15)  # Odd, with its bits well spread.
# A word's hash is the sum of a random number per byte times a power per place: one pass over all bytes of many texts.
_BYTES = _random.integers(0, 1 << 63, 256, dtype=np.uint64)
_PLACES = _random.integers(0, 1 << 63, 64, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_IN_WORD = np.array([chr(byte).isalnum() or byte == 95 or byte >= 128 for byte in range(256)])


def shingles(text: str) -> np.ndarray:
    """Returns the distinct hashes of the text's 5-grams of words, uint64 [n >= 1]; a shorter text is one gram."""
    return np.unique(_grams([text])[0])


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Returns |a & b| / |a | b| of two sets of distinct hashes."""
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / (len(a) + len(b) - both)


def band_keys(texts: Sequence[str]) -> np.ndarray:
    """Returns the MinHash of each text as one key per band, uint64 [len(texts), BANDS]."""
    keys = np.empty((len(texts), BANDS), np.uint64)
    for start in range(0, len(texts), _BATCH):
        grams, firsts = _grams(texts[start : start + _BATCH])
        folded = (grams >> np.uint64(32)).astype(np.uint32)
        hashed = folded[:, None] * _FACTORS + _OFFSETS
        smallest = np.minimum.reduceat(hashed, firsts, axis=0).reshape(len(firsts), BANDS, ROWS).astype(np.uint64)
        mixed = np.zeros((len(firsts), BANDS), np.uint64)
        for row in range(ROWS):
            mixed = mixed * _MIX + smallest[:, :, row]
        keys[start : start + len(firsts)] = mixed
    return keys


def _grams(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns hashes of the 5-grams of all texts, one text after another, and where each text begins."""
    words, counts = _words(texts)
    ends = np.cumsum(counts)
    grams = np.zeros(max(len(words) - GRAM + 1, 1), np.uint64)
    for place in range(min(GRAM, len(words))):
        grams = (grams ^ words[place : place + len(grams)]) * _MIX
    kept = [  # Windows that end in the next text are none.
        grams[end - count : end - GRAM + 1] if count >= GRAM else _short(words[end - count : end])
        for end, count in zip(ends.tolist(), counts.tolist(), strict=True)
    ]
    return np.concatenate(kept), np.cumsum([0] + [len(some) for some in kept[:-1]])


def _short(words: np.ndarray) -> np.ndarray:
    gram = np.zeros(1, np.uint64)
    for place in range(len(words)):
        gram = (gram ^ words[place]) * _MIX
    return gram


def _words(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns hashes of all words (runs of letters and digits, lower case) and how many each text has."""
    parts = [text.lower().encode("utf-8", "replace") + b" " for text in texts]
    data = np.frombuffer(b"".join(parts), np.uint8)
    inside = _IN_WORD[data]
    where = np.flatnonzero(inside)
    begins = np.flatnonzero(inside & ~np.concatenate(([False], inside[:-1])))
    ends = np.cumsum([len(part) for part in parts])
    counts = np.diff(np.searchsorted(begins, ends), prepend=0)
    if not len(begins):
        return np.zeros(0, np.uint64), counts
    firsts = np.searchsorted(where, begins)  # In `where`, the first byte of each word.
    lengths = np.diff(firsts, append=len(where))
    place = np.arange(len(where)) - np.repeat(firsts, lengths)
    values = _BYTES[data[where]] * _PLACES[np.minimum(place, len(_PLACES) - 1)]
    return np.add.reduceat(values, firsts), counts


class Clusters:
    """Groups of near-duplicates among texts known by their index (union-find; the smallest index leads)."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    @classmethod
    def of(cls, texts: Sequence[str], keys: np.ndarray | None = None) -> "Clusters":
        """Args: keys: `band_keys` of the texts, if they are known already."""
        clusters = cls(len(texts))
        sets: dict[int, np.ndarray] = {}
        for a, b in _candidates(band_keys(texts) if keys is None else keys, texts, sets):
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


def _candidates(keys: np.ndarray, texts: Sequence[str], sets: dict[int, np.ndarray]) -> Iterator[tuple[int, int]]:
    """Yields pairs of indices that agree in a band, and puts their shingles into `sets`.

    Of texts that say the same only the first is compared with the others, so that a text seen ten thousand times
    costs ten thousand comparisons, not their square.
    """
    for band in range(keys.shape[1]):
        for bucket in _buckets(keys[:, band]):
            different: list[int] = []
            for index in bucket:
                grams = sets.setdefault(index, shingles(texts[index]))
                yield from ((other, index) for other in different)
                if not any(np.array_equal(sets[other], grams) for other in different):
                    different.append(index)


def _buckets(keys: np.ndarray) -> Iterator[list[int]]:
    """Yields the indices, ascending, of every key that occurs twice or more."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1, len(keys))
    start = 0
    for end in ends.tolist():
        if end - start > 1:
            yield order[start:end].tolist()
        start = end
