"""How sure can one be that a reply is preferred? A Gamma-Poisson posterior on rates of votes.

A reply's votes u are Poisson(theta * exposure) with theta ~ Gamma(shape, rate), so after the votes
theta ~ Gamma(shape + u, rate + exposure). For two replies
    P(theta_c > theta_r) = I_x(a_r, a_c),  x = b_r / (b_c + b_r),
with posterior shapes a, rates b and I the regularised incomplete beta function.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

MIN_EXPOSURE = 1.0


@dataclass(frozen=True)
class Prior:
    """Gamma(shape, rate): `shape / rate` is the mean number of votes per unit of exposure."""

    shape: float = 1.0
    rate: float = 0.5


def probability_preferred(
    votes_c, votes_r, prior: Prior, exposure_c=MIN_EXPOSURE, exposure_r=MIN_EXPOSURE
) -> np.ndarray:
    """Returns P(theta_c > theta_r) for arrays of votes (>= 0) and exposures (> 0), broadcast together."""
    shape_c, shape_r = np.asarray(votes_c) + prior.shape, np.asarray(votes_r) + prior.shape
    rate_c, rate_r = np.asarray(exposure_c) + prior.rate, np.asarray(exposure_r) + prior.rate
    return special.betainc(shape_r, shape_c, rate_r / (rate_c + rate_r))


def votes(scores, self_vote: bool) -> np.ndarray:
    """Returns the votes of others: max(score - 1, 0) where a reply starts with its author's own vote."""
    return np.maximum(np.asarray(scores) - int(self_vote), 0)


def fuzz_margin(scores) -> np.ndarray:
    """How far a shown score may lie from the true one: 1 + ceil(5 % of |score|)."""
    # Whole numbers: in floating point 0.05 * 20 may end up above 1.
    return 1 + (np.abs(np.asarray(scores)) + 19) // 20


def after_fuzz(score_c, score_r, prior: Prior, self_vote: bool) -> np.ndarray:
    """Returns P(theta_c > theta_r) with both margins held against the chosen reply."""
    low = votes(np.asarray(score_c) - fuzz_margin(score_c), self_vote)
    high = votes(np.asarray(score_r) + fuzz_margin(score_r), self_vote)
    return probability_preferred(low, high, prior)


def fit_prior(votes_seen, exposure) -> Prior:
    """Fits the prior by maximum likelihood: with it, votes are negative binomial given the exposure.

    Args:
      votes_seen: votes of each reply [n], n >= 2.
      exposure: its exposure, e.g. views [n].
    """
    u, v = np.asarray(votes_seen, float), np.asarray(exposure, float)
    start = np.log([1.0, max(v.sum() / max(u.sum(), 1.0), 1e-6)])

    def negative_log_likelihood(log_parameters):
        shape, rate = np.exp(log_parameters)
        terms = (
            special.gammaln(u + shape) - special.gammaln(shape) + shape * np.log(rate) - (u + shape) * np.log(rate + v)
        )
        return -np.sum(terms + u * np.log(v))

    bounds = [(np.log(1e-2), np.log(1e3)), (start[1] - 12, start[1] + 12)]
    found = optimize.minimize(negative_log_likelihood, start, method="L-BFGS-B", bounds=bounds)
    return Prior(*(float(value) for value in np.exp(found.x)))
