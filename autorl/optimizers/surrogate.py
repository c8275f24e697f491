"""A Gaussian process over configurations, training and seeds: what a racing optimizer believes.

Scores are warped to normal scores first, since returns are skewed, censored at floors and ceilings, and often bimodal.
For the warped score z of configuration x (trial i), seed s and fraction of training t,

    cov(z, z') = 4 + ln t ln t' + o 1(z = z')
               + (t t')^p exp(-|ln t - ln t'| / l) [m + g k(x, x') + u 1(i = i') + e 1(i = i', s = s')]

with k a Matérn 3/2 kernel with a length scale for each column (Rasmussen and Williams 2006, eq. 4.17). The first terms
are the level and the slope that all learning curves share, and o an evaluation's own noise. m is common to all
configurations, g what the space explains, u what it does not, e the seed's part. The Ornstein-Uhlenbeck process in
ln t makes early scores say less of the final ones, as in freeze-thaw optimization (Swersky et al. 2014, arXiv
1406.3896), and p lets differences grow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.stats import norm

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NO_SEED = -1
_LEVEL, _SLOPE = 4.0, 1.0
_JITTER = 1e-6
# Prior of the logarithms of m, g, u, e, o and l, of p, and of the logarithms of the length scales. Centred on what
# many tuning landscapes have in common: the rank correlation of a run's score at 10, 30 and 50 % of training with its
# final one is about 0.5, 0.7 and 0.85, which is exp(ln t / 3.5); about a fifth of the variance is the seed's.
_CENTRE = np.array([*np.log([0.3, 0.3, 0.1, 0.2, 0.1, 3.5]), 0.5])
_SPREAD = np.array([1.0, 1.0, 1.0, 0.7, 1.0, 0.4, 0.3])
_BOUNDS = [(-9.0, 3.0)] * 5 + [(0.0, 2.5), (0.0, 1.5)]
# Quantiles rather than the few nodes of a Gauss-Hermite rule: `Warp.back` may be a step.
_NODES = norm.ppf((np.arange(64) + 0.5) / 64)


@dataclass(frozen=True)
class Points:
    """Where scores were observed, or are asked for; arrays of shape (n,), `vectors` of shape (n, columns).

    Attributes:
        vectors: configurations in the unit cube.
        trials: which trial each belongs to; different numbers are different draws of u.
        seeds: seed of the run; `NO_SEED` stands for the mean over all seeds.
        log_fractions: logarithm of the fraction of a full run.
    """

    vectors: Floats
    trials: Ints
    seeds: Ints
    log_fractions: Floats

    def __len__(self) -> int:
        return len(self.trials)


def at_the_end(vectors: Floats, trials: Ints) -> Points:
    """Return the points that stand for the final score of trials, without the part of any seed."""
    count = len(trials)
    return Points(vectors, trials, np.full(count, NO_SEED), np.zeros(count))


class Warp:
    """Maps scores to normal scores by rank, and back by interpolation between the scores seen.

    Equal scores share the mean of their normal scores; on the way back, all of that range stands for them. Otherwise
    nothing would be expected to reach a ceiling that many runs have reached.

    Attributes:
        normal: the normal scores, shape (n,).
        low: the lowest score seen.
        high: the highest.
    """

    def __init__(self, scores: Floats) -> None:
        order = np.argsort(scores, kind="stable")
        self._scores = scores[order]
        self.low, self.high = float(self._scores[0]), float(self._scores[-1])
        self._normal: Floats = norm.ppf((np.arange(len(scores)) + 0.5) / len(scores))
        _, index, counts = np.unique(scores, return_inverse=True, return_counts=True)
        self.normal: Floats = (np.bincount(np.sort(index), self._normal) / counts)[index]

    def back(self, normal: Floats) -> Floats:
        """Return scores for normal scores of any shape."""
        scores: Floats = np.interp(normal, self._normal, self._scores)
        return scores


class Surrogate:
    """The process, its hyperparameters at their posterior mode."""

    def __init__(self, columns: int) -> None:
        self._centre = np.concatenate([_CENTRE, np.zeros(columns)])
        self._spread = np.concatenate([_SPREAD, np.ones(columns)])
        self._bounds = [*_BOUNDS, *[(-3.0, 4.0)] * columns]
        self._theta = self._centre.copy()

    @property
    def seed_variance(self) -> float:
        """Variance of one run's final score around its configuration's mean, evaluation noise included."""
        return float(np.exp(self._theta[3]) + np.exp(self._theta[4]))

    def fit(self, points: Points, normal: Floats, iterations: int) -> None:
        """Move the hyperparameters towards their posterior mode (L-BFGS), from where they are."""
        found = minimize(
            self._objective,
            self._theta,
            args=(points, normal),
            jac=True,
            method="L-BFGS-B",
            bounds=self._bounds,
            options={"maxiter": iterations},
        )
        if np.isfinite(found.fun):
            self._theta = found.x

    def condition(self, points: Points, normal: Floats) -> None:
        """Take up what was observed."""
        self._points = points
        covariance = self._covariance(points, points)
        covariance[np.diag_indices(len(points))] += np.exp(self._theta[4]) + _JITTER
        self._factor = cholesky(covariance, lower=True)
        self._weights = cho_solve((self._factor, True), normal)

    def predict(self, points: Points) -> tuple[Floats, Floats]:
        """Return mean and variance of warped scores, each of shape (n,)."""
        cross = self._covariance(self._points, points)
        reduced = solve_triangular(self._factor, cross, lower=True)
        m, g, u = np.exp(self._theta[:3])
        logs = points.log_fractions
        prior = _LEVEL + _SLOPE * logs**2 + (m + g + u) * np.exp(2 * self._theta[6] * logs)
        return cross.T @ self._weights, np.maximum(prior - (reduced**2).sum(axis=0), 1e-9)

    def _covariance(self, a: Points, b: Points) -> Floats:
        m, g, u, e = np.exp(self._theta[:4])
        scales = np.exp(self._theta[7:])
        same = a.trials[:, None] == b.trials
        same_run = same & (a.seeds[:, None] == b.seeds) & (a.seeds[:, None] != NO_SEED)
        among = m + g * _matern(a.vectors / scales, b.vectors / scales)[0] + u * same + e * same_run
        over_time = _over_time(self._theta, a.log_fractions, b.log_fractions)
        covariance: Floats = _shared(a.log_fractions, b.log_fractions) + among * over_time
        return covariance

    def _objective(self, theta: Floats, points: Points, normal: Floats) -> tuple[float, Floats]:
        """Return the negative logarithm of the posterior and its gradient (Rasmussen and Williams 2006, eq. 5.9)."""
        m, g, u, e, o, length = np.exp(theta[:6])
        scaled = points.vectors / np.exp(theta[7:])
        kernel, distance = _matern(scaled, scaled)
        same = points.trials[:, None] == points.trials
        same_run = same & (points.seeds[:, None] == points.seeds)
        times = _over_time(theta, points.log_fractions, points.log_fractions)
        covariance = (m + g * kernel + u * same + e * same_run) * times
        noisy = covariance + _shared(points.log_fractions, points.log_fractions)
        noisy[np.diag_indices(len(points))] += o + _JITTER
        try:
            factor = cholesky(noisy, lower=True)
        except LinAlgError:
            return np.inf, np.zeros_like(theta)
        inverse = cho_solve((factor, True), np.eye(len(points)))
        weights = inverse @ normal
        outer = 0.5 * (inverse - np.outer(weights, weights))
        timed, whole = outer * times, outer * covariance
        logs = points.log_fractions
        gradient = np.empty_like(theta)
        gradient[0] = m * timed.sum()
        gradient[1] = g * (timed * kernel).sum()
        gradient[2] = u * timed[same].sum()
        gradient[3] = e * timed[same_run].sum()
        gradient[4] = o * np.trace(outer)
        gradient[5] = (whole * np.abs(logs[:, None] - logs)).sum() / length
        gradient[6] = 2 * (whole.sum(axis=1) @ logs)
        # d k / d ln(scale) = 3 exp(-r) (difference / scale)^2 for the distance r = sqrt(3) |difference / scale|.
        slope = timed * g * 3 * np.exp(-distance)
        gradient[7:] = 2 * (slope.sum(axis=1) @ scaled**2) - 2 * (scaled * (slope @ scaled)).sum(axis=0)
        away = (theta - self._centre) / self._spread
        value = 0.5 * normal @ weights + np.log(np.diag(factor)).sum() + 0.5 * away @ away
        return float(value), gradient + away / self._spread


def _matern(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    distance = np.sqrt(3 * np.maximum(squared, 0.0))
    return (1 + distance) * np.exp(-distance), distance


def _shared(a: Floats, b: Floats) -> Floats:
    covariance: Floats = _LEVEL + _SLOPE * a[:, None] * b
    return covariance


def _over_time(theta: Floats, a: Floats, b: Floats) -> Floats:
    shared: Floats = np.exp(theta[6] * (a[:, None] + b) - np.abs(a[:, None] - b) / np.exp(theta[5]))
    return shared


def expected_score(warp: Warp, mean: Floats, variance: Floats) -> Floats:
    """Return the expected score of a new run, shape (n,), as the mean over quantiles.

    Args:
        warp: of the scores.
        mean: of the warped score, shape (n,).
        variance: of the warped score of one run, shape (n,).
    """
    scores: Floats = warp.back(mean[:, None] + np.sqrt(variance)[:, None] * _NODES).mean(axis=1)
    return scores
