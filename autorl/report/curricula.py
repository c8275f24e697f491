"""What curricula did: where the best one trained, and how the kinds compare."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from autorl.analysis.lessons import Trained, added_up
from autorl.ledger.records import CurveRecord, TrialRecord
from autorl.report.findings import Findings
from autorl.report.words import number, setting
from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import TEACHER

MOST_NAMED = 3


def trained(curves: Sequence[CurveRecord], name: str) -> Trained | None:
    """Add up what runs trained of a parameter; None if none of it is recorded.

    Args:
        curves: of runs with one task space.
        name: of the parameter.
    """
    points = [point for curve in curves for point in curve.points]
    return added_up((point.env_steps, point.curriculum[name]) for point in points if point.curriculum is not None)


def stood(curves: Sequence[CurveRecord]) -> list[tuple[int, int, Mapping[str, Any]]]:
    """Return where the teachers of runs stood: seed, environment steps of the evaluation, and what the teacher says."""
    return [
        (curve.run.seed, point.env_steps, point.curriculum[TEACHER])
        for curve in curves
        for point in curve.points
        if point.curriculum is not None and TEACHER in point.curriculum
    ]


def curriculum_sentences(findings: Findings, curves: Callable[..., Sequence[CurveRecord]]) -> list[str]:
    """Say where the best trial's curriculum trained on the tuning seeds, and how far each kind got; empty without any.

    Args:
        findings: what the study found.
        curves: returns the curves of trials in a phase.
    """
    best = findings.winner or findings.incumbent
    if best is None or best.recipe.task_space is None or best.recipe.curriculum is None:
        return []
    said = _by_kind(findings)
    if best.recipe.curriculum["kind"] == "none":
        return said
    told = curves([best.number], "tuning")
    for name in list(best.recipe.task_space["parameters"])[:MOST_NAMED]:
        found = trained(told, name)
        if found is not None and found.env_steps.any():
            said.append(where_trained(best, name, found))
    return said


def where_trained(trial: TrialRecord, name: str, found: Trained) -> str:
    """Say on what part of a parameter's axis a trial spent at least half of its training, of which there is some."""
    assert trial.recipe.curriculum is not None and trial.recipe.task_space is not None
    steps = found.env_steps.sum(axis=0)
    first, last = half(steps)
    share = steps[first : last + 1].sum() / steps.sum()
    where = part_words(trial.recipe.task_space["parameters"][name], first, last, len(steps))
    return (
        f"The curriculum of trial {trial.number} ({trial.recipe.curriculum['kind']}) spent {share:.0%} of its training "
        f"on {name} {where}; the target is {target_words(trial.recipe.task_space['target'][name])}."
    )


def half(steps: np.ndarray) -> tuple[int, int]:
    """Return the first and the last of the fewest adjacent parts that hold at least half of the steps, most first."""
    windows = [
        (last - first, -int(steps[first : last + 1].sum()), first, last)
        for first in range(len(steps))
        for last in range(first, len(steps))
        if 2 * steps[first : last + 1].sum() >= steps.sum()
    ]
    _, _, first, last = min(windows)
    return first, last


def ends(parameter: Mapping[str, Any], first: int, last: int, parts: int) -> tuple[Any, Any]:
    """Return the lowest and the highest value in adjacent parts of a parameter's axis.

    Args:
        parameter: of the task space.
        first: number of the first part.
        last: of the last.
        parts: into how many equal ones the axis is divided.
    """
    if "values" not in parameter and not (isinstance(parameter["min"], int) and isinstance(parameter["max"], int)):
        low, width = parameter["min"], (parameter["max"] - parameter["min"]) / parts
        return low + first * width, low + (last + 1) * width
    values = parameter["values"] if "values" in parameter else range(parameter["min"], parameter["max"] + 1)
    # A value stands in the middle of its part of the axis.
    below, above = (math.ceil(edge * len(values) / parts - 0.5) for edge in (first, last + 1))
    return values[below], values[above - 1]


def part_words(parameter: Mapping[str, Any], first: int, last: int, parts: int) -> str:
    """Name the values in adjacent parts of a parameter's axis; see `ends`."""
    low, high = ends(parameter, first, last, parts)
    return setting(low) if low == high else f"{setting(low)} to {setting(high)}"


def parts_of_target(parameter: Mapping[str, Any], target: Any, parts: int) -> list[int]:
    """Return the parts of a parameter's axis that its target lies in, or is nearest to where it lies outside."""
    space = TaskSpace({"it": parameter}, {"it": target})

    def part(value: Any) -> int:
        return min(max(int(space.vector({"it": value})[0] * parts), 0), parts - 1)

    if isinstance(target, Mapping) and "min" in target:
        return list(range(part(target["min"]), part(target["max"]) + 1))
    return sorted({part(value) for value in (target["values"] if isinstance(target, Mapping) else [target])})


def _by_kind(findings: Findings) -> list[str]:
    """Say what the best trial of each kind is worth, where there are several."""
    found: dict[str, str] = {}
    for trial in findings.ranked:
        kind = (trial.recipe.curriculum or {}).get("kind")
        if kind is not None and kind not in found:
            found[kind] = f"{kind} {number(trial.worth)} (trial {trial.number})"
    if len(found) < 2:
        return []
    return [f"The best trial of each kind of curriculum by tuning data: {', '.join(found.values())}."]


def target_words(target: Any) -> str:
    """Say what the target of a parameter is: a value, a range or some values."""
    if isinstance(target, Mapping):
        return f"{setting(target['min'])} to {setting(target['max'])}" if "min" in target else setting(target["values"])
    return setting(target)
