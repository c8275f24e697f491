"""One number for several seeds, and the interval that says how far it can be trusted."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from autorl.analysis.checks import check_level, finite_vector

Statistic = Literal["mean", "median", "iqm", "std", "cvar_low", "cvar_high"]

WORST_SHARE: Final = 0.25
"""The share of the scores that `cvar_low` and `cvar_high` average."""

# Three are trimmed means: they differ in how many scores each tail of n loses.
_TRIMMED: Final[Mapping[Statistic, Callable[[int], int]]] = {
    "mean": lambda n: 0,
    "iqm": lambda n: n // 4,
    "median": lambda n: (n - 1) // 2,
}


@dataclass(frozen=True)
class Estimate:
    """A number with a confidence interval.

    Attributes:
        value: The point estimate, in the unit of the scores; NaN where there is none (no run of
            the trial has finished).
        low: Lower end of the interval; NaN where the data cannot support one (one seed).
        high: Upper end of the interval; NaN exactly when ``low`` is.
        level: Nominal two-sided coverage of the interval, in (0, 1).
    """

    value: float
    low: float
    high: float
    level: float = 0.95

    def to_dict(self) -> dict[str, float | None]:
        """Return plain data for JSON, which knows no NaN: what is not there is None."""
        return {
            name: None if math.isnan(number) else number
            for name, number in (("value", self.value), ("low", self.low), ("high", self.high), ("level", self.level))
        }


def aggregate(scores: npt.ArrayLike, statistic: Statistic) -> float:
    """Reduce the scores of several seeds to one number.

    Args:
        scores: Shape ``(n,)``, one finite score for each seed.
        statistic: ``mean``; ``median``; or ``iqm``, the interquartile mean of Agarwal et al.
            (2021, arXiv 2108.13264, section 4.3): drop the lowest and the highest
            floor(n / 4) scores and average the rest, as rliable does. For n <= 3 nothing is
            dropped and it is the mean. ``std`` is the standard deviation (n - 1; 0 for one score),
            ``cvar_low`` and ``cvar_high`` the mean of the lowest and of the highest quarter
            (:func:`autorl.analysis.cvar`).

    Returns:
        The aggregate, in the unit of the scores.

    Raises:
        ValueError: If there is no score, a score is not finite, or the statistic is unknown.
    """
    return float(aggregate_rows(finite_vector("scores", scores), statistic))


def estimate(scores: npt.ArrayLike, statistic: Statistic = "mean", level: float = 0.95) -> Estimate:
    """Estimate what a configuration scores on a fresh seed, from the seeds it was trained on.

    The interval covers chance between seeds and nothing else: scores that chose the configuration
    are biased however narrow it is. It depends on the statistic:

    - ``mean``: Student's t with n - 1 degrees of freedom.
    - ``iqm``: Tukey and McLaughlin (1963, Sankhya A 25, 331-352; Wilcox, Introduction to Robust
      Estimation and Hypothesis Testing, section 4.3): Student's t with h - 1 degrees of freedom
      and the standard error sqrt(SSD / (h (h - 1))), where h = n - 2 floor(n / 4) scores are
      kept and SSD is the winsorized sum of squared deviations. Wilcox replaces h by n / 2 there,
      which is the same for n divisible by 4; h makes it Student's t where the IQM is the mean.
    - ``std``: Bonett (2006, Computational Statistics & Data Analysis 50, 775-782, equation 6), which
      allows for tails that are not the normal distribution's; NaN below five scores. It covers 94
      to 99 % for normal, uniform and half-and-half scores at 5 to 20 seeds, 87 % for exponential
      ones at 10 and 20 (simulated).
    - ``cvar_low``, ``cvar_high``: none, both ends are NaN: few runs do not know their tail.
    - ``median``: the order statistics x[r] and x[n + 1 - r] with the greatest r for which
      P(Binomial(n, 1/2) < r) <= (1 - level) / 2 (David and Nagaraja, Order Statistics, section
      7.1). It needs no assumption and covers at least ``level``; below 6 seeds no pair reaches
      95 % and both ends are NaN.

    Scores that agree give an interval of no width, and so does the IQM once the scores that it
    keeps agree. Read it as "these seeds showed no spread", not as certainty: ten seeds at
    CartPole's ceiling of 500 are what one would see one time in 20 if 26 % of all seeds failed
    (0.74^10 = 0.05). No method can do better without knowing how low a score may fall. For the
    same reason t intervals are too short when a minority of seeds fails: nominal 95 % intervals
    cover 73 to 76 % at 3 to 5 seeds and 93 % at 10 for the mean of a half-and-half 0/500
    mixture, and 49 % (n=4), 62 % (n=5), 71 % (n=8) and 89 % (n=10) for its IQM; on normal
    scores the mean covers 95 % and the IQM 93.6 to 94.9 % at 3 to 20 seeds (simulated).

    Args:
        scores: Shape ``(n,)``, one finite score for each seed.
        statistic: What to estimate, see :func:`aggregate`.
        level: Two-sided confidence level, in (0, 1).

    Returns:
        The estimate, in the unit of the scores. The ends are NaN for one seed, and for the
        median of too few seeds for ``level``.

    Raises:
        ValueError: If there is no score, a score is not finite, the statistic is unknown, or
            ``level`` is not in (0, 1).
    """
    check_level(level)
    ordered = np.sort(finite_vector("scores", scores))
    value = float(aggregate_rows(ordered, statistic))
    if statistic == "median":
        low, high = _order_statistic_interval(ordered, level)
    elif statistic == "std":
        low, high = _deviation_interval(ordered, level)
    elif statistic == "cvar_low" or statistic == "cvar_high":
        low = high = float("nan")
    else:
        error, kept = standard_error(ordered, statistic)
        half = float(special.stdtrit(kept - 1, (1.0 + level) / 2.0) * error) if kept > 1 else error
        low, high = value - half, value + half
    return Estimate(value, low, high, level)


def prediction(
    scores: npt.ArrayLike, count: int, statistic: Literal["mean", "iqm"] = "mean", level: float = 0.95
) -> Estimate:
    """Predict what other seeds of the same configuration will come to, from the seeds that it was trained on.

    Both the seeds that are known and those to come scatter, so the interval is wider than `estimate`'s, by sqrt(2) for
    as many: value ± t · SE · sqrt(1 + n / count), with Student's t and the standard error of `estimate` (Hahn and
    Meeker 1991, Statistical Intervals, section 4.8, for the mean of normal scores). For the IQM the error of the seeds
    to come is taken to shrink with their number as that of those known does. Scores that agree give an interval of no
    width, which says no more than that of `estimate` does, and no interval knows of a bound that scores have.

    Args:
        scores: Shape ``(n,)``, one finite score for each seed.
        count: How many seeds are to come, at least 1.
        statistic: Over the seeds that are to come.
        level: Two-sided coverage, in (0, 1).

    Returns:
        The value of the known scores with the prediction interval, whose ends are NaN for one score.

    Raises:
        ValueError: If there is no score, a score is not finite, ``count`` is below 1, or ``level`` is not in (0, 1).
    """
    if count < 1:
        raise ValueError(f"count: {count}; expected at least 1")
    own = finite_vector("scores", scores)
    found = estimate(own, statistic, level)
    wider = math.sqrt(1.0 + own.size / count)
    low, high = (found.value + wider * (end - found.value) for end in (found.low, found.high))
    return Estimate(found.value, low, high, level)


def aggregate_rows(table: npt.NDArray[np.float64], statistic: Statistic) -> npt.NDArray[np.float64]:
    """Reduce each row of a table of finite scores, shape ``(trials, seeds)``, as `aggregate` does a vector."""
    seeds = table.shape[-1]
    found: npt.NDArray[np.float64]
    if statistic == "std":
        found = np.sort(table, axis=-1).std(axis=-1, ddof=1) if seeds > 1 else np.zeros(table.shape[:-1])
        return found
    if statistic in ("cvar_low", "cvar_high"):
        share = WORST_SHARE * seeds
        weights = np.clip(share - np.arange(seeds), 0.0, 1.0) / share
        found = np.sort(table if statistic == "cvar_low" else -table, axis=-1) @ weights
        return found if statistic == "cvar_low" else -found
    if statistic not in _TRIMMED:
        known = ", ".join((*_TRIMMED, "std", "cvar_low", "cvar_high"))
        raise ValueError(f"statistic: {statistic!r}; expected one of {known}")
    cut = _TRIMMED[statistic](seeds)
    found = np.sort(table, axis=-1)[..., cut : seeds - cut].mean(axis=-1)
    return found


def standard_error(scores: npt.NDArray[np.float64], statistic: Literal["mean", "iqm"]) -> tuple[float, int]:
    """Return Tukey and McLaughlin's standard error, NaN for one score, and how many scores trimming keeps."""
    cut = _TRIMMED[statistic](scores.size)
    kept = scores.size - 2 * cut
    if kept < 2:
        return float("nan"), kept
    ordered = np.sort(scores)
    winsorized = np.clip(ordered, ordered[cut], ordered[-1 - cut])
    squares = np.sum((winsorized - np.mean(winsorized)) ** 2)
    return float(np.sqrt(squares / (kept * (kept - 1)))), kept


