"""Domains as the interval from 0 to 1, on the scale that the search space gives them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autorl.spec.space import Choice, Configuration, Numeric, Parameter


def at(domain: Numeric | Choice, position: float) -> Any:
    """Return the coordinate at a position between 0 and 1 of a domain, on its scale; steps and choices share it."""
    if isinstance(domain, Choice):
        return domain.labels[min(int(position * len(domain.labels)), len(domain.labels) - 1)]
    low, high = _reach(domain)
    return snap(domain, math.exp(low + position * (high - low)) if domain.log else low + position * (high - low))


def positions(parameters: Sequence[Parameter], config: Configuration) -> NDArray[np.float64]:
    """Return where `at` finds a configuration's numbers again; 0.5 where it has no coordinate."""
    return np.array([_position(p.domain, config.coordinates.get(p.name)) for p in parameters])


def snap(domain: Numeric, coordinate: float) -> float:
    """Return the nearest coordinate that the domain contains."""
    if step := _step(domain):
        found = domain.low + min(max(0, round((coordinate - domain.low) / step)), _steps(domain)) * step
        return int(found) if domain.integer else found
    return min(max(coordinate, domain.low), domain.high)


def _position(domain: Numeric | Choice, coordinate: float | None) -> float:
    assert isinstance(domain, Numeric)
    low, high = _reach(domain)
    if coordinate is None or high == low:
        return 0.5
    return ((math.log(coordinate) if domain.log else coordinate) - low) / (high - low)


def _step(domain: Numeric) -> float:
    return domain.step or (1 if domain.integer else 0)


def _steps(domain: Numeric) -> int:
    return math.floor((domain.high - domain.low) / _step(domain) + 1e-8)


def _reach(domain: Numeric) -> tuple[float, float]:
    low, high = domain.low, domain.high
    if step := _step(domain):
        low, high = low - step / 2, low + (_steps(domain) + 0.5) * step
    return (math.log(low), math.log(high)) if domain.log else (low, high)
