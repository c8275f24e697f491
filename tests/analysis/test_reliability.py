"""Metrics over the runs of several tasks, against rliable's numbers, closed forms and simulation."""

import itertools
import math
import tracemalloc
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import stats

from autorl.analysis import (
    Estimate,
    Metric,
    aggregate_tasks,
    cvar,
    estimate,
    estimate_tasks,
    performance_profile,
    probability_better,
    probability_of_improvement,
    stratified_bootstrap,
)
from autorl.analysis.superiority import effective_pairs

METRICS: tuple[Metric, ...] = get_args(Metric)

# Few distinct values, so that ties are common.
X = np.array(
    [[0.2, 1.4, 0.9], [0.5, 1.1, 0.9], [0.1, 1.7, 1.3], [0.8, 1.4, 0.4], [0.5, 0.9, 1.0], [0.3, 2.6, 0.9]],
)
Y = np.array([[0.4, 1.4, 0.2], [0.1, 1.2, 0.9], [0.5, 0.3, 1.1], [0.2, 1.4, 0.6], [0.3, 1.0, 0.9]])
W = np.array([[(37 * i + 53 * j + 11 * i * j) % 101 / 50 for j in range(7)] for i in range(10)])
V = np.array([[(29 * i + 71 * j + 17 * i * j) % 97 / 50 for j in range(7)] for i in range(4)])
TAUS = [0.0, 0.2, 0.5, 0.9, 1.0, 1.4, 2.0]

# rliable 1.2.0 (numpy 2.4.6, scipy 1.17.1): repr(float(metrics.aggregate_mean(X))) and so on; the optimality gap with
# gamma=1 and gamma=1.5.
RLIABLE_METRICS = [
    (X, 0.9388888888888888, 0.9, 0.8800000000000001, 0.25555555555555554, 0.6333333333333333),
    (Y, 0.6999999999999998, 0.74, 0.6666666666666666, 0.3733333333333333, 0.8),
    (W, 0.9094285714285714, 0.966, 0.8494444444444444, 0.30085714285714293, 0.6471428571428572),
    (V, 0.9785714285714285, 0.8500000000000001, 1.0057142857142858, 0.2928571428571429, 0.5821428571428572),
]
# The same: metrics.probability_of_improvement(X, Y) and so on.
RLIABLE_IMPROVEMENT = [
    (X, Y, 0.65),
    (Y, X, 0.35000000000000003),
    (W, V, 0.46249999999999997),
    (V, W, 0.5375),
    (X, X, 0.5),
]
# The same with arch 7.2.0: np.random.seed(0), library.create_performance_profile({"a": X}, np.array(TAUS),
# use_score_distribution=True, reps=20000), False for "mean"; profiles and the ends of their bands.
RLIABLE_PROFILES = [
    (
        X,
        "run",
        [1.0, 0.8888888888888888, 0.6666666666666666, 7 / 18, 0.3333333333333333, 0.1111111111111111, 1 / 18],
        [1.0, 0.7777777777777778, 0.5, 0.2222222222222222, 0.2222222222222222, 0.0, 0.0],
        [1.0, 1.0, 0.7777777777777778, 0.5555555555555556, 0.5, 0.2222222222222222, 0.16666666666666666],
    ),
    (
        W,
        "run",
        [67 / 70, 0.8857142857142857, 0.7142857142857143, 31 / 70, 29 / 70, 0.2714285714285714, 0.0],
        [0.9, 0.8142857142857143, 0.6142857142857143, 0.32857142857142857, 0.3, 0.17142857142857143, 0.0],
        [1.0, 0.9571428571428572, 0.8142857142857143, 0.5428571428571428, 36 / 70, 0.37142857142857144, 0.0],
    ),
    (
        W,
        "mean",
        [1.0, 1.0, 0.8571428571428571, 0.7142857142857143, 0.2857142857142857, 0.0, 0.0],
        [1.0, 1.0, 0.7142857142857143, 0.2857142857142857, 0.14285714285714285, 0.0, 0.0],
        [1.0, 1.0, 1.0, 0.8571428571428571, 0.7142857142857143, 0.14285714285714285, 0.0],
    ),
]
# The same: np.random.seed(0), library.get_interval_estimates({"X": X, "W": W}, all four metrics, reps=50000).
RLIABLE_INTERVALS = [
    (X, "mean", 0.7777777777777778, 1.1222222222222222),
    (X, "median", 0.6666666666666666, 1.1),
    (X, "iqm", 0.73, 1.03),
    (X, "optimality_gap", 0.17222222222222228, 0.34444444444444444),
    (W, "mean", 0.7822857142857141, 1.036857142857143),
    (W, "median", 0.744, 1.128),
    (W, "iqm", 0.6900000000000001, 1.0244444444444445),
    (W, "optimality_gap", 0.23057142857142843, 0.376),
]

