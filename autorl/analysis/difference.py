"""How far apart two configurations are, on seeds of their own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from autorl.analysis.checks import check_level, finite_vector
from autorl.analysis.estimate import Estimate, Statistic, aggregate, standard_error


def difference(a: npt.ArrayLike, b: npt.ArrayLike, *, statistic: Statistic = "mean", level: float = 0.95) -> Estimate:
    """Estimate by how much ``a`` exceeds ``b`` on fresh seeds, the seeds of the two being independent.

    - ``mean`` and ``iqm``: Yuen (1974, Biometrika 61, 165-170), which is Welch (1947) where nothing is trimmed: the
      standard errors of :func:`autorl.analysis.estimate` added in squares, and Student's t with
      (d_a + d_b)^2 / (d_a^2 / (h_a - 1) + d_b^2 / (h_b - 1)) degrees of freedom, d being a squared standard error and
      h the number of scores that trimming keeps.
    - ``std``, ``cvar_low``, ``cvar_high``: none, both ends are NaN.
    - ``median``: Price and Bonett (2002, Journal of Statistical Computation and Simulation 72, 119-124): each median's
      variance from the distance of two order statistics, and the normal distribution.

    Args:
        a: Shape ``(m,)``, one finite score for each seed.
        b: Shape ``(n,)``, the same; the seeds are not paired.
        statistic: How the scores of the seeds become one.
        level: Two-sided confidence level, in (0, 1).

    Returns:
        The estimate, in the unit of the scores. The ends are NaN where a side has one seed, or for the median fewer
        than five.

    Raises:
        ValueError: If a side is empty or has a score that is not finite (the message says which), or ``level`` is not
            in (0, 1).
    """
    check_level(level)
    left, right = finite_vector("a", a), finite_vector("b", b)
    value = aggregate(left, statistic) - aggregate(right, statistic)
    if statistic == "std" or statistic == "cvar_low" or statistic == "cvar_high":
        return Estimate(value, float("nan"), float("nan"), level)
    if statistic == "median":
        half = special.ndtri((1 + level) / 2) * np.hypot(_median_error(left), _median_error(right))
    else:
        (error_a, kept_a), (error_b, kept_b) = standard_error(left, statistic), standard_error(right, statistic)
        squares = np.array([error_a, error_b]) ** 2
        freedom = np.array([kept_a, kept_b]) - 1
        if not np.isfinite(squares).all():
            return Estimate(value, float("nan"), float("nan"), level)
        if squares.sum() == 0.0:
            return Estimate(value, value, value, level)
        degrees = squares.sum() ** 2 / np.sum(squares**2 / freedom)
        half = special.stdtrit(degrees, (1 + level) / 2) * np.sqrt(squares.sum())
    return Estimate(value, float(value - half), float(value + half), level)


def _median_error(scores: npt.NDArray[np.float64]) -> float:
    """Return Price and Bonett's standard error of the median (2001, equation 2); NaN below five scores."""
    n = scores.size
    if n < 5:
        return float("nan")
    ordered = np.sort(scores)
    rank = max(1, round((n + 1) / 2 - np.sqrt(n)))
    tail = stats.binom.cdf(rank - 1, n, 0.5)
    return float((ordered[n - rank] - ordered[rank - 1]) / (2 * special.ndtri(1 - tail)))
