"""The posterior of configurations' means: closed forms, and what its probabilities are worth over repeats."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from autorl.analysis import probability_below, shrunk_means


def test_means_are_the_posterior_of_a_hierarchical_model() -> None:
    """Configurations with deviations of exactly 1, so that v = s^2 / 2 is one number; the integral over t by SciPy."""
    half, own = 0.5**0.5, np.array([0.0, 1.0, 5.0, 5.5])
    means = shrunk_means([[m - half, m + half] for m in own])
    # The logarithms of equal variances have no excess spread, so that the prior is their bias-corrected mean.
    prior = np.exp(-(stats.chi2(1).expect(lambda x: np.log(x)) - np.log(1)))
    assert means.spread == pytest.approx([prior**0.5] * 4, rel=1e-6)
    assert np.isinf(means.freedom).all()
    v, centre, count = prior / 2, own.mean(), own.size

    def density(t: float) -> float:
        return float((t**2 + v) ** (-(count - 1) / 2) * np.exp(-np.sum((own - centre) ** 2) / (2 * (t**2 + v))))

    def expected(what: Callable[[float], float]) -> float:
        return quad(lambda t: what(t) * density(t), 0, np.inf)[0] / quad(density, 0, np.inf)[0]

    for index, mean in enumerate(own):
        first = expected(lambda t, mean=mean: centre + t**2 / (t**2 + v) * (mean - centre))
        second = expected(
            lambda t, mean=mean: (
                t**2 / (t**2 + v) * v
                + (v / (t**2 + v)) ** 2 * (t**2 + v) / count
                + (centre + t**2 / (t**2 + v) * (mean - centre)) ** 2
            )
        )
        assert means.mean[index] == pytest.approx(first, rel=1e-3, abs=1e-3)
        assert means.error[index] == pytest.approx((second - first**2) ** 0.5, rel=1e-3)


@pytest.mark.parametrize("count", [2, 3, 5, 10, 30])
@pytest.mark.parametrize("between", [0.0, 0.45, 2.0])
def test_what_is_said_of_a_mean_is_as_sure_as_it_is(count: int, between: float) -> None:
    """Five seeds of deviation 1; 95 % intervals of the means hold so often, however many and different they are."""
    rng, held = np.random.default_rng(count), []
    for _ in range(300):
        true = between * rng.standard_normal(count)
        found = shrunk_means(list(true[:, None] + rng.standard_normal((count, 5))))
        reach = stats.t(found.freedom).ppf(0.975) * found.error
        held.append(np.abs(found.mean - true) <= reach)
    assert np.mean(held) >= 0.92


def test_few_configurations_pool_their_variance() -> None:
    means = shrunk_means([[1.0, 3.0], [5.0], [2.0, 2.0, 8.0]])
    pooled = (1 * 2.0 + 2 * 12.0) / 3
    assert means.spread == pytest.approx([pooled**0.5] * 3)
    assert means.freedom.tolist() == [3.0, 3.0, 3.0]


def test_without_repetition_or_spread_scores_are_taken_as_they_are() -> None:
    for scores in ([[1.0], [2.0], [4.0]], [[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]], [[3.0]]):
        means = shrunk_means(scores)
        assert means.mean.tolist() == [own[0] for own in scores]
        assert not means.error.any()
        below = probability_below(means, scores[0][0], 10)
        assert below.tolist() == [float(own[0] <= scores[0][0]) for own in scores]


def test_a_lone_configuration_has_students_probability() -> None:
    scores = [2.0, 4.0, 6.0]
    found = probability_below(shrunk_means([scores]), 5.0, 10)
    scale = 2.0 * (1 / 3 + 1 / 10) ** 0.5
    assert found == pytest.approx([stats.t(2).cdf(1.0 / scale)])


def test_bad_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one configuration"):
        shrunk_means([])
    with pytest.raises(ValueError, match=r"scores\[1\]\[0\] is nan"):
        shrunk_means([[1.0], [np.nan]])


@pytest.mark.parametrize(("seeds", "spread"), [(2, 1.0), (3, 1.0), (3, 0.3), (5, 1.0)])
def test_the_probability_of_meeting_a_bound_is_calibrated_for_the_chosen(seeds: int, spread: float) -> None:
    """Of 30 configurations the best is chosen that meets the bound with probability 0.8: it does, as often as said.

    A score and its cost grow together, so that choosing by score picks those whose cost was underestimated.
    """
    rng = np.random.default_rng(seeds)
    said, held, naive = [], [], []
    for _ in range(400):
        costs = rng.normal(0.0, 1.0, 30)
        deviations = spread * rng.uniform(0.5, 1.5, 30)
        table = costs[:, None] + deviations[:, None] * rng.standard_normal((30, seeds))
        likely = probability_below(shrunk_means(list(table)), 0.0, 10)
        allowed = np.flatnonzero(likely >= 0.8)
        if not allowed.size:
            continue
        chosen = allowed[np.argmax(table.mean(axis=1)[allowed])]
        later = costs[chosen] + deviations[chosen] * rng.standard_normal(10)
        said.append(likely[chosen])
        held.append(later.mean() <= 0.0)
        plain = np.flatnonzero(table.mean(axis=1) <= 0.0)
        luckiest = plain[np.argmax(table.mean(axis=1)[plain])]
        naive.append((costs[luckiest] + deviations[luckiest] * rng.standard_normal(10)).mean() <= 0.0)
    assert np.mean(held) == pytest.approx(np.mean(said), abs=0.06)
    assert np.mean(naive) < np.mean(held) - 0.1
