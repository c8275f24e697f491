"""Empirical Bayes over configurations: closed forms, and what its probabilities are worth over repeats."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from autorl.analysis import probability_below, shrunk_means


def test_equal_variances_shrink_the_means_as_efron_and_morris_say() -> None:
    """Three configurations with deviations of exactly 1: s^2 = 1, v = 1/2, d0 infinite, t^2 by DerSimonian-Laird."""
    half = 0.5**0.5
    means = shrunk_means([[m - half, m + half] for m in (0.0, 1.0, 5.0)])
    # The logarithms of equal variances have no excess spread, so that the prior is their bias-corrected mean.
    prior = np.exp(-(stats.chi2(1).expect(lambda x: np.log(x)) - np.log(1)))
    assert means.spread == pytest.approx([prior**0.5] * 3, rel=1e-6)
    assert np.isinf(means.freedom).all()
    v = prior / 2
    weights = np.full(3, 1 / v)
    q = weights @ (np.array([0.0, 1.0, 5.0]) - 2.0) ** 2
    between = (q - 2) / (weights.sum() - (weights @ weights) / weights.sum())
    kept = between / (between + v)
    assert means.mean == pytest.approx(2 + kept * (np.array([0.0, 1.0, 5.0]) - 2))
    assert means.error == pytest.approx([(kept * v) ** 0.5] * 3)


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
