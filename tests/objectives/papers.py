"""The papers' formulas in numpy float64, written by hand and by other means than the code under test.

Each takes a `Batch` of real pairs (no padding) and settings, and returns the loss of the batch, sum(w l) / sum(w).
Where a paper takes an expectation over a batch without gradient, that number is given to the formula as a constant.
"""

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Batch:
    """c, r: log pi(chosen), log pi(rejected); rc, rr: under the reference; nc, nr: tokens; p: labels; w: weights."""

    c: np.ndarray
    r: np.ndarray
    rc: np.ndarray
    rr: np.ndarray
    nc: np.ndarray
    nr: np.ndarray
    p: np.ndarray
    w: np.ndarray
    z0: float = 0.0  # KTO's KL estimate
    delta: float = 0.0  # BCO's mean reward

    def mean(self, losses: np.ndarray) -> float:
        return float((self.w * losses).sum() / self.w.sum())

    def moved(self, side: str, index: int, by: float) -> "Batch":
        values = getattr(self, side).copy()
        values[index] += by
        return dataclasses.replace(self, **{side: values})


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def label(b: Batch, smoothing: float = 0.0, soft: bool = True) -> np.ndarray:
    p = b.p if soft else np.ones_like(b.p)
    return p * (1 - smoothing) + (1 - p) * smoothing


def f_prime(u: np.ndarray, divergence: str, alpha: float) -> np.ndarray:
    """arXiv:2309.16240, table 1: derivatives of f, of the ratio u itself and not of its logarithm."""
    match divergence:
        case "reverse_kl":  # f = u log u
            return np.log(u) + 1
        case "forward_kl":  # f = -log u
            return -1 / u
        case "js":  # f = u log u - (u + 1) log((u + 1) / 2)
            return np.log(2 * u / (1 + u))
        case "alpha":  # f = (u^(1 - alpha) - (1 - alpha) u - alpha) / (alpha (alpha - 1))
            return (1 - u**-alpha) / alpha
    raise AssertionError(divergence)


def scores(b: Batch, divergence: str = "reverse_kl", alpha: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    return f_prime(np.exp(b.c - b.rc), divergence, alpha), f_prime(np.exp(b.r - b.rr), divergence, alpha)


def h(b: Batch, divergence: str = "reverse_kl", alpha: float = 0.5) -> np.ndarray:
    chosen, rejected = scores(b, divergence, alpha)
    return chosen - rejected


def preferred(b: Batch, beta: float, rdpo: float = 0.0, **divergence) -> np.ndarray:
    """The probability that the reward model in the policy gives to chosen > rejected (Bradley-Terry)."""
    return logistic(beta * h(b, **divergence) + rdpo * b.nc - rdpo * b.nr)  # arXiv:2403.19159: alpha |w| - alpha |l|


def sigmoid(b, beta, smoothing=0.0, soft=True, rdpo=0.0, **divergence):
    """arXiv:2305.18290, eq. 7; labels: Mitchell's note on noisy preferences."""
    p, q = label(b, smoothing, soft), preferred(b, beta, rdpo, **divergence)
    return b.mean(-p * np.log(q) - (1 - p) * np.log(1 - q))


def hinge(b, beta, rdpo=0.0, **divergence):
    """arXiv:2305.10425 on DPO's rewards (arXiv:2309.06657)."""
    m = beta * h(b, **divergence) + rdpo * (b.nc - b.nr)
    return b.mean(np.where(m < 1, 1 - m, 0.0))


def ipo(b, beta, smoothing=0.0, soft=True, **divergence):
    """arXiv:2310.12036, eq. 17, averaged over which reply is preferred."""
    p, gap, tau = label(b, smoothing, soft), h(b, **divergence), beta
    return b.mean(p * (gap - 1 / (2 * tau)) ** 2 + (1 - p) * (-gap - 1 / (2 * tau)) ** 2)


def robust(b, beta, smoothing):
    """arXiv:2403.00409: (1 - e) L(w, l) - e L(l, w), over 1 - 2 e."""
    q, e = preferred(b, beta), smoothing
    return b.mean((-(1 - e) * np.log(q) + e * np.log(1 - q)) / (1 - 2 * e))


def exo_pair(b, beta, smoothing, soft=True, **divergence):
    """arXiv:2402.00856, eq. 16 for two replies: KL of (q, 1 - q) to (p, 1 - p)."""
    p, q = label(b, smoothing, soft), preferred(b, beta, **divergence)
    return b.mean(q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p)))


def nca_pair(b, beta, smoothing=0.0, soft=True):
    """arXiv:2402.05369, NCA with K = 2: sum over replies of -share log s(r) - 1/K log s(-r)."""
    p = label(b, smoothing, soft)
    total = np.zeros_like(b.c)
    for share, reward in ((p, beta * (b.c - b.rc)), (1 - p, beta * (b.r - b.rr))):
        total += -share * np.log(logistic(reward)) - 0.5 * np.log(logistic(-reward))
    return b.mean(total)