matrices = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.integers(-4, 4).map(float))
shares = st.floats(0.01, 1.0)
vectors = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=12)

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def seeded() -> np.random.Generator:
    return np.random.default_rng(6)


def ends(found: Estimate) -> tuple[float, float]:
    return found.low, found.high


def normal(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    return rng.normal(size=shape)


def coverage(draw: Draw, shape: tuple[int, int], truth: float, interval: Callable[..., object], repeats: int) -> float:
    rng = np.random.default_rng(20_210_831)
    hits = 0
    for _ in range(repeats):
        found = interval(draw(rng, shape), rng).estimate  # type: ignore[attr-defined]
        hits += found.low <= truth <= found.high
    return hits / repeats


def shuffled(scores: np.ndarray, seed: int) -> np.ndarray:
    """The runs of each task in another order of its own, and the tasks in another order."""
    rng = np.random.default_rng(seed)
    return rng.permutation(rng.permuted(scores, axis=0), axis=1)


def over_every_resample(scores: np.ndarray, statistic: Callable[[np.ndarray], float]) -> list[float]:
    runs, tasks = scores.shape
    each = itertools.product(itertools.product(range(runs), repeat=runs), repeat=tasks)
    return [statistic(np.take_along_axis(scores, np.array(picks).T, axis=0)) for picks in each]


class TestAgainstRliable:
    @pytest.mark.parametrize(("scores", "mean", "median", "iqm", "gap", "gap_to_1_5"), RLIABLE_METRICS)
    def test_metrics(
        self, scores: np.ndarray, mean: float, median: float, iqm: float, gap: float, gap_to_1_5: float
    ) -> None:
        found = [aggregate_tasks(scores, metric, target=1.0) for metric in ("mean", "median", "iqm", "optimality_gap")]
        assert found == pytest.approx([mean, median, iqm, gap], rel=0.0, abs=1e-9)
        assert aggregate_tasks(scores, "optimality_gap", target=1.5) == pytest.approx(gap_to_1_5, rel=0.0, abs=1e-9)

    @pytest.mark.parametrize(("x", "y", "probability"), RLIABLE_IMPROVEMENT)
    def test_probability_of_improvement(self, x: np.ndarray, y: np.ndarray, probability: float) -> None:
        assert probability_of_improvement(x, y).estimate.value == pytest.approx(probability, rel=0.0, abs=1e-9)

    @pytest.mark.parametrize(("scores", "distribution", "shares", "lows", "highs"), RLIABLE_PROFILES)
    def test_profiles(
        self, scores: np.ndarray, distribution: str, shares: list[float], lows: list[float], highs: list[float]
    ) -> None:
        found = performance_profile(scores, TAUS, seeded(), distribution=distribution, resamples=20_000)  # type: ignore[arg-type]
        assert [each.value for each in found.shares] == pytest.approx(shares, rel=0.0, abs=1e-9)
        # The ends are quantiles of random draws on a grid; chance decides where one is nearly on a step.
        step = 1.001 / scores.size
        assert [each.low for each in found.shares] == pytest.approx(lows, rel=0.0, abs=step)
        assert [each.high for each in found.shares] == pytest.approx(highs, rel=0.0, abs=step)

    @pytest.mark.parametrize(("scores", "metric", "low", "high"), RLIABLE_INTERVALS)
    def test_percentile_intervals(self, scores: np.ndarray, metric: Metric, low: float, high: float) -> None:
        found = stratified_bootstrap(scores, metric, seeded(), target=1.0, resamples=20_000).estimate
        # The resampled metrics lie on a grid, the widest step of which is 0.0125.
        assert ends(found) == pytest.approx((low, high), rel=0.0, abs=0.013)
        assert found.value == aggregate_tasks(scores, metric, target=1.0)


class TestAggregate:
    def test_by_hand(self) -> None:
        scores = [[0.0, 2.0, 10.0], [4.0, 2.0, 30.0]]
        assert aggregate_tasks(scores, "mean") == pytest.approx(8.0)
        assert aggregate_tasks(scores, "median") == 2.0
        # Of 0 2 2 4 10 30 the first and the last are dropped.
        assert aggregate_tasks(scores, "iqm") == 4.5
        # 4 missing once, 2 twice, of 6 scores.
        assert aggregate_tasks(scores, "optimality_gap", target=4.0) == pytest.approx(8 / 6)

    def test_median_is_of_tasks_not_of_runs(self) -> None:
        assert aggregate_tasks([[0.0], [0.0], [9.0]], "median") == 3.0

    @given(scores=matrices, seed=st.integers(0, 99))
    def test_order_does_not_matter(self, scores: np.ndarray, seed: int) -> None:
        for metric in METRICS:
            plain = aggregate_tasks(scores, metric, target=1.0)
            assert aggregate_tasks(shuffled(scores, seed), metric, target=1.0) == pytest.approx(plain, abs=1e-12)

    @given(scores=matrices, target=st.integers(-5, 5).map(float))
    def test_bounds(self, scores: np.ndarray, target: float) -> None:
        for metric in ("mean", "median", "iqm"):
            assert np.min(scores) - 1e-12 <= aggregate_tasks(scores, metric) <= np.max(scores) + 1e-12
        gap = aggregate_tasks(scores, "optimality_gap", target=target)
        assert max(target - np.mean(scores), 0.0) - 1e-12 <= gap <= max(target - np.min(scores), 0.0)

    @given(scores=matrices)
    def test_negated_scores_mirror(self, scores: np.ndarray) -> None:
        for metric in ("mean", "median", "iqm"):
            assert aggregate_tasks(-scores, metric) == pytest.approx(-aggregate_tasks(scores, metric), abs=1e-12)


class TestEstimate:
    @pytest.mark.parametrize("runs", [1, 2, 3, 8, 20])
    @pytest.mark.parametrize("level", [0.8, 0.95])
    def test_one_task_is_estimates(self, runs: int, level: float) -> None:
        scores = np.random.default_rng(runs).normal(size=(runs, 1))
        for metric, expected in (
            ("mean", estimate(scores[:, 0], "mean", level)),
            ("median", estimate(scores[:, 0], "mean", level)),
            ("iqm", estimate(scores[:, 0], "iqm", level)),
        ):
            found = estimate_tasks(scores, metric, seeded(), level=level).estimate  # type: ignore[arg-type]
            assert repr(found) == repr(expected)

    @pytest.mark.parametrize(("runs", "level"), [(2, 0.95), (3, 0.8), (10, 0.99)])
    def test_mean_of_two_tasks_is_welchs_interval(self, runs: int, level: float) -> None:
        scores = np.random.default_rng(runs).normal(size=(runs, 2)) * [1.0, 4.0] + [0.0, 7.0]
        welch = stats.ttest_ind(scores[:, 0], -scores[:, 1], equal_var=False).confidence_interval(level)
        found = estimate_tasks(scores, "mean", seeded(), level=level).estimate
        assert ends(found) == pytest.approx((welch.low / 2, welch.high / 2), rel=1e-9)
        assert found.value == pytest.approx(np.mean(scores), rel=1e-12)
        assert found.level == level

    def test_equal_tasks_add_their_degrees_of_freedom(self) -> None:
        scores = np.tile([[1.0], [2.0], [6.0]], 5)
        half = stats.t(10).ppf(0.975) * math.sqrt(7 / 3 / 5)
        assert ends(estimate_tasks(scores, "mean", seeded()).estimate) == pytest.approx((3.0 - half, 3.0 + half))

    def test_optimality_gap_is_the_mean_of_gaps(self) -> None:
        scores = np.random.default_rng(3).normal(size=(6, 3))
        gaps = estimate_tasks(np.maximum(0.5 - scores, 0.0), "mean", seeded()).estimate
        found = estimate_tasks(scores, "optimality_gap", seeded(), target=0.5).estimate
        assert (found.value, *ends(found)) == pytest.approx((gaps.value, gaps.low, gaps.high))
        assert gaps.low > 0.0

    @pytest.mark.parametrize("tasks", [1, 2])
    def test_optimality_gap_is_not_negative(self, tasks: int) -> None:
        scores = np.tile([[0.0], [2.0], [2.0]], tasks)
        assert estimate_tasks(scores, "mean", seeded()).estimate.high > 2.0
        assert estimate_tasks(scores, "optimality_gap", seeded(), target=2.0).estimate.low == 0.0

    def test_median_between_distant_tasks_is_the_middle_ones(self) -> None:
        middle = [0.3, 1.9, 0.8, 1.0]
        scores = np.stack([np.array(middle) - 1e6, middle, np.array(middle) + 1e6], axis=1)
        found = estimate_tasks(scores, "median", seeded(), resamples=200_000).estimate
        expected = estimate(middle)
        assert ends(found) == pytest.approx(ends(expected), abs=0.03)
        assert found.value == pytest.approx(expected.value)

    def test_median_of_two_equal_tasks_is_the_mean_of_twice_the_runs(self) -> None:
        scores = np.tile(np.random.default_rng(2).normal(size=(400, 1)), 2)
        found = estimate_tasks(scores, "median", seeded(), resamples=50_000).estimate
        expected = estimate(scores.ravel())
        assert found.high - found.low == pytest.approx(expected.high - expected.low, rel=0.03)

    def test_iqm_of_two_tasks_reaches_the_extreme_resamples(self) -> None:
        # Hesterberg's tail is at most Phi(-sqrt(3/2) t(4)) = 0.0003, the extreme resample's share 1/729 at least.
        scores = np.array([[0.0, 0.4], [1.1, 1.5], [3.0, 2.2]])
        iqms = over_every_resample(scores, lambda resample: stats.trim_mean(resample, 0.25, axis=None))
        found = estimate_tasks(scores, "iqm", seeded(), resamples=50_000).estimate
        assert ends(found) == pytest.approx((min(iqms), max(iqms)))

    def test_iqm_of_many_runs_is_nearly_the_percentile_interval(self) -> None:
        scores = np.random.default_rng(1).normal(size=(200, 4))
        ours = ends(estimate_tasks(scores, "iqm", seeded()).estimate)
        assert ours == pytest.approx(ends(stratified_bootstrap(scores, "iqm", seeded()).estimate), abs=0.004)

    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("tasks", [1, 4])
    def test_one_run_has_no_interval(self, metric: Metric, tasks: int) -> None:
        scores = np.arange(1.0, tasks + 1.0).reshape(1, tasks)
        for interval in (estimate_tasks, stratified_bootstrap):
            found = interval(scores, metric, seeded(), target=9.0)
            assert found.estimate.value == aggregate_tasks(scores, metric, target=9.0)
            assert np.isnan(ends(found.estimate)).all()
            assert found.cautions[0].startswith("1 run a task: below 10")

    @given(scores=matrices.filter(lambda each: len(each) > 1), seed=st.integers(0, 99))
    def test_mean_is_invariant_mirrored_and_nested(self, scores: np.ndarray, seed: int) -> None:
        wide, narrow, moved, mirrored = (
            estimate_tasks(each, "mean", seeded(), level=level).estimate
            for each, level in ((scores, 0.95), (scores, 0.8), (shuffled(scores, seed), 0.95), (-scores, 0.95))
        )
        assert ends(moved) == pytest.approx(ends(wide), abs=1e-9)
        assert ends(mirrored) == pytest.approx((-wide.high, -wide.low), abs=1e-9)
        assert wide.low - 1e-9 <= narrow.low <= narrow.value <= narrow.high <= wide.high + 1e-9

    def test_mean_and_gap_draw_nothing(self) -> None:
        rng = seeded()
        for metric in ("mean", "optimality_gap"):
            estimate_tasks(W, metric, rng, target=1.0)  # type: ignore[arg-type]
        assert rng.random() == seeded().random()

    @pytest.mark.parametrize("metric", METRICS)
    def test_same_generator_same_answer(self, metric: Metric) -> None:
        for interval in (estimate_tasks, stratified_bootstrap):
            first, second = (interval(W, metric, seeded(), target=1.0) for _ in range(2))
            assert first == second


class TestCautions:
    @pytest.mark.parametrize("metric", METRICS)
    def test_below_ten_runs(self, metric: Metric) -> None:
        for interval in (estimate_tasks, stratified_bootstrap):
            assert interval(W, metric, seeded(), target=1.0).cautions == ()
            (caution,) = interval(W[:9], metric, seeded(), target=1.0).cautions
            assert caution.startswith("9 runs a task: below 10 the interval ")

    def test_profile_below_ten_runs(self) -> None:
        assert performance_profile(W, TAUS, seeded()).cautions == ()
        assert performance_profile(W[:9], TAUS, seeded()).cautions[0].startswith("9 runs a task: below 10 the bands ")

    def test_improvement_counts_the_fewer_runs(self) -> None:
        assert probability_of_improvement(W, W[::-1]).cautions == ()
        for x, y in ((W, V), (V, W)):
            assert probability_of_improvement(x, y).cautions[0].startswith("4 runs a task: below 10 ")

    @pytest.mark.parametrize("metric", METRICS)
    def test_no_spread_gives_no_width(self, metric: Metric) -> None:
        scores = np.tile([[1.0, 2.0, 5.0]], (12, 1))
        for interval in (estimate_tasks, stratified_bootstrap):
            found = interval(scores, metric, seeded(), target=7.0)
            assert ends(found.estimate) == pytest.approx((found.estimate.value, found.estimate.value))
            assert found.cautions[-1].startswith("the interval has no width")


class TestStratifiedBootstrap:
    @pytest.mark.parametrize(
        ("metric", "statistic"),
        [
            ("mean", np.mean),
            ("median", lambda resample: np.median(np.mean(resample, axis=0))),
            ("iqm", lambda resample: stats.trim_mean(resample, 0.25, axis=None)),
            ("optimality_gap", lambda resample: 1.5 - np.mean(np.minimum(resample, 1.5))),
        ],
    )
    def test_against_every_resample(self, metric: Metric, statistic: Callable[[np.ndarray], float]) -> None:
        scores = np.array([[0.0, 0.4], [1.1, 1.5], [3.0, 2.2]])
        exact = np.quantile(over_every_resample(scores, statistic), [0.1, 0.9])
        found = stratified_bootstrap(scores, metric, seeded(), target=1.5, level=0.8, resamples=20_000).estimate
        assert ends(found) == pytest.approx(exact, abs=0.02)

    def test_never_mixes_tasks(self) -> None:
        found = stratified_bootstrap([[0.0, 100.0]] * 5, "mean", seeded()).estimate
        assert ends(found) == (50.0, 50.0)

    def test_resamples_each_task_on_its_own(self) -> None:
        # Whole rows, resampled together, would all have the mean 1 / 2.
        found = stratified_bootstrap([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]], "mean", seeded()).estimate
        assert found.low < 0.25
        assert found.high > 0.75

    def test_memory_does_not_grow_with_resamples(self) -> None:
        scores = np.random.default_rng(0).normal(size=(100, 50))
        tracemalloc.start()
        stratified_bootstrap(scores, "iqm", seeded(), resamples=2000)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # All resamples at once would hold 80 MB of scores, as much of indices and as much again sorted.
        assert peak < 20e6

    def test_docstring_is_honest_about_three_runs(self) -> None:
        below = stats.norm.cdf(0.5)
        found = coverage(
            lambda rng, shape: np.exp(rng.normal(size=shape)),
            (3, 1),
            math.exp(0.5),
            lambda scores, rng: stratified_bootstrap(scores, "mean", rng, resamples=4000),
            repeats=1500,
        )
        assert found == pytest.approx(1 - below**3 - (1 - below) ** 3, abs=0.035)
        for probability, covered in ((0.62, 0.71), (0.745, 0.57), (0.5, 0.75)):
            assert 1 - probability**3 - (1 - probability) ** 3 == pytest.approx(covered, abs=0.005)


