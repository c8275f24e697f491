"""PB2 models and chooses as Ray Tune's does, and learns which learning rate the next interval wants."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import pytest
from conformance.optimizers import OptimizerConformance, question, result_of
from probe_population import RATE, train
from scipy.optimize import check_grad

from autorl.errors import AutorlError
from autorl.optimizers.pb2 import PB2, highest, upper_bound
from autorl.optimizers.pbt import PBT
from autorl.optimizers.population import Interval
from autorl.optimizers.protocol import Method
from autorl.optimizers.time_varying_gp import START, TimeVaryingGP, climb
from autorl.spec.space import Choice, Parameter, SearchSpace
from autorl.trial import Proposal


class TestPB2(OptimizerConformance):
    repeats = True  # the bound may be highest in the same corner of the space twice

    @pytest.fixture
    def method(self) -> Method:
        return PB2


def history(count: int, seed: int, noise: float = 0.0) -> list[Interval]:
    """Return what four members did in turn, in three dimensions; gains are best at 0.4."""
    rng = np.random.default_rng(seed)
    places = rng.random((count, 3))
    gains = 0.02 - 0.01 * ((places - 0.4) ** 2).sum(axis=1) + rng.normal(0, noise, count)
    steps = 1000.0 * (1 + np.arange(count) // 4)
    starts = steps / 10 + rng.normal(0, 20, count)
    rows = zip(range(count), steps, starts, gains, places, strict=True)
    return [Interval(i, float(t), float(r), float(y), place) for i, t, r, y, place in rows]


def rays_choice(intervals: list[Interval], running: np.ndarray | None, seed: int) -> Any:
    pb2 = pytest.importorskip("ray.tune.schedulers.pb2")
    x = np.array([[i.time, i.start, *i.place] for i in intervals])
    y = np.array([i.gain for i in intervals])
    np.random.seed(seed)  # noqa: NPY002  what Ray Tune draws its starting points from
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn: parameters at their bounds
        return pb2._select_config(x, y, running, x[-1, :2].copy(), dict.fromkeys("abc", (0.0, 1.0)), 2)


@pytest.mark.parametrize("count", [4, 40, 150])
@pytest.mark.parametrize("seed", range(2))
def test_choices_are_those_of_ray_tune(count: int, seed: int) -> None:
    known = history(count, seed, noise=0.001 if seed else 0.0)
    running = np.random.default_rng(seed).random((2, 3)) if seed == 1 else None
    starts = np.random.RandomState(seed).uniform(0, 1, (10, 3))
    bound = upper_bound(known, [] if running is None else list(running), known[-1], noisy=False)
    assert highest(bound, starts) == pytest.approx(rays_choice(known, running, seed), abs=1e-4)


@pytest.mark.parametrize("count", [5, 30, 100])
def test_predictions_are_those_of_ray_tune(count: int) -> None:
    utils = pytest.importorskip("ray.tune.schedulers.pb2_utils")
    rng = np.random.default_rng(count)
    x, new = rng.random((count, 4)), rng.random((20, 4))
    y = utils.standardize(np.sin(5 * x[:, 1]) + x[:, 0] * x[:, 2] ** 2)
    kernel = utils.TV_SquaredExp(variance=1.0, lengthscale=1.0, epsilon=0.1)
    model = utils.GaussianProcessRegressor(kernel=kernel, optimizer="fmin_l_bfgs_b", alpha=1e-10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn: parameters at their bounds
        mean, deviation = model.fit(x, y).predict(new, return_std=True)
    ours = TimeVaryingGP.fit(x, y)
    assert ours.theta[:3] == pytest.approx(model.kernel_.theta, abs=1e-3)
    found, variance = ours.predict(new)
    assert found == pytest.approx(mean, abs=1e-4)
    assert variance == pytest.approx(deviation**2, abs=1e-4)


@pytest.mark.parametrize("labels", [0, 2])
def test_the_likelihood_rises_along_its_gradient(labels: int) -> None:
    from autorl.optimizers.time_varying_gp import _distances, _kernel

    rng = np.random.default_rng(0)
    x = np.hstack([rng.random((12, 4)), rng.integers(0, 3, (12, labels))])
    distances = _distances(x, x, labels)
    weights = rng.normal(size=(12, 12))

    def value(theta: np.ndarray) -> float:
        return float(np.vdot(weights, _kernel(theta, *distances)[0]))

    def slope(theta: np.ndarray) -> np.ndarray:
        return np.array([np.vdot(weights, g) for g in _kernel(theta, *distances, gradient=True)[1]])

    for theta in (START[:4], START[:4] + rng.normal(0, 0.3, 4)):
        assert check_grad(value, slope, theta) < 1e-5


def test_noise_is_told_from_signal() -> None:
    """Without noise in the model, as in Ray Tune, the lengthscale vanishes and all places look alike."""
    known = history(100, 0, noise=0.002)
    starts = np.random.default_rng(0).random((10, 3))
    chosen = {noisy: highest(upper_bound(known, [], known[-1], noisy=noisy), starts) for noisy in (True, False)}
    assert chosen[True] == pytest.approx([0.4] * 3, abs=0.15)
    assert chosen[False] == pytest.approx(starts[0], abs=1e-3)


def test_what_is_being_tried_repels() -> None:
    known = history(20, 0)
    starts = np.random.default_rng(0).random((10, 3))
    first = highest(upper_bound(known, [], known[-1]), starts)
    alone, repelled = (upper_bound(known, tried, known[-1])(first[None])[0] for tried in ([], [first]))
    assert repelled < alone


def test_climbing_stops_at_the_bounds() -> None:
    place, value = climb(lambda x: x.sum(axis=1), np.array([0.5, 0.5]), 0.0, np.array([1.0, 0.7]))
    assert place == pytest.approx([1.0, 0.7])
    assert value == pytest.approx(1.7)


def test_a_matrix_that_has_no_factor_is_given_one() -> None:
    x = np.repeat(np.random.default_rng(0).random((3, 3)), 5, axis=0)
    mean, variance = TimeVaryingGP.fit(x, np.repeat([0.0, 1.0, -1.0], 5)).predict(x)
    assert mean == pytest.approx(np.repeat([0.0, 1.0, -1.0], 5), abs=1e-2)
    assert (variance >= 0).all()


def test_the_winner_has_found_the_schedule_and_sooner_than_pbt() -> None:
    gains = []
    for seed in range(5):
        done, plain = (train(method, seed=seed, population=8, count=80) for method in (PB2, PBT))
        schedule = np.log10(done.schedule(done.winner(), "rate"))
        assert schedule[-3:].mean() < schedule[:3].mean() - 0.5
        gains.append(max(v for v in done.values[-8:] if v) - max(v for v in plain.values[-8:] if v))
    assert np.mean(gains) > 0


def test_it_moves_numbers_only() -> None:
    space = SearchSpace((RATE, Parameter("kind", Choice((1, 2)), "kind")))
    with pytest.raises(AutorlError, match="'kind': must be among rate,"):
        train(PB2, space=space, mutable=("kind",))


def test_proposals_stay_quick() -> None:
    """PBT stands in for the first generations: only the last is asked for, when the process remembers all it can."""
    quick, slow = (method.make(question(method, population=64)) for method in (PBT, PB2))
    seconds = []
    for number in range(9 * 64 + 4):
        proposal = quick.ask(number)
        assert isinstance(proposal, Proposal)
        if number >= 9 * 64:
            began = time.process_time()
            assert slow.ask(number) != proposal
            seconds.append(time.process_time() - began)
        for optimizer in (quick, slow):
            optimizer.take(number, proposal)
            optimizer.tell(number, result_of(proposal))
    assert np.median(seconds) < 0.5
