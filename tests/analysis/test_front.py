"""Fronts and their indicators: worked examples, and what noise does to them."""

from __future__ import annotations

import numpy as np
import pytest

from autorl.analysis import (
    Means,
    attainment,
    hypervolume,
    hypervolume_gap,
    knee,
    preferred,
    probability_undominated,
    shrunk_means,
    spread_out,
    undominated,
)
from autorl.analysis.checks import Direction

DOWN: tuple[Direction, Direction] = ("minimize", "minimize")
MIXED: tuple[Direction, Direction] = ("maximize", "minimize")


def test_dominance_of_a_worked_example() -> None:
    values = [[1.0, 5.0], [2.0, 5.0], [2.0, 3.0], [0.0, 0.0], [2.0, 3.0]]
    assert undominated(values, MIXED).tolist() == [False, False, True, True, True]
    assert undominated(values, DOWN).tolist() == [False, False, False, True, False]


def test_hypervolume_of_a_worked_example() -> None:
    """(1, 2) and (2, 1) below (3, 3): two rectangles of 2 that share 1."""
    assert hypervolume([[1.0, 2.0], [2.0, 1.0]], [3.0, 3.0], DOWN) == pytest.approx(3.0)
    assert hypervolume([[-1.0, 2.0], [-2.0, 1.0]], [-3.0, 3.0], MIXED) == pytest.approx(3.0)
    assert hypervolume([[4.0, 0.0]], [3.0, 3.0], DOWN) == 0.0


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="1 columns; expected 2"):
        hypervolume([[1.0]], [3.0, 3.0], DOWN)


def test_the_members_that_stand_for_all_are_far_apart() -> None:
    values = [[0.0, 1.0], [0.01, 0.99], [0.5, 0.45], [0.99, 0.01], [1.0, 0.0]]
    chosen = spread_out(values, [1.1, 1.1], DOWN, 3)
    assert chosen[0] == 2  # alone it has the largest rectangle
    assert len({0, 1} & set(chosen)) == len({3, 4} & set(chosen)) == 1
    assert len(spread_out(values, [1.1, 1.1], DOWN, 9)) == 5


def test_the_knee_and_what_weights_prefer() -> None:
    """A concave front: no weighted sum would ever choose its middle, row 1."""
    concave = [[0.0, 1.0], [0.7, 0.7], [1.0, 0.0]]
    assert knee([[0.0, 1.0], [0.2, 0.2], [1.0, 0.0]], DOWN) == 1
    assert preferred(concave, DOWN, [0.5, 0.5]) == 1
    assert preferred(concave, DOWN, [0.95, 0.05]) == 0
    assert preferred(concave, DOWN, [0.0, 1.0]) == 2
    for wrong in ([0.0, 0.0], [-1.0, 2.0]):
        with pytest.raises(ValueError, match="expected 0 or more"):
            preferred(concave, DOWN, wrong)


def test_attainment_of_a_worked_example() -> None:
    """Half of two seeds attain what either has, all what both have."""
    surfaces = attainment([[[0.0, 1.0]], [[1.0, 0.0]]], DOWN, [0.5, 1.0])
    assert surfaces[0.5].tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert surfaces[1.0].tolist() == [[1.0, 1.0]]
    turned = attainment([[[0.0, -1.0]], [[1.0, 0.0]]], ("minimize", "maximize"), [1.0])
    assert turned[1.0].tolist() == [[1.0, -1.0]]


def test_what_is_known_for_sure_is_on_the_front_or_not() -> None:
    values = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    none, known = np.zeros(3), np.full(3, np.inf)
    means = [Means(values[:, column], none, none, known) for column in range(2)]
    assert probability_undominated(means, DOWN).tolist() == [1.0, 1.0, 0.0]


def test_two_that_are_equal_are_on_the_front_half_of_the_time_by_each_objective() -> None:
    """With independent objectives one dominates the other in both with probability 1/4."""
    means = [Means(np.zeros(2), np.ones(2), np.ones(2), np.full(2, np.inf)) for _ in range(2)]
    assert probability_undominated(means, DOWN) == pytest.approx([0.75, 0.75], abs=0.05)


def noisy(rng: np.random.Generator, count: int, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the true values of random points of ZDT1 in five dimensions, and noisy scores of some seeds."""
    x = rng.random((count, 5))
    g = 1 + 2 * x[:, 1:].mean(axis=1)
    true = np.stack([x[:, 0], g * (1 - np.sqrt(x[:, 0] / g))], axis=1)
    return true, true[:, None] + 0.15 * rng.standard_normal((count, seeds, 2))


def test_the_noise_aware_front_has_fewer_false_members_and_its_intervals_cover() -> None:
    rng = np.random.default_rng(0)
    plain, aware, covered = [], [], []
    for _ in range(40):
        true, scores = noisy(rng, 40, 3)
        front = undominated(true, DOWN)
        means = [shrunk_means(list(scores[:, :, column])) for column in range(2)]
        by_mean = undominated(scores.mean(axis=1), DOWN)
        likely = probability_undominated(means, DOWN) >= 0.5
        plain.append([by_mean.sum(), (by_mean & ~front).sum()])
        aware.append([likely.sum(), (likely & ~front).sum()])
        for column, found in enumerate(means):
            covered.append(np.mean(np.abs(found.mean - true[:, column]) <= 1.645 * found.error))
    assert np.mean(covered) == pytest.approx(0.9, abs=0.03)
    (members, wrong), (fewer, false) = np.sum(plain, axis=0), np.sum(aware, axis=0)
    assert false < 0.6 * wrong
    assert false / fewer < wrong / members


def test_the_gap_of_hypervolumes_covers_the_truth() -> None:
    """Fixed members, two sets of seeds: the true gap is that of nothing, 0."""
    rng = np.random.default_rng(1)
    true = np.array([[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]])
    held = []
    for _ in range(300):
        sides = [true[:, None] + 0.05 * rng.standard_normal((3, seeds, 2)) for seeds in (5, 10)]
        found = hypervolume_gap(list(sides[0]), list(sides[1]), [1.5, 1.5], DOWN)
        held.append(found.low <= 0.0 <= found.high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.035)


def test_the_gap_of_a_front_that_luck_chose_is_seen() -> None:
    rng = np.random.default_rng(2)
    gaps = []
    for _ in range(30):
        true, scores = noisy(rng, 40, 3)
        members = undominated(scores.mean(axis=1), DOWN)
        again = true[members][:, None] + 0.15 * rng.standard_normal((int(members.sum()), 10, 2))
        gaps.append(hypervolume_gap(list(scores[members]), list(again), [2.0, 3.0], DOWN).value)
    assert np.mean(gaps) > 2 * np.std(gaps) / len(gaps) ** 0.5


def test_one_seed_gives_no_interval_and_no_spread_one_of_no_width() -> None:
    alone = [np.array([[0.0, 0.0]])]
    found = hypervolume_gap(alone, alone, [1.0, 1.0], DOWN)
    assert found.value == 0.0
    assert np.isnan(found.low)
    twice = [np.zeros((2, 2))]
    assert hypervolume_gap(twice, twice, [1.0, 1.0], DOWN).low == 0.0