class TestCoverage:
    """The docstring's promises for few runs, with 1.5 % of simulation error and a little more allowed."""

    @pytest.mark.parametrize(
        ("name", "tasks", "runs", "least", "most"),
        [
            ("equal", 2, 3, 0.94, 1.0),
            ("equal", 5, 3, 0.93, 0.98),
            ("unequal", 5, 3, 0.90, 0.97),
            ("equal", 10, 5, 0.93, 0.98),
        ],
    )
    def test_mean(self, name: str, tasks: int, runs: int, least: float, most: float) -> None:
        deviations = np.where(np.arange(tasks) == 0, 10.0 if name == "unequal" else 1.0, 1.0)
        found = coverage(
            lambda rng, shape: rng.normal(size=shape) * deviations,
            (runs, tasks),
            0.0,
            lambda scores, rng: estimate_tasks(scores, "mean", rng),
            repeats=2000,
        )
        assert least <= found <= most

    def test_mean_where_the_percentile_bootstrap_fails(self) -> None:
        rates = {
            interval: coverage(
                normal, (3, 2), 0.0, lambda scores, rng, f=interval: f(scores, "mean", rng, resamples=500), repeats=800
            )
            for interval in (estimate_tasks, stratified_bootstrap)
        }
        assert rates[stratified_bootstrap] == pytest.approx(0.79, abs=0.05)
        assert rates[estimate_tasks] == pytest.approx(0.97, abs=0.02)

    @pytest.mark.parametrize("apart", [0.0, 3.0])
    def test_median(self, apart: float) -> None:
        found = coverage(
            lambda rng, shape: rng.normal(size=shape) + apart * np.arange(5),
            (3, 5),
            2.0 * apart,
            lambda scores, rng: estimate_tasks(scores, "median", rng, resamples=500),
            repeats=800,
        )
        assert found >= 0.955

    @pytest.mark.parametrize("runs", [3, 5])
    def test_iqm(self, runs: int) -> None:
        rates = [
            coverage(
                normal,
                (runs, 10),
                0.0,
                lambda scores, rng, f=interval: f(scores, "iqm", rng, resamples=1000),
                repeats=800,
            )
            for interval in (estimate_tasks, stratified_bootstrap)
        ]
        assert rates[0] == pytest.approx(0.955, abs=0.025)
        assert rates[1] < rates[0]

    def test_improvement(self) -> None:
        # x leads by three standard deviations on every task: its three runs mostly win all comparisons.
        truth = stats.norm.cdf(3.0 / math.sqrt(2.0))
        found = coverage(
            lambda rng, shape: rng.normal(size=shape) + np.array([[3.0] * 4 + [0.0] * 4]),
            (3, 8),
            truth,
            lambda both, rng: probability_of_improvement(both[:, :4], both[:, 4:]),
            repeats=800,
        )
        assert found >= 0.93


