"""Point estimates and intervals for the scores of several seeds."""

import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autorl.analysis import Estimate, Statistic, aggregate, cvar, estimate, prediction

LOCATIONS: tuple[Statistic, ...] = ("mean", "median", "iqm")
STATISTICS: tuple[Statistic, ...] = get_args(Statistic)

# Hours of sleep gained with one drug over the other: Student (1908), R's data set `sleep`.
SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]

scores_lists = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=25)
levels = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99])


def is_close(left: Estimate, right: Estimate, scale: float) -> bool:
    pairs = zip((left.value, left.low, left.high), (right.value, right.low, right.high), strict=True)
    return all(
        (math.isnan(x) and math.isnan(y)) or math.isclose(x, y, rel_tol=1e-9, abs_tol=1e-9 * scale) for x, y in pairs
    )


def coverage(
    draw: Callable[[np.random.Generator, int], np.ndarray],
    truth: float,
    statistic: Statistic,
    n: int,
    repeats: int = 2000,
) -> float:
    rng = np.random.default_rng(20_240_517 + n)
    hits = 0
    for _ in range(repeats):
        found = estimate(draw(rng, n), statistic)
        hits += found.low <= truth <= found.high
    return hits / repeats


class TestAggregate:
    def test_by_hand(self) -> None:
        scores = [100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -90.0]
        assert aggregate(scores, "mean") == pytest.approx(31 / 8)
        assert aggregate(scores, "median") == 3.5
        assert aggregate(scores, "iqm") == 3.5
        assert aggregate([7.0, 1.0, 2.0, 3.0, 40.0], "iqm") == 4.0

    @pytest.mark.parametrize("n", range(1, 25))
    def test_against_numpy_and_rliables_definition(self, n: int) -> None:
        scores = np.random.default_rng(n).normal(size=n)
        assert aggregate(scores, "mean") == pytest.approx(np.mean(scores), rel=1e-12)
        assert aggregate(scores, "median") == pytest.approx(np.median(scores), rel=1e-12)
        assert aggregate(scores, "iqm") == pytest.approx(stats.trim_mean(scores, 0.25), rel=1e-12)

    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_iqm_of_three_or_fewer_is_the_mean(self, n: int) -> None:
        scores = [0.0, 1.0, 500.0][:n]
        assert aggregate(scores, "iqm") == aggregate(scores, "mean")
        assert is_close(estimate(scores, "iqm"), estimate(scores, "mean"), scale=500.0)

    @pytest.mark.parametrize("statistic", STATISTICS)
    def test_estimate_has_the_same_value(self, statistic: Statistic) -> None:
        assert estimate(SLEEP, statistic).value == aggregate(SLEEP, statistic)


class TestMean:
    def test_students_own_example(self) -> None:
        found = estimate(SLEEP)
        assert found.value == pytest.approx(1.58)
        # R: t.test(extra ~ group, data = sleep, paired = TRUE)
        assert (found.low, found.high) == pytest.approx((0.7001142, 2.4598858), abs=5e-8)
        assert found.level == 0.95

    @pytest.mark.parametrize("n", [2, 3, 5, 10, 20])
    @pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
    def test_against_scipy(self, n: int, level: float) -> None:
        scores = np.random.default_rng(n).gamma(2.0, 100.0, size=n)
        found = estimate(scores, "mean", level)
        expected = stats.ttest_1samp(scores, 0.0).confidence_interval(level)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)

    @pytest.mark.parametrize("n", [3, 5, 10])
    def test_covers_normal_scores(self, n: int) -> None:
        rate = coverage(lambda rng, k: rng.normal(3.0, 2.0, k), 3.0, "mean", n)
        assert rate == pytest.approx(0.95, abs=0.015)

    def test_docstring_is_honest_about_failing_seeds(self) -> None:
        rate = coverage(lambda rng, k: 500.0 * rng.integers(0, 2, k), 250.0, "mean", 3)
        assert rate == pytest.approx(0.75, abs=0.03)


class TestMedian:
    def test_below_six_seeds_there_is_no_95_percent_interval(self) -> None:
        found = estimate([1.0, 2.0, 3.0, 4.0, 5.0], "median")
        assert found.value == 3.0
        assert math.isnan(found.low)
        assert math.isnan(found.high)

    def test_range_of_six(self) -> None:
        found = estimate([6.0, 1.0, 5.0, 2.0, 4.0, 3.0], "median")
        assert (found.low, found.high) == (1.0, 6.0)

    @pytest.mark.parametrize("n", range(1, 41))
    @pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
    def test_against_scipy(self, n: int, level: float) -> None:
        scores = np.random.default_rng(n).normal(size=n)
        found = estimate(scores, "median", level)
        test = stats.quantile_test(scores, q=0.0, p=0.5)
        expected = test.confidence_interval(level)
        ends = (expected.low, expected.high)
        assert (found.low, found.high) == pytest.approx(ends, nan_ok=True, rel=1e-12)

    @pytest.mark.parametrize("n", range(6, 41))
    def test_exact_coverage(self, n: int) -> None:
        found = estimate(np.arange(1.0, n + 1), "median")
        rank = int(found.low)
        assert found.high == n + 1 - rank
        binomial = stats.binom(n, 0.5)
        assert 1 - 2 * binomial.cdf(rank - 1) >= 0.95
        assert 1 - 2 * binomial.cdf(rank) < 0.95


