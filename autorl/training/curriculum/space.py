"""What of a task varies, as a unit cube: what teachers choose from. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class TaskSpace:
    """The parameters of a task that vary, each an axis of the unit cube.

    A range is mapped linearly; the values of an integer or of a choice have equal parts of their axis, and are told by
    the middles of these. The target may lie outside the cube.

    Args:
        parameters: name → `min` and `max` (integers if both are whole), or `values`; and `easy`, where a curriculum
            begins, if that is not the end farthest from the target.
        target: name → the value that evaluation uses, or `{min, max}` or `{values}` to draw it from.

    Attributes:
        dimensions: how many parameters.
        counts: name → how many values a parameter has, or None if it is continuous.
        goal: the middle of the target distribution, or what of the cube is nearest to it (shape: parameters).
        easy: where a curriculum begins: as given, else the corner that is farthest from the target.
    """

    def __init__(self, parameters: Mapping[str, Mapping[str, Any]], target: Mapping[str, Any]) -> None:
        self.parameters, self.target = parameters, target
        self.dimensions = len(parameters)
        self.counts = {name: self._count(name) for name in parameters}
        self.goal = np.clip([self._middle(name) for name in parameters], 0.0, 1.0)
        self.easy = np.array([self._easy(name, goal) for name, goal in zip(parameters, self.goal, strict=True)])
        fixed = not any(isinstance(value, Mapping) for value in target.values())
        self._fixed = tuple(self.vector(target).tolist()) if fixed else None

    def task(self, vector: Sequence[float] | np.ndarray) -> dict[str, Any]:
        """Return the values of a vector (shape: parameters)."""
        return {name: self._value(name, float(u)) for name, u in zip(self.parameters, vector, strict=True)}

    def vector(self, task: Mapping[str, Any]) -> np.ndarray:
        """Return the vector (shape: parameters) of a task."""
        return np.array([self._coordinate(name, task[name]) for name in self.parameters])

    def draw_target(self, rng: np.random.Generator) -> tuple[float, ...]:
        """Draw the vector of a task from the target distribution."""
        if self._fixed is not None:
            return self._fixed
        drawn = {}
        for name, target in self.target.items():
            if isinstance(target, Mapping) and "values" in target:
                drawn[name] = target["values"][int(rng.integers(len(target["values"])))]
            elif isinstance(target, Mapping):
                low, high = target["min"], target["max"]
                drawn[name] = int(rng.integers(low, high + 1)) if self.counts[name] else float(rng.uniform(low, high))
            else:
                drawn[name] = target
        return tuple(self.vector(drawn).tolist())

    def cells(self, bins: int) -> tuple[int, ...]:
        """Return how many cells each axis has in a grid of that many bins; no more than it has values."""
        return tuple(min(bins, self.counts[name] or bins) for name in self.parameters)

    def draw_in(self, index: int, cells: tuple[int, ...], rng: np.random.Generator) -> tuple[float, ...]:
        """Draw a vector uniformly from a cell of a grid, `cells`; the first axis changes fastest with its number."""
        vector = []
        for count in cells:
            index, part = divmod(index, count)
            vector.append((part + rng.random()) / count)
        return tuple(vector)

    def _middle(self, name: str) -> float:
        target = self.target[name]
        ends = list(target.values()) if isinstance(target, Mapping) else [target]
        ends = ends[0] if isinstance(target, Mapping) and "values" in target else ends
        return float(np.mean([self._coordinate(name, end) for end in ends]))

    def _easy(self, name: str, goal: float) -> float:
        entry = self.parameters[name]
        first, *_, last = entry["values"] * 2 if "values" in entry else (entry["min"], entry["max"])
        easy = entry.get("easy", first if goal >= 0.5 else last)
        return 0.0 if easy == first else 1.0 if easy == last else self._coordinate(name, easy)

    def _count(self, name: str) -> int | None:
        """Return how many values a parameter has, or None if it is continuous."""
        entry = self.parameters[name]
        if "values" in entry:
            return len(entry["values"])
        whole = isinstance(entry["min"], int) and isinstance(entry["max"], int)
        return entry["max"] - entry["min"] + 1 if whole else None

    def _value(self, name: str, u: float) -> Any:
        entry, count = self.parameters[name], self.counts[name]
        if count is None:
            # To as many digits as people write, so that a target of 9.8 is 9.8 again.
            return float(f"{entry['min'] + u * (entry['max'] - entry['min']):.12g}")
        step = min(math.floor(u * count), count - 1) if u <= 1 else math.floor(u * count)
        return entry["values"][step] if "values" in entry else entry["min"] + step

    def _coordinate(self, name: str, value: Any) -> float:
        entry, count = self.parameters[name], self.counts[name]
        if count is None:
            return float((value - entry["min"]) / (entry["max"] - entry["min"]))
        step = entry["values"].index(value) if "values" in entry else value - entry["min"]
        return float((step + 0.5) / count)
