"""What learning curves say: area, threshold, final against best, and how early they rank."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autorl.analysis import (
    Direction,
    area_under_curve,
    fidelity_correlation,
    final_against_best,
    rank_correlation,
    steps_to_threshold,
    threshold_summary,
)

STEPS = [100.0, 200.0, 400.0]


@st.composite
def curves(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Environment steps, shape (p,), and values, shape (n_seeds, p)."""
    gaps = draw(st.lists(st.integers(1, 1000), min_size=2, max_size=8))
    n_seeds = draw(st.integers(1, 5))
    values = draw(st.lists(st.integers(-50, 50), min_size=n_seeds * len(gaps), max_size=n_seeds * len(gaps)))
    return np.cumsum(gaps).astype(float), np.array(values, dtype=float).reshape(n_seeds, len(gaps))


class TestArea:
    def test_by_hand(self) -> None:
        # (100 * 1.5 + 200 * 6) / 300, and a constant
        assert area_under_curve(STEPS, [[0.0, 3.0, 9.0], [7.0, 7.0, 7.0]]) == pytest.approx([4.5, 7.0])

    def test_before_the_first_evaluation_nothing_counts(self) -> None:
        late = area_under_curve([1000.0, 2000.0], [[0.0, 10.0]])
        assert late == pytest.approx(area_under_curve([0.0, 1000.0], [[0.0, 10.0]]))
        assert area_under_curve([0.0, 1000.0, 2000.0], [[0.0, 0.0, 10.0]]) == pytest.approx([2.5])

    @given(curves(), st.floats(0.1, 10.0), st.floats(-100.0, 100.0))
    def test_has_the_unit_of_the_metric(self, data: tuple[np.ndarray, np.ndarray], scale: float, shift: float) -> None:
        steps, values = data
        area = area_under_curve(steps, values)
        assert np.all(area >= values.min(axis=1) - 1e-9)
        assert np.all(area <= values.max(axis=1) + 1e-9)
        assert area_under_curve(60.0 * steps, scale * values + shift) == pytest.approx(scale * area + shift, abs=1e-9)

    def test_one_evaluation_has_no_area(self) -> None:
        with pytest.raises(ValueError, match="env_steps: 1 evaluations; expected at least 2"):
            area_under_curve([100.0], [[1.0]])


class TestThreshold:
    def test_by_hand(self) -> None:
        values = [
            [0.0, 4.0, 8.0],  # 3/4 between the first two
            [0.0, 2.0, 4.0],  # half way between the last two
            [3.0, 0.0, 0.0],  # at once
            [0.0, 3.0, 3.0],  # exactly there
            [0.0, 2.0, 2.9],  # never
        ]
        assert steps_to_threshold(STEPS, values, 3.0).tolist() == [175.0, 300.0, 100.0, 200.0, math.inf]

    def test_downwards(self) -> None:
        values = [[8.0, 4.0, 0.0], [1.0, 9.0, 9.0], [8.0, 8.0, 8.0]]
        assert steps_to_threshold(STEPS, values, 2.0, direction="minimize").tolist() == [300.0, 100.0, math.inf]

    def test_the_first_of_several_crossings(self) -> None:
        assert steps_to_threshold(STEPS, [[0.0, 10.0, 0.0]], 5.0).tolist() == [150.0]

    @given(curves(), st.integers(-60, 60))
    def test_lies_where_the_curve_crosses(self, data: tuple[np.ndarray, np.ndarray], threshold: int) -> None:
        steps, values = data
        for at, curve in zip(steps_to_threshold(steps, values, threshold), values, strict=True):
            assert math.isinf(at) == bool(curve.max() < threshold)
            before = steps < at - 1e-6
            assert np.all(curve[before] < threshold)
            if not math.isinf(at) and np.any(before):
                assert np.interp(at, steps, curve) == pytest.approx(threshold, abs=1e-6)

    @given(curves(), st.integers(-60, 60))
    def test_directions_mirror(self, data: tuple[np.ndarray, np.ndarray], threshold: int) -> None:
        steps, values = data
        up = steps_to_threshold(steps, values, threshold)
        assert np.array_equal(steps_to_threshold(steps, -values, -threshold, direction="minimize"), up)

    @pytest.mark.parametrize("threshold", [math.nan, math.inf])
    def test_threshold_is_a_number(self, threshold: float) -> None:
        with pytest.raises(ValueError, match="threshold: "):
            steps_to_threshold(STEPS, [[1.0, 2.0, 3.0]], threshold)