class TestIqm:
    def test_by_hand(self) -> None:
        # Winsorized: 2 2 2 3 4 5 5 5, mean 3.5, SSD 14; 4 kept, so the error is sqrt(14 / 12).
        found = estimate([-90.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 100.0], "iqm")
        half = 3.182446305284263 * math.sqrt(14 / 12)
        assert (found.low, found.high) == pytest.approx((3.5 - half, 3.5 + half))

    @pytest.mark.parametrize("n", [4, 5, 7, 8, 10, 15, 20])
    def test_against_scipys_yuen(self, n: int) -> None:
        scores = np.random.default_rng(n).normal(1.0, 1.0, size=n)
        # Against a sample without spread, Yuen's two-sample statistic is Tukey and McLaughlin's.
        with np.errstate(all="ignore"):
            yuen = stats.ttest_ind(scores, np.zeros(n), equal_var=False, trim=0.25)
        kept = n - 2 * (n // 4)
        half = aggregate(scores, "iqm") / yuen.statistic * stats.t(kept - 1).ppf(0.975)
        found = estimate(scores, "iqm")
        assert (found.high - found.low) / 2 == pytest.approx(half, rel=1e-9)

    def test_outliers_do_not_move_it(self) -> None:
        tame = estimate([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], "iqm")
        wild = estimate([-1e6, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 1e6], "iqm")
        assert wild == tame

    @pytest.mark.parametrize("n", [4, 5, 8, 20])
    def test_covers_normal_scores(self, n: int) -> None:
        rate = coverage(lambda rng, k: rng.normal(3.0, 2.0, k), 3.0, "iqm", n)
        assert 0.92 <= rate <= 0.965


class TestPrediction:
    def test_one_more_score_by_hand(self) -> None:
        # mean 2, deviation 1, t with 2 degrees of freedom 4.3027
        found = prediction([1.0, 2.0, 3.0], 1)
        half = 4.302653 * math.sqrt(1 / 3 + 1)
        assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0 - half, 2.0 + half), rel=1e-6)

    def test_infinitely_many_are_the_mean_itself(self) -> None:
        assert is_close(prediction(SLEEP, 10**15), estimate(SLEEP), 1.0)

    @pytest.mark.parametrize(("statistic", "known", "to_come"), [("mean", 10, 10), ("mean", 5, 20), ("iqm", 12, 8)])
    def test_it_covers_what_others_find(self, statistic: Literal["mean", "iqm"], known: int, to_come: int) -> None:
        rng, hits = np.random.default_rng(7), 0
        for _ in range(2000):
            found = prediction(rng.normal(3.0, 2.0, known), to_come, statistic)
            hits += found.low <= aggregate(rng.normal(3.0, 2.0, to_come), statistic) <= found.high
        assert 0.93 <= hits / 2000 <= 0.965

    def test_one_score_predicts_nothing(self) -> None:
        assert math.isnan(prediction([3.0], 5).low)

    @pytest.mark.parametrize("count", [0, -1])
    def test_seeds_to_come_are_at_least_one(self, count: int) -> None:
        with pytest.raises(ValueError, match=f"count: {count}; expected at least 1"):
            prediction([1.0, 2.0], count)


class TestSpreadAndTail:
    def test_the_deviation_of_a_worked_example(self) -> None:
        """Bonett (2006, equation 6) by hand: kurtosis around the mean of the middle six, as 10 / (2 sqrt 6) is 2."""
        found = estimate(SLEEP, "std")
        scores = np.sort(SLEEP)
        deviation = scores.std(ddof=1)
        kurtosis = 10 * np.sum((scores - scores[2:8].mean()) ** 4) / np.sum((scores - scores.mean()) ** 2) ** 2
        z = stats.norm.ppf(0.975)
        c = 10 / (10 - z)
        error = c * np.sqrt((kurtosis - 7 / 10) / 9)
        assert found.value == pytest.approx(deviation)
        assert found.low == pytest.approx(np.sqrt(c * deviation**2 * np.exp(-z * error)))
        assert found.high == pytest.approx(np.sqrt(c * deviation**2 * np.exp(z * error)))

    def test_it_covers_what_it_says(self) -> None:
        rng = np.random.default_rng(0)
        found = [estimate(rng.normal(0.0, 2.0, 10), "std") for _ in range(2_000)]
        assert np.mean([one.low <= 2.0 <= one.high for one in found]) == pytest.approx(0.95, abs=0.02)

    def test_few_seeds_or_none_that_differ(self) -> None:
        assert math.isnan(estimate([1.0, 2.0, 3.0, 4.0], "std").low)
        assert estimate([5.0] * 8, "std") == Estimate(0.0, 0.0, 0.0)
        assert aggregate([3.0], "std") == 0.0

    @pytest.mark.parametrize("n", [1, 3, 4, 10, 11])
    def test_the_tails_are_the_conditional_value_at_risk(self, n: int) -> None:
        scores = np.random.default_rng(n).normal(size=n)
        assert aggregate(scores, "cvar_low") == pytest.approx(cvar(scores, 0.25))
        assert aggregate(scores, "cvar_high") == pytest.approx(cvar(scores, 0.25, higher_is_better=False))
        assert math.isnan(estimate(scores, "cvar_low").low)


