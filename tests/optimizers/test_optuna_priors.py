"""Draws from priors against the distributions of SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from conformance.optimizers import SPACE
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autorl.optimizers.priors import draw, quantile
from autorl.spec.space import Choice, Numeric, Parameter, Prior, SearchSpace


def parameter(low: float, high: float, prior: Prior | None = None, **domain: object) -> Parameter:
    return Parameter("x", Numeric(low, high, **domain), "x", prior=prior)  # type: ignore[arg-type]


def cells(one: Parameter, count: int = 40_000) -> dict[float, float]:
    """Return how much of the unit interval each coordinate gets."""
    found, times = np.unique([quantile(one, (i + 0.5) / count) for i in range(count)], return_counts=True)
    return dict(zip(found.tolist(), (times / count).tolist(), strict=True))


@pytest.mark.parametrize("share", [0.0, 1e-6, 0.1, 0.5, 0.9, 1 - 1e-12])
def test_quantiles_are_those_of_the_truncated_normal(share: float) -> None:
    low, high, mean, std = 0.0, 2.0, 1.7, 0.5
    expected = stats.truncnorm((low - mean) / std, (high - mean) / std, loc=mean, scale=std).ppf(share)
    assert quantile(parameter(low, high, Prior(mean, std)), share) == pytest.approx(expected, abs=1e-9)
    # On a logarithmic scale the same happens to the decimal logarithm.
    expected = stats.truncnorm((-5 + 3.5) / 0.5, (-1 + 3.5) / 0.5, loc=-3.5, scale=0.5).ppf(share)
    found = quantile(parameter(1e-5, 1e-1, Prior(10**-3.5, 0.5), log=True), share)
    assert np.log10(found) == pytest.approx(expected, abs=1e-9)


def test_without_a_prior_the_scale_is_uniform() -> None:
    assert quantile(parameter(2.0, 4.0), 0.25) == 2.5
    assert quantile(parameter(1e-4, 1.0, log=True), 0.25) == pytest.approx(1e-3)
    assert cells(parameter(1, 4, integer=True)) == pytest.approx({1: 0.25, 2: 0.25, 3: 0.25, 4: 0.25}, abs=1e-4)
    assert cells(parameter(0.0, 0.3, step=0.1)) == pytest.approx({0: 0.25, 0.1: 0.25, 0.2: 0.25, 0.3: 0.25}, abs=1e-4)
    logs = np.diff(np.log([0.5, 1.5, 2.5, 3.5, 4.5])) / np.log(9)
    found = cells(parameter(1, 4, integer=True, log=True))
    assert list(found.values()) == pytest.approx(logs.tolist(), abs=1e-4)


def test_whole_numbers_and_steps_get_what_is_nearer_to_them_than_to_others() -> None:
    normal = stats.norm(2.5, 1.2)
    expected = np.diff(normal.cdf([0.5, 1.5, 2.5, 3.5, 4.5])) / (normal.cdf(4.5) - normal.cdf(0.5))
    assert list(cells(parameter(1, 4, Prior(2.5, 1.2), integer=True)).values()) == pytest.approx(expected, abs=1e-4)
    normal = stats.norm(0.2, 0.1)
    expected = np.diff(normal.cdf([-0.05, 0.05, 0.15, 0.25, 0.35])) / (normal.cdf(0.35) - normal.cdf(-0.05))
    assert list(cells(parameter(0.0, 0.3, Prior(0.2, 0.1), step=0.1)).values()) == pytest.approx(expected, abs=1e-4)
    normal = stats.norm(np.log10(3), 0.3)
    edges = np.log10([0.5, 1.5, 2.5, 3.5, 4.5])
    expected = np.diff(normal.cdf(edges)) / (normal.cdf(edges[-1]) - normal.cdf(edges[0]))
    found = cells(parameter(1, 4, Prior(3.0, 0.3), integer=True, log=True))
    assert list(found.values()) == pytest.approx(expected, abs=1e-4)


@given(
    st.floats(0, 1, exclude_max=True),
    st.sampled_from([{}, {"log": True}, {"integer": True}, {"integer": True, "log": True}, {"step": 0.5}]),
    st.floats(1e-9, 1e9),
    st.floats(0, 1),
)
def test_draws_are_inside_the_range(share: float, domain: dict[str, object], std: float, place: float) -> None:
    low, high = (1, 2**40) if "integer" in domain else (0.5, 100.0)
    one = parameter(low, high, Prior(low + place * (high - low), std), **domain)
    assert one.domain.contains(quantile(one, share))
    assert one.domain.contains(quantile(parameter(low, high, **domain), share))


def test_drawn_configurations_are_inside_the_space_and_conditions_hold() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        config = draw(SPACE, rng)
        assert config.inside
        assert ("by" in config.values) == config.values["clip"]
    choices = SearchSpace((Parameter("c", Choice(("a", "b", "c")), "c"),))
    found = [draw(choices, rng).values["c"] for _ in range(3000)]
    assert [found.count(c) / 3000 for c in "abc"] == pytest.approx([1 / 3] * 3, abs=0.04)
