"""What scores on several tasks say together: Agarwal et al.'s metrics, and intervals made for few runs.

The definitions are those of "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (2021, arXiv
2108.13264) and of its library, rliable. Scores are a matrix of shape (runs, tasks); those of different tasks must share
a unit, so normalize them first. Whatever draws random numbers is given the generator to draw them from.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import special

from autorl.analysis.checks import check_level, finite_matrix, finite_vector
from autorl.analysis.estimate import Estimate, aggregate, estimate
from autorl.analysis.superiority import effective_pairs, lower_limit, probability_better

Metric = Literal["mean", "median", "iqm", "optimality_gap"]
ScoreDistribution = Literal["run", "mean"]
Scores = npt.NDArray[np.float64]

FEW_RUNS: Final = 10

# Resamples are drawn in blocks of about this many scores: 2 MiB of them, and as much of indices.
_BLOCK: Final = 2**18


@dataclass(frozen=True)
class TasksEstimate:
    """An estimate from the runs of several tasks.

    Attributes:
        estimate: The number and its interval; the ends are NaN where each task has one run.
        cautions: What a reader should know before believing the interval, in sentences.
    """

    estimate: Estimate
    cautions: tuple[str, ...]


@dataclass(frozen=True)
class PerformanceProfile:
    """The share of scores above each of several thresholds.

    Attributes:
        taus: The thresholds, in the unit of the scores.
        shares: One estimate for each threshold, a share in [0, 1]; each interval holds for its threshold alone.
        cautions: What a reader should know before believing the intervals, in sentences.
    """

    taus: tuple[float, ...]
    shares: tuple[Estimate, ...]
    cautions: tuple[str, ...]


def aggregate_tasks(scores: npt.ArrayLike, metric: Metric, *, target: float | None = None) -> float:
    """Reduce the scores of several tasks to one number, as rliable 1.2.0 does (``rliable.metrics``).

    Agarwal et al. (2021, arXiv 2108.13264), section 4.3, define:

    - ``mean``: the mean of all scores.
    - ``median``: the median over tasks of each task's mean. Of one task, it is the mean of its runs.
    - ``iqm``: the interquartile mean of all scores pooled, see :func:`autorl.analysis.aggregate`.
    - ``optimality_gap``: by how much scores miss ``target``, the mean of max(target - score, 0). Lower is better.

    Args:
        scores: Shape ``(runs, tasks)``, finite, in one unit.
        metric: Which of the four.
        target: Only for the optimality gap, which needs it: the score from which nothing is missing, in the unit of
            the scores. Where lower scores are better, negate the scores and the target.

    Returns:
        The aggregate, in the unit of the scores.

    Raises:
        ValueError: If there is no score, a score is not finite, the metric is unknown, or the optimality gap has no
            finite target.
    """
    return _point(_checked(scores, metric, target), metric)


def estimate_tasks(
    scores: npt.ArrayLike,
    metric: Metric,
    rng: np.random.Generator,
    *,
    target: float | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
) -> TasksEstimate:
    """Estimate what fresh runs on the same tasks would score, with an interval made for few runs.

    The interval covers chance between runs, not the choice of tasks. For one task it is that of
    :func:`autorl.analysis.estimate`: of the IQM for ``iqm``, else of the mean. For several:

    - ``mean`` and ``optimality_gap``, a mean of gaps: the variance of a mean of K independent task means is
      sum s_k^2 / n / K^2, with Welch and Satterthwaite's degrees of freedom (Satterthwaite 1946, Biometrics Bulletin
      2, 110-114; Welch 1947, Biometrika 34, 28-35), which are Student's for one task. No gap is below zero, so
      neither is its lower end.
    - ``median``: a generalized confidence interval (Weerahandi 1993, JASA 88, 899-905): quantiles of the median of
      m_k + s_k T_k / sqrt(n), with T_k independent draws of Student's t with n - 1 degrees of freedom.
    - ``iqm``: the stratified bootstrap's expanded percentile interval (Hesterberg 2015, The American Statistician 69,
      371-386): tails of Phi(-sqrt(n / (n - 1)) t) rather than (1 - level) / 2, with the mean's t quantile.

    Measured least coverage of nominal 95 % intervals and, in brackets, that of equal normal tasks, over normal scores
    (equal tasks; tasks 3 standard deviations apart; one task's standard deviation 10 times the others'), lognormal
    scores, and 0/1 mixtures (successes from 50 % to 90 %) with and without noise; target 1 (1,000 draws each
    with 600 resamples; the percentile intervals are :func:`stratified_bootstrap`'s):

    ===========================  ===========  ===========  ===========  ===========  ===========  ===========
    tasks                        2            2            2            10           10           10
    runs of each                 3            5            10           3            5            10
    ===========================  ===========  ===========  ===========  ===========  ===========  ===========
    mean                         0.83 (0.97)  0.86 (0.95)  0.87 (0.95)  0.90 (0.96)  0.91 (0.96)  0.92 (0.96)
    mean, percentile             0.72 (0.79)  0.78 (0.86)  0.84 (0.92)  0.80 (0.88)  0.86 (0.92)  0.90 (0.94)
    optimality gap               0.80 (0.95)  0.87 (0.94)  0.90 (0.96)  0.84 (0.96)  0.87 (0.96)  0.91 (0.95)
    optimality gap, percentile   0.68 (0.79)  0.78 (0.86)  0.87 (0.92)  0.70 (0.88)  0.80 (0.92)  0.88 (0.94)
    median                       0.83 (0.99)  0.88 (0.97)  0.88 (0.97)  0.70 (0.99)  0.94 (0.99)  0.96 (0.99)
    median, percentile           0.73 (0.79)  0.77 (0.86)  0.84 (0.91)  0.72 (0.91)  0.86 (0.96)  0.94 (0.99)
    IQM                          0.79 (0.91)  0.94 (0.96)  0.95 (0.96)  0.92 (0.95)  0.95 (0.96)  0.94 (0.96)
    IQM, percentile              0.77 (0.85)  0.89 (0.90)  0.92 (0.93)  0.81 (0.88)  0.90 (0.92)  0.92 (0.95)
    ===========================  ===========  ===========  ===========  ===========  ===========  ===========

    So none keeps its promise at three runs whose scores are skewed or all alike, and that of the mean is short for
    lognormal scores even at ten.

    Args:
        scores: Shape ``(runs, tasks)``, finite, in one unit.
        metric: What to estimate, see :func:`aggregate_tasks`.
        rng: Where the median and the IQM of several tasks draw from; the rest draw nothing.
        target: For the optimality gap, see :func:`aggregate_tasks`.
        level: Two-sided confidence level, in (0, 1).
        resamples: How many random draws the median and the IQM of several tasks take.

    Returns:
        The estimate, in the unit of the scores, with a caution if a task has fewer than 10 runs and one if the
        interval has no width.

    Raises:
        ValueError: As :func:`aggregate_tasks`, or if ``level`` is not in (0, 1) or ``resamples`` is below 1.
    """
    check_level(level)
    _check_resamples(resamples)
    values = _checked(scores, metric, target)
    runs, tasks = values.shape
    middle = _point(values, metric)
    if tasks == 1:
        found = estimate(values[:, 0], "iqm" if metric == "iqm" else "mean", level)
        middle, low, high = found.value, found.low, found.high
    elif runs == 1:
        low = high = math.nan
    elif metric == "median":
        low, high = _generalized_interval(values, rng, level, resamples)
    elif metric == "iqm":
        quantile, _ = _welch_satterthwaite(values, level)
        tail = float(special.ndtr(-math.sqrt(runs / (runs - 1)) * quantile))
        low, high = _percentiles(_resampled(values, _pooled_iqm, rng, resamples), tail)
    else:
        quantile, error = _welch_satterthwaite(values, level)
        low, high = middle - quantile * error, middle + quantile * error
    if metric == "optimality_gap":
        low = float(np.maximum(low, 0.0))
    return _with_cautions(
        Estimate(middle, low, high, level),
        runs,
        "the interval leans on the mean of each task being roughly normal, which those of reinforcement learning often "
        "are not",
    )


def stratified_bootstrap(
    scores: npt.ArrayLike,
    metric: Metric,
    rng: np.random.Generator,
    *,
    target: float | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
) -> TasksEstimate:
    """Estimate as rliable does: with the percentile interval of a bootstrap that resamples runs within each task.

    This is ``rliable.library.get_interval_estimates`` (Agarwal et al. 2021, arXiv 2108.13264, section 4.1), for
    comparing with what others publish; :func:`estimate_tasks` is better at few runs. Nominal 95 % intervals cover only
    57 to 71 % at three runs of one task whose scores are skewed: there the interval is the range of the scores, which
    holds the mean with probability 1 - p^3 - (1 - p)^3, p being the probability of a score below it. That is 71 % at
    p = 0.62, 57 % at p = 0.745 and never more than 75 %. The table in :func:`estimate_tasks` has several tasks. Below
    10 runs a task a caution says so.

    Args:
        scores: Shape ``(runs, tasks)``, finite, in one unit.
        metric: What to estimate, see :func:`aggregate_tasks`.
        rng: Where the resamples are drawn from.
        target: For the optimality gap, see :func:`aggregate_tasks`.
        level: Two-sided confidence level, in (0, 1).
        resamples: How many resamples to draw.

    Returns:
        The estimate, in the unit of the scores, with a caution if a task has fewer than 10 runs and one if the
        interval has no width.

    Raises:
        ValueError: As :func:`aggregate_tasks`, or if ``level`` is not in (0, 1) or ``resamples`` is below 1.
    """
    check_level(level)
    _check_resamples(resamples)
    values = _checked(scores, metric, target)
    low = high = math.nan
    if len(values) > 1:
        statistic = {"median": _median_of_means, "iqm": _pooled_iqm}.get(metric, _mean)
        low, high = _percentiles(_resampled(values, statistic, rng, resamples), (1.0 - level) / 2.0)
    return _with_cautions(
        Estimate(_point(values, metric), low, high, level),
        len(values),
        "the interval of a percentile bootstrap is too short",
    )


def cvar(scores: npt.ArrayLike, alpha: float, *, higher_is_better: bool = True) -> float:
    """Average the worst ``alpha`` share of the runs: the conditional value at risk over seeds.

    Where ``alpha`` n is not whole, the run at the edge counts by the part of it that belongs to the share (Acerbi and
    Tasche 2002, Journal of Banking & Finance 26, 1487-1503, definition 2.6; Rockafellar and Uryasev 2002, in the same
    volume, 1443-1471, proposition 8). At ``alpha`` n <= 1 it is the worst score, at ``alpha`` = 1 the mean.

    It flatters: a sample's CVaR is on average no worse than the distribution's, and at few runs much better. The worst
    of n uniform scores averages 1 / (n + 1), while the lowest 1 / n of the distribution averages half of 1 / n. For
    the same reason it comes without an interval: few runs do not know their distribution's tail.

    Args:
        scores: Shape ``(runs,)``, one finite score for each run of one task.
        alpha: The share, in (0, 1].
        higher_is_better: Whether the lowest scores are the worst; else the highest are.

    Returns:
        The mean of the worst runs, in the unit of the scores.

    Raises:
        ValueError: If there is no score, a score is not finite, or ``alpha`` is not in (0, 1].
    """
    if not 0.0 < alpha <= 1.0:
        raise ValueError(f"alpha: {alpha}; expected above 0 and at most 1, such as 0.25")
    worst_first = np.sort(finite_vector("scores", scores))
    if not higher_is_better:
        worst_first = worst_first[::-1]
    share = alpha * worst_first.size
    weights = np.clip(share - np.arange(worst_first.size), 0.0, 1.0)
    return float(weights @ worst_first / share)


def performance_profile(
    scores: npt.ArrayLike,
    taus: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    distribution: ScoreDistribution = "run",
    level: float = 0.95,
    resamples: int = 2000,
) -> PerformanceProfile:
    """Estimate the share of scores above each threshold, as ``rliable.library.create_performance_profile`` does.

    See Agarwal et al. (2021, arXiv 2108.13264), section 4.2. For the runs of one task the bands are Clopper and
    Pearson's, which cover at least ``level``. For several tasks they are pointwise percentile intervals of the
    stratified bootstrap, see :func:`stratified_bootstrap`, so they are too short at few runs, and they have no width
    where all scores are on one side of a threshold. Measured least coverage of nominal 95 % bands of the run-score
    distribution, at thresholds that 10 to 90 % of the scores of :func:`estimate_tasks`'s table exceed: 74, 86 and 91 %
    at three, five and ten runs of ten tasks (300 draws each).

    Args:
        scores: Shape ``(runs, tasks)``, finite, in one unit. Where lower is better, negate them and ``taus``.
        taus: Shape ``(thresholds,)``, finite, in the unit of the scores.
        rng: Where the resamples of several tasks are drawn from.
        distribution: ``run``, the share of all runs that score above tau (the run-score distribution); or ``mean``,
            the share of tasks whose mean does (the average-score distribution), which is biased.
        level: Two-sided confidence level of each interval, in (0, 1).
        resamples: How many resamples to draw.

    Returns:
        The profile, with a caution if a task has fewer than 10 runs.

    Raises:
        ValueError: If ``scores`` or ``taus`` are empty or not finite, the distribution is unknown, ``level`` is not in
            (0, 1), or ``resamples`` is below 1.
    """
    check_level(level)
    _check_resamples(resamples)
    if distribution not in get_args(ScoreDistribution):
        raise ValueError(f"distribution: {distribution!r}; expected one of {', '.join(get_args(ScoreDistribution))}")
    values, thresholds = finite_matrix("scores", scores), finite_vector("taus", taus)

    def shares_above(draws: Scores) -> Scores:
        ranked = np.mean(draws, axis=-2) if distribution == "mean" else _pooled(draws)
        return np.stack([np.mean(ranked > tau, axis=-1) for tau in thresholds], axis=-1)

    shares = shares_above(values)
    runs, tasks = values.shape
    ends = np.full((2, thresholds.size), math.nan)
    if tasks == 1 and distribution == "run":
        won = shares * runs
        ends = np.array([[lower_limit(w, runs - w, level), 1.0 - lower_limit(runs - w, w, level)] for w in won]).T
        return _profile(thresholds, shares, ends, level, ())
    if runs > 1:
        tail = (1.0 - level) / 2.0
        ends = np.quantile(_resampled(values, shares_above, rng, resamples), [tail, 1.0 - tail], axis=0)
    return _profile(thresholds, shares, ends, level, _few(runs, "the bands of a percentile bootstrap are too short"))


def _profile(taus: Scores, shares: Scores, ends: Scores, level: float, cautions: tuple[str, ...]) -> PerformanceProfile:
    estimates = (
        Estimate(float(share), float(low), float(high), level) for share, low, high in zip(shares, *ends, strict=True)
    )
    return PerformanceProfile(tuple(taus.tolist()), tuple(estimates), cautions)


def probability_of_improvement(
    x: npt.ArrayLike, y: npt.ArrayLike, *, higher_is_better: bool = True, level: float = 0.95
) -> TasksEstimate:
    """Estimate the probability that ``x`` beats ``y`` on a task drawn at random, each with one fresh run.

    The estimate is the mean over tasks of :func:`autorl.analysis.probability_better`, ties counting half (Agarwal et
    al. 2021, arXiv 2108.13264, section 4.3; ``rliable.metrics.probability_of_improvement``). For one task the interval
    is that function's. For several it puts Clopper and Pearson's of each together, at the same effective number of
    pairs, by the method of variance estimates recovery (Zou, Huang and Zhang 2009, Computational Statistics & Data
    Analysis 53, 1080-1085): its ends are as far from the estimate as the root of the sum of squares of the tasks'
    distances, divided by the number of tasks. (Jeffreys' of each, put together so, cover 87 % at worst.)

    Measured least coverage of nominal 95 % intervals and, in brackets, mean width, over tasks that are all of one kind
    of those that :func:`autorl.analysis.probability_better` was measured on (``benchmarks/calibration.py``; 400 draws
    for the percentile interval of a bootstrap that resamples each task's runs on each side):

    ==========  ===========  ===========  ===========  ===========  ===========  ===========
    tasks       2            2            2            10           10           10
    runs        3            5            10           3            5            10
    ==========  ===========  ===========  ===========  ===========  ===========  ===========
    this one    0.97 (0.60)  0.95 (0.49)  0.97 (0.35)  0.92 (0.28)  0.89 (0.22)  0.92 (0.16)
    percentile  0.22 (0.37)  0.41 (0.33)  0.73 (0.25)  0.68 (0.19)  0.86 (0.16)  0.92 (0.12)
    ==========  ===========  ===========  ===========  ===========  ===========  ===========

    Args:
        x: Shape ``(runs, tasks)``, finite.
        y: Shape ``(any runs, tasks)``, the same for what it is compared with, task by task; runs are not paired.
        higher_is_better: Whether the higher score wins; else the lower one does.
        level: Two-sided confidence level, in (0, 1).

    Returns:
        The estimate, a probability, with a caution if a task has fewer than 10 runs on either side. The ends are NaN
        if either side has one run a task.

    Raises:
        ValueError: If a side is empty or has a score that is not finite, the two differ in their number of tasks, or
            ``level`` is not in (0, 1).
    """
    left, right = finite_matrix("x", x), finite_matrix("y", y)
    tasks = left.shape[1]
    if right.shape[1] != tasks:
        raise ValueError(f"x has {tasks} tasks and y has {right.shape[1]}; expected the same tasks in the same order")
    doubt = "the interval is wide, and may hold a little less often than it promises"
    cautions = _few(min(len(left), len(right)), doubt)
    if tasks == 1:
        only = probability_better(left[:, 0], right[:, 0], higher_is_better=higher_is_better, level=level)
        return TasksEstimate(only, cautions)
    check_level(level)
    found = [effective_pairs(a, b, higher_is_better=higher_is_better) for a, b in zip(left.T, right.T, strict=True)]
    values, pairs = np.array(found).T
    counts = np.stack([values * pairs, (1.0 - values) * pairs], axis=1)
    lows = np.array([lower_limit(won, lost, level) for won, lost in counts])
    highs = np.array([1.0 - lower_limit(lost, won, level) for won, lost in counts])
    middle = float(np.mean(values))
    low = float(np.maximum(middle - np.linalg.norm(values - lows) / tasks, 0.0))
    high = float(np.minimum(middle + np.linalg.norm(highs - values) / tasks, 1.0))
    return TasksEstimate(Estimate(middle, low, high, level), cautions)


def _checked(scores: npt.ArrayLike, metric: Metric, target: float | None) -> Scores:
    """The values that the metric averages: the scores, or what they miss of the target."""
    if metric not in get_args(Metric):
        raise ValueError(f"metric: {metric!r}; expected one of {', '.join(get_args(Metric))}")
    values = finite_matrix("scores", scores)
    if metric != "optimality_gap":
        return values
    if target is None or not math.isfinite(target):
        raise ValueError(f"target: {target}; the optimality gap needs a finite one, in the unit of the scores")
    return np.maximum(target - values, 0.0)


def _check_resamples(resamples: int) -> None:
    if resamples < 1:
        raise ValueError(f"resamples: {resamples}; expected at least 1, such as 10000")


def _point(values: Scores, metric: Metric) -> float:
    if metric == "median":
        return aggregate(np.mean(values, axis=0), "median")
    return aggregate(values.ravel(), "iqm" if metric == "iqm" else "mean")


def _pooled(draws: Scores) -> Scores:
    return draws.reshape(*draws.shape[:-2], -1)


def _mean(draws: Scores) -> Scores:
    return np.asarray(np.mean(draws, axis=(-2, -1)))


def _median_of_means(draws: Scores) -> Scores:
    return np.asarray(np.median(np.mean(draws, axis=-2), axis=-1))


def _pooled_iqm(draws: Scores) -> Scores:
    ordered = np.sort(_pooled(draws), axis=-1)
    cut = ordered.shape[-1] // 4
    return np.asarray(np.mean(ordered[..., cut : ordered.shape[-1] - cut], axis=-1))


def _resampled(
    values: Scores, statistic: Callable[[Scores], Scores], rng: np.random.Generator, resamples: int
) -> Scores:
    """The statistic of each resample, shape (resamples, ...); each task's runs are resampled on their own."""
    block = max(1, _BLOCK // values.size)
    found = []
    for start in range(0, resamples, block):
        picks = rng.integers(len(values), size=(min(block, resamples - start), *values.shape))
        found.append(statistic(np.take_along_axis(values[np.newaxis], picks, axis=1)))
    return np.concatenate(found)


def _percentiles(draws: Scores, tail: float) -> tuple[float, float]:
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return float(low), float(high)


def _welch_satterthwaite(values: Scores, level: float) -> tuple[float, float]:
    """The t quantile and the standard error of the mean over tasks."""
    runs, tasks = values.shape
    variances = np.var(values, axis=0, ddof=1) / runs
    total = float(np.sum(variances))
    # Without spread, any degrees of freedom do: the fewest that there can be.
    freedom = (runs - 1) / np.sum((variances / total) ** 2) if total > 0.0 else runs - 1
    return float(special.stdtrit(freedom, (1.0 + level) / 2.0)), math.sqrt(total) / tasks


def _generalized_interval(
    values: Scores, rng: np.random.Generator, level: float, resamples: int
) -> tuple[float, float]:
    runs, tasks = values.shape
    errors = np.std(values, axis=0, ddof=1) / math.sqrt(runs)
    draws = np.mean(values, axis=0) + errors * rng.standard_t(runs - 1, size=(resamples, tasks))
    return _percentiles(np.median(draws, axis=-1), (1.0 - level) / 2.0)


def _few(runs: int, consequence: str) -> tuple[str, ...]:
    if runs >= FEW_RUNS:
        return ()
    return (f"{runs} run{'s' if runs > 1 else ''} a task: below {FEW_RUNS} {consequence}",)


def _with_cautions(found: Estimate, runs: int, consequence: str) -> TasksEstimate:
    cautions = _few(runs, consequence)
    if found.low == found.high:
        cautions += ("the interval has no width: the runs that count in it showed no spread, which others may",)
    return TasksEstimate(found, cautions)
