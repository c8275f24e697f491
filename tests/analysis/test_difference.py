"""The difference of two configurations, and its interval."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autorl.analysis import Statistic, difference

scores = st.lists(st.integers(-50, 50).map(float), min_size=2, max_size=15)


@pytest.mark.filterwarnings("ignore:Precision loss:RuntimeWarning")  # SciPy's, where a side has no spread
@given(a=scores, b=scores, level=st.sampled_from([0.5, 0.9, 0.95]))
def test_the_mean_is_welchs(a: list[float], b: list[float], level: float) -> None:
    found = difference(a, b, level=level)
    assert found.value == pytest.approx(np.mean(a) - np.mean(b), abs=1e-9)
    if np.var(a) + np.var(b) == 0:
        assert found.low == found.high == found.value
        return
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(level)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-9)


def test_the_interquartile_mean_is_yuens() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(5, 2, 12), rng.normal(4, 1, 8)
    found = difference(a, b, statistic="iqm")
    expected = stats.ttest_ind(a, b, equal_var=False, trim=0.25).confidence_interval(0.95)
    assert found.value == pytest.approx(stats.trim_mean(a, 0.25) - stats.trim_mean(b, 0.25))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@given(a=scores, b=scores, statistic=st.sampled_from(["mean", "iqm", "median"]))
def test_swapping_sides_changes_the_sign(a: list[float], b: list[float], statistic: Statistic) -> None:
    one, other = difference(a, b, statistic=statistic), difference(b, a, statistic=statistic)
    assert [one.value, one.low, one.high] == pytest.approx([-other.value, -other.high, -other.low], nan_ok=True)


@pytest.mark.parametrize(
    ("statistic", "n"), [("mean", 3), ("mean", 5), ("mean", 20), ("iqm", 10), ("median", 9), ("median", 20)]
)
def test_intervals_cover_what_they_say(statistic: Statistic, n: int) -> None:
    rng = np.random.default_rng(n)
    draws = [difference(rng.normal(1, 1, n), rng.normal(0, 3, n), statistic=statistic) for _ in range(2_000)]
    covered = np.mean([found.low <= 1 <= found.high for found in draws])
    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize(("statistic", "n"), [("mean", 1), ("iqm", 1), ("median", 4)])
def test_too_few_seeds_have_no_interval(statistic: Statistic, n: int) -> None:
    found = difference(np.arange(n), np.arange(20), statistic=statistic)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert math.isfinite(found.value)


def test_says_which_side_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"b\[1\] is nan"):
        difference([1, 2], [1, math.nan])
    with pytest.raises(ValueError, match="level"):
        difference([1, 2], [1, 2], level=1.0)
