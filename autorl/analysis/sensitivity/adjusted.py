"""Scores of configurations that were not all trained on the same seeds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def adjusted_means(scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return what each configuration would score on average over all seeds, whichever of them it was trained on.

    Least squares of score = configuration + seed (the two-way layout without interaction; Searle 1971, Linear Models,
    chapter 7), so that a seed on which all score high makes none of those look good that were trained on it alone.
    Where every configuration has every seed these are the means over seeds.

    Args:
        scores: Shape ``(n, seeds)``, NaN where a configuration was not trained on a seed, at least one score a row.

    Returns:
        Shape ``(n,)``. Of groups that share no seed with each other, the difference between groups is not known, and
        taken to be as small as the scores allow.

    Raises:
        ValueError: If a row has no score.
    """
    table = np.asarray(scores, dtype=np.float64)
    known = np.isfinite(table)
    if not known.any(axis=1).all():
        raise ValueError(f"scores[{int(np.argmin(known.any(axis=1)))}]: no score; leave the configuration out")
    values, counts = np.where(known, table, 0.0), known.sum(axis=1)
    # The configurations' parameters are eliminated: what is left are equations for the seeds alone.
    weights = known / counts[:, None]
    normal = np.diag(known.sum(axis=0)) - known.T @ weights
    right = values.sum(axis=0) - weights.T @ values.sum(axis=1)
    seeds = np.linalg.lstsq(normal, right, rcond=None)[0]
    seeds -= seeds.mean()
    found: npt.NDArray[np.float64] = (values - known * seeds).sum(axis=1) / counts
    return found
