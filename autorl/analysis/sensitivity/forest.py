"""The search space as a unit cube, and a random forest on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import qmc

from autorl.analysis.checks import finite_vector

Points = npt.NDArray[np.float64]

TREES: Final = 48
MOST_OF_A_TREE: Final = 2_000
"""Points that a tree is grown on at most: more make it slower, and the forest hardly better."""
BACKGROUND: Final = 512
ELSEWHERE: Final = -1.0
"""Where trees find an inactive hyperparameter: apart from all its values."""


@dataclass(frozen=True)
class Axis:
    """A hyperparameter.

    Attributes:
        name: Its name.
        choices: How many values it chooses from, without order; 0 for a number.
        steps: How many values a number has, in bins of equal width; 0 if it is continuous.
    """

    name: str
    choices: int = 0
    steps: int = 0

    def grid(self, size: int) -> Points:
        """Return the middle of each choice's bin, or of so many bins of a number's range."""
        bins = self.choices or size
        middles: Points = (np.arange(bins) + 0.5) / bins
        return middles


@dataclass(frozen=True)
class Domain:
    """A search space: what may be tried, of which everything is equally likely.

    Attributes:
        axes: Its hyperparameters.
        active: Says which of them are active in points that have a coordinate for each: shape ``(n, d)`` to booleans
            of the same shape. Without conditions all are.
    """

    axes: tuple[Axis, ...]
    active: Callable[[Points], npt.NDArray[np.bool_]] = lambda points: np.ones(points.shape, dtype=bool)

    def resolve(self, points: Points) -> Points:
        """Make inactive coordinates NaN."""
        return np.where(self.active(points), points, np.nan)

    @cached_property
    def background(self) -> Points:
        """Points spread evenly over the cube, all coordinates given: scrambled Sobol points, always the same."""
        points: Points = qmc.Sobol(len(self.axes), rng=np.random.default_rng(0)).random(BACKGROUND)
        return points


class Forest:
    """A random forest (Breiman 2001) of the scores over a domain; the same data always give the same one.

    Attributes:
        domain: What it is a model of.
        explained: Share of the variance of scores that it predicts for points it has not seen (out of bag), at most 1;
            negative where it is worse than their mean.

    Args:
        domain: The search space.
        points: What was tried, shape ``(n, d)``, NaN where inactive.
        scores: Shape ``(n,)``, finite; at least 4, and not all equal.

    Raises:
        ValueError: The shapes do not agree, there are too few scores, or they are all equal.
    """

    def __init__(self, domain: Domain, points: Points, scores: npt.ArrayLike) -> None:
        from sklearn.ensemble import RandomForestRegressor

        values = finite_vector("scores", scores)
        if points.shape != (values.size, len(domain.axes)):
            raise ValueError(f"points: shape {points.shape}; expected ({values.size}, {len(domain.axes)})")
        if values.size < 4 or np.ptp(values) == 0.0:
            raise ValueError(f"scores: {values.size} of them; a model needs at least 4, not all equal")
        self.domain = domain
        self._forest = RandomForestRegressor(
            TREES,
            max_features=5 / 6,
            min_samples_leaf=2 if values.size > 10 else 1,
            max_samples=min(values.size, MOST_OF_A_TREE),
            bootstrap=True,
            oob_score=True,
            random_state=0,
        )
        self._forest.fit(self._encode(points), values)
        self.explained = float(self._forest.oob_score_)

    def predict(self, points: Points) -> npt.NDArray[np.float64]:
        """Predict the scores of points, shape ``(n, d)``, NaN where inactive."""
        found: npt.NDArray[np.float64] = self._forest.predict(self._encode(points))
        return found

    def predict_full(self, points: Points) -> npt.NDArray[np.float64]:
        """Predict the scores of points that have a coordinate for each axis, active or not."""
        return self.predict(self.domain.resolve(points))

    def _encode(self, points: Points) -> Points:
        """Return the forest's features: a column for each number and for each value of a choice."""
        columns = []
        for index, axis in enumerate(self.domain.axes):
            column = points[:, index]
            inactive = np.isnan(column)
            if axis.choices > 2:
                chosen = np.clip(np.where(inactive, 0.0, column) * axis.choices, 0, axis.choices - 1).astype(int)
                block = np.eye(axis.choices)[chosen]
                block[inactive] = ELSEWHERE
                columns.append(block)
            else:
                columns.append(np.where(inactive, ELSEWHERE, column)[:, None])
        return np.concatenate(columns, axis=1)