class TestEveryStatistic:
    @pytest.mark.parametrize("statistic", LOCATIONS)
    def test_one_seed_has_no_interval(self, statistic: Statistic) -> None:
        found = estimate([3.0], statistic)
        assert found.value == 3.0
        assert math.isnan(found.low)
        assert math.isnan(found.high)

    @pytest.mark.parametrize("statistic", LOCATIONS)
    def test_a_ceiling_gives_no_width(self, statistic: Statistic) -> None:
        assert estimate([500.0] * 10, statistic) == Estimate(500.0, 500.0, 500.0)

    @given(scores=scores_lists, level=levels, data=st.data())
    def test_order_of_seeds_does_not_matter(self, scores: list[float], level: float, data: st.DataObject) -> None:
        shuffled = data.draw(st.permutations(scores))
        for statistic in STATISTICS:
            plain = estimate(scores, statistic, level)
            assert is_close(estimate(shuffled, statistic, level), plain, scale=0.0)

    @given(
        scores=scores_lists,
        level=levels,
        scale=st.floats(0.1, 10.0),
        shift=st.floats(-1e3, 1e3),
    )
    def test_follows_a_change_of_unit(self, scores: list[float], level: float, scale: float, shift: float) -> None:
        size = scale * max(map(abs, scores)) + abs(shift) + 1.0
        for statistic in LOCATIONS:
            plain = estimate(scores, statistic, level)
            moved = estimate(scale * np.array(scores) + shift, statistic, level)
            expected = Estimate(scale * plain.value + shift, scale * plain.low + shift, scale * plain.high + shift)
            assert is_close(moved, expected, scale=100.0 * size)

    @given(scores=scores_lists, level=levels)
    def test_negated_scores_mirror_the_interval(self, scores: list[float], level: float) -> None:
        for statistic in LOCATIONS:
            plain = estimate(scores, statistic, level)
            negated = estimate([-score for score in scores], statistic, level)
            mirrored = Estimate(-plain.value, -plain.high, -plain.low)
            assert is_close(negated, mirrored, scale=100.0 * max(map(abs, scores)))

    @given(scores=st.lists(st.floats(-1e6, 1e6, width=32), min_size=8, max_size=25))
    def test_more_confidence_is_wider_and_holds_the_value(self, scores: list[float]) -> None:
        slack = 1e-9 * (1.0 + max(map(abs, scores)))
        for statistic in LOCATIONS:
            narrow, wide = estimate(scores, statistic, 0.8), estimate(scores, statistic, 0.95)
            assert wide.low - slack <= narrow.low <= narrow.value + slack
            assert narrow.value - slack <= narrow.high <= wide.high + slack


class TestRefusals:
    @pytest.mark.parametrize("function", [estimate, aggregate])
    @pytest.mark.parametrize(
        ("scores", "message"),
        [
            ([], "scores: empty"),
            ([1.0, math.nan, 2.0], r"scores\[1\] is nan \(1 of 3"),
            ([-math.inf, 2.0, math.inf], r"scores\[0\] is -inf \(2 of 3"),
            ([[1.0, 2.0]], r"scores: shape \(1, 2\)"),
            (3.0, r"scores: shape \(\)"),
        ],
    )
    def test_scores(self, function: Callable[..., object], scores: object, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            function(scores, "mean")

    @pytest.mark.parametrize("function", [estimate, aggregate])
    def test_unknown_statistic(self, function: Callable[..., object]) -> None:
        with pytest.raises(ValueError, match="statistic: 'mode'; expected one of mean, iqm, median"):
            function([1.0, 2.0], "mode")

    @pytest.mark.parametrize("level", [0.0, 1.0, 95.0, -0.5, math.nan])
    def test_level(self, level: float) -> None:
        with pytest.raises(ValueError, match="level: "):
            estimate([1.0, 2.0], "mean", level)
