"""What learning curves say: how much was learned, how soon, whether it lasted, and how early it showed.

Curves come as ``env_steps``, shape ``(p,)``, the environment steps at which runs were evaluated, and ``values``, shape
``(n_seeds, p)``, a row for each seed, in the unit of the metric. Evaluations are noisy, and nothing here smooths them.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autorl.analysis.checks import Direction, check_level, finite_values, learning_curves, sign_of
from autorl.analysis.estimate import Estimate
from autorl.analysis.ranks import rank_correlation


@dataclass(frozen=True)
class ThresholdSummary:
    """How soon the seeds of a configuration reached a threshold.

    Attributes:
        share: Share of the seeds that reached it.
        median_env_steps: The fewest environment steps by which at least half of the seeds had reached it; infinite if
            fewer than half ever did.
    """

    share: float
    median_env_steps: float


@dataclass(frozen=True)
class FidelityCorrelation:
    """How well one evaluation point ranks configurations as the last one does.

    Attributes:
        correlation: Spearman's rank correlation between the two.
        n: How many configurations have both.
    """

    correlation: Estimate
    n: int


def area_under_curve(env_steps: npt.ArrayLike, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Average each curve over the environment steps between its first and its last evaluation.

    It is the area under the straight lines between evaluations, divided by the span, so its unit is the metric's. What
    came before the first evaluation counts as nothing, neither in the area nor in the span: nobody knows what the
    policy scored there. To count it, evaluate the untrained policy and give its score at step 0.

    Args:
        env_steps: Shape ``(p,)``, strictly increasing, p >= 2.
        values: Shape ``(n_seeds, p)``.

    Returns:
        Shape ``(n_seeds,)``, in the unit of the metric.

    Raises:
        ValueError: If the shapes are others, the steps do not increase from 0 or more, a value is not finite, or there
            is only one evaluation.
    """
    steps, curves = learning_curves(env_steps, values, at_least=2)
    area: npt.NDArray[np.float64] = np.trapezoid(curves, steps, axis=1) / (steps[-1] - steps[0])
    return area


def steps_to_threshold(
    env_steps: npt.ArrayLike, values: npt.ArrayLike, threshold: float, *, direction: Direction = "maximize"
) -> npt.NDArray[np.float64]:
    """Find the environment steps at which each curve first reaches a threshold.

    Between evaluations the curve is taken to be straight: the next evaluation would be late by up to an interval, and
    not comparable with that of runs evaluated more often. A curve that starts beyond the threshold reaches it at its
    first evaluation. One lucky evaluation is enough, so on noisy curves this is early.

    Args:
        env_steps: Shape ``(p,)``, strictly increasing.
        values: Shape ``(n_seeds, p)``. Leaving out a run that failed flatters the configuration: repeat its last value
            up to the end instead.
        threshold: In the unit of the metric.
        direction: Whether the curve has to get up to the threshold or down to it.

    Returns:
        Shape ``(n_seeds,)``; infinite for a curve that never reaches it.

    Raises:
        ValueError: If the shapes are others, the steps do not increase from 0 or more, a value or the threshold is not
            finite, or the direction is unknown.
    """
    steps, curves = learning_curves(env_steps, values)
    if not np.isfinite(threshold):
        raise ValueError(f"threshold: {threshold}; expected a finite number")
    above = sign_of(direction) * (curves - threshold)
    reached = above >= 0.0
    after = np.argmax(reached, axis=1)
    before = np.maximum(after - 1, 0)
    rows = np.arange(len(curves))
    # At the first evaluation nothing was climbed, nor any step done: any divisor but 0 will do.
    climb = np.where(after > 0, above[rows, after] - above[rows, before], 1.0)
    crossing = steps[before] - above[rows, before] / climb * (steps[after] - steps[before])
    return np.where(np.any(reached, axis=1), crossing, np.inf)


def threshold_summary(reached_env_steps: npt.ArrayLike) -> ThresholdSummary:
    """Summarize over seeds how soon a threshold was reached, where some seeds never did.

    A mean over the seeds that got there would be the better the fewer of the slow ones did. The median stands wherever
    the others would have got there, which can only be later; it is that of Kaplan and Meier (1958, JASA 53, 457-481),
    all seeds being trained equally far. Neither number compares configurations that were trained for different steps.

    Args:
        reached_env_steps: Shape ``(n_seeds,)``, what :func:`steps_to_threshold` returned.

    Raises:
        ValueError: If there is no seed, or one has NaN or fewer than 0 steps.
    """
    reached = np.asarray(reached_env_steps, dtype=np.float64)
    if reached.ndim != 1 or reached.size == 0 or not np.all(reached >= 0.0):
        raise ValueError(f"reached_env_steps: {reached_env_steps!r}; expected 0 or more, or infinity, for each seed")
    return ThresholdSummary(float(np.mean(np.isfinite(reached))), float(np.sort(reached)[(reached.size - 1) // 2]))


def final_against_best(values: npt.ArrayLike, *, direction: Direction = "maximize") -> npt.NDArray[np.float64]:
    """Say how much worse each curve ends than its best evaluation.

    The best of p noisy evaluations is better than the policy behind it, so a run that lost nothing shows a loss too:
    for a flat curve with normal noise of standard deviation s, 1.54 s at p = 10 and 1.87 s at p = 20 on average.

    Args:
        values: Shape ``(n_seeds, p)``.
        direction: What is better.

    Returns:
        Shape ``(n_seeds,)``, 0 or more, in the unit of the metric.

    Raises:
        ValueError: If the shape is another, a value is not finite, or the direction is unknown.
    """
    worth = sign_of(direction) * finite_values(values, 2)
    loss: npt.NDArray[np.float64] = np.max(worth, axis=1) - worth[:, -1]
    return loss


def fidelity_correlation(values: npt.ArrayLike, level: float = 0.95) -> tuple[FidelityCorrelation, ...]:
    """Say how well each evaluation point ranks configurations as the last one does.

    Only configurations that were trained to the end count. If early results chose them, they are more alike than all
    configurations are and the correlation is lower; to learn what early results are worth, train all in full. Noise in
    the last evaluation lowers it too: it is the agreement with a score, not with what the configuration is worth.

    Args:
        values: Shape ``(n_configurations, p)``, the score of each configuration at each evaluation point; NaN where it
            was not trained that far.
        level: Two-sided confidence level, in (0, 1).

    Returns:
        Shape ``(p,)``, by :func:`~autorl.analysis.ranks.rank_correlation`; NaN without a configuration. The last one
        is a correlation with itself, which says nothing.

    Raises:
        ValueError: If the shape is another, a value is infinite, or ``level`` is not in (0, 1).
    """
    check_level(level)
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 2 or scores.size == 0:
        raise ValueError(f"values: shape {scores.shape}; expected (n_configurations, p), at least 1 of each")
    if np.any(np.isinf(scores)):
        raise ValueError("values: infinite; expected finite scores, and NaN where a configuration has none")
    final, nothing = scores[:, -1], Estimate(np.nan, np.nan, np.nan, level)
    found = []
    for score in scores.T:
        both = ~(np.isnan(score) | np.isnan(final))
        correlation = rank_correlation(score[both], final[both], level) if np.any(both) else nothing
        found.append(FidelityCorrelation(correlation, int(np.count_nonzero(both))))
    return tuple(found)
