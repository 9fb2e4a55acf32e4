"""The sets of pairs: lengths as they are said to be, the same ids for the same seed, parts that stand for the whole."""

import json

import numpy as np
import pytest

from benchmarks import pairs
from benchmarks.pairs import CHOSEN, POST, REJECTED


def lengths(found, side):
    return np.array([len(pair[side]) for pair in found])


def test_the_same_seed_draws_the_same_ids_in_the_order_that_is_written_here():
    """One call for a length, one for its ids: post, chosen, rejected. Whoever draws like this has the same set."""
    rng = np.random.default_rng(5)
    for pair in pairs.independent(5, 3):
        for side, median, sigma, least, most in (
            ("prompt", 180, 0.7, 20, 600),
            ("chosen", 70, 0.8, 8, 300),
            ("rejected", 50, 0.8, 8, 300),
        ):
            count = int(np.clip(rng.lognormal(np.log(median), sigma), least, most))
            assert pair[side] == rng.integers(10, 8000, count).tolist()


def test_lengths_have_their_medians_and_bounds():
    found = pairs.independent(0, 2000)
    for side, of in (("prompt", POST), ("chosen", CHOSEN), ("rejected", REJECTED)):
        n = lengths(found, side)
        assert of.least <= n.min() and n.max() <= of.most
        assert np.median(n) == pytest.approx(of.median, rel=0.08)


def test_a_thread_has_five_replies_and_four_pairs():
    found = pairs.threads(1, 256)
    assert len(found) == 256 and len(pairs.by_post(found)) == 64
    for group in pairs.by_post(found):
        replies = {tuple(pair[side]) for pair in group for side in ("chosen", "rejected")}
        assert len(group) == 4 and len(replies) == 5
        good = [tuple(pair["chosen"]) for pair in group]
        other = [tuple(pair["rejected"]) for pair in group]
        assert good[0] == good[1] != good[2] == good[3]
        assert other[1] == other[2] and len(set(other)) == 3
        size = len(group[0]["prompt"]) + sum(map(len, replies))
        assert pairs.shared_tokens(group) == size < sum(map(pairs.plain_tokens, group))


@pytest.mark.parametrize("name", pairs.SETS)
def test_a_part_of_a_set_has_whole_threads_and_nearly_its_mean(name):
    whole = pairs.SETS[name](0, 256)
    part = pairs.representative(whole, 64)
    assert len(part) == 64 and all(pair in whole for pair in part)
    assert {len(group) for group in pairs.by_post(part)} == {len(group) for group in pairs.by_post(whole)}
    mean = lambda found: np.mean([pairs.plain_tokens(pair) for pair in found])
    assert mean(part) == pytest.approx(mean(whole), rel=0.04)
    assert pairs.representative(whole, 0) == pairs.representative(whole, 999) == whole


@pytest.mark.parametrize("text", ["[]", "{}", '[{"prompt": [1], "chosen": [2]}]', '[{"prompt": "a", "chosen": [1]}]'])
def test_a_file_that_holds_no_pairs_is_named_as_such(tmp_path, text):
    (tmp_path / "pairs.json").write_text(text)
    with pytest.raises(ValueError, match="pairs? "):
        pairs.read(tmp_path / "pairs.json")


def test_a_file_is_read_as_it_was_written(tmp_path):
    made = pairs.threads(2, 8)
    (tmp_path / "pairs.json").write_text(json.dumps(made))
    assert pairs.read(tmp_path / "pairs.json") == made
