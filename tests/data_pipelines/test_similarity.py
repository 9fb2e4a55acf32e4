import math

import pytest

from data_pipelines.similarity import LexicalSimilarity


def test_cosine_by_hand():
    similarity = LexicalSimilarity(["rain gate", "rain tea", "dog"], threshold=0.1)
    rain, tea, gate = math.log(4 / 3), math.log(4 / 2), math.log(4 / 2)
    expected = rain * rain / (math.hypot(rain, tea) * math.hypot(rain, gate))
    assert similarity.cosine("Rain, tea!", "gate … RAIN") == pytest.approx(expected)


def test_same_other_and_unknown_texts():
    similarity = LexicalSimilarity(["one two", "three four"], threshold=0.1)
    assert similarity.cosine("one two", "two one") == pytest.approx(1)
    assert similarity.cosine("one", "three") == 0
    assert similarity.cosine("", "one") == 0
    assert similarity.cosine("never seen", "seen never") == pytest.approx(1)
