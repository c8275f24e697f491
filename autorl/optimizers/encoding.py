"""Configurations as vectors, for models and operators that work on numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autorl.spec.space import Choice, Configuration, Numeric, Parameter, SearchSpace

Vector = NDArray[np.float64]


class Encoding:
    """Maps a space to the unit cube and back.

    A number has one column: its place between `low` and `high`, on a logarithmic scale where the space has one; whole
    and stepped numbers lie in the middle of bins of equal width. A choice has one column of bins, or, `one_hot`, one
    column for each value (one for a choice of two). A parameter that is inactive lies at 0.5, which is nowhere in
    particular, in all its columns.

    Attributes:
        columns: how many there are.
        choices: which of them belong to choices, shape (columns,).
        groups: number of the parameter that each belongs to, shape (columns,).
    """

    def __init__(self, space: SearchSpace, one_hot: bool = False) -> None:
        self._space = space
        self._at: dict[str, slice] = {}
        choices: list[bool] = []
        groups: list[int] = []
        for parameter in space:
            domain = parameter.domain
            wide = one_hot and isinstance(domain, Choice) and len(domain.values) > 2
            count = len(domain.values) if wide and isinstance(domain, Choice) else 1
            self._at[parameter.name] = slice(len(choices), len(choices) + count)
            choices += [isinstance(domain, Choice)] * count
            groups += [len(self._at) - 1] * count
        self.columns = len(choices)
        self.choices = np.array(choices, dtype=bool)
        self.groups = np.array(groups, dtype=np.int64)

    def encode(self, config: Configuration) -> Vector:
        """Return a configuration's vector, shape (columns,), in [0, 1].

        A value that the space cannot express is put at the nearest end of its range, or nowhere in particular.
        """
        vector = np.full(self.columns, 0.5)
        for parameter in self._space:
            if parameter.name in config.values:
                at = self._at[parameter.name]
                vector[at] = self._place(parameter, config, at.stop - at.start)
        return vector

    def _place(self, parameter: Parameter, config: Configuration, width: int) -> Vector | float:
        domain, coordinate = parameter.domain, config.coordinates.get(parameter.name)
        if isinstance(domain, Choice):
            if coordinate is None:
                return 0.5
            index = next(i for i, label in enumerate(domain.labels) if label == coordinate)
            return np.eye(width)[index] if width > 1 else (index + 0.5) / len(domain.values)
        if coordinate is None:
            coordinate = _nearest(parameter, config.values[parameter.name])
        return 0.5 if coordinate is None else _to_unit(domain, coordinate)

    def decode(self, vector: Vector) -> Configuration:
        """Return the configuration at a vector, or nearest to it; every vector has one."""

        def choose(parameter: Parameter) -> Any:
            domain, part = parameter.domain, np.clip(vector[self._at[parameter.name]], 0.0, 1.0)
            if not isinstance(domain, Choice):
                return _from_unit(domain, float(part[0]))
            index = int(np.argmax(part)) if len(part) > 1 else _bin(float(part[0]), len(domain.values))
            return domain.labels[index]

        return self._space.build(choose)


def _bins(domain: Numeric) -> int | None:
    """Return how many values a domain has, or None if it is continuous."""
    if domain.step is not None:
        return round((domain.high - domain.low) / domain.step) + 1
    return int(domain.high - domain.low) + 1 if domain.integer and not domain.log else None


def _bin(place: float, count: int) -> int:
    return min(int(place * count), count - 1)


def _to_unit(domain: Numeric, coordinate: float) -> float:
    count = _bins(domain)
    if count is not None:
        return (round((coordinate - domain.low) / (domain.step or 1)) + 0.5) / count
    low, high, place = domain.low, domain.high, float(coordinate)
    if domain.log:
        low, high, place = math.log(low), math.log(high), math.log(place)
    return (place - low) / (high - low)


def _from_unit(domain: Numeric, place: float) -> float | int:
    count = _bins(domain)
    if count is not None:
        found = domain.low + _bin(place, count) * (domain.step or 1)
        return int(found) if domain.integer else min(float(found), domain.high)
    if domain.log:
        low, high = math.log(domain.low), math.log(domain.high)
        found = math.exp(low + place * (high - low))
    else:
        found = domain.low + place * (domain.high - domain.low)
    found = min(max(found, domain.low), domain.high)
    return round(found) if domain.integer else found


def _nearest(parameter: Parameter, value: Any) -> float | None:
    """Return the end of the range that is nearest to a number outside it."""
    domain = parameter.domain
    if isinstance(domain, Choice) or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    ends = (domain.low, domain.high)
    return min(ends, key=lambda end: abs(float(parameter.value(end)) - value))