class TestThresholdSummary:
    @pytest.mark.parametrize(
        ("reached", "share", "median"),
        [
            ([300.0, 100.0, 200.0], 1.0, 200.0),
            ([300.0, 100.0, math.inf], 2 / 3, 300.0),
            ([100.0, math.inf, math.inf], 1 / 3, math.inf),
            ([100.0, 200.0, math.inf, math.inf], 0.5, 200.0),
            ([100.0, math.inf, math.inf, math.inf], 0.25, math.inf),
            ([math.inf], 0.0, math.inf),
        ],
    )
    def test_by_hand(self, reached: list[float], share: float, median: float) -> None:
        found = threshold_summary(reached)
        assert (found.share, found.median_env_steps) == (pytest.approx(share), median)

    @given(st.lists(st.integers(1, 100), min_size=1, max_size=20, unique=True), st.integers(0, 100))
    def test_against_scipys_kaplan_meier(self, steps: list[int], end: int) -> None:
        reached = [float(step) if step <= end else math.inf for step in steps]
        seen = [step for step in steps if step <= end]
        curve = stats.ecdf(stats.CensoredData(uncensored=seen, right=[end] * (len(steps) - len(seen)))).cdf
        # The least step at which the estimated share is at least a half.
        there = curve.quantiles[(curve.probabilities >= 0.5 - 1e-12) & np.isin(curve.quantiles, seen)]
        found = threshold_summary(reached)
        assert found.median_env_steps == (there[0] if there.size else math.inf)
        assert math.isinf(found.median_env_steps) == (found.share < 0.5)

    @pytest.mark.parametrize("reached", [[], [math.nan], [-1.0], [[1.0]], 3.0])
    def test_refusals(self, reached: object) -> None:
        with pytest.raises(ValueError, match="reached_env_steps: "):
            threshold_summary(reached)  # type: ignore[arg-type]


class TestFinalAgainstBest:
    def test_by_hand(self) -> None:
        values = [[1.0, 9.0, 4.0], [1.0, 2.0, 3.0]]
        assert final_against_best(values).tolist() == [5.0, 0.0]
        assert final_against_best(values, direction="minimize").tolist() == [3.0, 2.0]

    @pytest.mark.parametrize(("p", "expected"), [(10, 1.54), (20, 1.87)])
    def test_docstring_is_honest_about_noise(self, p: int, expected: float) -> None:
        flat = 100.0 + 3.0 * np.random.default_rng(1).normal(size=(20_000, p))
        # Three standard errors are 0.025.
        assert np.mean(final_against_best(flat)) / 3.0 == pytest.approx(expected, abs=0.03)

    @given(curves())
    def test_is_no_gain(self, data: tuple[np.ndarray, np.ndarray]) -> None:
        _, values = data
        loss = final_against_best(values)
        assert np.all(loss >= 0.0)
        assert np.array_equal(values[:, -1] + loss, values.max(axis=1))
        assert np.array_equal(final_against_best(-values, direction="minimize"), loss)


