import json
import pickle
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from data_pipelines import balance, confidence, exposure, exposure_model, planted_world
from data_pipelines.confidence import Prior
from data_pipelines.exposure import ExposureSums
from data_pipelines.exposure_model import ExposureModel, Factors
from data_pipelines.exposure_sums import (
    AGE_EDGES,
    AGES,
    CELLS,
    DELAY_EDGES,
    DELAYS,
    MAX_SHARED,
    RANK_EDGES,
    RANKS,
    Table,
)
from data_pipelines.planted import threads
from data_pipelines.records import Pair, Post, Reply, Thread

START = 1_600_000_000
HOUR, DAY = 3600, 86_400
LATE_FACTOR = -2.0


def thread(*rows: tuple[int, int], name: str = "p", score: int = 5) -> Thread:
    """A thread of replies (seconds after the post, score), oldest first."""
    replies = tuple(
        Reply(f"{name}/{i}", name, f"text {i}", created=START + delay, score=votes, score_age=30 * DAY)
        for i, (delay, votes) in enumerate(sorted(rows, key=lambda row: row[0]))
    )
    return Thread(Post(name, "c", "t", "b", created=START, score=score), replies)


def flat(scale: float = 4.0, delay: np.ndarray | None = None) -> ExposureModel:
    """A model that knows no difference between replies, but for delays if they are given."""
    factors = Factors(np.zeros(RANKS), np.zeros(DELAYS) if delay is None else delay, np.zeros(AGES), scale)
    return ExposureModel(factors, {}, Prior(1.5, 1.5), self_vote=True)


def found(some: Thread, model: ExposureModel, **rule) -> list[tuple[int, int]]:
    return [(c, r) for c, r, _ in exposure.exposure_candidates(some, model, **rule)]


@pytest.fixture(scope="module")
def corpus():
    return planted_world.simulate(3000, 4)


@pytest.fixture(scope="module")
def planted(corpus):
    return threads(corpus)


@pytest.fixture(scope="module")
def sums(planted):
    return added(planted)


def added(some) -> ExposureSums:
    total = ExposureSums()
    for one in some:
        total.add(one)
    return total


