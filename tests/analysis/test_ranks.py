"""Spearman's rank correlation, and its interval."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autorl.analysis import rank_correlation

# Bonett's statpsych, example of ci.spear.
FIRST = [21, 4, 9, 12, 35, 18, 10, 22, 24, 1, 6, 8, 13, 16, 19]
SECOND = [67, 28, 30, 28, 52, 40, 25, 37, 44, 10, 14, 20, 28, 40, 51]

# Few distinct values, so that ties are common.
pairs = st.lists(st.tuples(st.integers(-4, 4).map(float), st.integers(-4, 4).map(float)), min_size=2, max_size=15)
levels = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99])

Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def normal(correlation: float) -> Draw:
    """Normal scores with the rank correlation given: its Pearson correlation is 2 sin(pi rho / 6)."""
    pearson = 2.0 * math.sin(math.pi * correlation / 6.0)

    def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        a = rng.normal(size=n)
        return a, pearson * a + math.sqrt(1.0 - pearson**2) * rng.normal(size=n)

    return draw


def late(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    good, early = rng.random(n) < 0.5, rng.normal(size=n)
    return early + 3.0 * good, np.where(good, 5.0 + early + 0.3 * rng.normal(size=n), rng.normal(size=n))


def coverage(draw: Draw, truth: float, n: int, repeats: int = 2000) -> float:
    rng = np.random.default_rng(28 + n)
    hits = 0
    for _ in range(repeats):
        found = rank_correlation(*draw(rng, n))
        hits += found.low <= truth <= found.high
    return hits / repeats


class TestValue:
    def test_by_hand(self) -> None:
        # Differences of ranks 1, -1, 2, -2: 1 - 6 * 10 / (4 * 15)
        assert rank_correlation([1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 5.0, 0.0]).value == pytest.approx(-0.4)

    def test_ties_share_the_mean_of_their_ranks(self) -> None:
        # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5)
        assert rank_correlation([0.0, 7.0, 7.0, 9.0], [1.0, 2.0, 3.0, 4.0]).value == pytest.approx(
            4.5 / math.sqrt(22.5)
        )

    @given(pairs)
    def test_against_scipy(self, scores: list[tuple[float, float]]) -> None:
        a, b = np.array(scores).T
        found = rank_correlation(a, b)
        if np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
            assert math.isnan(found.value)
        else:
            assert found.value == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)

    @pytest.mark.parametrize(("a", "b"), [([5.0] * 6, range(6)), (range(6), [0.1] * 6), ([1.0], [2.0])])
    def test_what_has_no_order_has_no_correlation(self, a: list[float], b: list[float]) -> None:
        found = rank_correlation(a, b)
        assert all(math.isnan(number) for number in (found.value, found.low, found.high))


class TestInterval:
    def test_published(self) -> None:
        found = rank_correlation(FIRST, SECOND)
        assert (found.value, found.low, found.high) == pytest.approx((0.8699639, 0.5840951, 0.9638297), abs=5e-8)

    def test_perfect_order_is_as_wide_as_one_that_is_almost_perfect(self) -> None:
        found = rank_correlation(range(6), range(6))
        r = 1.0 - 6.0 / (6 * 35)
        low = math.tanh(math.atanh(r) - 1.959963984540054 * math.sqrt((1.0 + r * r / 2.0) / 3))
        assert (found.value, found.low, found.high) == (1.0, pytest.approx(low), 1.0)
        swapped = rank_correlation(range(6), [1, 0, 2, 3, 4, 5])
        assert swapped.low < found.low

    @pytest.mark.parametrize("n", [2, 3])
    def test_below_four_pairs_there_is_none(self, n: int) -> None:
        found = rank_correlation(range(n), range(n))
        assert found.value == 1.0
        assert math.isnan(found.low)
        assert math.isnan(found.high)

    @pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8, 0.95])
    @pytest.mark.parametrize("n", [4, 6, 10, 20])
    def test_keeps_its_promise(self, correlation: float, n: int) -> None:
        # The least true coverage is 0.94; three standard errors of 2000 draws are 0.016.
        assert coverage(normal(correlation), correlation, n) >= 0.92

    def test_is_not_wider_than_it_must_be(self) -> None:
        assert coverage(normal(0.5), 0.5, 50) == pytest.approx(0.955, abs=0.015)

    def test_docstring_is_honest_about_order_that_only_the_good_have(self) -> None:
        truth = float(stats.spearmanr(*late(np.random.default_rng(0), 200_000)).statistic)
        assert truth == pytest.approx(0.85, abs=0.01)
        assert coverage(late, truth, 20) == pytest.approx(0.89, abs=0.025)


class TestSymmetry:
    @given(pairs, levels)
    def test_sides_and_signs(self, scores: list[tuple[float, float]], level: float) -> None:
        a, b = np.array(scores).T
        plain = rank_correlation(a, b, level)
        turned, mirrored = rank_correlation(b, a, level), rank_correlation(a, -b, level)
        ends = (plain.value, plain.low, plain.high)
        assert (turned.value, turned.low, turned.high) == pytest.approx(ends, abs=1e-12, nan_ok=True)
        assert (-mirrored.value, -mirrored.high, -mirrored.low) == pytest.approx(ends, abs=1e-12, nan_ok=True)

    @given(pairs)
    def test_only_the_order_of_scores_matters(self, scores: list[tuple[float, float]]) -> None:
        a, b = np.array(scores).T
        assert repr(rank_correlation(np.exp(a), b**3)) == repr(rank_correlation(a, b))

    @given(pairs)
    def test_interval_is_in_range_and_nested(self, scores: list[tuple[float, float]]) -> None:
        a, b = np.array(scores).T
        narrow, wide = rank_correlation(a, b, 0.8), rank_correlation(a, b)
        assert (narrow.level, wide.level) == (0.8, 0.95)
        if math.isnan(wide.low):
            assert math.isnan(wide.value) or len(scores) < 4
        else:
            assert -1.0 <= wide.low <= narrow.low <= narrow.value <= narrow.high <= wide.high <= 1.0
            assert wide.low < wide.high


class TestRefusals:
    @pytest.mark.parametrize(
        ("a", "b", "message"),
        [
            ([], [], "a: empty"),
            ([1.0, 2.0], [1.0, math.nan], r"b\[1\] is nan"),
            ([math.inf], [1.0], r"a\[0\] is inf"),
            ([1.0, 2.0, 3.0], [1.0, 2.0], "b: 2 scores, and a has 3"),
        ],
    )
    def test_scores(self, a: list[float], b: list[float], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            rank_correlation(a, b)

    @pytest.mark.parametrize("level", [0.0, 1.0, 95.0, math.nan])
    def test_level(self, level: float) -> None:
        with pytest.raises(ValueError, match="level: "):
            rank_correlation([1.0, 2.0], [1.0, 2.0], level)
