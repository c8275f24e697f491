"""What is believed of a search space before anything was trained: how configurations are drawn at random."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from autorl.spec.space import Choice, Configuration, Parameter, SearchSpace


def draw(space: SearchSpace, rng: np.random.Generator) -> Configuration:
    """Draw a configuration: each active parameter from its prior, or uniformly on its scale where it has none."""
    return space.build(lambda parameter: quantile(parameter, rng.random()))


def quantile(parameter: Parameter, share: float) -> Any:
    """Return the search coordinate below which this share of a parameter's prior lies.

    On the scale of the range (decimal logarithm, or as it is) the prior is a normal distribution truncated to the
    range, with the quantile function Φ⁻¹(Φ(a) + u (Φ(b) − Φ(a))), a and b the standardized ends; uniform where none is
    given. Whole numbers and steps stand for all that is nearer to them than to their neighbors: the range is widened
    by half a step on both sides, and what falls in between is rounded. Choices are equally likely, in their order.

    Args:
        parameter: whose coordinate.
        share: u, from 0 to below 1.
    """
    domain = parameter.domain
    if isinstance(domain, Choice):
        labels = domain.labels
        return labels[min(int(share * len(labels)), len(labels) - 1)]
    step = domain.step or (1 if domain.integer else 0)
    low, high = domain.low - step / 2, domain.high + step / 2
    if domain.log:
        low, high = math.log10(low), math.log10(high)
    if parameter.prior is None:
        place = low + share * (high - low)
    else:
        mean = math.log10(parameter.prior.mean) if domain.log else parameter.prior.mean
        place = _truncated_normal(mean, parameter.prior.std, low, high, share)
    coordinate = 10**place if domain.log else place
    if step:
        coordinate = domain.low + round((coordinate - domain.low) / step) * step
    # Rounding may step over an end of the range.
    coordinate = min(max(coordinate, domain.low), domain.high)
    return int(coordinate) if domain.integer else float(coordinate)


def _truncated_normal(mean: float, std: float, low: float, high: float, share: float) -> float:
    from scipy.special import ndtr, ndtri

    below, above = ndtr((low - mean) / std), ndtr((high - mean) / std)
    return float(np.clip(mean + std * ndtri(below + share * (above - below)), low, high))