def _deviation_interval(scores: npt.NDArray[np.float64], level: float) -> tuple[float, float]:
    """Return Bonett's interval of the standard deviation; NaN below five scores."""
    n = scores.size
    if n < 5:
        return float("nan"), float("nan")
    squares = np.sum((scores - scores.mean()) ** 2)
    if squares == 0.0:
        return 0.0, 0.0
    z = float(special.ndtri((1.0 + level) / 2.0))
    # The kurtosis is measured around a trimmed mean, which the tails do not pull along.
    cut = int(n / (2.0 * np.sqrt(n - 4.0)))
    middle = np.sort(scores)[cut : n - cut].mean() if n > 2 * cut else np.median(scores)
    kurtosis = n * np.sum((scores - middle) ** 4) / squares**2
    scale = n / (n - z)
    error = scale * np.sqrt((kurtosis - (n - 3) / n) / (n - 1))
    centre = np.log(scale * squares / (n - 1))
    return float(np.exp((centre - z * error) / 2)), float(np.exp((centre + z * error) / 2))


def _order_statistic_interval(ordered: npt.NDArray[np.float64], level: float) -> tuple[float, float]:
    n = ordered.size
    rank = int(np.count_nonzero(special.bdtr(np.arange(n), n, 0.5) <= (1.0 - level) / 2.0))
    if rank == 0:
        return float("nan"), float("nan")
    return float(ordered[rank - 1]), float(ordered[n - rank])
