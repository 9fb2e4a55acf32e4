"""Sampling against brute force in numpy: sort, cut, renormalise."""

import numpy as np
import pytest

from llumi_jax.cli import UserError
from llumi_jax.inference import sampling
from llumi_jax.inference.sampling import Rows, Sampling


def brute_force(logits: np.ndarray, s: Sampling) -> set[int]:
    """The tokens that may be drawn, by sorting, in float64."""
    x = logits.astype(np.float64) / (s.temperature or 1.0)
    order = list(np.argsort(-x, kind="stable"))
    if s.top_k:
        order = order[: s.top_k]
    if s.top_p < 1:
        p = np.exp(x[order] - x[order].max())
        before = np.concatenate([[0.0], np.cumsum(p / p.sum())[:-1]])
        order = [token for token, mass in zip(order, before, strict=True) if mass < s.top_p]
    best = x[order].max()
    return {int(t) for t in order if np.exp(x[t] - best) >= s.min_p}


def settings(seed: int) -> list[Sampling]:
    r = np.random.default_rng(seed)
    return [
        Sampling(
            temperature=float(r.uniform(0.2, 2)),
            top_k=int(r.choice([0, 1, 5, 40, 500])),
            top_p=float(r.choice([1.0, 0.99, 0.9, 0.5, 0.01])),
            min_p=float(r.choice([0.0, 0.02, 0.3])),
        )
        for _ in range(16)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_truncate_keeps_what_brute_force_keeps(seed):
    rows = settings(seed)
    logits = (np.random.default_rng(100 + seed).normal(size=(16, 300)) * 4).astype(np.float32)
    kept = np.asarray(sampling.truncate(logits, Rows.of(rows)))
    for i, s in enumerate(rows):
        assert set(np.flatnonzero(np.isfinite(kept[i])).tolist()) == brute_force(logits[i], s), s


def test_drawn_frequencies_follow_the_truncated_softmax():
    logits = np.array([2.0, 1.0, 0.0, -1.0, -9.0], np.float32)
    s = Sampling(temperature=0.8, top_k=3, top_p=1.0)
    n = 4000
    rows = Rows.of([s] * n)
    drawn = sampling.pick(
        np.tile(logits, (n, 1)), np.zeros((n, 5), bool), np.arange(n, dtype=np.uint32), np.zeros(n, np.int32), rows
    )
    share = np.bincount(np.asarray(drawn), minlength=5) / n
    expected = np.exp(logits[:3] / 0.8)
    expected = np.append(expected / expected.sum(), [0, 0])
    assert np.abs(share - expected).max() < 0.03


def test_a_row_does_not_depend_on_its_neighbours():
    r = np.random.default_rng(0)
    logits = r.normal(size=(6, 50)).astype(np.float32)
    seen = r.random((6, 50)) < 0.2
    seeds = np.arange(6, dtype=np.uint32) + 7
    step = np.arange(6, dtype=np.int32)
    mixed = [
        Sampling(temperature=t, top_k=k, repetition_penalty=1.3)
        for t, k in zip((0, 1, 0.5, 2, 0, 1), range(6), strict=True)
    ]
    together = np.asarray(sampling.pick(logits, seen, seeds, step, Rows.of(mixed)))
    for i in range(6):
        alone = sampling.pick(
            logits[i : i + 1], seen[i : i + 1], seeds[i : i + 1], step[i : i + 1], Rows.of([mixed[i]])
        )
        assert int(alone[0]) == together[i]


def test_greedy_and_repetition_penalty():
    logits = np.array([[3.0, 2.9, -1.0]], np.float32)
    greedy = Rows.of([Sampling(temperature=0, repetition_penalty=1.2)])
    zero = np.zeros(1, np.int32)
    assert int(sampling.pick(logits, np.array([[False] * 3]), zero.astype(np.uint32), zero, greedy)[0]) == 0
    assert int(sampling.pick(logits, np.array([[True, False, False]]), zero.astype(np.uint32), zero, greedy)[0]) == 1
    penalised = np.asarray(sampling.penalise(logits, np.array([[True, False, True]]), np.array([1.2], np.float32)))
    np.testing.assert_allclose(penalised, [[2.5, 2.9, -1.2]], rtol=1e-6)


def test_matches_transformers_warpers():
    torch = pytest.importorskip("torch")
    from transformers.generation import logits_process as hf

    logits = (np.random.default_rng(5).normal(size=(1, 400)) * 3).astype(np.float32)
    seen_ids = [3, 9, 200]
    seen = np.zeros((1, 400), bool)
    seen[0, seen_ids] = True
    s = Sampling(temperature=0.7, top_k=50, top_p=0.8, min_p=0.05, repetition_penalty=1.4)
    scores = torch.tensor(logits)
    ids = torch.tensor([seen_ids])
    for warper in (
        hf.RepetitionPenaltyLogitsProcessor(1.4),
        hf.TemperatureLogitsWarper(0.7),
        hf.TopKLogitsWarper(50),
        hf.TopPLogitsWarper(0.8),
        hf.MinPLogitsWarper(0.05),
    ):
        scores = warper(ids, scores)
    rows = Rows.of([s])
    ours = np.asarray(sampling.truncate(sampling.penalise(logits, seen, rows.repetition_penalty), rows))
    np.testing.assert_allclose(ours, scores.numpy(), rtol=1e-5)


@pytest.mark.parametrize("bad", [{"temperature": -1}, {"top_p": 0}, {"top_k": -2}, {"min_p": 1}, {"max_tokens": 0}])
def test_bad_settings_name_the_key_and_the_way_out(bad):
    with pytest.raises(UserError, match=next(iter(bad))):
        Sampling(**bad)
