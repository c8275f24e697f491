"""The winner's curse, the split of variance, and how many seeds two configurations need."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from autorl.analysis import seeds_needed, split_variance, winners_curse


def noisy(rng: np.random.Generator, trials: int, seeds: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Return true scores with a standard deviation of `spread`, and scores with noise of 1 around them."""
    true = rng.normal(0, spread, trials)
    return true, true[:, None] + rng.normal(0, 1, (trials, seeds))


def bimodal(rng: np.random.Generator, trials: int, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return chances of solving CartPole, and scores of 500 or 0."""
    chance = rng.beta(0.5, 0.5, trials)
    return 500 * chance, 500.0 * (rng.random((trials, seeds)) < chance[:, None])


class TestWinnersCurse:
    @pytest.mark.parametrize(
        "seeds", [3, pytest.param(5, marks=pytest.mark.slow), pytest.param(10, marks=pytest.mark.slow)]
    )
    @pytest.mark.parametrize("spread", [0.0, 0.5, 2.0])
    def test_is_what_the_winner_loses(self, seeds: int, spread: float) -> None:
        rng = np.random.default_rng(seeds)
        lost, said = [], []
        for _ in range(1_500):
            true, scores = noisy(rng, 20, seeds, spread)
            best = np.argmax(scores.mean(axis=1))
            lost.append(scores[best].mean() - true[best])
            said.append(winners_curse(scores))
        assert np.mean(said) == pytest.approx(np.mean(lost), rel=0.1)

    @pytest.mark.parametrize("seeds", [3, 5])
    def test_holds_for_scores_that_are_all_or_nothing(self, seeds: int) -> None:
        rng = np.random.default_rng(seeds)
        lost, said = [], []
        for _ in range(1_500):
            true, scores = bimodal(rng, 8, seeds)
            means = scores.mean(axis=1)
            best = means == means.max()
            lost.append(np.mean(means[best] - true[best]))
            said.append(winners_curse(scores))
        assert np.mean(said) == pytest.approx(np.mean(lost), rel=0.1)

    def test_follows_the_formula_for_configurations_that_are_equal(self) -> None:
        # E[max of K means] is E[max of K standard normals] / sqrt(n): Blom's values for K = 10 give 1.5388.
        rng = np.random.default_rng(0)
        said = [winners_curse(rng.normal(0, 1, (10, 4))) for _ in range(3_000)]
        assert np.mean(said) == pytest.approx(1.5388 / 2, rel=0.05)

    def test_by_hand(self) -> None:
        # Each seed chooses its own winner, which has 0 on the other.
        assert winners_curse([[10, 0], [0, 10]]) == pytest.approx(10 * 2**-0.75)

    def test_of_two_seeds_left_out(self) -> None:
        scores = np.random.default_rng(1).normal(0, 1, (6, 4))
        means = {}
        for kept in (2, 3):
            lost = []
            for inside in combinations(range(4), kept):
                outside = [seed for seed in range(4) if seed not in inside]
                best = np.argmax(scores[:, inside].mean(axis=1))
                lost.append(scores[best, inside].mean() - scores[best, outside].mean())
            means[kept] = np.mean(lost)
        a, b = np.linalg.solve([[3**-0.5, 1 / 3], [2**-0.5, 1 / 2]], [means[3], means[2]])
        assert winners_curse(scores) == pytest.approx(a / 2 + b / 4)

    def test_direction_only_mirrors(self) -> None:
        scores = np.random.default_rng(2).normal(0, 1, (7, 5))
        assert winners_curse(-scores, higher_is_better=False) == pytest.approx(winners_curse(scores))

    def test_ties_share(self) -> None:
        assert winners_curse(np.ones((4, 3))) == 0.0

    def test_chooses_as_the_objective_does(self) -> None:
        # By the mean the first wins by one lucky seed; by the median the second always does.
        scores = np.array([[900.0, 0.0, 0.0, 0.0, 0.0], [100.0, 101.0, 99.0, 100.0, 100.0]])
        assert winners_curse(scores) > 100
        assert abs(winners_curse(scores, statistic="median")) < 1

    @pytest.mark.parametrize("scores", [[1.0, 2.0], [[1.0], [2.0]], [[1.0, 2.0]], [[1.0, math.nan], [1.0, 2.0]]])
    def test_refuses_what_it_cannot_use(self, scores: list[float]) -> None:
        with pytest.raises(ValueError, match="scores: "):
            winners_curse(scores)


class TestSplitVariance:
    def test_by_hand(self) -> None:
        # Rows differ by 2, columns by 4, nothing else does: MSR = 2 * 2, MSC = 2 * 8, MSE = 0.
        found = split_variance([[0, 4], [2, 6]])
        assert (found.configuration, found.seed, found.interaction) == (2.0, 8.0, 0.0)
        assert found.consistency.value == found.consistency.low == 1.0

    def test_shrout_and_fleiss(self) -> None:
        # Their table 2: six targets, four judges; ICC(3,1) = 0.7148, and pingouin's interval of it.
        ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
        found = split_variance(ratings).consistency
        assert (found.value, found.low, found.high) == pytest.approx((0.7148, 0.34, 0.95), abs=0.005)

    def test_recovers_the_components(self) -> None:
        rng = np.random.default_rng(0)
        found = [
            split_variance(rng.normal(0, 3, (12, 1)) + rng.normal(0, 2, (1, 5)) + rng.normal(0, 1, (12, 5)))
            for _ in range(2_000)
        ]
        means = [np.mean([getattr(f, name) for f in found]) for name in ("configuration", "seed", "interaction")]
        assert means == pytest.approx([9, 4, 1], rel=0.05)
        covered = np.mean([f.consistency.low <= 0.9 <= f.consistency.high for f in found])
        assert 0.93 <= covered <= 0.97

    def test_scores_that_are_all_equal_say_nothing(self) -> None:
        assert math.isnan(split_variance(np.ones((3, 3))).consistency.value)

    def test_seeds_that_say_nothing(self) -> None:
        found = split_variance([[0, 1], [1, 0], [0, 1], [1, 0]])
        assert found.configuration == found.consistency.value == found.consistency.low == 0.0


class TestSeedsNeeded:
    @pytest.mark.parametrize(("apart", "seeds"), [(0.5, 64), (0.8, 26), (1.0, 17), (2.0, 6)])
    def test_cohens_table(self, apart: float, seeds: int) -> None:
        # Cohen (1988), table 2.4.1: n for d at 5 %, two-sided, power 80 %.
        spread = np.array([-1.0, 1.0]) / math.sqrt(2)
        assert seeds_needed(spread + apart, spread) == seeds

    def test_is_enough_and_not_more(self) -> None:
        rng = np.random.default_rng(0)
        a, b = np.array([10.0, 14.0, 12.0]), np.array([9.0, 10.0, 8.5])
        n = seeds_needed(a, b, power=0.9)
        assert n is not None
        found = [
            stats.ttest_ind(
                rng.normal(a.mean(), a.std(ddof=1), n), rng.normal(b.mean(), b.std(ddof=1), n), equal_var=False
            )
            for _ in range(2_000)
        ]
        assert 0.88 <= np.mean([f.pvalue < 0.05 for f in found]) <= 0.97

    def test_equal_means_are_never_told_apart(self) -> None:
        assert seeds_needed([1, 3], [2, 2]) is None
        assert seeds_needed([0, 1], [0, 1.0001]) is None

    def test_no_spread_needs_no_more(self) -> None:
        assert seeds_needed([1, 1], [2, 2]) == 2

    def test_refuses_a_single_seed(self) -> None:
        with pytest.raises(ValueError, match="at least 2 scores"):
            seeds_needed([1], [2, 3])
