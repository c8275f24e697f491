"""What all seeds together say of each trial: whether it meets the constraints, and whether anything dominates it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autorl.analysis import (
    Means,
    aggregate,
    knee,
    probability_below,
    probability_undominated,
    shrunk_means,
    spread_out,
)
from autorl.ledger.records import TrialRecord
from autorl.spec.objectives import ObjectiveSpec
from autorl.spec.study import StudySpec
from autorl.trial import Verdict

Scores = Sequence[tuple[float, ...]]
"""Of each full run of a trial, what it scores for each of the study's measures."""

ON_THE_FRONT = 0.5
"""How likely nothing has to dominate a trial for it to count as one of the front."""


def verdicts(spec: StudySpec, scores: Mapping[int, Scores]) -> dict[int, Verdict]:
    """Judge trials by the seeds of all of them.

    Args:
        spec: the study.
        scores: trial → its full runs; trials without one are not judged.

    Returns:
        Trial → verdict; nothing where the study has one objective and no constraint.
    """
    judged = {number: own for number, own in scores.items() if own}
    if spec.plain or not judged:
        return {}
    objectives = len(spec.objectives)
    tables = [np.array(own) for own in judged.values()]
    feasible = np.ones((len(judged), len(spec.constraints)))
    for index, constraint in enumerate(spec.constraints):
        means = shrunk_means([constraint.sign * table[:, objectives + index] for table in tables])
        feasible[:, index] = probability_below(means, constraint.sign * constraint.bound, len(spec.seeds.test))
    admissible = np.all(feasible >= [constraint.probability for constraint in spec.constraints], axis=1)
    undominated = np.zeros(len(judged))
    if objectives > 1:
        compared = np.flatnonzero(admissible)
        if not compared.size:
            compared = np.arange(len(judged))
        chosen = [tables[row] for row in compared]
        posterior = [_means(objective, chosen, column) for column, objective in enumerate(spec.objectives)]
        undominated[compared] = probability_undominated(posterior, [o.direction for o in spec.objectives])
    return {
        number: Verdict(
            tuple(feasible[row].tolist()),
            bool(admissible[row]),
            float(undominated[row]) if objectives > 1 else None,
        )
        for row, number in enumerate(judged)
    }


def reference_point(spec: StudySpec, trials: Sequence[TrialRecord]) -> list[float]:
    """Return the point from which hypervolume is counted: the study's, else the worst of all tuning values."""
    values = [trial.values for trial in trials if trial.values]
    return [
        objective.reference
        if objective.reference is not None
        else min((v[column] for v in values), key=lambda value: objective.sign * value)
        for column, objective in enumerate(spec.objectives)
    ]


def front(spec: StudySpec, ranked: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the trials that trade the objectives off, as many as the study trains again.

    Args:
        spec: a study of several objectives.
        ranked: its trials, the best first; their verdicts decide.

    Returns:
        Those that are more likely undominated than not; if they are too many, the ones that stand for the others. If
        there is none, the first.
    """
    likely = [t for t in ranked if t.verdict is not None and t.verdict.admissible and _on(t.verdict)]
    if len(likely) <= spec.retested:
        return likely or list(ranked[:1])
    objectives = len(spec.objectives)
    values = [trial.values[:objectives] for trial in likely]
    directions = [objective.direction for objective in spec.objectives]
    return [likely[row] for row in spread_out(values, reference_point(spec, ranked), directions, spec.retested)]


def surviving(spec: StudySpec, scores: Mapping[int, Scores]) -> tuple[list[int], int]:
    """Return which candidates stay on the front when they have been trained again, and the knee among them.

    Args:
        spec: a study of several objectives.
        scores: candidate → its full runs of all phases that may choose.
    """
    found = verdicts(spec, scores)
    stay = [number for number, verdict in found.items() if verdict.admissible and _on(verdict)]
    stay = stay or [max(found, key=lambda number: (found[number].admissible, found[number].undominated or 0.0))]
    tables = [np.array(scores[number]) for number in stay]
    means = [_means(objective, tables, column).mean for column, objective in enumerate(spec.objectives)]
    return stay, stay[knee(np.stack(means, axis=1), [objective.direction for objective in spec.objectives])]


def _on(verdict: Verdict) -> bool:
    return verdict.undominated is not None and verdict.undominated >= ON_THE_FRONT


def _means(objective: ObjectiveSpec, tables: Sequence[np.ndarray], column: int) -> Means:
    if objective.over_seeds in ("mean", "median", "iqm"):
        return shrunk_means([table[:, column] for table in tables])
    # How well few seeds know a spread or a tail is not known: it is taken as it was measured.
    values = np.array([aggregate(table[:, column], objective.statistic) for table in tables])
    return Means(values, np.zeros_like(values), np.zeros_like(values), np.full_like(values, np.inf))
