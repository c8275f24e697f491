"""Seed overfitting: what a score owes to the seeds that chose it.

All functions take the final scores of several trials on the same seeds: an array of shape ``(trials, seeds)``. Trials
that lack a seed are left out by the caller, since their scores cannot be compared with the others'.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import stats

from autorl.analysis.checks import check_level, finite_vector
from autorl.analysis.estimate import Estimate, Statistic, aggregate_rows

MOST_SEEDS = 10_000
"""Seeds beyond which nobody trains: then two configurations are as good as equal."""

CERTAIN = 37.0
"""Standard errors beyond which a test finds every difference, and the noncentral t distribution is not accurate."""


@dataclass(frozen=True)
class VarianceSplit:
    """Where the differences between scores come from.

    Attributes:
        configuration: Variance of the configurations' expected scores, in squared units of the scores.
        seed: Variance that a seed brings to all configurations alike.
        interaction: Variance that a seed brings to one configuration and not to others, the noise of training and
            evaluation included: one run a cell cannot tell them apart.
        consistency: Share of a single run's score that is the configuration's own,
            configuration / (configuration + interaction), with its interval: 1 if any one seed ranks all
            configurations right, 0 if a seed says nothing. It is NaN where all scores are equal.
    """

    configuration: float
    seed: float
    interaction: float
    consistency: Estimate


def winners_curse(scores: npt.ArrayLike, *, statistic: Statistic = "mean", higher_is_better: bool = True) -> float:
    """Estimate how much of its score the best trial owes to the seeds that chose it.

    The best of many noisy scores is lucky on average (Smith and Winkler 2006, Management Science 52, 311-322). How
    lucky follows from the tuning seeds alone: leave some out, choose the best trial on the others, and see what it
    loses on those left out. Averaged over all ways to leave out one seed and two, this is without bias what n - 1 and
    n - 2 seeds overstate, whatever the scores' distribution. The step to all n seeds takes the form
    c(m) = a / sqrt(m) + b / m, exact at both ends: configurations that are equal make luck fall with sqrt(m), ones
    that differ much more than seeds do with m. It counts both the luck of the winner and that of the seeds, since
    other ones come at a test.

    Measured on ARLBench's 12 landscapes (8, 32 and 128 random configurations, 600 draws each; the truth from the
    seeds left over): 1.11, 1.07 and 1.02 times the true mean overstatement with 3 seeds, 1.06, 1.02 and 1.04 with 5.
    One study's estimate is itself noisy: its standard deviation is about as large as the curse.

    The trials are taken as given. Where an optimizer was led to some of them by luck, that luck is not counted.

    Args:
        scores: Shape ``(trials, seeds)``, finite, with at least 2 seeds.
        statistic: How the scores of the seeds become the one that chooses. What the chosen trial loses is measured in
            means.
        higher_is_better: Whether the highest score is the best.

    Returns:
        The expected overstatement, in the unit of the scores: positive where the winner's score is too good, whichever
        direction is good.

    Raises:
        ValueError: If the shape is wrong or a score is not finite.
    """
    table = _table(scores)
    if not higher_is_better:
        table = -table
    n = table.shape[1]
    last = _overstated(table, n - 1, statistic)
    if n == 2:
        return float(last * 2**-0.75)  # between the two terms, since one number cannot give both
    basis = np.array([[m**-0.5, m**-1.0] for m in (n - 1, n - 2)])
    a, b = np.linalg.solve(basis, [last, _overstated(table, n - 2, statistic)])
    return float(a / np.sqrt(n) + b / n)


def _overstated(table: npt.NDArray[np.float64], kept: int, statistic: Statistic) -> float:
    """Return what trials chosen on so many seeds lose on the others, the mean over all ways to choose the seeds."""
    n = table.shape[1]
    lost = []
    for chosen in combinations(range(n), kept):
        inside = table[:, chosen]
        choosing = aggregate_rows(inside, statistic)
        outside = (table.sum(axis=1) - inside.sum(axis=1)) / (n - kept)
        best = np.isclose(choosing, np.max(choosing), rtol=1e-12, atol=0.0)
        lost.append(np.mean(inside.mean(axis=1)[best] - outside[best]))
    return float(np.mean(lost))


def split_variance(scores: npt.ArrayLike, level: float = 0.95) -> VarianceSplit:
    """Split the variance of scores into configuration, seed and their interaction.

    Two-way random effects with one run a cell, by the method of moments (Searle, Casella and McCulloch, Variance
    Components, section 4.3): interaction = MSE, configuration = (MSR - MSE) / n, seed = (MSC - MSE) / K, with MSR, MSC
    and MSE the mean squares of K configurations, n seeds, and the rest; estimates below 0 are 0. The consistency is
    Shrout and Fleiss's ICC(3,1) (1979, Psychological Bulletin 86, 420-428) with their interval from the F
    distribution, exact for normal scores.

    Args:
        scores: Shape ``(trials, seeds)``, finite, with at least 2 of each.
        level: Two-sided confidence level of the consistency, in (0, 1).

    Raises:
        ValueError: If the shape is wrong, a score is not finite, or ``level`` is not in (0, 1).
    """
    check_level(level)
    table = _table(scores)
    trials, seeds = table.shape
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    rest = table - rows[:, None] - columns + table.mean()
    freedom = (trials - 1) * (seeds - 1)
    between, along = seeds * rows.var(ddof=1), trials * columns.var(ddof=1)
    error = float(np.sum(rest**2) / freedom)
    configuration = max(0.0, float(between - error) / seeds)
    total = configuration + error
    if total == 0.0:
        consistency = Estimate(float("nan"), float("nan"), float("nan"), level)
    elif error == 0.0:
        consistency = Estimate(1.0, 1.0, 1.0, level)
    else:
        ratio, tail = between / error, (1.0 - level) / 2.0
        upper, lower = (stats.f.isf(tail, trials - 1, freedom), stats.f.ppf(tail, trials - 1, freedom))
        low, high = ((f - 1.0) / (f + seeds - 1.0) for f in (ratio / upper, ratio / lower))
        consistency = Estimate(configuration / total, max(0.0, float(low)), max(0.0, float(high)), level)
    return VarianceSplit(configuration, max(0.0, float(along - error) / trials), error, consistency)


def seeds_needed(a: npt.ArrayLike, b: npt.ArrayLike, *, power: float = 0.8, level: float = 0.95) -> int | None:
    """Estimate how many seeds each of two configurations needs to be told apart.

    The smallest n for which Welch's t test at ``level`` finds the difference with probability ``power``, were the
    difference of means and the two variances what these scores say (Colas et al. 2018, arXiv 1806.08295, section 4;
    the noncentral t distribution with Welch's degrees of freedom). The scores are few, so the answer is rough: an
    order of magnitude, not a promise.

    Args:
        a: Shape ``(m,)`` with m >= 2, one finite score for each seed.
        b: Shape ``(n,)`` with n >= 2, the same for the other configuration.
        power: Probability of finding the difference, in (0, 1).
        level: One minus the probability of finding one where there is none, in (0, 1).

    Returns:
        Seeds for each configuration, at least 2; None if the means are equal or more than ``MOST_SEEDS`` would be
        needed.

    Raises:
        ValueError: If a side has fewer than 2 scores or one that is not finite.
    """
    check_level(level)
    check_level(power)
    left, right = finite_vector("a", a), finite_vector("b", b)
    if min(left.size, right.size) < 2:
        raise ValueError("the spread between seeds needs at least 2 scores of each configuration")
    apart = abs(float(left.mean() - right.mean()))
    squares = np.array([left.var(ddof=1), right.var(ddof=1)])
    if apart == 0.0:
        return None
    if squares.sum() == 0.0:
        return 2
    degrees = squares.sum() ** 2 / np.sum(squares**2)

    def reached(seeds: int) -> float:
        shift = apart / np.sqrt(squares.sum() / seeds)
        if shift > CERTAIN:
            return 1.0
        freedom = (seeds - 1) * degrees
        critical = stats.t.ppf((1.0 + level) / 2.0, freedom)
        return float(stats.nct.sf(critical, freedom, shift) + stats.nct.cdf(-critical, freedom, shift))

    counts = range(2, MOST_SEEDS + 1)
    enough = bisect_left(counts, power, key=reached)
    return counts[enough] if enough < len(counts) else None


def _table(scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(f"scores: shape {table.shape}; expected (trials, seeds), at least 2 of each")
    if not np.isfinite(table).all():
        raise ValueError("scores: not all finite; leave out trials with failed or missing runs")
    return table
