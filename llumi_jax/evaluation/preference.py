"""Does the model prefer what the community preferred: accuracy on held-out pairs, with intervals over posts.

Pairs of one post share its text and its replies, so they are no independent evidence: every interval here resamples
whole posts (threads), never single pairs. A tie counts a half.
"""

import dataclasses
from typing import Any

import numpy as np

_RESAMPLES = 10_000
_LEVEL = 0.95
# Resampled indices held at once: 32 MB of int64 however many posts and resamples there are.
_CHUNK = 4_000_000

# The numbers of `brief`, and whether more of each is better.
BRIEF = {"held_out_loss": False, "held_out_nll": False, "held_out_accuracy": True, "held_out_margin": True}


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """The held-out pairs of one stage, as arrays of equal length P.

    Attributes:
      pair_id, thread_id, community: strings. A thread is one post (and, for IM, one draft).
      probability: chance that `chosen` is truly preferred, .5 to 1.
      weight: what the pair weighs in a mean loss.
      chosen_tokens, rejected_tokens: lengths of the replies, end-of-turn token included.
      before_chosen, before_rejected, after_chosen, after_rejected: summed log-probabilities (nats) of the replies under
        the weights at the start of the stage (its reference) and under the trained weights.

    Raises:
      ValueError: lengths differ, a reply has no token, or a log-probability is not finite.
    """

    pair_id: np.ndarray
    thread_id: np.ndarray
    community: np.ndarray
    probability: np.ndarray
    weight: np.ndarray
    chosen_tokens: np.ndarray
    rejected_tokens: np.ndarray
    before_chosen: np.ndarray
    before_rejected: np.ndarray
    after_chosen: np.ndarray
    after_rejected: np.ndarray

    def __post_init__(self) -> None:
        kinds: dict[str, type] = {"pair_id": np.str_, "thread_id": np.str_, "community": np.str_}
        kinds |= {"chosen_tokens": np.int64, "rejected_tokens": np.int64}
        lengths = {}
        for field in dataclasses.fields(self):
            values: np.ndarray = np.asarray(getattr(self, field.name), dtype=kinds.get(field.name, np.float64))
            object.__setattr__(self, field.name, values)
            lengths[field.name] = values.shape
        if len(set(lengths.values())) > 1 or self.pair_id.ndim != 1:
            raise ValueError(f"held-out arrays need one common length, got {lengths}")
        if len(self) and min(self.chosen_tokens.min(), self.rejected_tokens.min()) < 1:
            raise ValueError("held-out replies need at least one token each")
        scores = self.before_chosen + self.before_rejected + self.after_chosen + self.after_rejected
        if not np.isfinite(scores).all():
            first = self.pair_id[~np.isfinite(scores)][0]
            raise ValueError(f"held-out pair {first} has a log-probability that is not finite")

    def __len__(self) -> int:
        return len(self.pair_id)


