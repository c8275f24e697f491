"""The probability that one configuration beats another, and its interval."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autorl.analysis import Estimate, probability_better

# Pain scores after surgery under two treatments: Brunner and Munzel (2000), table 1.
PAIN_TREATED = [1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 2, 4, 1, 1]
PAIN_CONTROL = [3, 3, 4, 3, 1, 2, 3, 1, 1, 5, 4]

# Few distinct values, so that ties are common.
seeds = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=12)
levels = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99])

Draw = Callable[[np.random.Generator, int], np.ndarray]


def normal(mean: float, deviation: float = 1.0) -> Draw:
    return lambda rng, n: rng.normal(mean, deviation, n)


def cartpole(solved: float) -> Draw:
    return lambda rng, n: 500.0 * (rng.random(n) < solved)


def capped(mean: float) -> Draw:
    return lambda rng, n: np.minimum(rng.normal(mean, 1.0, n), 1.0)


def phi(x: float) -> float:
    return float(stats.norm.cdf(x))


# What a and b draw from, and P(A > B) + P(A = B) / 2 by hand.
SCENARIOS: dict[str, tuple[Draw, Draw, float]] = {
    "equal normals": (normal(0.0), normal(0.0), 0.5),
    "shifted normals": (normal(2.0), normal(0.0), phi(2.0 / math.sqrt(2.0))),
    "unequal spread": (normal(0.0), normal(0.0, 5.0), 0.5),
    "cartpole": (cartpole(0.9), cartpole(0.5), 0.7),
    "at the ceiling": (cartpole(1.0), cartpole(0.8), 0.6),
    "ties at a ceiling": (capped(2.0), capped(2.0), 0.5),
    "between two modes": (normal(400.0, 10.0), cartpole(0.4), 0.6),
}


def is_close(left: Estimate, right: Estimate) -> bool:
    return np.allclose(
        (left.value, left.low, left.high),
        (right.value, right.low, right.high),
        rtol=0.0,
        atol=1e-9,
        equal_nan=True,
    )


class TestValue:
    def test_by_hand(self) -> None:
        # a: 3 beats 1 and 2, ties 3; 1 ties 1; 4 beats all: (2.5 + 0.5 + 3) / 9
        assert probability_better([3, 1, 4], [1, 2, 3]).value == pytest.approx(6 / 9)

    @pytest.mark.parametrize(
        ("a", "b", "theta"),
        [
            pytest.param(PAIN_CONTROL, PAIN_TREATED, 0.788961, id="R brunnermunzel"),
            pytest.param(
                [36, 44, 47, 42, 49, 39, 46, 31, 33, 48],
                [32, 39, 26, 35, 43, 27, 40, 37, 34, 29],
                0.795,
                id="R statpsych ci.mann, first",
            ),
            pytest.param(
                [9.4, 10.3, 58.3, 106.0, 31.0, 46.2, 12.0, 19.0, 135.0, 159.0],
                [14.6, 5.1, 8.1, 22.7, 6.4, 4.4, 19.0, 3.2],
                0.86875,
                id="R statpsych ci.mann, second",
            ),
        ],
    )
    def test_published(self, a: list[float], b: list[float], theta: float) -> None:
        assert probability_better(a, b).value == pytest.approx(theta, abs=5e-7)

    @given(a=seeds, b=seeds)
    def test_against_scipys_mann_whitney(self, a: list[float], b: list[float]) -> None:
        statistic = stats.mannwhitneyu(a, b, method="asymptotic").statistic
        assert probability_better(a, b).value == pytest.approx(statistic / (len(a) * len(b)))


class TestInterval:
    @pytest.mark.parametrize("n", [2, 3, 5, 10, 20])
    @pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
    def test_complete_separation_is_clopper_pearsons(self, n: int, level: float) -> None:
        found = probability_better(np.arange(n) + 100.0, np.arange(n), level=level)
        exact = stats.binomtest(n, n).proportion_ci(level, method="exact")
        assert (found.value, found.high) == (1.0, 1.0)
        assert found.low == pytest.approx(exact.low)

    def test_separation_counts_the_smaller_side(self) -> None:
        found = probability_better([10.0, 11.0, 12.0], np.arange(9.0))
        assert found.low == pytest.approx(0.025 ** (1 / 3))

    def test_between_two_modes_each_seed_of_b_is_one_coin_flip(self) -> None:
        found = probability_better([400.0, 401.0, 402.0, 403.0, 404.0], [0.0, 500.0, 500.0, 1.0, 2.0])
        jeffreys = stats.beta(3.5, 2.5)
        assert (found.value, found.low, found.high) == pytest.approx((0.6, jeffreys.ppf(0.025), jeffreys.ppf(0.975)))

    def test_all_tied_is_as_wide_as_that_many_coin_flips(self) -> None:
        found = probability_better([500.0] * 4, [500.0] * 4)
        jeffreys = stats.beta(2.5, 2.5)
        assert (found.value, found.low, found.high) == pytest.approx((0.5, jeffreys.ppf(0.025), jeffreys.ppf(0.975)))

    def test_variance_is_brunner_and_munzels(self) -> None:
        a, b = [41, 42, 43, 44, 45, 46, 47, 48, 52, 55], [0, 3, 20, 38, 44.5, 45, 51, 60, 70, 80]
        found = probability_better(a, b)
        error = (found.value - 0.5) / stats.brunnermunzel(b, a).statistic
        pairs = found.value * (1 - found.value) / error**2
        assert 10 < pairs < 3 * 10 * 10 / 21
        won, lost = found.value * pairs, (1 - found.value) * pairs
        assert found.low == pytest.approx(stats.beta(won + 0.5, lost + 0.5).ppf(0.025), rel=1e-9)
        assert found.high == pytest.approx(stats.beta(won + 0.5, lost + 0.5).ppf(0.975), rel=1e-9)

    def test_effective_pairs_are_capped(self) -> None:
        # Taken at its word, this sample knows theta as well as 19.6 pairs would: R's
        # brunnermunzel.test gives (0.5952169, 0.9827052), theta -+ 2.10 standard errors.
        found = probability_better(PAIN_CONTROL, PAIN_TREATED)
        pairs = 3 * 11 * 14 / 26
        won, lost = found.value * pairs, (1 - found.value) * pairs
        assert found.low == pytest.approx(stats.beta(won + 0.5, lost + 0.5).ppf(0.025), rel=1e-9)
        assert found.high == pytest.approx(stats.beta(won + 0.5, lost + 0.5).ppf(0.975), rel=1e-9)
        assert found.low < 0.5952169

    @pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 20), (20, 1)])
    def test_one_seed_has_no_interval(self, m: int, n: int) -> None:
        found = probability_better(np.arange(m) + 100.0, np.arange(n))
        assert found.value == 1.0
        assert math.isnan(found.low)
        assert math.isnan(found.high)

    @pytest.mark.parametrize("name", SCENARIOS)
    @pytest.mark.parametrize(("m", "n"), [(3, 3), (5, 5), (10, 10), (20, 20), (3, 10)])
    def test_keeps_its_promise(self, name: str, m: int, n: int) -> None:
        draw_a, draw_b, theta = SCENARIOS[name]
        rng = np.random.default_rng(8_128)
        repeats = 500
        hits = 0
        for _ in range(repeats):
            found = probability_better(draw_a(rng, m), draw_b(rng, n))
            hits += found.low - 1e-9 <= theta <= found.high + 1e-9
        # The least true coverage is 0.94; three standard errors of 500 draws are 0.032.
        assert hits / repeats >= 0.908

    @pytest.mark.parametrize(("n", "width"), [(5, 0.66), (10, 0.51), (20, 0.37)])
    def test_is_not_wider_than_it_must_be(self, n: int, width: float) -> None:
        # Clopper and Pearson's is 0.74, 0.55 and 0.39 for equal normals.
        rng = np.random.default_rng(496)
        found = [probability_better(rng.normal(size=n), rng.normal(size=n)) for _ in range(400)]
        assert np.mean([each.high - each.low for each in found]) <= width


class TestSymmetry:
    @given(a=seeds, b=seeds, level=levels)
    def test_swapping_mirrors(self, a: list[float], b: list[float], level: float) -> None:
        plain, swapped = (
            probability_better(a, b, level=level),
            probability_better(b, a, level=level),
        )
        assert is_close(swapped, Estimate(1 - plain.value, 1 - plain.high, 1 - plain.low))

    @given(a=seeds, b=seeds, data=st.data())
    def test_order_of_seeds_does_not_matter(self, a: list[float], b: list[float], data: st.DataObject) -> None:
        shuffled = probability_better(data.draw(st.permutations(a)), data.draw(st.permutations(b)))
        assert is_close(shuffled, probability_better(a, b))

    @given(a=seeds, b=seeds)
    def test_only_the_order_of_scores_matters(self, a: list[float], b: list[float]) -> None:
        plain = probability_better(a, b)
        assert repr(probability_better(np.exp(a), np.exp(b))) == repr(plain)

    @given(a=seeds, b=seeds, level=levels)
    def test_lower_is_better(self, a: list[float], b: list[float], level: float) -> None:
        lower = probability_better(a, b, higher_is_better=False, level=level)
        assert is_close(lower, probability_better(np.negative(a), np.negative(b), level=level))
        assert lower.value == pytest.approx(1 - probability_better(a, b).value)

    @given(a=seeds, b=seeds)
    def test_interval_is_in_range_and_nested(self, a: list[float], b: list[float]) -> None:
        narrow, wide = probability_better(a, b, level=0.8), probability_better(a, b)
        if min(len(a), len(b)) < 2:
            assert math.isnan(narrow.low)
            return
        assert 0.0 <= wide.low <= narrow.low <= narrow.value <= narrow.high <= wide.high <= 1.0
        assert wide.low < wide.high
        assert (narrow.level, wide.level) == (0.8, 0.95)


class TestRefusals:
    @pytest.mark.parametrize(
        ("a", "b", "message"),
        [
            ([], [1.0], "a: empty"),
            ([1.0], [], "b: empty"),
            ([1.0, 2.0], [1.0, math.nan], r"b\[1\] is nan"),
            ([math.inf], [1.0], r"a\[0\] is inf"),
            ([[1.0]], [1.0], "a: shape"),
        ],
    )
    def test_scores(self, a: object, b: object, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            probability_better(a, b)  # type: ignore[arg-type]

    def test_names_the_right_side_when_lower_is_better(self) -> None:
        with pytest.raises(ValueError, match="b: empty"):
            probability_better([1.0], [], higher_is_better=False)

    @pytest.mark.parametrize("level", [0.0, 1.0, 95.0, math.nan])
    def test_level(self, level: float) -> None:
        with pytest.raises(ValueError, match="level: "):
            probability_better([1.0, 2.0], [1.0, 2.0], level=level)
