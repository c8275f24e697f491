"""Several objectives and constraints as one score, for what models one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Floats = npt.NDArray[np.float64]

_AUGMENTATION = 0.05  # as in ParEGO
_INFEASIBLE = 2.0  # further down than any feasible score


def scalarized(
    measures: Floats, directions: Sequence[str], bounds: Sequence[tuple[float, float]], weights: Floats
) -> Floats:
    """Return one score for each row, higher being better.

    The augmented Chebyshev function of ParEGO (Knowles 2006, IEEE Transactions on Evolutionary Computation 10, 50-66,
    equation 2), over each objective's rank among the rows, in (0, 1): returns and costs have outliers and no common
    scale. What violates a constraint comes after everything that does not, by how much (Deb 2000, Computer Methods in
    Applied Mechanics and Engineering 186, 311-338).

    Args:
        measures: Shape ``(n, k + c)``: the objectives, then what the constraints bound.
        directions: Of the k objectives.
        bounds: Of the c constraints, (sign, bound), as in `Question`.
        weights: Shape ``(k,)``, adding up to 1.
    """
    objectives = len(directions)
    loss = np.column_stack(
        [
            _share(measures[:, column] * (-1.0 if direction == "maximize" else 1.0))
            for column, direction in enumerate(directions)
        ]
    )
    score = -(loss * weights).max(axis=1) - _AUGMENTATION * loss @ weights
    missed = np.zeros(len(measures))
    for index, (sign, bound) in enumerate(bounds):
        by = np.maximum(0.0, sign * (measures[:, objectives + index] - bound))
        missed += np.where(by > 0.0, _share(by), 0.0)
    found: Floats = np.where(missed > 0.0, -_INFEASIBLE - missed, score)
    return found


def _share(values: Floats) -> Floats:
    """Return each value's rank, in (0, 1)."""
    shares: Floats = (rankdata(values) - 0.5) / len(values)
    return shares
