"""An invented site on which every reply's quality is known: readers come, look, and vote by quality.

What is assumed, and why:
- Attention passes. Readers come to a post with log-normal delays, and so do replies (Kaltenbrunner, Gómez and López
  2007: delays of comments are log-normal), with some minutes of writing; each post at its own pace.
- Popularity is very uneven: readers are log-normal with s.d. 1.4 in log units; replies grow with their root.
- Readers see the reply of rank k with probability (1 + (k - 1) / attention_depth)^-position_bias: the first few are
  read, then attention falls off (position bias: Craswell et al. 2008; Lerman and Hogg 2014). Ranks follow the score at
  the time, so luck and quality feed back, and a late reply finds the upper ranks taken. Ties stand oldest first.
  `wilson_order` ranks by the lower bound of Wilson's interval instead, as a large site does by default.
- Social influence: a reply above its start may get more votes a view: +32 % in Muchnik, Aral and Taylor (2013), none
  for comments in Glenski and Weninger (2016). None here, 32 % in `strong_herding`.
- Quality is a vote's chance a view, log-normal. Down-votes are few and fall on the worse.
- Scores start at the author's own vote, are shown a little wrong, and are read weeks later.

The free numbers (delays, depth and bias of attention, s.d. .38 of quality) are set by what can be counted on real
threads of such communities, not by how a rule fares: how votes fall with the rank and the delay of arrival, how often
the earlier of two replies has the higher score (81 %; 64 % within an hour), how unevenly two replies of the same half
hour share their votes, delays and numbers of replies. `WORLDS` has others on every side of this one.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import special

HOUR, DAY = 3600, 86_400
SLICES = 64
MAX_THREAD = 400
WRITING_HOURS, WRITING_SIGMA = 0.2, 0.8
READ_AFTER_DAYS = (14, 56)
WILSON_Z = 1.2816  # 80 %.


@dataclass(frozen=True)
class Community:
    """`readers` and `replies` are those of its median post."""

    name: str
    readers: float
    replies: float
    share: float


@dataclass(frozen=True)
class World:
    """What the invented site is like; times in hours, rates a view."""

    communities: tuple[Community, ...] = (
        Community("planted_quiet", 30.0, 1.2, 0.3),
        Community("planted_middle", 100.0, 2.0, 0.3),
        Community("planted_busy", 350.0, 3.2, 0.4),
    )
    start: int = 1_625_097_600  # 1 July 2021.
    months: int = 18
    popularity_sigma: float = 1.4
    replies_exponent: float = 0.5
    attention_hours: float = 8.0
    attention_sigma: float = 2.4
    attention_spread: float = 0.45
    reply_hours: float = 6.5
    reply_sigma: float = 1.6
    position_bias: float = 1.6
    attention_depth: float = 2.5
    social_influence: float = 0.0
    vote_rate: float = 0.02
    quality_sigma: float = 0.38
    quality_gamma: float | None = None
    quality_trend: float = 0.0
    down_share: float = 0.05
    wilson_order: bool = False
    fuzz_chance: float = 0.1


DEFAULT = World()
WORLDS = {
    "default": DEFAULT,
    "weak_herding": replace(DEFAULT, position_bias=0.8),
    "strong_herding": replace(DEFAULT, attention_depth=1.25, social_influence=0.32),
    "wilson_order": replace(DEFAULT, wilson_order=True),
    "fast_decay": replace(DEFAULT, attention_hours=2.0, attention_sigma=1.5),
    "slow_decay": replace(DEFAULT, attention_hours=24.0),
    "uneven_pace": replace(DEFAULT, attention_spread=1.0),
    "more_fuzz": replace(DEFAULT, fuzz_chance=0.5),
    "alike_quality": replace(DEFAULT, quality_sigma=0.25),
    "spread_quality": replace(DEFAULT, quality_gamma=1.5),
    # Here the model's assumption fails that quality has nothing to do with the time of arrival.
    "better_early": replace(DEFAULT, quality_trend=-0.1),
    "better_late": replace(DEFAULT, quality_trend=0.1),
}


@dataclass(frozen=True)
class Corpus:
    """A simulated site as columns: P posts, R replies sorted by post, then by time.

    created, author, score and retrieved are whole numbers; `quality` is a vote's chance a view, `exposure` the number
    of views that a reply really had. `post` [R] is the index of a reply's post.
    """

    world: World
    seed: int
    community: np.ndarray
    post_created: np.ndarray
    post_score: np.ndarray
    post: np.ndarray
    created: np.ndarray
    author: np.ndarray
    quality: np.ndarray
    exposure: np.ndarray
    score: np.ndarray
    controversial: np.ndarray
    age: np.ndarray


@dataclass(frozen=True)
class _Stage:
    """Threads before anybody votes: community, readers and time of each post [P]; of each reply [R] its post, the share
    of readers who come before it is there, its delay in hours, and its quality.
    """

    community: np.ndarray
    readers: np.ndarray
    created: np.ndarray
    post: np.ndarray
    visit: np.ndarray
    delay: np.ndarray
    quality: np.ndarray


def simulate(posts: int, seed: int, world: World | None = None) -> Corpus:
    """Returns a corpus of `posts` posts; the same seed and world give the same one."""
    world = world or DEFAULT
    random = np.random.default_rng(seed)
    stage = _stage(random, posts, world)
    ups, downs, exposure = _vote(random, world, stage)
    appeal = world.vote_rate * np.exp(random.normal(0, 0.6, posts))
    return Corpus(
        world,
        seed,
        stage.community,
        stage.created,
        _shown(random, world, 1 + random.poisson(stage.readers * appeal)),
        stage.post,
        stage.created[stage.post] + (stage.delay * HOUR).astype(int),
        _authors(random, len(stage.post)),
        stage.quality,
        exposure,
        _shown(random, world, 1 + ups - downs),
        # The site's own formula is not known here: many votes, hardly more of one kind than of the other.
        (ups + downs >= 6) & (np.minimum(ups, downs) >= 0.6 * np.maximum(ups, downs)),
        random.integers(READ_AFTER_DAYS[0] * DAY, READ_AFTER_DAYS[1] * DAY, len(stage.post)),
    )


def vote_again(posts: int, seed: int, world: World, runs: int) -> np.ndarray:
    """Returns the votes [runs, R] of the same replies in the same threads, each time with other luck."""
    stage = _stage(np.random.default_rng(seed), posts, world)
    votes = (_vote(np.random.default_rng([seed, run]), world, stage)[:2] for run in range(runs))
    return np.stack([ups - downs for ups, downs in votes])


def _stage(random: np.random.Generator, posts: int, world: World) -> _Stage:
    shares = np.array([community.share for community in world.communities])
    community = random.choice(len(shares), posts, p=shares / shares.sum())
    lift = np.exp(random.normal(0, world.popularity_sigma, posts))
    readers = np.array([place.readers for place in world.communities])[community] * lift
    created = world.start + random.integers(0, world.months * 30 * DAY, posts)
    post, visit, delay = _arrivals(random, world, community, lift)
    return _Stage(community, readers, created, post, visit, delay, _quality(random, world, delay))


def _arrivals(
    random: np.random.Generator, world: World, community: np.ndarray, lift: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns each reply's post [R], the share of readers who have been there before it [R], and its delay [R]."""
    mean = np.array([place.replies for place in world.communities])[community] * lift**world.replies_exponent
    count = np.minimum(random.poisson(mean), MAX_THREAD)
    post = np.repeat(np.arange(len(community)), count)
    pace = np.exp(random.normal(0, world.attention_spread, len(community)))[post]
    came = pace * np.exp(random.normal(np.log(world.reply_hours), world.reply_sigma, len(post)))
    delay = came + np.exp(random.normal(np.log(WRITING_HOURS), WRITING_SIGMA, len(post)))
    delay = delay[np.lexsort((delay, post))]
    visit = special.ndtr(np.log(delay / (pace * world.attention_hours)) / world.attention_sigma)
    return post, visit, delay