@dataclasses.dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its bootstrap interval; the ends are NaN when fewer than two posts are there."""

    difference: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def pair_accuracy(chosen_score: np.ndarray, rejected_score: np.ndarray) -> np.ndarray:
    """Per pair 1 where the chosen reply scores higher, .5 for a tie, 0 else: float64 [P]."""
    chosen, rejected = np.asarray(chosen_score), np.asarray(rejected_score)
    return (chosen > rejected) + 0.5 * (chosen == rejected)


def mean_interval(
    values: np.ndarray, thread_id: np.ndarray, seed: int = 0, resamples: int = _RESAMPLES, level: float = _LEVEL
) -> tuple[float, float, float]:
    """Mean over pairs with its percentile bootstrap interval over posts (Davison & Hinkley 1997, 3.8: clusters).

    Args:
      values: one number a pair [P].
      thread_id: the post of each pair [P].
      seed: of the resampling; the same seed gives the same ends.
      resamples: bootstrap samples, each as many posts as there are, drawn with replacement.
      level: coverage.

    Returns:
      (mean, low, high). All NaN without pairs; the ends NaN with fewer than two posts.
    """
    values = np.asarray(values, np.float64)
    if not len(values):
        return np.nan, np.nan, np.nan
    _, thread = np.unique(np.asarray(thread_id), return_inverse=True)
    sums = np.bincount(thread, weights=values)
    counts = np.bincount(thread)
    mean = float(sums.sum() / counts.sum())
    if len(counts) < 2:
        return mean, np.nan, np.nan
    means = _resampled_means(sums, counts, np.random.default_rng(seed), resamples)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return mean, float(low), float(high)


def _resampled_means(sums: np.ndarray, counts: np.ndarray, rng: np.random.Generator, resamples: int) -> np.ndarray:
    """Means over pairs of `resamples` draws of posts; `sums` and `counts` are per post."""
    threads = len(counts)
    step = max(1, _CHUNK // threads)
    means = np.empty(resamples)
    for start in range(0, resamples, step):
        drawn = rng.integers(threads, size=(min(step, resamples - start), threads))
        means[start : start + len(drawn)] = sums[drawn].sum(1) / counts[drawn].sum(1)
    return means


def paired_interval(
    before: np.ndarray,
    after: np.ndarray,
    thread_id: np.ndarray,
    seed: int = 0,
    resamples: int = _RESAMPLES,
    level: float = _LEVEL,
) -> Interval:
    """Interval of mean(after - before): both from the same pairs, so that what they share cancels.

    Args:
      before, after: correctness a pair [P], as from `pair_accuracy`.
      thread_id: the post of each pair [P]; posts are resampled whole.
      seed, resamples, level: as in `mean_interval`.
    """
    return Interval(*mean_interval(np.asarray(after) - np.asarray(before), thread_id, seed, resamples, level))


def summarize(held_out: HeldOut, beta: float) -> dict[str, Any]:
    """What `evaluation.json` holds, ready for JSON (a number that does not exist is None).

    Returns:
      pairs, threads, communities: counts. beta, level.
      accuracy: {"mean_logp" | "sum_logp": {"before", "after", "difference"}} of {"value", "low", "high"}, each with its
        interval over posts; `difference` is after - before, paired.
      implicit_reward: {"value", "low", "high"}, accuracy of beta * (after - before); before training it is a tie
        everywhere and says nothing, so only after is given.
      reward_margin: mean reward of chosen - rejected. sigmoid_loss: weighted mean of the DPO loss with each pair's own
        probability as its label (cDPO); log 2 before training.
      chosen_nll: {"before", "after"}, nats a token of the chosen replies, over all their tokens.
      length_only: accuracy of "the longer reply wins", ties a half ("the shorter wins" is 1 minus it).
      ceiling: mean probability, what perfect knowledge of true preference would score on these labels.
    """
    scores = {"mean_logp": (held_out.chosen_tokens, held_out.rejected_tokens), "sum_logp": (1, 1)}
    threads = held_out.thread_id
    chosen_reward = beta * (held_out.after_chosen - held_out.before_chosen)
    rejected_reward = beta * (held_out.after_rejected - held_out.before_rejected)
    margin = chosen_reward - rejected_reward
    return {
        "pairs": len(held_out),
        "threads": len(np.unique(threads)),
        "communities": len(np.unique(held_out.community)),
        "beta": float(beta),
        "level": _LEVEL,
        "accuracy": {name: _before_and_after(held_out, *lengths) for name, lengths in scores.items()},
        "implicit_reward": _estimate(pair_accuracy(chosen_reward, rejected_reward), threads),
        "reward_margin": _mean(margin),
        "sigmoid_loss": _mean(_sigmoid_loss(margin, held_out.probability), held_out.weight),
        "chosen_nll": {
            when: _mean(-logps / held_out.chosen_tokens, held_out.chosen_tokens)
            for when, logps in (("before", held_out.before_chosen), ("after", held_out.after_chosen))
        },
        "length_only": _mean(pair_accuracy(held_out.chosen_tokens, held_out.rejected_tokens)),
        "ceiling": _mean(held_out.probability),
    }


def brief(held_out: HeldOut, beta: float) -> dict[str, float]:
    """What is logged of held-out pairs while a stage trains, without intervals: `after` is the weights of the moment.

    Returns:
      held_out_loss: weighted mean of the DPO loss with soft labels. held_out_accuracy: share of pairs in which the
      chosen reply has the higher implicit reward. held_out_margin: mean reward of chosen - rejected. held_out_nll: nats
      a token of the chosen replies, over all their tokens.
    """
    chosen = beta * (held_out.after_chosen - held_out.before_chosen)
    rejected = beta * (held_out.after_rejected - held_out.before_rejected)
    losses = _sigmoid_loss(chosen - rejected, held_out.probability)
    found = {
        "held_out_loss": _mean(losses, held_out.weight),
        "held_out_accuracy": _mean(pair_accuracy(chosen, rejected)),
        "held_out_margin": _mean(chosen - rejected),
        "held_out_nll": _mean(-held_out.after_chosen / held_out.chosen_tokens, held_out.chosen_tokens),
    }
    return {name: np.nan if value is None else value for name, value in found.items()}


def _before_and_after(held_out: HeldOut, chosen_length, rejected_length) -> dict[str, dict[str, float | None]]:
    """Accuracy of the log-probabilities divided by these lengths, before, after, and the paired difference."""
    before = pair_accuracy(held_out.before_chosen / chosen_length, held_out.before_rejected / rejected_length)
    after = pair_accuracy(held_out.after_chosen / chosen_length, held_out.after_rejected / rejected_length)
    named = {"before": before, "after": after, "difference": after - before}
    return {name: _estimate(values, held_out.thread_id) for name, values in named.items()}


def _sigmoid_loss(margin: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """-p log sigmoid(m) - (1 - p) log sigmoid(-m): Rafailov et al. 2023, eq. 7, with soft labels."""
    return probability * np.logaddexp(0, -margin) + (1 - probability) * np.logaddexp(0, margin)


def _estimate(values: np.ndarray, threads: np.ndarray) -> dict[str, float | None]:
    return dict(zip(("value", "low", "high"), map(_or_none, mean_interval(values, threads)), strict=True))


def _mean(values: np.ndarray, weight: np.ndarray | None = None) -> float | None:
    total = len(values) if weight is None else weight.sum()
    return _or_none((values if weight is None else values * weight).sum() / total) if total else None


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