class TestCvar:
    @pytest.mark.parametrize(
        ("alpha", "worst_low", "worst_high"),
        [
            (0.1, 1.0, 16.0),
            (0.2, 1.0, 16.0),
            (0.4, 1.5, 12.0),
            # One and a half of five runs.
            (0.3, (1 + 0.5 * 2) / 1.5, (16 + 0.5 * 8) / 1.5),
            (0.9, (1 + 2 + 4 + 8 + 0.5 * 16) / 4.5, (16 + 8 + 4 + 2 + 0.5 * 1) / 4.5),
            (1.0, 6.2, 6.2),
        ],
    )
    def test_by_hand(self, alpha: float, worst_low: float, worst_high: float) -> None:
        scores = [4.0, 1.0, 16.0, 2.0, 8.0]
        assert cvar(scores, alpha) == pytest.approx(worst_low)
        assert cvar(scores, alpha, higher_is_better=False) == pytest.approx(worst_high)

    @given(scores=vectors, alpha=shares)
    def test_against_rockafellar_and_uryasevs_formula(self, scores: list[float], alpha: float) -> None:
        # Their theorem 10: the optimum over the threshold c, which some score attains.
        optimum = max(c - np.mean(np.maximum(c - np.array(scores), 0.0)) / alpha for c in scores)
        assert cvar(scores, alpha) == pytest.approx(optimum, abs=1e-9)

    @given(scores=vectors, alpha=shares, beta=shares)
    def test_bounds_and_grows_with_the_share(self, scores: list[float], alpha: float, beta: float) -> None:
        fewer, more = (cvar(scores, share) for share in sorted((alpha, beta)))
        assert min(scores) - 1e-9 <= fewer <= more + 1e-9
        assert more <= np.mean(scores) + 1e-9

    @given(scores=vectors, alpha=shares, data=st.data())
    def test_order_does_not_matter_and_directions_mirror(
        self, scores: list[float], alpha: float, data: st.DataObject
    ) -> None:
        plain = cvar(scores, alpha)
        assert cvar(data.draw(st.permutations(scores)), alpha) == plain
        assert cvar(np.negative(scores), alpha, higher_is_better=False) == pytest.approx(-plain)

    def test_flatters_as_the_docstring_says(self) -> None:
        rng = seeded()
        found = np.mean([cvar(rng.random(4), 0.25) for _ in range(4000)])
        assert found == pytest.approx(1 / 5, abs=0.01)


