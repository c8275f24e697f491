"""What a front is worth: indicators of sets of vector returns, all of which are to be as large as possible."""

from __future__ import annotations

from collections.abc import Mapping

import moocore
import numpy as np
import numpy.typing as npt
from morl_baselines.common.performance_indicators import expected_utility, sparsity
from morl_baselines.common.weights import random_weights

Array = npt.NDArray[np.float64]

KNOWN_FRONT_METRICS: Mapping[str, str] = {
    "igd": "inverted generational distance: mean distance of the known front's points to the nearest of this one",
    "igd_plus": "the same, counting only what falls short of the known front (Ishibuchi et al. 2015)",
}
METRICS: Mapping[str, str] = {
    "hypervolume": "volume between the front and the reference point (Zitzler and Thiele 1999)",
    "expected_utility": "best weighted sum on the front, mean over 500 weights drawn evenly (Zintgraf et al. 2015)",
    "sparsity": "mean squared distance of neighbours on the front, smaller is denser (Xu et al. 2020); 0 of one point",
    "cardinality": "points of the front",
    **KNOWN_FRONT_METRICS,
}
_UTILITY_WEIGHTS = 500


def nondominated(returns: Array) -> npt.NDArray[np.bool_]:
    """Say which of (n, objectives) vector returns no other dominates; of equal ones, the first."""
    found: npt.NDArray[np.bool_] = moocore.is_nondominated(returns, maximise=True, keep_weakly=False)
    return found


def measure(front: Array, ref_point: Array, known: Array | None) -> dict[str, float]:
    """Return the indicators of a front.

    Args:
        front: vector returns, (points, objectives), none dominating another.
        ref_point: reference point of the hypervolume, (objectives,); points below it in any objective add nothing.
        known: the front that there is to find, or None if nobody knows it.
    """
    weights = random_weights(front.shape[1], _UTILITY_WEIGHTS, seed=0)  # the same for all
    found = {
        "hypervolume": float(moocore.hypervolume(front, ref=ref_point, maximise=True)),
        "expected_utility": float(expected_utility(list(front), weights)),
        "sparsity": float(sparsity(list(front))),
        "cardinality": float(len(front)),
    }
    if known is not None:
        found["igd"] = float(moocore.igd(front, known, maximise=True))
        found["igd_plus"] = float(moocore.igd_plus(front, known, maximise=True))
    return found