class TestFidelity:
    def test_only_configurations_with_both_count(self) -> None:
        nan = math.nan
        values = np.array(
            [
                [1.0, 5.0, 1.0],
                [2.0, 4.0, 2.0],
                [3.0, 3.0, 3.0],
                [4.0, nan, 4.0],
                [6.0, 1.0, 5.0],
                [5.0, 2.0, 6.0],
                [9.0, 9.0, nan],
                [nan, nan, nan],
            ]
        )
        first, second, last = fidelity_correlation(values, 0.9)
        assert (first.n, second.n, last.n) == (6, 5, 6)
        assert first.correlation == rank_correlation(values[:6, 0], values[:6, 2], 0.9)
        assert first.correlation.value == pytest.approx(1.0 - 6 * 2 / (6 * 35))
        assert second.correlation.value == pytest.approx(-0.9)
        assert last.correlation.value == 1.0

    def test_against_scipy(self) -> None:
        rng = np.random.default_rng(4)
        values = np.cumsum(rng.integers(-3, 4, size=(30, 6)), axis=1).astype(float)
        values[rng.random(30) < 0.4, 3:] = math.nan
        for j, found in enumerate(fidelity_correlation(values)):
            expected = stats.spearmanr(values[:, j], values[:, -1], nan_policy="omit").statistic
            assert found.correlation.value == pytest.approx(float(expected), abs=1e-12)

    def test_where_nothing_is_left(self) -> None:
        both, none = fidelity_correlation([[math.nan, 1.0], [math.nan, 2.0]])[::-1]
        assert (both.n, none.n) == (2, 0)
        assert math.isnan(none.correlation.value)
        assert all(one.n == 0 for one in fidelity_correlation([[1.0, math.nan], [2.0, math.nan]]))

    def test_configurations_chosen_early_are_more_alike(self) -> None:
        rng = np.random.default_rng(6)
        worth = rng.normal(size=2000)
        values = np.stack([worth + rng.normal(size=2000), worth], axis=1)
        kept = values.copy()
        kept[values[:, 0] < np.quantile(values[:, 0], 0.75), 1] = math.nan
        everything, chosen = fidelity_correlation(values)[0], fidelity_correlation(kept)[0]
        assert chosen.n == 500
        assert chosen.correlation.high < everything.correlation.low

    @pytest.mark.parametrize(
        ("values", "message"),
        [([1.0, 2.0], r"values: shape \(2,\)"), ([[]], r"values: shape \(1, 0\)"), ([[1.0, math.inf]], "infinite")],
    )
    def test_refusals(self, values: object, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            fidelity_correlation(values)  # type: ignore[arg-type]

    def test_level(self) -> None:
        with pytest.raises(ValueError, match="level: "):
            fidelity_correlation([[1.0, math.nan]], 1.0)


class TestRefusals:
    @pytest.mark.parametrize(
        "function", [area_under_curve, lambda steps, values: steps_to_threshold(steps, values, 0.0)]
    )
    @pytest.mark.parametrize(
        ("steps", "values", "message"),
        [
            (STEPS, [1.0, 2.0, 3.0], r"values: shape \(3,\); expected \(n_seeds, p\)"),
            (STEPS, np.empty((0, 3)), r"values: shape \(0, 3\)"),
            (STEPS, [[1.0, 2.0]], r"env_steps: shape \(3,\); expected \(2,\)"),
            (STEPS, [[1.0, 2.0, 3.0], [1.0, math.nan, math.inf]], r"values\[1, 1\] is nan \(2 of 6 are not finite\)"),
            ([100.0, 100.0], [[1.0, 2.0]], "env_steps: expected finite steps"),
            ([-1.0, 100.0], [[1.0, 2.0]], "env_steps: expected finite steps"),
            ([100.0, math.inf], [[1.0, 2.0]], "env_steps: expected finite steps"),
        ],
    )
    def test_curves(self, function: Callable[..., object], steps: object, values: object, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            function(steps, values)

    @pytest.mark.parametrize("direction", ["max", "up", ""])
    def test_direction(self, direction: Direction) -> None:
        with pytest.raises(ValueError, match=r"direction: .*expected one of maximize, minimize"):
            final_against_best([[1.0]], direction=direction)
