"""What a run is worth: its evaluations, made one number for each objective and each constraint."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from autorl.analysis import Statistic, aggregate, area_under_curve, steps_to_threshold
from autorl.spec.objectives import LATENCY, MeasureSpec
from autorl.spec.study import StudySpec, spread
from autorl.trial import Point

Course = Sequence[tuple[int, tuple[float, ...]]]
"""Of a run, (environment steps, what each objective and each constraint measures) at the point of each evaluation."""

NEVER = 2
"""So many full runs count for one that never reached its threshold, as in penalized average runtimes (PAR2)."""


def course(spec: StudySpec, curve: Sequence[Point], cpu_seconds: float) -> Course:
    """Return what a run would have scored at each of its evaluations, had it ended there.

    Args:
        spec: the study; its `measures` are the columns.
        curve: the run's evaluations.
        cpu_seconds: processor time of the whole curve.
    """
    steps = [point.env_steps for point in curve]
    # What is due at several points at once is measured at the same steps.
    at = due(spread(spec.budget.steps_per_run, spec.evaluation.points), steps)
    columns = [_course(measure, spec, at, _values(measure.metric, curve, cpu_seconds)) for measure in spec.measures]
    return list(zip(at, zip(*columns, strict=True), strict=True))


def due(points: Sequence[int], steps: Sequence[int]) -> list[int]:
    """Return the points at which evaluations were due: rollouts end beyond them, and sometimes beyond several at once.

    Configurations whose rollouts differ in length are compared at the same points so.

    Args:
        points: at which a full run is evaluated.
        steps: environment steps of evaluations one after another, of which the first may be missing.
    """
    found, later = [], len(points)
    for step in reversed(steps):
        later = max(min(bisect_right(points, step), later) - 1, 0)
        found.append(points[later])
    return found[::-1]


def over_seeds(spec: StudySpec, scores: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    """Return a configuration's objectives over some seeds, then the means that constraints bound.

    Args:
        spec: the study.
        scores: of each run, what it scores for each of the study's measures.
    """
    statistics: list[Statistic] = [objective.statistic for objective in spec.objectives]
    statistics += ["mean"] * len(spec.constraints)
    return tuple(aggregate(column, how) for column, how in zip(zip(*scores, strict=True), statistics, strict=True))


def _values(metric: str, curve: Sequence[Point], cpu_seconds: float) -> list[float]:
    if metric == "wall_seconds":
        return [point.wall_seconds for point in curve]
    if metric == "cpu_seconds":
        # Evaluations know their wall time only; a run keeps its processor as busy from first to last.
        share = cpu_seconds / max(curve[-1].wall_seconds, 1e-9) if curve else 0.0
        return [point.wall_seconds * share for point in curve]
    if metric == LATENCY:
        return [point.inference_ms or 0.0 for point in curve]
    return [point.metrics[metric] for point in curve]


def _course(measure: MeasureSpec, spec: StudySpec, steps: Sequence[int], values: Sequence[float]) -> Sequence[float]:
    if measure.over_run == "last":
        return values
    if measure.over_run == "area":
        areas = [float(area_under_curve(steps[:end], [values[:end]])[0]) for end in range(2, len(steps) + 1)]
        return [*values[:1], *areas]
    assert measure.threshold is not None
    (reached,) = steps_to_threshold(steps, [values], measure.threshold)
    never = float(NEVER * spec.budget.steps_per_run)
    return [never if math.isinf(reached) or reached > step else float(reached) for step in steps]
