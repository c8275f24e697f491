"""Means of configurations that were not all trained on the same seeds."""

from __future__ import annotations

import numpy as np
import pytest

from autorl.analysis.sensitivity import adjusted_means

CONFIGURATIONS = np.array([1.0, 2.0, 4.0, 3.0])
SEEDS = np.array([-10.0, 0.0, 10.0])


def test_complete_scores_have_their_means() -> None:
    scores = np.random.default_rng(0).normal(size=(6, 4))
    np.testing.assert_allclose(adjusted_means(scores), scores.mean(axis=1))


def test_what_seeds_add_is_taken_off() -> None:
    scores = CONFIGURATIONS[:, None] + SEEDS
    scores[0, 1:] = scores[1, :2] = scores[3, 0] = np.nan  # each trained on other seeds; plain means are far off
    np.testing.assert_allclose(adjusted_means(scores), CONFIGURATIONS)


def test_it_is_the_least_squares_solution() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(12, 5))
    scores[rng.random(scores.shape) < 0.4] = np.nan
    scores[:, 0] = rng.normal(size=12)
    rows, columns = np.nonzero(np.isfinite(scores))
    # A column for each configuration, and one for each seed but the last, which is minus the sum of the others.
    design = np.zeros((len(rows), 12 + 4))
    design[np.arange(len(rows)), rows] = 1.0
    for entry, column in enumerate(columns):
        design[entry, 12:] = -1.0 if column == 4 else np.eye(5)[column, :4]
    expected = np.linalg.lstsq(design, scores[rows, columns], rcond=None)[0][:12]
    np.testing.assert_allclose(adjusted_means(scores), expected)


def test_groups_without_a_common_seed_keep_their_means() -> None:
    scores = [[1.0, np.nan], [3.0, np.nan], [np.nan, 5.0]]
    found = adjusted_means(scores)
    assert found[1] - found[0] == pytest.approx(2.0)
    assert np.isfinite(found).all()


def test_a_row_without_a_score_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scores\[1\]"):
        adjusted_means([[1.0, 2.0], [np.nan, np.nan]])
