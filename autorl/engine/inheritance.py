"""What a study's teachers take over from an earlier study of the same database, settled when the study is created."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autorl.analysis.lessons import added_up, niches
from autorl.engine.measures import due
from autorl.engine.selection import rank
from autorl.errors import StorageError
from autorl.ledger.reader import Reader
from autorl.ledger.records import StudyRecord, TrialRecord
from autorl.spec.curriculum import ON_TARGET
from autorl.spec.study import StudySpec, spread
from autorl.spec.task import TaskSpec
from autorl.spec.yaml12 import show
from autorl.trial import Point

# Evaluations may be many, and then few episodes lie between two of them.
MOST_PHASES = 10


def inheriting(spec: StudySpec) -> StudySpec:
    """Return a study with the niches that it is to learn from an earlier one, unless it has them or exists already.

    They become a part of the study, so that nothing depends on the earlier one once this one is created.

    Raises:
        StorageError: the storage holds no such earlier study, or one from which this one can learn nothing.
    """
    asked = spec.curriculum.options
    name = asked.get("learned_from")
    if name is None or asked.get("niches") is not None:
        return spec
    try:
        with Reader(spec.storage) as reader:
            if any(study.name == spec.study for study in reader.studies()):
                return spec
            found = _niches(spec, reader, reader.study(name))
    except StorageError as error:
        raise StorageError(f"curriculum.learned_from: {error}") from None
    return spec.model_copy(update={"curriculum": spec.curriculum.model_copy(update={"niches": found})})


def _niches(spec: StudySpec, reader: Reader, earlier: StudyRecord) -> dict[str, list[list[float]]]:
    """Return the niches of the best trial of an earlier study: parameter → phases → weights of parts of its axis."""
    if other := _other_space(spec.task, earlier.spec.task):
        raise StorageError(f"study '{earlier.name}' has another task space: {other}")
    curves = _learned_curves(spec, reader, earlier)
    if not curves:
        raise StorageError(
            f"study '{earlier.name}' has no whole run whose curriculum chose among tasks, on seeds that this study "
            "does not test on"
        )
    points = earlier.spec.evaluation.points
    phases = min(points, MOST_PHASES)
    found = {}
    for name in spec.task.parameters:
        records = [
            (number * phases // points, point.curriculum[name])
            for curve in curves
            for number, point in _numbered(curve, earlier.spec)
            if point.curriculum is not None
        ]
        trained = added_up(records)
        assert trained is not None
        found[name] = niches(trained, phases).tolist()
    if not any(weight for phases_of in found.values() for weights in phases_of for weight in weights):
        raise StorageError(
            f"study '{earlier.name}' found no progress: "
            + ("nowhere did returns change" if phases > 1 else "one evaluation cannot show any; it needs two or more")
        )
    return found


def _other_space(own: TaskSpec, other: TaskSpec) -> str:
    """Say in what two task spaces differ, of which the one's niches would say nothing of the other; empty if in none.

    Targets and easy ends may differ, and so may all else of the task: the paper's students have bodies of their own.
    """
    ours, theirs = ({name: _axis(task, name) for name in task.parameters} for task in (own, other))
    for name in dict.fromkeys([*ours, *theirs]):
        if name not in theirs:
            return f"{name} does not vary there"
        if name not in ours:
            return f"{name} varies there"
        if json.dumps(ours[name]) != json.dumps(theirs[name]):  # the 3 of whole numbers is not 3.0
            return f"{name} is {show(theirs[name])} there, and {show(ours[name])} here"
    return ""


def _axis(task: TaskSpec, name: str) -> Mapping[str, Any]:
    return task.parameters[name].model_dump(include={"min", "max", "values", "sha256"}, exclude_none=True)


def _learned_curves(spec: StudySpec, reader: Reader, earlier: StudyRecord) -> Sequence[Sequence[Point]]:
    """Return the curves of the whole runs of the best trial whose teacher chose among tasks; empty without any.

    The winner is better than the trials that tuning data ranks. Runs on seeds that the new study tests on are left out:
    what tuning begins with must not have seen them.
    """
    ranked = rank(reader.trials(earlier.name), earlier.spec.objective.direction)
    for trial in sorted(ranked, key=lambda trial: trial.number != earlier.winner):
        if _chose(trial):
            whole = {
                run.run
                for run in reader.runs(earlier.name, trials=[trial.number])
                if run.state == "completed" and run.seed not in spec.seeds.test
            }
            curves = [c.points for c in reader.curves(earlier.name, [trial.number]) if c.run in whole]
            if any(point.curriculum is not None for points in curves for point in points):
                return curves
    return []


def _chose(trial: TrialRecord) -> bool:
    return trial.recipe.curriculum is not None and trial.recipe.curriculum["kind"] not in ON_TARGET


def _numbered(curve: Sequence[Point], spec: StudySpec) -> Iterator[tuple[int, Point]]:
    """Number the evaluations of a run from 0; a fork's curve may lack the first."""
    points = spread(spec.budget.steps_per_run, spec.evaluation.points)
    for at, point in zip(due(points, [point.env_steps for point in curve]), curve, strict=True):
        yield points.index(at), point
