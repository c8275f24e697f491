"""Trade-offs between objectives: which configurations nothing beats, and what a set of them is worth.

Values come as arrays of shape ``(n, k)``, a row for each configuration and a column for each objective, and
``directions`` say for each column what is better. Indicators are moocore's (López-Ibáñez et al.), which counts
hypervolume exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
import numpy.typing as npt
from scipy import special

from autorl.analysis.checks import Direction, check_level, finite_matrix, sign_of
from autorl.analysis.estimate import Estimate
from autorl.analysis.posterior import Means

Floats = npt.NDArray[np.float64]

DRAWS = 1_000
"""Draws from the posterior by which the probability of being undominated is counted: its error is below 0.016."""


def undominated(values: npt.ArrayLike, directions: Sequence[Direction]) -> npt.NDArray[np.bool_]:
    """Say which rows no other row dominates: none is at least as good in every objective and better in one.

    Args:
        values: Shape ``(n, k)``, finite.
        directions: Of the k objectives.

    Returns:
        Shape ``(n,)``; of rows that are equal all are undominated or none.
    """
    costs = _costs(values, directions)
    found: npt.NDArray[np.bool_] = moocore.is_nondominated(costs, keep_weakly=True)
    return found


def probability_undominated(means: Sequence[Means], directions: Sequence[Direction]) -> Floats:
    """Return how likely each configuration's expected scores are dominated by nobody's.

    Scores over a few seeds put lucky configurations on the front and push others off it. Here the front is counted over
    draws from what the seeds leave open: each objective's expected score is Student's t around its posterior mean, the
    objectives independent of each other given the seeds.

    Args:
        means: Of each objective, the configurations' posterior.
        directions: Of the objectives.

    Returns:
        Shape ``(n_configurations,)``; with one configuration 1.
    """
    drawn = np.stack(
        [_draws(m, column) * sign_of(d) for column, (m, d) in enumerate(zip(means, directions, strict=True))]
    )
    count = np.zeros(drawn.shape[2])
    for draw in np.moveaxis(drawn, 1, 0):
        count += moocore.is_nondominated(-draw.T, keep_weakly=True)
    return count / DRAWS


def hypervolume(values: npt.ArrayLike, reference: npt.ArrayLike, directions: Sequence[Direction]) -> float:
    """Return the volume between a reference point and what a set dominates (Zitzler and Thiele 1998).

    Args:
        values: Shape ``(n, k)``, finite; what is no better than the reference adds nothing.
        reference: Shape ``(k,)``.
        directions: Of the k objectives.

    Returns:
        The volume, in the product of the objectives' units.
    """
    signs = _signs(directions)
    return float(moocore.hypervolume(_costs(values, directions), ref=-signs * np.asarray(reference, dtype=np.float64)))


def spread_out(
    values: npt.ArrayLike, reference: npt.ArrayLike, directions: Sequence[Direction], count: int
) -> list[int]:
    """Choose rows that stand for all: one after the other, the one that adds most hypervolume to those before.

    The greedy choice has at least 1 - 1/e of the best subset's volume (Nemhauser et al. 1978, Mathematical Programming
    14, 265-294).

    Args:
        values: Shape ``(n, k)``, finite.
        reference: Shape ``(k,)``.
        directions: Of the k objectives.
        count: How many at most.

    Returns:
        Rows, in the order in which they were chosen; of equal ones the first.
    """
    table = finite_matrix("values", values)
    chosen: list[int] = []
    while len(chosen) < min(count, len(table)):
        rest = [row for row in range(len(table)) if row not in chosen]
        volumes = [hypervolume(table[[*chosen, row]], reference, directions) for row in rest]
        chosen.append(rest[int(np.argmax(volumes))])
    return chosen


def knee(values: npt.ArrayLike, directions: Sequence[Direction]) -> int:
    """Return the row of a front that gives up least of every objective for the others.

    With each objective scaled to [0, 1] between the front's worst and best, it is the row farthest beyond the plane
    through the front's ends (Das 1999, Structural Optimization 18, 107-115): the one with the greatest sum.

    Args:
        values: Shape ``(n, k)``, finite.
        directions: Of the k objectives.
    """
    return int(np.argmax(_scaled(values, directions).sum(axis=1)))


def preferred(values: npt.ArrayLike, directions: Sequence[Direction], weights: npt.ArrayLike) -> int:
    """Return the row that somebody prefers who weighs the objectives so.

    The augmented Chebyshev distance from the best of each objective (Steuer and Choo 1983, Mathematical Programming 26,
    326-344): the greatest weighted loss counts, so that every row of a front is preferred at some weights, also where
    the front is not convex.

    Args:
        values: Shape ``(n, k)``, finite.
        directions: Of the k objectives.
        weights: Shape ``(k,)``, 0 or more, not all 0.

    Raises:
        ValueError: If the weights are not so.
    """
    share = np.asarray(weights, dtype=np.float64)
    if np.any(share < 0.0) or not share.sum() > 0.0 or not np.isfinite(share).all():
        raise ValueError(f"weights: {share.tolist()}; expected 0 or more for each objective, and not all 0")
    loss = (1.0 - _scaled(values, directions)) * share / share.sum()
    return int(np.argmin(loss.max(axis=1) + 0.01 * loss.sum(axis=1)))


def hypervolume_gap(
    a: Sequence[npt.ArrayLike],
    b: Sequence[npt.ArrayLike],
    reference: npt.ArrayLike,
    directions: Sequence[Direction],
    *,
    level: float = 0.95,
) -> Estimate:
    """Estimate by how much the hypervolume of a set on some seeds exceeds its hypervolume on others.

    A set that was picked for its scores on some seeds loses on fresh ones, as the best configuration does. Both volumes
    are those of the members' mean scores. The interval is Student's t over jackknifed volumes, a seed left out of all
    members at a time (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 11), with Welch's degrees of
    freedom.

    Args:
        a: Of each member, shape ``(n_seeds, k)``, the same seeds in the same order for all members.
        b: The same on other seeds.
        reference: Shape ``(k,)``.
        directions: Of the k objectives.
        level: Two-sided confidence level, in (0, 1).

    Returns:
        The estimate; the ends are NaN where a side has one seed.
    """
    check_level(level)
    sides = [np.stack([finite_matrix("scores", member) for member in side]) for side in (a, b)]
    volumes = [hypervolume(side.mean(axis=1), reference, directions) for side in sides]
    value = volumes[0] - volumes[1]
    seeds = np.array([side.shape[1] for side in sides])
    if seeds.min() < 2:
        return Estimate(value, float("nan"), float("nan"), level)
    squares = np.array([_jackknifed(side, reference, directions) for side in sides])
    if squares.sum() == 0.0:
        return Estimate(value, value, value, level)
    freedom = squares.sum() ** 2 / np.sum(squares**2 / (seeds - 1))
    half = float(special.stdtrit(freedom, (1 + level) / 2) * np.sqrt(squares.sum()))
    return Estimate(value, value - half, value + half, level)


def attainment(
    runs: Sequence[npt.ArrayLike], directions: Sequence[Direction], shares: Sequence[float] = (0.25, 0.5, 0.75)
) -> dict[float, Floats]:
    """Return the points that so large a share of runs attains: that many have something at least as good.

    The empirical attainment function (Grunert da Fonseca et al. 2001, EMO, 213-225).

    Args:
        runs: Of each run, or seed, shape ``(n, k)``: the set that it found.
        directions: Of the k objectives.
        shares: In (0, 1].

    Returns:
        Share → shape ``(points, k)``, the corners of its surface, by the first objective.
    """
    points = np.concatenate([_costs(run, directions) for run in runs])
    sets = np.repeat(np.arange(1, len(runs) + 1), [len(np.asarray(run)) for run in runs])
    surfaces: dict[float, Floats] = {}
    for share in shares:
        found = moocore.eaf(points, sets, percentiles=[100 * share])[:, :-1]
        surface: Floats = -_signs(directions) * found
        surfaces[share] = surface[np.argsort(surface[:, 0], kind="stable")]
    return surfaces


def _jackknifed(side: Floats, reference: npt.ArrayLike, directions: Sequence[Direction]) -> float:
    """Return the jackknifed variance of the hypervolume of members' means, given shape ``(members, seeds, k)``."""
    seeds = side.shape[1]
    without = [hypervolume(np.delete(side, seed, axis=1).mean(axis=1), reference, directions) for seed in range(seeds)]
    return float((seeds - 1) * np.var(without))