class TestProfile:
    def test_by_hand(self) -> None:
        scores = [[1.0, 2.0], [3.0, 4.0]]
        by_run = performance_profile(scores, [0.0, 1.0, 2.5, 4.0], seeded())
        assert by_run.taus == (0.0, 1.0, 2.5, 4.0)
        # A score at the threshold is not above it.
        assert [share.value for share in by_run.shares] == [1.0, 0.75, 0.5, 0.0]
        by_mean = performance_profile(scores, [1.9, 2.0, 3.0], seeded(), distribution="mean")
        assert [share.value for share in by_mean.shares] == [1.0, 0.5, 0.0]

    def test_band_of_one_task_is_binomial(self) -> None:
        scores = np.arange(20.0).reshape(20, 1)
        (share,) = performance_profile(scores, [11.5], seeded(), level=0.8).shares
        exact = stats.binomtest(8, 20).proportion_ci(0.8, method="exact")
        assert (share.value, share.level) == (0.4, 0.8)
        assert ends(share) == pytest.approx((exact.low, exact.high), abs=1e-9)

    @pytest.mark.parametrize("runs", [3, 5, 10])
    def test_band_of_one_task_covers_at_least_what_it_says(self, runs: int) -> None:
        rng = np.random.default_rng(8)
        hits = 0
        for _ in range(1500):
            (share,) = performance_profile(rng.random((runs, 1)), [0.1], rng).shares
            hits += share.low <= 0.9 <= share.high
        assert hits / 1500 >= 0.94

    @given(scores=matrices, distribution=st.sampled_from(["run", "mean"]), seed=st.integers(0, 99))
    def test_falls_within_bounds_whatever_the_order(self, scores: np.ndarray, distribution: str, seed: int) -> None:
        taus = np.arange(-5.0, 5.0) + 0.51
        found, moved = (
            performance_profile(each, taus, seeded(), distribution=distribution, resamples=50)  # type: ignore[arg-type]
            for each in (scores, shuffled(scores, seed))
        )
        values = [share.value for share in found.shares]
        assert values == pytest.approx([share.value for share in moved.shares])
        assert values[0] == 1.0
        assert values[-1] == 0.0
        assert np.all(np.diff(values) <= 0.0)
        if len(scores) > 1 or (scores.shape[1] == 1 and distribution == "run"):
            assert all(0.0 <= share.low <= share.high <= 1.0 for share in found.shares)
            for side in (0, 1):
                assert np.all(np.diff([ends(share)[side] for share in found.shares]) <= 1e-12)
        else:
            assert np.isnan([ends(share) for share in found.shares]).all()


