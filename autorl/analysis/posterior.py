"""What a few seeds say of each of many configurations, when all of them are looked at together.

Two or three seeds know neither a configuration's mean nor their own spread, and whoever picks the best of many picks
the luckiest. Here configurations lend each other what they lack: variances are drawn towards what is usual in the
study, and means towards the mean of all, as far as it is known how much the configurations differ. They are taken for
exchangeable, which those of an optimizer are not quite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from autorl.analysis.checks import finite_vector

Floats = npt.NDArray[np.float64]

_GRID = 400
"""Standard deviations between configurations that are averaged over."""
_FLOOR = 1e-5
"""Of the median of the variances that are not 0: what a variance is taken to be at least."""


@dataclass(frozen=True)
class Means:
    """The posterior of configurations' expected scores; arrays of shape ``(n_configurations,)``.

    Attributes:
        mean: Expected score over seeds, in the unit of the scores.
        error: Its standard deviation, in the same unit.
        spread: Standard deviation of one run around it, in the same unit.
        freedom: Degrees of freedom with which `error` and `spread` are known; infinite where they are as good as known.
    """

    mean: Floats
    error: Floats
    spread: Floats
    freedom: Floats

    def of_new_seeds(self, seeds: int) -> Floats:
        """Return the standard deviation of the mean over so many new seeds, of which these scores know nothing."""
        deviation: Floats = np.sqrt(self.error**2 + self.spread**2 / seeds)
        return deviation


def shrunk_means(scores: Sequence[npt.ArrayLike]) -> Means:
    """Estimate the expected scores of configurations from their seeds, each in the light of all.

    - Variances: s'^2 = (d0 s0^2 + d s^2) / (d0 + d) for a sample variance s^2 with d degrees of freedom; d0 and s0^2
      from the sample variances' logarithms (Smyth 2004, Statistical Applications in Genetics and Molecular Biology 3,
      article 3, section 6). With fewer than three configurations that have two seeds, s0^2 is their pooled variance.
    - Means: given the standard deviation t between configurations, x' = m + B (x - m) with B = t^2 / (t^2 + v),
      v = s'^2 / n and m the weighted mean; its variance is B v + (1 - B)^2 var(m). Both are averaged over t, whose
      prior is flat, as is that of m (Gelman et al. 2013, Bayesian Data Analysis, equations 5.17, 5.20 and 5.21; flat
      on t: Gelman 2006, Bayesian Analysis 1, 515-534). One t, and be it the best estimate, would claim to know that
      configurations are equal wherever they differ by no more than their seeds do. Two configurations say too little
      of t: their means stay as they are.

    Where no configuration has two seeds, nothing is known of the spread: it is taken to be 0.

    Args:
        scores: Of each configuration, shape ``(n_seeds,)``, at least one and all finite; they may differ in number.

    Raises:
        ValueError: If there is no configuration, or one has no score or one that is not finite.
    """
    if not scores:
        raise ValueError("scores: empty; expected those of at least one configuration")
    own = [finite_vector(f"scores[{index}]", values) for index, values in enumerate(scores)]
    mean = np.array([values.mean() for values in own])
    counts = np.array([values.size for values in own], dtype=np.float64)
    variance, freedom = _moderated(own)
    of_mean = variance / counts
    if mean.size < 3 or not of_mean.all():
        return Means(mean, np.sqrt(of_mean), np.sqrt(variance), freedom)
    return Means(*_averaged(mean, of_mean), np.sqrt(variance), freedom)


def probability_below(means: Means, bound: float, seeds: int) -> Floats:
    """Return how likely the mean over so many new seeds is at most ``bound``, shape ``(n_configurations,)``.

    Student's t with the degrees of freedom of the spread. Where the seeds show no spread at all it is 0 or 1.

    Args:
        means: What is known of the configurations.
        bound: In the unit of the scores.
        seeds: How many new seeds, at least 1.
    """
    deviation = means.of_new_seeds(seeds)
    with np.errstate(divide="ignore", invalid="ignore"):
        probability = special.stdtr(means.freedom, (bound - means.mean) / deviation)
    certain: Floats = np.where(deviation > 0.0, probability, (means.mean <= bound).astype(float))
    return certain


def _moderated(scores: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Return each configuration's moderated variance of one run, and its degrees of freedom."""
    own = np.array([values.size - 1.0 for values in scores])
    sample = np.array([values.var(ddof=1) if values.size > 1 else 0.0 for values in scores])
    several = own > 0
    positive = sample[several & (sample > 0.0)]
    if not positive.size:
        return np.zeros(len(scores)), np.full(len(scores), np.inf)
    if several.sum() < 3:
        pooled = float(own @ sample / own.sum())
        return np.full(len(scores), pooled), np.full(len(scores), own.sum())
    d = own[several]
    logs = np.log(np.maximum(sample[several], _FLOOR * np.median(positive)))
    centred = logs - special.digamma(d / 2) + np.log(d / 2)
    excess = np.sum((centred - centred.mean()) ** 2) / (d.size - 1) - special.polygamma(1, d / 2).mean()
    if excess <= 1e-9:
        prior_freedom, prior = np.inf, float(np.exp(centred.mean()))
    else:
        half = _inverse_trigamma(float(excess))
        prior_freedom, prior = 2 * half, float(np.exp(centred.mean() + special.digamma(half) - np.log(half)))
    if np.isinf(prior_freedom):
        return np.full(len(scores), prior), np.full(len(scores), np.inf)
    return (prior_freedom * prior + own * sample) / (prior_freedom + own), prior_freedom + own


def _inverse_trigamma(value: float) -> float:
    """Return the argument at which the trigamma function has a positive value."""
    found: float = optimize.brentq(lambda log: special.polygamma(1, np.exp(log)) - value, -20.0, 25.0)
    return float(np.exp(found))


def _averaged(mean: Floats, of_mean: Floats) -> tuple[Floats, Floats]:
    """Return the posterior means and their standard deviations, averaged over the deviation between configurations."""
    angle = (np.arange(_GRID) + 0.5) / _GRID * (np.pi / 2)  # of which the deviation is the tangent: it has no end
    between = ((np.std(mean) + np.sqrt(of_mean.mean())) * np.tan(angle))[:, None] ** 2
    weights = 1.0 / (between + of_mean)
    total = weights.sum(axis=1)
    centre = ((weights @ mean) / total)[:, None]
    log = np.log(weights).sum(axis=1) - np.log(total) - (weights * (mean - centre) ** 2).sum(axis=1)
    likely = np.exp(log / 2 - np.max(log / 2)) / np.cos(angle) ** 2
    likely /= likely.sum()
    kept = between * weights
    each = centre + kept * (mean - centre)
    variance = kept * of_mean + (1.0 - kept) ** 2 / total[:, None]
    found = likely @ each
    return found, np.sqrt(likely @ (variance + (each - found) ** 2))
