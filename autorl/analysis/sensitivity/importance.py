"""Functional analysis of variance: how much of the score's variance each hyperparameter explains."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import stats

from autorl.analysis.sensitivity.effects import effect
from autorl.analysis.sensitivity.forest import Forest

PAIR_GRID = 8
PAIR_ROWS = 64
SHUFFLES = 4_999


def main_effects(forest: Forest) -> npt.NDArray[np.float64]:
    """Return each hyperparameter's share of the variance of the predicted score over the space.

    fANOVA's main effects (Hutter, Hoos and Leyton-Brown 2014, equation 6; Sobol's first-order indices): the variance
    of the partial dependence over that of the score. Hutter integrates each tree exactly; here means are over points
    spread over the space, which needs no tree's inside and takes conditions as they are: a hyperparameter's effect is
    that where it is active, weighted by how often it is, and the effect of switching it on belongs to its parent.

    Returns:
        Shape ``(d,)``, each in [0, 1]. Their sum falls short of 1 by what interactions explain.
    """
    total = _variance(forest)
    found = np.zeros(len(forest.domain.axes))
    if total == 0.0:
        return found
    for index in range(len(found)):
        along = effect(forest, index)
        if along.active:
            found[index] = along.active * along.mean.var() / total
    return np.minimum(found, 1.0)


def interactions(forest: Forest, among: Sequence[int]) -> dict[tuple[int, int], float]:
    """Return what pairs of hyperparameters explain together beyond what each does alone, as a share of the variance.

    fANOVA's pairwise effects: the variance of the partial dependence on both after its row and column means are
    taken off, weighted by how often both are active.

    Args:
        forest: The model.
        among: Axes whose pairs are of interest.
    """
    total, domain = _variance(forest), forest.domain
    reached = domain.active(domain.background)
    found = {}
    for first, second in combinations(among, 2):
        both = reached[:, first] & reached[:, second]
        rows = domain.background[both][:PAIR_ROWS]
        found[first, second] = 0.0
        if not len(rows) or total == 0.0:
            continue
        one, other = domain.axes[first].grid(PAIR_GRID), domain.axes[second].grid(PAIR_GRID)
        moved = np.broadcast_to(rows, (len(one), len(other), *rows.shape)).copy()
        moved[..., first] = one[:, None, None]
        moved[..., second] = other[None, :, None]
        surface = forest.predict_full(moved.reshape(-1, rows.shape[1])).reshape(moved.shape[:3]).mean(axis=2)
        rest = surface - surface.mean(axis=0) - surface.mean(axis=1)[:, None] + surface.mean()
        found[first, second] = min(1.0, float(both.mean() * rest.var() / total))
    return found


def agreement(importances: npt.NDArray[np.float64]) -> float:
    """Say how far seeds agree on the order of the hyperparameters: Kendall's coefficient of concordance W.

    W = 12 S / (m^2 (d^3 - d) - m T), with S the sum of squared deviations of the rank sums and T the correction for
    ties (Kendall and Babington Smith 1939; Siegel and Castellan 1988, equation 9.17).

    Args:
        importances: One row for each seed, shape ``(m, d)``, with m >= 2 and d >= 2.

    Returns:
        1 if all seeds rank them the same, about 1 / m if at random; NaN where every row is all ties.
    """
    seeds, axes = importances.shape
    if min(seeds, axes) < 2:
        raise ValueError(f"importances: shape {importances.shape}; expected at least 2 seeds and 2 hyperparameters")
    ranks = stats.rankdata(importances, axis=1)
    spread = np.sum((ranks.sum(axis=0) - seeds * (axes + 1) / 2) ** 2)
    ties = sum(int(count**3 - count) for row in ranks for count in np.unique(row, return_counts=True)[1])
    most = seeds**2 * (axes**3 - axes) - seeds * ties
    return float(12 * spread / most) if most else float("nan")


def chance_of_agreement(importances: npt.NDArray[np.float64]) -> float:
    """Return the probability that seeds agree at least this much (`agreement`) if they order at random.

    The permutation test of Kendall's W (Friedman 1937, Journal of the American Statistical Association 32): each row's
    ranks are shuffled by themselves, and the largest of `SHUFFLES` + 1 counts the observed one (Phipson and Smyth
    2010, Statistical Applications in Genetics and Molecular Biology 9, equation 2). Drawn with a fixed generator.

    Args:
        importances: One row for each seed, shape ``(m, d)``, with m >= 2 and d >= 2.

    Returns:
        Never below 1 / (`SHUFFLES` + 1); with two hyperparameters never below 2^(1 - m). NaN where W is.
    """
    observed = agreement(importances)
    if np.isnan(observed):
        return observed
    ranks = stats.rankdata(importances, axis=1)
    drawn = np.random.default_rng(0).permuted(np.broadcast_to(ranks, (SHUFFLES, *ranks.shape)), axis=2).sum(axis=1)
    middle = len(ranks) * (ranks.shape[1] + 1) / 2
    spread, own = np.sum((drawn - middle) ** 2, axis=1), np.sum((ranks.sum(axis=0) - middle) ** 2)
    return float((np.sum(spread >= own - 1e-9) + 1) / (SHUFFLES + 1))


def _variance(forest: Forest) -> float:
    return float(forest.predict_full(forest.domain.background).var())
