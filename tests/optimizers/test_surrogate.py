"""The surrogate: gradients against differences, predictions against the truth, and scales that survive outliers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad

from autorl.optimizers.surrogate import Points, Surrogate, Warp, at_the_end, expected_score


def points(rng: np.random.Generator, count: int = 40) -> tuple[Points, np.ndarray]:
    trials = rng.integers(12, size=count)
    vectors = rng.random((12, 4))[trials]
    logs = np.log(rng.choice([0.1, 0.3, 1.0], count))
    return Points(vectors, trials, rng.integers(3, size=count), logs), rng.normal(size=count)


def test_gradients_are_those_of_the_objective() -> None:
    rng = np.random.default_rng(0)
    at, normal = points(rng)
    surrogate = Surrogate(4)
    for _ in range(3):
        theta = surrogate._centre + 0.5 * rng.standard_normal(len(surrogate._centre))
        wrong = check_grad(
            lambda t: surrogate._objective(t, at, normal)[0], lambda t: surrogate._objective(t, at, normal)[1], theta
        )
        assert wrong < 1e-3 * np.linalg.norm(surrogate._objective(theta, at, normal)[1])


def test_it_recovers_what_the_space_explains_through_noisy_seeds() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.random((30, 1))
    trials = np.repeat(np.arange(30), 2)
    at = Points(vectors[trials], trials, np.tile([0, 1], 30), np.zeros(60))
    scores = np.sin(5 * vectors[trials, 0]) + 0.3 * rng.standard_normal(60)
    surrogate = Surrogate(1)
    surrogate.fit(at, scores, 50)
    surrogate.condition(at, scores)
    assert surrogate.seed_variance == pytest.approx(0.09, rel=0.5)
    new = np.linspace(0.05, 0.95, 50)[:, None]
    mean, variance = surrogate.predict(at_the_end(new, -2 - np.arange(50)))
    assert np.sqrt(np.mean((mean - np.sin(5 * new[:, 0])) ** 2)) < 0.2
    assert (np.abs(mean - np.sin(5 * new[:, 0])) < 3 * np.sqrt(variance)).all()


def test_early_scores_say_less_of_the_end_than_late_ones() -> None:
    surrogate, one, left = Surrogate(1), np.array([[0.5]]), []
    for fraction in (0.1, 0.3, 1.0):
        surrogate.condition(Points(one, np.array([0]), np.array([0]), np.log([fraction])), np.zeros(1))
        left.append(float(surrogate.predict(at_the_end(one, np.array([0])))[1][0]))
    assert left == sorted(left, reverse=True)


def test_the_scale_goes_by_rank_and_back() -> None:
    scores = np.array([-1e9, 0.0, 0.0, 0.1, 0.5, 0.9, 1.0])
    warp = Warp(scores)
    assert warp.normal[1] == warp.normal[2]
    assert (np.diff(warp.normal) >= 0).all()
    assert warp.back(warp.normal) == pytest.approx(scores)
    assert warp.back(np.array([-99.0, 99.0])) == pytest.approx([-1e9, 1.0])
    assert Warp(np.ones(5)).back(np.array([0.3])) == pytest.approx([1.0])


def test_the_expected_score_of_a_run_that_may_fail_lies_between() -> None:
    rng = np.random.default_rng(2)
    scores = np.where(rng.random(400) < 0.5, 0.0, 500.0) + rng.normal(0, 1e-3, 400)
    warp = Warp(scores)
    expected = expected_score(warp, np.array([0.0, 3.0]), np.array([1.0, 1e-4]))
    assert expected[0] == pytest.approx(250, abs=60)
    assert expected[1] == pytest.approx(500, abs=1)
