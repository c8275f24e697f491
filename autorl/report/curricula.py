"""What curricula did: where the best one trained, and how the kinds compare."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from autorl.ledger.records import CurveRecord
from autorl.report.findings import Findings
from autorl.report.words import number, setting

MOST_NAMED = 3


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
    kind, varying = best.recipe.curriculum["kind"], best.recipe.task_space
    if kind == "none":
        return said
    told = [point.curriculum for curve in curves([best.number], "tuning") for point in curve.points if point.curriculum]
    for name in list(varying["parameters"])[:MOST_NAMED]:
        steps = np.sum([record[name]["env_steps"] for record in told], axis=0) if told else np.zeros(1)
        if not steps.sum():
            continue
        first, last = half(steps)
        share = steps[first : last + 1].sum() / steps.sum()
        low, high = ends(varying["parameters"][name], first, last, len(steps))
        where = setting(low) if low == high else f"{setting(low)} to {setting(high)}"
        said.append(
            f"The curriculum of trial {best.number} ({kind}) spent {share:.0%} of its training on {name} {where}; "
            f"the target is {_target(varying['target'][name])}."
        )
    return said


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


def _target(target: Any) -> str:
    if isinstance(target, Mapping):
        return f"{setting(target['min'])} to {setting(target['max'])}" if "min" in target else setting(target["values"])
    return setting(target)