def bco_pair(b, beta):
    """arXiv:2404.04656: -log s(r(chosen) - delta) - log s(-(r(rejected) - delta))."""
    chosen, rejected = beta * (b.c - b.rc), beta * (b.r - b.rr)
    return b.mean(-np.log(logistic(chosen - b.delta)) - np.log(logistic(-(rejected - b.delta))))


def sppo_hard(b, beta):
    """arXiv:2405.00675, eq. 4.7: (log ratio - eta (P - 1/2))^2, eta = 1 / beta, P = 1 and 0."""
    return b.mean(((b.c - b.rc) - (1 - 0.5) / beta) ** 2 + ((b.r - b.rr) - (0 - 0.5) / beta) ** 2)


def apo_zero(b, beta):
    """arXiv:2408.06266, eq. 7."""
    return b.mean(1 - logistic(beta * (b.c - b.rc)) + logistic(beta * (b.r - b.rr)))


def apo_down(b, beta):
    """arXiv:2408.06266, eq. 8."""
    chosen, rejected = beta * (b.c - b.rc), beta * (b.r - b.rr)
    return b.mean(logistic(chosen) + 1 - logistic(chosen - rejected))


def discopop(b, beta, tau=0.05, **divergence):
    """arXiv:2406.08414, eq. 5: logistic and exponential loss, mixed by s(m / tau)."""
    m = beta * h(b, **divergence)
    return b.mean((1 - logistic(m / tau)) * -np.log(logistic(m)) + logistic(m / tau) * np.exp(-m))


def sigmoid_norm(b, beta, smoothing=0.0, soft=True, **divergence):
    """arXiv:2411.15124, length-normalised DPO: log ratios a token."""
    chosen, rejected = scores(b, **divergence)
    # f'(1) does not cancel once the two are divided by different lengths: scores here are 0 where policy = reference.
    one = f_prime(np.array(1.0), divergence.get("divergence", "reverse_kl"), divergence.get("alpha", 0.5))
    p = label(b, smoothing, soft)
    q = logistic(beta * ((chosen - one) / b.nc - (rejected - one) / b.nr))
    return b.mean(-p * np.log(q) - (1 - p) * np.log(1 - q))


def kto(b, beta, desirable=1.0, undesirable=1.0):
    """arXiv:2402.01306, eq. 7: lambda - v(x, y), over 2 P replies."""
    v_desirable = desirable * logistic(beta * ((b.c - b.rc) - b.z0))
    v_undesirable = undesirable * logistic(beta * (b.z0 - (b.r - b.rr)))
    return b.mean((desirable - v_desirable + undesirable - v_undesirable) / 2)


def sft(b):
    """Negative log-likelihood a token of the chosen reply."""
    return b.mean(-b.c / b.nc)


def simpo(b, beta, gamma):
    """arXiv:2405.14734, eq. 6."""
    return b.mean(-np.log(logistic(beta / b.nc * b.c - beta / b.nr * b.r - gamma)))


def orpo(b, beta):
    """arXiv:2403.07691, eq. 6 and 7: odds of the geometric mean of the tokens' probabilities."""
    chosen, rejected = np.exp(b.c / b.nc), np.exp(b.r / b.nr)
    odds_ratio = (chosen / (1 - chosen)) / (rejected / (1 - rejected))
    return b.mean(-b.c / b.nc - beta * np.log(logistic(np.log(odds_ratio))))


def cpo(b, beta, cpo_alpha=1.0, smoothing=0.0, soft=True):
    """arXiv:2401.08417, eq. 3, and the likelihood a token."""
    p, q = label(b, smoothing, soft), logistic(beta * b.c - beta * b.r)
    return b.mean(-p * np.log(q) - (1 - p) * np.log(1 - q)) + cpo_alpha * sft(b)


def dominance(
    upper: np.ndarray, lower: np.ndarray, w: np.ndarray, beta: float, smoothing: float, fine: int = 20
) -> float:
    """arXiv:2406.05882 by brute force: every pair as often as its weight says (weights are multiples of 1 / fine)."""
    times = np.rint(w * fine).astype(int)
    assert np.allclose(times / fine, w)
    d = beta * (np.sort(np.repeat(upper, times)) - np.sort(np.repeat(lower, times)))
    return float(np.mean(-(1 - smoothing) * np.log(logistic(d)) - smoothing * np.log(logistic(-d))))


def aot(b, beta, smoothing=0.0):
    """The policy's log ratios of chosen to rejected over the reference's."""
    return dominance(b.c - b.r, b.rc - b.rr, b.w, beta, smoothing)


def aot_unpaired(b, beta, smoothing=0.0):
    """Rewards of chosen replies over those of rejected ones."""
    return dominance(b.c - b.rc, b.r - b.rr, b.w, beta, smoothing)


def kl_estimate(ratios: np.ndarray) -> float:
    """arXiv:2402.01306: the mean log ratio of mismatched replies, at least 0."""
    return max(0.0, math.fsum(ratios) / len(ratios))
