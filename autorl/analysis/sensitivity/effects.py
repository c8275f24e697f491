"""What one hyperparameter does to the score: over the whole space, and around one point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autorl.analysis.sensitivity.forest import Forest, Points

GRID = 16
CURVES = 128


@dataclass(frozen=True)
class Effect:
    """The effect of one hyperparameter.

    Attributes:
        at: Its coordinates, shape ``(g,)``: the middles of bins, or of its choices.
        individual: Predicted scores, shape ``(m, g)``: one row for each point of the background in which it is active
            (individual conditional expectation: Goldstein et al. 2015, Journal of Computational and Graphical
            Statistics 24, 44-65).
        active: Share of the space in which it is active.
    """

    at: Points
    individual: npt.NDArray[np.float64]
    active: float

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """The mean over the background, shape ``(g,)``: partial dependence (Friedman 2001, Annals of Statistics 29)."""
        found: npt.NDArray[np.float64] = self.individual.mean(axis=0)
        return found


def effect(forest: Forest, index: int, at: Points | None = None) -> Effect:
    """Predict scores along one hyperparameter, everything else as in points spread over the space.

    A hyperparameter that has others depend on it takes those along: where its new value makes them active they get
    values, where not they lose them.

    Args:
        forest: The model.
        index: Which axis.
        at: Coordinates to predict at, shape ``(g,)``; a grid over its range if not given.
    """
    domain = forest.domain
    grid = domain.axes[index].grid(GRID) if at is None else at
    reached = domain.active(domain.background)[:, index]
    rows = domain.background[reached][:CURVES]
    if not len(rows):
        return Effect(grid, np.empty((0, len(grid))), 0.0)
    moved = np.repeat(rows[:, None, :], len(grid), axis=1)
    moved[:, :, index] = grid
    scores = forest.predict_full(moved.reshape(-1, rows.shape[1]))
    return Effect(grid, scores.reshape(len(rows), len(grid)), float(reached.mean()))


def local_importance(forest: Forest, point: Points) -> npt.NDArray[np.float64]:
    """Say which hyperparameters matter around one point.

    The variance of the predicted score along each hyperparameter alone, as a share of the sum over all of them
    (Biedenkapp et al. 2018, "CAVE", equation 2).

    Args:
        forest: The model.
        point: A configuration, shape ``(d,)``, NaN where inactive: such hyperparameters get 0.

    Returns:
        Shape ``(d,)``, summing to 1; all 0 if the model is flat there.
    """
    found = np.array([_along(forest, point, index).var() for index in range(len(point))])
    total = found.sum()
    return found / total if total > 0.0 else found


def _along(forest: Forest, point: Points, index: int) -> npt.NDArray[np.float64]:
    if np.isnan(point[index]):
        return np.zeros(1)
    grid = forest.domain.axes[index].grid(GRID)
    moved = np.tile(filled(point), (len(grid), 1))
    moved[:, index] = grid
    return forest.predict_full(moved)


def neighbours(forest: Forest, point: Points, step: float = 0.1) -> list[npt.NDArray[np.float64]]:
    """Predict how the score changes when one hyperparameter of a point moves a little.

    Args:
        forest: The model.
        point: A configuration, shape ``(d,)``, NaN where inactive.
        step: How far numbers move, up and down, as a share of their range, but at least to their next value; choices
            take each other value.

    Returns:
        For each hyperparameter the changes in the score, the numbers' down and up (one where the range ends); empty
        where it is inactive.
    """
    here = forest.predict(point[None])[0]
    changes = []
    for index, axis in enumerate(forest.domain.axes):
        if np.isnan(point[index]):
            changes.append(np.empty(0))
            continue
        if axis.choices:
            targets = axis.grid(0)
            targets = np.delete(targets, min(int(point[index] * axis.choices), axis.choices - 1))
        else:
            targets = point[index] + np.array([-1, 1]) * max(step, 1 / axis.steps if axis.steps else 0.0)
            targets = targets[(targets >= 0.0) & (targets <= 1.0)]
        moved = np.tile(filled(point), (len(targets), 1))
        moved[:, index] = targets
        changes.append(forest.predict_full(moved) - here if len(targets) else np.empty(0))
    return changes


def filled(point: Points) -> Points:
    """Return a point with its inactive coordinates in the middle, should a move make them active."""
    return np.where(np.isnan(point), 0.5, point)