def _signs(directions: Sequence[Direction]) -> Floats:
    return np.array([sign_of(direction) for direction in directions])


def _costs(values: npt.ArrayLike, directions: Sequence[Direction]) -> Floats:
    table = finite_matrix("values", values)
    if table.shape[1] != len(directions):
        raise ValueError(f"values: {table.shape[1]} columns; expected {len(directions)}, one for each objective")
    return -_signs(directions) * table


def _scaled(values: npt.ArrayLike, directions: Sequence[Direction]) -> Floats:
    """Return values between 0, the worst of their column, and 1, the best; a column of equal values is 1."""
    goods = -_costs(values, directions)
    span = goods.max(axis=0) - goods.min(axis=0)
    return np.where(span > 0.0, (goods - goods.min(axis=0)) / np.where(span > 0.0, span, 1.0), 1.0)


def _draws(means: Means, column: int) -> Floats:
    """Return draws of expected scores, shape ``(DRAWS, n_configurations)``; the same for the same data."""
    uniform = np.random.default_rng([0, column]).random((DRAWS, len(means.mean)))
    quantiles = np.where(
        np.isinf(means.freedom), special.ndtri(uniform), special.stdtrit(np.minimum(means.freedom, 1e9), uniform)
    )
    drawn: Floats = means.mean + means.error * quantiles
    return drawn
