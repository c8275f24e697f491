"""What more compute would buy: a sigmoid for each configuration of a grid over compute (Khatri et al. 2025)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autorl.analysis import SigmoidFit, aggregate, estimate, sigmoid_fit
from autorl.analysis.estimate import Estimate
from autorl.ledger.records import CurveRecord
from autorl.report.findings import Findings
from autorl.report.words import setting

COMPUTE = "gflop"
"""The metric that says how much compute training has taken."""
FEWEST_POINTS = 6


@dataclass(frozen=True)
class Scaled:
    """A configuration, and where it was going.

    Attributes:
        trial: its number.
        configuration: what it is.
        seeds: how many its mean curve is of.
        gflop: compute of a full run, mean over the seeds.
        score: at its end.
        equal: the fitted score at the compute that the cheapest configuration has spent in full.
        fit: of the mean curve, over compute in place of environment steps.
    """

    trial: int
    configuration: str
    seeds: int
    gflop: float
    score: Estimate
    equal: float
    fit: SigmoidFit

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        fit = {
            "asymptote": self.fit.asymptote,
            "identified": self.fit.identified,
            "midpoint_gflop": self.fit.midpoint_env_steps,
            "exponent": self.fit.exponent,
        }
        return {**vars(self), "score": self.score.to_dict(), "fit": fit}


def scalings(found: Findings, curves: Callable[[Sequence[int]], Sequence[CurveRecord]]) -> list[Scaled]:
    """Return the configurations of a grid search whose runs have said what they computed, the cheapest first.

    Args:
        found: the study.
        curves: numbers of trials → their learning curves on tuning seeds.
    """
    if found.spec.optimizer.name != "grid":
        return []
    whole = [trial.number for trial in found.trials if found.value(trial.number, "tuning") is not None]
    own: dict[int, list[CurveRecord]] = {}
    for curve in curves(whole):
        if all(COMPUTE in point.metrics for point in curve.points) and len(curve.points) >= FEWEST_POINTS:
            own.setdefault(curve.run.trial, []).append(curve)
    means = {trial: _mean(found, records) for trial, records in own.items()}
    fitted = {trial: mean for trial, mean in means.items() if len(mean[0]) >= FEWEST_POINTS}
    if not fitted:
        return []
    least = min(compute[-1] for compute, _, _ in fitted.values())
    result = []
    for trial, (compute, values, finals) in fitted.items():
        fit = sigmoid_fit(compute, values, direction=found.spec.curve_direction)
        config = ", ".join(f"{name}: {setting(value)}" for name, value in found.trials[trial].config.values.items())
        equal = float(fit.extrapolate([least])[0])
        result.append(Scaled(trial, config, len(finals), float(compute[-1]), estimate(finals), equal, fit))
    return sorted(result, key=lambda one: one.gflop)


def _mean(found: Findings, records: Sequence[CurveRecord]) -> tuple[np.ndarray, np.ndarray, Sequence[float]]:
    """Return compute and objective at the evaluations, means over seeds, and the seeds' last scores."""
    points = min(len(record.points) for record in records)
    compute, values = (
        np.array([[point.metrics[name] for point in record.points[:points]] for record in records])
        for name in (COMPUTE, found.spec.curve_metric)
    )
    spent, means = compute.mean(0), np.array([aggregate(column, "mean") for column in values.T])
    # Of evaluations after the same step, which was due at several points, the last.
    rising = np.append(np.diff(spent) > 0, True)
    return spent[rising], means[rising], list(values[:, -1])