class TestImprovement:
    @given(x=vectors, y=vectors)
    def test_one_task_is_probability_betters(self, x: list[float], y: list[float]) -> None:
        found = probability_of_improvement(np.c_[x], np.c_[y]).estimate
        expected = probability_better(x, y)
        assert (found.value, *ends(found)) == pytest.approx((expected.value, *ends(expected)), nan_ok=True, abs=1e-12)

    def test_several_tasks_by_hand(self) -> None:
        each = [effective_pairs(X[:, task], Y[:, task], higher_is_better=True) for task in range(3)]
        first, second, third = (
            Estimate(
                theta,
                float(stats.beta(theta * pairs, (1 - theta) * pairs + 1).ppf(0.05)) if theta > 0 else 0.0,
                float(stats.beta(theta * pairs + 1, (1 - theta) * pairs).ppf(0.95)) if theta < 1 else 1.0,
                0.9,
            )
            for theta, pairs in each
        )
        middle = (first.value + second.value + third.value) / 3
        below = math.sqrt(sum((each.value - each.low) ** 2 for each in (first, second, third))) / 3
        above = math.sqrt(sum((each.high - each.value) ** 2 for each in (first, second, third))) / 3
        found = probability_of_improvement(X, Y, level=0.9).estimate
        assert (found.value, *ends(found)) == pytest.approx((middle, middle - below, middle + above))
        assert found.level == 0.9

    @pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 9), (9, 1)])
    def test_one_run_has_no_interval(self, m: int, n: int) -> None:
        found = probability_of_improvement(np.ones((m, 2)), np.zeros((n, 2))).estimate
        assert found.value == 1.0
        assert np.isnan(ends(found)).all()

    @given(data=st.data(), tasks=st.integers(1, 4))
    def test_bounds_swapping_and_direction(self, data: st.DataObject, tasks: int) -> None:
        x, y = (
            data.draw(arrays(np.float64, (data.draw(st.integers(2, 6)), tasks), elements=st.integers(0, 3).map(float)))
            for _ in range(2)
        )
        found = probability_of_improvement(x, y).estimate
        assert 0.0 <= found.low <= found.value <= found.high <= 1.0
        for mirrored in (
            probability_of_improvement(y, x).estimate,
            probability_of_improvement(x, y, higher_is_better=False).estimate,
        ):
            expected = (1 - found.value, 1 - found.high, 1 - found.low)
            assert (mirrored.value, *ends(mirrored)) == pytest.approx(expected, abs=1e-9)