def by_hand(some) -> dict[tuple[str, int], dict[int, float]]:
    """Votes of each cell against each other cell, reply by reply."""
    total: dict[tuple[str, int], dict[int, float]] = {}
    for one in some:
        year = 1970 + int(one.post.created // (365.2425 * DAY))
        table = total.setdefault((one.post.community, year), {})
        cells = []
        for rank, reply in enumerate(one.replies):
            indices = [
                sum(value >= edge for edge in edges)
                for value, edges in (
                    (rank, RANK_EDGES),
                    (reply.created - one.post.created, DELAY_EDGES),
                    (reply.score_age, AGE_EDGES),
                )
            ]
            cells.append((indices[0] * DELAYS + indices[1]) * AGES + indices[2])
        weight = 1 / max(one.post.score, 1) / max(len(one.replies) - 1, 1)
        for a, b in combinations(range(len(cells)), 2):
            for i, j in ((a, b), (b, a)):
                key = cells[i] * CELLS + cells[j]
                table[key] = table.get(key, 0) + weight * max(one.replies[i].score - 1, 0)
    return total


def test_sums_against_plain_loops(planted):
    some = [one for one in planted[:400] if START < one.post.created]
    expected = by_hand(some)
    groups = added(some).groups()
    assert set(groups) == set(expected)
    for group, table in expected.items():
        ours = dict(zip(groups[group].pairs.keys.tolist(), groups[group].pairs.values.tolist(), strict=True))
        assert ours == pytest.approx(table)
        assert groups[group].votes == sum(
            max(reply.score - 1, 0) for one in some if one.post.community == group[0]
            and exposure_model.group_of(one) == group for reply in one.replies
        )  # fmt: skip


def test_parts_add_up_in_any_order(planted, sums):
    parts = [added(planted[i::3]) for i in range(3)]
    merged = ExposureSums().merge(parts[2]).merge(parts[0]).merge(parts[1])
    assert list(merged.groups()) == list(sums.groups())
    for group, whole in sums.groups().items():
        part = merged.groups()[group]
        assert (part.replies, part.votes) == (whole.replies, whole.votes)
        assert part.pairs.keys.tolist() == whole.pairs.keys.tolist()
        np.testing.assert_allclose(part.pairs.values, whole.pairs.values)
        np.testing.assert_array_equal(part.cells.values, whole.cells.values)
    np.testing.assert_array_equal(merged.shared().values, sums.shared().values)


def test_sums_travel_as_json_and_pickle(sums):
    again = ExposureSums.from_dict(json.loads(json.dumps(sums.to_dict())))
    assert again.to_dict() == sums.to_dict()
    assert pickle.loads(pickle.dumps(sums)).to_dict() == sums.to_dict()
    assert pickle.loads(pickle.dumps(exposure.fit(again))).prior == exposure.fit(sums).prior


def test_neighbours_share_votes_by_hand():
    some = thread((0, 4), (600, 1), (700, 3), (2 * HOUR, 9), (2 * HOUR + 5, 200))
    shared = added([some, some]).shared()
    keys = [3 * (MAX_SHARED + 1) + 0, 0 * (MAX_SHARED + 1) + 2]  # (3, 0), (0, 2); then too late, then too many votes.
    assert shared.to_lists() == [sorted(keys), [2.0, 2.0]]


def test_tables_add_up_equal_keys():
    table = Table.of(np.array([5, 2, 5]), np.array([1.0, 2.0, 3.0])).merged(Table.of(np.array([9]), np.array([1.0])))
    assert table.to_lists() == [[2, 5, 9], [2.0, 4.0, 1.0]]


def test_bradley_terry_by_hand():
    """Three wins of four are odds of 3; nothing else is known, so a weak penalty leaves the level at 0."""
    won = np.array([[0.0, 30.0], [10.0, 0.0]])
    first, second = exposure_model.bradley_terry(won, np.eye(2), 1e-6 * np.eye(2), np.zeros(2))
    assert first - second == pytest.approx(np.log(3), abs=1e-5)
    assert first + second == pytest.approx(0, abs=1e-5)


def test_factors_are_found_whatever_the_popularity():
    """Votes made from known factors, with popularities that differ a thousandfold, by another way than the planted."""
    random = np.random.default_rng(0)
    by_rank = np.array([0.0, -0.7, -1.4])
    some = []
    for i in range(4000):
        popularity, early = np.exp(random.normal(2, 1.5)), random.integers(0, 4)
        delays = np.where(np.arange(3) < early, 600, 30 * HOUR) + np.arange(3)
        rates = popularity * random.gamma(2.0, 0.5, 3) * np.exp(by_rank - (delays > HOUR))
        rows = zip(delays.tolist(), (random.poisson(rates) + 1).tolist(), strict=True)
        some.append(thread(*rows, name=f"p{i}", score=int(popularity) + 1))
    model = exposure.fit(added(some))
    factors = model.groups["c", 2020]
    np.testing.assert_allclose(np.diff(factors.rank[:3]), [-0.7, -0.7], atol=0.1)
    assert factors.delay[8] - factors.delay[0] == pytest.approx(-1.0, abs=0.1)
    assert model.warnings == ()


def test_spread_of_rates_is_found_whatever_the_popularity():
    random = np.random.default_rng(2)
    popularity = np.exp(random.normal(1.5, 1.2, 30_000))
    votes = random.poisson(popularity * random.gamma(1.3, 1 / 1.3, (2, 30_000)))
    total = votes.sum(axis=0)
    first, second = votes[:, (total > 0) & (total <= MAX_SHARED)]
    shared = Table.of(first * (MAX_SHARED + 1) + second, np.ones(len(first)))
    assert exposure_model.spread(shared) == pytest.approx(1.3, rel=0.05)
    assert exposure_model.spread(Table()) == exposure_model.DEFAULT_SPREAD


@given(st.floats(0.2, 8))
def test_prior_of_quality_leaves_the_rest_to_exposure(shape):
    """Checked by the moments of a product of two independent Gammas of mean 1."""
    prior = exposure_model.quality_prior(shape)
    assert prior.shape == prior.rate <= exposure_model.MAX_SHAPE
    if prior.shape < exposure_model.MAX_SHAPE:
        squared = stats.gamma(prior.shape, scale=1 / prior.rate).moment(2)
        assert squared * (1 + exposure_model.EXPOSURE_VARIANCE) == pytest.approx(1 + 1 / shape)


def test_few_replies_share_the_pool_and_say_so(planted, sums):
    model = exposure.fit(added(planted[:150]))
    assert model.groups == {} and "pooled" in model.warnings[0]
    assert exposure.fit(sums).groups
    assert np.all(model.exposure(planted[0]) > 0)
    empty = exposure.fit(ExposureSums())
    np.testing.assert_allclose(empty.exposure(thread((60, 3), (90, 1))), [1.0, 1.0])  # (.5 + 2) / (.5 / 1 + 2)


def test_exposure_of_a_planted_post_is_found(corpus, planted, sums):
    """Ratios within a post against the views that replies really had; a constant guess would miss by 1.0."""
    model = exposure.fit(sums)
    errors, spans = [], []
    for one in planted:
        true = np.log(corpus.exposure[[int(reply.id[1:]) for reply in one.replies]] + 1e-12)
        ours = np.log(model.exposure(one))
        near = [
            i for i in range(len(true) - 1) if one.replies[i + 1].created - one.replies[i].created <= exposure.WINDOW
        ]
        errors += [(true[i + 1] - true[i]) - (ours[i + 1] - ours[i]) for i in near]
        spans += [true[i + 1] - true[i] for i in near]
    assert abs(np.mean(errors)) < 0.05
    assert np.std(errors) / np.sqrt(2) < 0.4
    assert np.std(errors) < 0.8 * np.sqrt(np.mean(np.square(spans)))


def test_popularity_scales_the_exposure():
    quiet, busy = flat().exposure(thread((60, 1), (90, 2))), flat().exposure(thread((60, 101), (90, 200)))
    np.testing.assert_allclose(quiet, [1.5 / 2.125] * 2)  # (.5 + 1) / (.5 / 4 + 2)
    np.testing.assert_allclose(busy, [299.5 / 2.125] * 2)


def test_posterior_against_numerical_integration():
    """One pair, its evidence weighed by hand: votes 9 and 1, both exposures (.5 + 10) / 2.125."""
    some, model = thread((60, 10), (90, 2)), flat()
    each = 10.5 / 2.125
    posterior = []
    for votes, margin in ((9, 2), (1, 2)):
        m = max(votes, each)
        w = m / (exposure_model.LUCK * m + exposure_model.EXPOSURE_VARIANCE * m**2 + (margin / 2) ** 2)
        posterior.append(stats.gamma(1.5 + w * votes, scale=1 / (1.5 + w * each)))
    expected, _ = integrate.quad(lambda x: posterior[0].pdf(x) * posterior[1].cdf(x), 0, 60)
    ours = exposure.posteriors(some, model, fuzz=True)
    assert ours[0, 1] == pytest.approx(expected, abs=1e-6)
    assert ours[0, 1] + ours[1, 0] == pytest.approx(1)


def test_evidence_ends_at_the_exposures_own_doubt():
    votes = np.array([1, 10, 1000, 10**7])
    counted = exposure.evidence(votes, 1.0, votes + 1, fuzz=False) * votes
    assert np.all(np.diff(counted) > 0)
    assert counted[-1] == pytest.approx(1 / exposure_model.EXPOSURE_VARIANCE, rel=1e-3)
    assert np.all(exposure.evidence(votes, 1.0, votes + 1, fuzz=True) * votes < counted)


def test_either_order_within_the_window():
    assert found(thread((60, 2), (90, 300)), flat()) == [(1, 0)]
    assert found(thread((60, 300), (90, 2)), flat()) == [(0, 1)]
    assert found(thread((60, 2), (60 + 6 * HOUR, 300)), flat()) == [(1, 0)]
    assert found(thread((60, 2), (61 + 6 * HOUR, 300)), flat()) == []
    assert found(thread((60, 2), (90, 3)), flat()) == []
    assert found(thread((60, 5)), flat()) == []


def test_votes_are_held_against_exposure():
    """An early reply with more votes is no better if it was seen that much more, nor a late one with fewer chosen."""
    late = np.zeros(DELAYS)
    late[4:] = LATE_FACTOR
    seen_more = flat(delay=late)
    assert found(thread((1 * HOUR, 60), (3 * HOUR, 9)), flat()) == [(0, 1)]
    assert found(thread((1 * HOUR, 60), (3 * HOUR, 9)), seen_more) == []
    assert found(thread((1 * HOUR, 60), (3 * HOUR, 50)), flat()) == []
    assert found(thread((1 * HOUR, 50), (3 * HOUR, 60)), seen_more) == [(1, 0)]
    assert found(thread((1 * HOUR, 60), (3 * HOUR, 50)), seen_more) == []
    assert found(thread((1 * HOUR, 60), (3 * HOUR, 50)), seen_more, min_gap=-100) == [(1, 0)]


rows = st.lists(
    st.tuples(st.integers(0, 30 * HOUR), st.one_of(st.integers(-3, 12), st.integers(-3, 4000))), min_size=1, max_size=7
)


@settings(max_examples=300, deadline=None)
@given(rows, st.floats(0.3, 6), st.booleans(), st.floats(0.6, 0.99))
def test_the_cheap_test_never_refuses_a_pair(rows, shape, fuzz, least):
    delay = np.linspace(0, -5, DELAYS)
    model = ExposureModel(flat(delay=delay).pooled, {}, Prior(shape, shape), self_vote=True)
    some = thread(*rows)
    created = np.array([reply.created for reply in some.replies])
    score = np.array([reply.score for reply in some.replies])
    near = np.abs(created[:, None] - created[None, :]) <= exposure.WINDOW
    wanted = near & (exposure.posteriors(some, model, fuzz) >= least) & (score[:, None] > score[None, :])
    assert [(c, r) for c, r in np.argwhere(wanted).tolist()] == found(some, model, fuzz=fuzz, min_posterior=least)


def test_the_cheap_test_spares_work(planted, sums):
    model = exposure.fit(sums)
    passed = np.mean([exposure.can_pair(one, model) for one in planted])
    assert passed < 0.45


def pair(earlier: bool, chosen: int, rejected: int, name: int = 0, probability: float = 0.96) -> Pair:
    times = (0, 1) if earlier else (1, 0)
    replies = (
        Reply(f"{side}{name}", "p", "x" * length, created=START + time)
        for side, length, time in zip("cr", (chosen, rejected), times, strict=True)
    )
    return Pair("gm", Post("p", "c", "t", "b"), *replies, probability)


def order(item: Pair) -> float:
    return np.random.default_rng(int(item.chosen.id[1:])).random()


kinds = st.lists(st.tuples(st.booleans(), st.integers(20, 60), st.integers(20, 60)), max_size=120)


@settings(max_examples=150, deadline=None)
@given(kinds)
def test_orders_end_up_balanced(kinds):
    pairs = [pair(*kind, name=i) for i, kind in enumerate(kinds)]
    left = exposure.balance_order(pairs, order)
    earlier = sum(exposure.chosen_earlier(one) for one in left)
    assert abs(2 * earlier - len(left)) <= 1 or 0.45 <= earlier / len(left) <= 0.55
    assert [one for one in pairs if one in left] == left
    fewer = min(sum(kind[0] for kind in kinds), sum(not kind[0] for kind in kinds))
    assert len(left) >= 2 * fewer
    if 0.45 <= sum(kind[0] for kind in kinds) / max(len(kinds), 1) <= 0.55:
        assert left == pairs


@settings(max_examples=100, deadline=None)
@given(kinds)
def test_orders_and_lengths_end_up_balanced_together(kinds):
    pairs = [pair(*kind, name=i) for i, kind in enumerate(kinds)]
    left = exposure.balance(pairs, order)
    earlier = sum(exposure.chosen_earlier(one) for one in left)
    longer = 2 * len(left) * (balance.chosen_longer(left) - 0.5) if left else 0.0
    assert abs(2 * earlier - len(left)) <= 1 or 0.45 <= earlier / len(left) <= 0.55
    assert abs(longer) <= 1 + 1e-6 or 0.48 <= balance.chosen_longer(left) <= 0.52
    assert [one for one in pairs if one in left] == left


def test_balancing_orders_spares_a_balance_of_lengths():
    pairs = [pair(True, 40 + 20 * (i % 2), 50, i) for i in range(200)]
    pairs += [pair(False, 40 + 20 * (i % 2), 50, i) for i in range(200, 240)]
    left = exposure.balance_order(pairs, order)
    assert len(left) == 88  # 40 later ones bear 48 earlier ones: 54.5 %.
    assert balance.chosen_longer(left) == 0.5


def test_caps_see_both_orders():
    pairs = [pair(False, 50, 50, i, 0.99) for i in range(6)] + [pair(True, 50, 50, i, 0.95) for i in range(6, 9)]
    turns = [exposure.chosen_earlier(one) for one in exposure.best_first(pairs, order)]
    assert turns == [False, True, False, False, True, False, False, True, False]
    surest = [pair(True, 50, 50, i, 0.95 + i / 100) for i in range(4)]
    assert [one.probability for one in exposure.best_first(surest, order)] == [0.98, 0.97, 0.96, 0.95]


def test_a_flat_model_agrees_with_the_posterior_of_equal_exposure():
    """Without luck, doubt about exposure and fuzz the rule is the Gamma-Poisson posterior of `confidence`."""
    some, model = thread((60, 8), (90, 2)), flat()
    each = model.exposure(some)[0]
    plain = confidence.probability_preferred(7, 1, model.prior, each, each)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exposure, "LUCK", 1.0)
        patch.setattr(exposure, "EXPOSURE_VARIANCE", 0.0)
        assert exposure.posteriors(some, model, fuzz=False)[0, 1] == pytest.approx(float(plain))
    assert exposure.posteriors(some, model, fuzz=False)[0, 1] < plain
