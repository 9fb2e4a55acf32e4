import numpy as np
import pytest
from scipy import integrate, stats

from data_pipelines import confidence
from data_pipelines.calibration import Calibration
from data_pipelines.confidence import Prior
from data_pipelines.pairing import candidates, rule_for
from data_pipelines.records import Post, Reply, Thread
from data_pipelines.sources.reddit_dump import TRAITS

LOW_SCORES = (1, 2, 3, 5, 8, 10, 15, 20)


def smallest_chosen(low: int, accepts) -> int:
    return next(score for score in range(low + 1, 200) if accepts(score, low))


def test_smallest_scores_for_the_posterior_alone():
    def accepts(high, low):
        return confidence.probability_preferred(*confidence.votes([high, low], True), Prior()) >= 0.9

    assert [smallest_chosen(low, accepts) for low in LOW_SCORES] == [4, 6, 7, 10, 14, 17, 23, 29]


def test_smallest_scores_under_the_whole_rule():
    """Through the rule itself, so that ratio, gap and fuzz clauses are those in force."""
    rule = rule_for("strict", TRAITS)

    def accepts(high, low):
        replies = tuple(
            Reply(str(score), "p", f"text {score}", created=time, score=score, controversiality=0)
            for time, score in enumerate((low, high))
        )
        thread = Thread(Post("p", "c", "t", "b"), replies)
        return any(replies[c].score == high for c, _, _ in candidates(thread, rule, TRAITS, Calibration()))

    assert [smallest_chosen(low, accepts) for low in LOW_SCORES] == [8, 9, 10, 13, 17, 20, 30, 40]


@pytest.mark.parametrize("case", [(4, 1, 1.0, 1.0, 1.0, 0.5), (2, 0, 3000, 200, 1.5, 565), (1, 0, 90, 4000, 1.5, 565)])
def test_probability_against_numerical_integration(case):
    votes_c, votes_r, exposure_c, exposure_r, shape, rate = case
    chosen = stats.gamma(shape + votes_c, scale=1 / (rate + exposure_c))
    rejected = stats.gamma(shape + votes_r, scale=1 / (rate + exposure_r))
    expected, _ = integrate.quad(lambda theta: chosen.pdf(theta) * rejected.cdf(theta), 0, chosen.ppf(1 - 1e-12))
    found = confidence.probability_preferred(votes_c, votes_r, Prior(shape, rate), exposure_c, exposure_r)
    assert found == pytest.approx(expected, abs=1e-6)


def test_probability_against_simulation():
    random = np.random.default_rng(0)
    chosen, rejected = random.gamma(8.0, 1 / 1.5, 400_000), random.gamma(3.0, 1 / 1.5, 400_000)
    found = confidence.probability_preferred(7, 2, Prior())
    assert found == pytest.approx(float(np.mean(chosen > rejected)), abs=0.004)


def test_the_two_orders_sum_to_one():
    found = confidence.probability_preferred([3, 9], [9, 3], Prior(1.5, 565), [400, 100], [100, 400])
    assert found.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("score", "margin"), [(0, 1), (1, 2), (-9, 2), (20, 2), (21, 3), (40, 3), (-41, 4), (1000, 51)]
)
def test_fuzz_margin(score, margin):
    assert confidence.fuzz_margin(score) == margin


def test_votes_leave_out_the_authors_own():
    assert confidence.votes([-3, 0, 1, 5], True).tolist() == [0, 0, 0, 4]
    assert confidence.votes([0, 1, 5], False).tolist() == [0, 1, 5]


def test_fit_prior_finds_the_prior_that_made_the_votes():
    random = np.random.default_rng(1)
    views = random.integers(50, 4000, 20_000)
    votes = random.poisson(random.gamma(1.5, 1 / 565, views.size) * views)
    prior = confidence.fit_prior(votes, views)
    assert prior.shape == pytest.approx(1.5, rel=0.06)
    assert prior.rate == pytest.approx(565, rel=0.06)


def test_fit_prior_survives_a_sample_without_a_single_vote():
    prior = confidence.fit_prior(np.zeros(30), np.full(30, 100.0))
    assert np.isfinite([prior.shape, prior.rate]).all()