def _quality(random: np.random.Generator, world: World, delay: np.ndarray) -> np.ndarray:
    if world.quality_gamma:
        relative = random.gamma(world.quality_gamma, 1 / world.quality_gamma, len(delay))
    else:
        relative = np.exp(random.normal(0, world.quality_sigma, len(delay)))
    return np.minimum(world.vote_rate * relative * (delay / world.reply_hours) ** world.quality_trend, 0.9)


def _authors(random: np.random.Generator, size: int) -> np.ndarray:
    """Most people reply once, a few very often."""
    return (random.pareto(1.0, size) * max(size, 1) / 4).astype(int) % max(2 * size, 1)


def _vote(random: np.random.Generator, world: World, stage: _Stage) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lets the readers of every post pass in slices of equal size. Returns up-votes, down-votes, views, all [R]."""
    post, visit, quality = stage.post, stage.visit, stage.quality
    ups, downs = np.zeros(len(post), int), np.zeros(len(post), int)
    views = np.zeros(len(post))
    bad = world.down_share * world.vote_rate * np.sqrt(world.vote_rate / quality)
    for step in range(SLICES):
        there = np.flatnonzero(visit < (step + 1) / SLICES)
        merit = _wilson(ups[there], downs[there]) if world.wilson_order else (ups - downs)[there]
        there = there[np.lexsort((visit[there], -merit, post[there]))]
        rank = _place_in_group(post[there])
        passing = stage.readers[post[there]] * np.minimum((step + 1) / SLICES - visit[there], 1 / SLICES)
        seen = passing * (1 + (rank - 1) / world.attention_depth) ** -world.position_bias
        liked = quality[there] * np.where(ups[there] > downs[there], 1 + world.social_influence, 1.0)
        ups[there] += random.poisson(seen * liked)
        downs[there] += random.poisson(seen * bad[there])
        views[there] += seen
    return ups, downs, views


def _wilson(ups: np.ndarray, downs: np.ndarray) -> np.ndarray:
    """Returns the lower bound of the share of up-votes, the author's own included."""
    n = ups + downs + 1.0
    share, z2 = (ups + 1) / n, WILSON_Z**2
    return (share + z2 / (2 * n) - WILSON_Z * np.sqrt((share * (1 - share) + z2 / (4 * n)) / n)) / (1 + z2 / n)


def _place_in_group(sorted_group: np.ndarray) -> np.ndarray:
    """Returns 1, 2, 3, … within each run of equal values."""
    index = np.arange(len(sorted_group))
    first = np.r_[True, sorted_group[1:] != sorted_group[:-1]] if len(sorted_group) else np.zeros(0, bool)
    return (index - np.maximum.accumulate(np.where(first, index, 0)) + 1).astype(float)


def _shown(random: np.random.Generator, world: World, score: np.ndarray) -> np.ndarray:
    """The site blurs scores: sometimes by one vote, and by some 2 %; a lone author's vote is shown as it is."""
    half = world.fuzz_chance / 2
    step = random.choice([-1, 0, 1], len(score), p=[half, 1 - world.fuzz_chance, half])
    blurred = score + step + random.normal(0, 0.02 * np.abs(score))
    return np.where(score == 1, score, np.round(blurred)).astype(int)
