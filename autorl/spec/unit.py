"""A parameter's range as the interval from 0 to 1, for models, operators and figures that work on numbers.

A number lies at its place between `low` and `high`, on a logarithmic scale where the space has one. Whole and stepped
numbers, and choices, lie in the middle of bins of equal width.
"""

from __future__ import annotations

import math
from typing import Any

from autorl.spec.space import Choice, Configuration, Numeric, Parameter, inverse, same


def bins(domain: Numeric | Choice) -> int | None:
    """Return how many values a domain has, or None if it is continuous, or whole numbers on a logarithmic scale."""
    if isinstance(domain, Choice):
        return len(domain.values)
    if domain.step is not None:
        return round((domain.high - domain.low) / domain.step) + 1
    return int(domain.high - domain.low) + 1 if domain.integer and not domain.log else None


def bin_of(place: float, count: int) -> int:
    """Return the bin, of so many, in which a place lies."""
    return min(int(place * count), count - 1)


def to_unit(domain: Numeric | Choice, coordinate: Any) -> float:
    """Return the place in [0, 1] of a search coordinate (of a choice: its label)."""
    if isinstance(domain, Choice):
        index = next(i for i, label in enumerate(domain.labels) if same(label, coordinate))
        return (index + 0.5) / len(domain.values)
    count = bins(domain)
    if count is not None:
        return float(round((coordinate - domain.low) / (domain.step or 1)) + 0.5) / count
    low, high, place = float(domain.low), float(domain.high), float(coordinate)
    if domain.log:
        low, high, place = math.log(low), math.log(high), math.log(place)
    return (place - low) / (high - low)


def from_unit(domain: Numeric | Choice, place: float) -> Any:
    """Return the search coordinate at a place in [0, 1], or nearest to it."""
    if isinstance(domain, Choice):
        return domain.labels[bin_of(place, len(domain.values))]
    count = bins(domain)
    if count is not None:
        found = domain.low + bin_of(place, count) * (domain.step or 1)
        return int(found) if domain.integer else min(float(found), domain.high)
    if domain.log:
        low, high = math.log(domain.low), math.log(domain.high)
        found = math.exp(low + place * (high - low))
    else:
        found = domain.low + place * (domain.high - domain.low)
    found = min(max(found, domain.low), domain.high)
    return round(found) if domain.integer else found


def place(parameter: Parameter, config: Configuration) -> float | None:
    """Return where a configuration's value of a parameter lies in [0, 1].

    A number that no coordinate gives, as an algorithm's default may be, is put where it would be, or at the end of the
    range that is nearest. None if the parameter is inactive, or its value is no number and none of the choices.
    """
    coordinate = config.coordinates.get(parameter.name)
    if parameter.name in config.coordinates:
        return to_unit(parameter.domain, coordinate)
    value, domain = config.values.get(parameter.name), parameter.domain
    if isinstance(domain, Choice) or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    found = inverse(parameter.transform, value)
    if math.isnan(found):
        found = min((domain.low, domain.high), key=lambda end: abs(float(parameter.value(end)) - value))
    return to_unit(domain, min(max(found, domain.low), domain.high))
