"""What more trials are worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autorl.analysis.checks import finite_vector


def expected_best(scores: Sequence[float], trials: int) -> float:
    """Estimate the expected best score of so many trials from those of more of them.

    The estimate is unbiased for exchangeable trials: the mean of the maximum over all subsets of the size asked for,
    sum over i of x_(i) C(i - 1, k - 1) / C(n, k), with x_(i) the i-th smallest of n scores (expected validation
    performance: Dodge et al. 2019, "Show Your Work", and Tang et al. 2020, equation 4).

    Args:
        scores: one a trial, shape (n,), higher is better.
        trials: k, from 1 to n.

    Raises:
        ValueError: there are no scores, one is not finite, or `trials` is not between 1 and n.
    """
    values = np.sort(finite_vector("scores", scores))
    n, k = len(values), trials
    if not 1 <= k <= n:
        raise ValueError(f"trials must be between 1 and {n}, not {trials}")
    # The weight of the largest is k / n; each next one follows from C(i - 1, k - 1) = C(i, k - 1) (i - k + 1) / i.
    weights = np.zeros(n)
    weights[-1] = k / n
    for i in range(n - 1, k - 1, -1):
        weights[i - 1] = weights[i] * (i - k + 1) / i
    return float(weights @ values)


def gain_of_doubling(scores: Sequence[float]) -> float:
    """Estimate what as many trials again would add to the best score.

    It is taken to be what the second half of the trials added, E[best of n] - E[best of n/2]: for exchangeable trials
    each doubling adds at most about as much as the one before, unless good configurations are very rare. An optimizer
    that has learned does better than exchangeable trials, and one that has converged does worse.

    Args:
        scores: one a trial, shape (n,), higher is better; at least two.
    """
    return expected_best(scores, len(scores)) - expected_best(scores, len(scores) // 2)