class TestRefusals:
    @pytest.mark.parametrize(
        ("scores", "message"),
        [
            ([], r"shape \(0,\); expected \(runs, tasks\)"),
            (np.empty((0, 3)), r"shape \(0, 3\) is empty"),
            (np.empty((3, 0)), r"shape \(3, 0\) is empty"),
            ([1.0, 2.0], r"shape \(2,\); expected \(runs, tasks\)"),
            ([[1.0, 2.0], [3.0, math.nan]], r"\[1, 1\] is nan \(1 of 4"),
            ([[1.0, -math.inf], [3.0, math.inf]], r"\[0, 1\] is -inf \(2 of 4"),
        ],
    )
    def test_scores(self, scores: object, message: str) -> None:
        good = [[1.0, 2.0]]
        for refused in (
            lambda: aggregate_tasks(scores, "mean"),  # type: ignore[arg-type]
            lambda: estimate_tasks(scores, "mean", seeded()),  # type: ignore[arg-type]
            lambda: stratified_bootstrap(scores, "mean", seeded()),  # type: ignore[arg-type]
            lambda: performance_profile(scores, [1.0], seeded()),  # type: ignore[arg-type]
            lambda: probability_of_improvement(scores, good),  # type: ignore[arg-type]
            lambda: probability_of_improvement(good, scores),  # type: ignore[arg-type]
        ):
            with pytest.raises(ValueError, match=message):
                refused()

    def test_says_which_side(self) -> None:
        with pytest.raises(ValueError, match=r"^x\[0, 0\] is nan"):
            probability_of_improvement([[math.nan]], [[1.0]])
        with pytest.raises(ValueError, match=r"^y\[0, 0\] is nan"):
            probability_of_improvement([[1.0]], [[math.nan]])

    def test_mismatched_tasks(self) -> None:
        with pytest.raises(ValueError, match="x has 3 tasks and y has 7"):
            probability_of_improvement(X, W)

    @pytest.mark.parametrize("alpha", [0.0, -0.1, 1.5, 25.0, math.nan])
    def test_alpha(self, alpha: float) -> None:
        with pytest.raises(ValueError, match=f"alpha: {alpha}; expected above 0 and at most 1"):
            cvar([1.0, 2.0], alpha)

    @pytest.mark.parametrize(
        ("scores", "message"),
        [([], "scores: empty"), ([1.0, math.nan], r"scores\[1\] is nan"), ([[1.0]], "scores: shape")],
    )
    def test_scores_of_cvar(self, scores: object, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            cvar(scores, 0.5)  # type: ignore[arg-type]

    @pytest.mark.parametrize(("taus", "message"), [([], "taus: empty"), ([0.0, math.nan], r"taus\[1\] is nan")])
    def test_taus(self, taus: list[float], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            performance_profile(X, taus, seeded())

    def test_unknown_names(self) -> None:
        expected = "metric: 'mode'; expected one of mean, median, iqm, optimality_gap"
        for refused in (aggregate_tasks, lambda *args: estimate_tasks(*args, seeded())):
            with pytest.raises(ValueError, match=expected):
                refused(X, "mode")  # type: ignore[operator]
        with pytest.raises(ValueError, match="distribution: 'median'; expected one of run, mean"):
            performance_profile(X, TAUS, seeded(), distribution="median")  # type: ignore[arg-type]

    @pytest.mark.parametrize("target", [None, math.nan, math.inf])
    def test_target(self, target: float | None) -> None:
        with pytest.raises(ValueError, match=f"target: {target}; the optimality gap needs"):
            aggregate_tasks(X, "optimality_gap", target=target)

    @pytest.mark.parametrize("level", [0.0, 1.0, 95.0, math.nan])
    def test_level(self, level: float) -> None:
        for refused in (
            lambda: estimate_tasks(X, "mean", seeded(), level=level),
            lambda: stratified_bootstrap(X, "mean", seeded(), level=level),
            lambda: performance_profile(X, TAUS, seeded(), level=level),
            lambda: probability_of_improvement(X, Y, level=level),
        ):
            with pytest.raises(ValueError, match="level: "):
                refused()

    @pytest.mark.parametrize("resamples", [0, -5])
    def test_resamples(self, resamples: int) -> None:
        for refused in (
            lambda: estimate_tasks(X, "mean", seeded(), resamples=resamples),
            lambda: stratified_bootstrap(X, "mean", seeded(), resamples=resamples),
            lambda: performance_profile(X, TAUS, seeded(), resamples=resamples),
        ):
            with pytest.raises(ValueError, match=f"resamples: {resamples}; expected at least 1"):
                refused()
