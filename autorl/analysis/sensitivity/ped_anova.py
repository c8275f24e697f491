"""Which hyperparameters decide whether a configuration is among the best."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from autorl.analysis.checks import finite_vector
from autorl.analysis.sensitivity.forest import Axis, Domain, Points

FEWEST = 5
"""The best that are needed for a density: Optuna's advice."""
SHARE = 0.1


def ped_anova(
    domain: Domain, points: Points, scores: npt.ArrayLike, *, higher_is_better: bool = True, share: float = SHARE
) -> npt.NDArray[np.float64]:
    """Return how much each hyperparameter decides whether a configuration is among the best.

    PED-ANOVA (Watanabe, Bansal and Hutter 2023, arXiv 2304.10255), as Optuna computes it: the Pearson divergence of
    where the best are from where all are, along each hyperparameter; for conditional ones, condPED-ANOVA
    (arXiv 2601.20800). It answers another question than fANOVA, which asks for the variance over the whole space, so
    the two may disagree.

    Args:
        domain: The search space.
        points: What was tried, shape ``(n, d)``, NaN where inactive.
        scores: Shape ``(n,)``, finite.
        higher_is_better: Which scores are the best.
        share: How many of them count as the best; at least ``FEWEST`` always do.

    Returns:
        Shape ``(d,)``, summing to 1; all 0 where nothing can be said.
    """
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator

    values = finite_vector("scores", scores)
    best = best_share(values.size, share)
    if best >= 1.0:
        return np.zeros(len(domain.axes))
    distributions = [_distribution(axis) for axis in domain.axes]
    trials = []
    for point, value in zip(points, values, strict=True):
        present = [i for i, coordinate in enumerate(point) if not np.isnan(coordinate)]
        trials.append(
            optuna.trial.create_trial(
                params={str(i): _parameter(domain.axes[i], point[i]) for i in present},
                distributions={str(i): distributions[i] for i in present},
                value=-value if higher_is_better else value,
            )
        )
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it announces each study
    study = optuna.create_study()
    study.add_trials(trials)
    evaluator = PedAnovaImportanceEvaluator(target_quantile=best)
    importance = evaluator.evaluate(study, params=None)
    found = np.array([importance.get(str(i), 0.0) for i in range(len(domain.axes))])
    total = found.sum()
    return found / total if total > 0.0 else np.zeros(len(found))


def best_share(count: int, share: float = SHARE) -> float:
    """Return how many of so many scores count as the best: a tenth, but never fewer than `FEWEST`."""
    return max(share, FEWEST / count)


def _distribution(axis: Axis) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return CategoricalDistribution(tuple(range(axis.choices))) if axis.choices else FloatDistribution(0.0, 1.0)


def _parameter(axis: Axis, coordinate: float) -> float | int:
    return min(int(coordinate * axis.choices), axis.choices - 1) if axis.choices else float(coordinate)
