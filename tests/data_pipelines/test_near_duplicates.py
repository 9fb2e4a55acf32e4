import itertools
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipelines.near_duplicates import THRESHOLD, Clusters, band_keys, jaccard, shingles


def words(seed: int, count: int = 60) -> list[str]:
    return [f"w{number}" for number in random.Random(seed).choices(range(3000), k=count)]


def test_shingles_and_jaccard_by_hand():
    assert len(shingles("one two three four five six")) == 2
    assert len(shingles("one two")) == 1
    assert shingles("One, two: three four FIVE").tolist() == shingles("one two three four five").tolist()
    assert shingles("a b c d e").tolist() != shingles("a b c e d").tolist()
    assert jaccard(shingles("a b c d e f"), shingles("a b c d e g")) == pytest.approx(1 / 3)
    assert jaccard(shingles(""), shingles("...")) == 1.0


def test_clusters_are_those_of_brute_force():
    texts = []
    for seed in range(60):
        base = words(seed)
        texts.append(" ".join(base))
        for change in range(seed % 3):
            changed = list(base)
            changed[change * 30] = "changed"
            texts.append(" ".join(changed[change:]))
    sets = [shingles(text) for text in texts]
    expected = Clusters(len(texts))
    for a, b in itertools.combinations(range(len(texts)), 2):
        if jaccard(sets[a], sets[b]) >= THRESHOLD:
            expected.join(a, b)
    assert Clusters.of(texts).groups() == expected.groups()
    assert len(expected.groups()) > 20


def test_many_equal_texts_take_no_quadratic_time():
    texts = ["the very same words in every single one of these texts"] * 20_000
    assert len(Clusters.of(texts).groups()[0]) == 20_000


def test_the_first_leads():
    clusters = Clusters(4)
    clusters.join(3, 1)
    clusters.join(2, 3)
    assert clusters.leader(2) == 1
    assert clusters.groups() == [[1, 2, 3]]


@given(st.lists(st.text(alphabet="ab, é1_\n", max_size=40), min_size=1, max_size=40))
def test_texts_are_hashed_together_as_they_are_alone(texts):
    """Words by a regular expression and windows by slicing, against one pass over the bytes of all texts."""
    together = band_keys(texts)
    for text, key in zip(texts, together, strict=True):
        assert band_keys([text])[0].tolist() == key.tolist()
        words = re.findall(r"\w+", text.lower())
        grams = {tuple(words[i : i + 5]) for i in range(max(len(words) - 4, 1))}
        assert len(shingles(text)) == len(grams)
