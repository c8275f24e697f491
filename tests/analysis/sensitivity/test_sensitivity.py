"""Sensitivity on functions whose importances are known."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import optuna
import pytest
from optuna.importance import FanovaImportanceEvaluator

from autorl.analysis.sensitivity import (
    Axis,
    Domain,
    Forest,
    ablation_path,
    agreement,
    chance_of_agreement,
    effect,
    interactions,
    local_importance,
    main_effects,
    neighbours,
    ped_anova,
)
from autorl.analysis.sensitivity.forest import Points

PLANE = Domain((Axis("x"), Axis("y"), Axis("idle")))


def sample(domain: Domain, count: int = 400) -> Points:
    rng = np.random.default_rng(1)
    points = rng.random((count, len(domain.axes)))
    for index, axis in enumerate(domain.axes):
        if axis.choices:
            points[:, index] = (np.floor(points[:, index] * axis.choices) + 0.5) / axis.choices
    return domain.resolve(points)


def switched() -> Domain:
    """Return a domain in which the second hyperparameter is active where the first, a switch, is on."""

    def active(points: Points) -> np.ndarray:
        found = np.ones(points.shape, dtype=bool)
        found[:, 1] = points[:, 0] > 0.5
        return found

    return Domain((Axis("switch", 2), Axis("child"), Axis("other")), active)


class TestMainEffects:
    def test_of_a_sum_are_its_variances(self) -> None:
        # Var(3x) : Var(4y^2) = 9/12 : 16 * 4/45.
        points = sample(PLANE, 1_500)
        found = main_effects(Forest(PLANE, points, 3 * points[:, 0] + 4 * points[:, 1] ** 2))
        x, y = 9 / 12, 16 * 4 / 45
        assert found == pytest.approx([x / (x + y), y / (x + y), 0], abs=0.03)

    @pytest.mark.slow
    def test_agree_with_optunas_fanova(self) -> None:
        domain = Domain((Axis("a"), Axis("b"), Axis("c", 3), Axis("d")))
        points = sample(domain, 300)
        scores = np.sin(6 * points[:, 0]) + points[:, 1] * (points[:, 2] > 0.7) + 0.3 * points[:, 3]
        study = optuna.create_study()
        flat = optuna.distributions.FloatDistribution(0.0, 1.0)
        kinds = {"a": flat, "b": flat, "c": optuna.distributions.CategoricalDistribution((0, 1, 2)), "d": flat}
        for row, score in zip(points, scores, strict=True):
            params = {"a": row[0], "b": row[1], "c": int(row[2] * 3), "d": row[3]}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=kinds, value=score))
        theirs = FanovaImportanceEvaluator(seed=0).evaluate(study)
        ours = main_effects(Forest(domain, points, scores))
        # Optuna's shares add to 1; interactions have their own part in ours.
        shares = ours / ours.sum()
        assert shares == pytest.approx([theirs[axis.name] for axis in domain.axes], abs=0.1)
        # By hand: Var sin 6a = 0.522, 1/9 of Var b, 2/9 of (E b)^2, 0.09 of Var d.
        assert shares == pytest.approx(np.array([0.522, 1 / 108, 1 / 18, 0.09 / 12]) / 0.594, abs=0.03)

    def test_a_child_counts_where_it_is_active(self) -> None:
        # f = 2 child where on, 1 where off: the child explains 1/2 Var(2u) = 1/6, the switch nothing, other nothing.
        domain = switched()
        points = sample(domain, 1_000)
        found = main_effects(Forest(domain, points, np.where(np.isnan(points[:, 1]), 1.0, 2 * points[:, 1])))
        assert found == pytest.approx([0, 1, 0], abs=0.06)

    def test_a_switch_counts_itself(self) -> None:
        domain = switched()
        points = sample(domain, 1_000)
        found = main_effects(Forest(domain, points, np.where(np.isnan(points[:, 1]), 0.0, 1.0)))
        assert found == pytest.approx([1, 0, 0], abs=0.02)

    def test_are_the_same_every_time(self) -> None:
        points = sample(PLANE, 60)
        scores = points[:, 0] + np.random.default_rng(0).normal(0, 0.1, 60)
        first, second = (main_effects(Forest(PLANE, points, scores)) for _ in range(2))
        assert (first == second).all()

    def test_a_parameter_that_is_never_active_explains_nothing(self) -> None:
        domain = Domain((Axis("x"), Axis("never")), lambda points: np.array([[True, False]]).repeat(len(points), 0))
        points = sample(domain, 50)
        assert main_effects(Forest(domain, points, points[:, 0]))[1] == 0.0


class TestForest:
    def test_says_how_much_it_explains(self) -> None:
        points, rng = sample(PLANE, 300), np.random.default_rng(0)
        assert Forest(PLANE, points, points[:, 0]).explained > 0.9
        assert Forest(PLANE, points, rng.normal(size=300)).explained < 0.2

    def test_refuses_what_it_cannot_learn(self) -> None:
        points = sample(PLANE, 5)
        with pytest.raises(ValueError, match="not all equal"):
            Forest(PLANE, points, np.ones(5))
        with pytest.raises(ValueError, match="at least 4"):
            Forest(PLANE, points[:3], [1, 2, 3])
        with pytest.raises(ValueError, match=r"expected \(4, 3\)"):
            Forest(PLANE, points, [1, 2, 3, 4])
        with pytest.raises(ValueError, match="not finite"):
            Forest(PLANE, points, [1, 2, 3, 4, math.nan])


class TestInteractions:
    def test_of_a_product_is_what_its_factors_do_not_explain(self) -> None:
        # (x - 1/2)(y - 1/2) has no main effects at all.
        points = sample(PLANE, 1_500)
        forest = Forest(PLANE, points, (points[:, 0] - 0.5) * (points[:, 1] - 0.5))
        found = interactions(forest, [0, 1, 2])
        assert main_effects(forest).max() < 0.05
        assert found[0, 1] > 0.8
        assert max(found[0, 2], found[1, 2]) < 0.05

    def test_of_a_sum_is_nothing(self) -> None:
        points = sample(PLANE, 1_500)
        assert interactions(Forest(PLANE, points, points[:, 0] + points[:, 1]), [0, 1])[0, 1] < 0.02


class TestAgreement:
    def test_by_hand(self) -> None:
        assert agreement(np.array([[3.0, 2.0, 1.0], [30.0, 20.0, 10.0]])) == pytest.approx(1.0)
        assert agreement(np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])) == pytest.approx(0.0)

    def test_siegel_and_castellans_example(self) -> None:
        # Their table 9.13: six hospital programmes ranked by three executives, W = 0.162.
        ranks = np.array([[1, 6, 3, 2, 5, 4], [1, 5, 6, 4, 2, 3], [6, 3, 2, 5, 4, 1]], dtype=float)
        assert agreement(ranks) == pytest.approx(0.162, abs=0.001)

    def test_is_that_of_the_mean_rank_correlation(self) -> None:
        # W = (1 + (m - 1) r) / m, with r the mean of Spearman's correlations (Kendall 1948, section 6.7).
        rows = np.random.default_rng(0).normal(size=(5, 8))
        ranks = rows.argsort(axis=1).argsort(axis=1)
        mean = (np.corrcoef(ranks).sum() - 5) / 20
        assert agreement(rows) == pytest.approx((1 + 4 * mean) / 5)

    def test_nothing_but_ties_says_nothing(self) -> None:
        assert math.isnan(agreement(np.zeros((3, 4))))
        assert math.isnan(chance_of_agreement(np.zeros((3, 4))))

    def test_chance_is_what_counting_all_orders_gives(self) -> None:
        rows = np.array([[1, 2, 3, 4], [1, 3, 2, 4], [2, 1, 4, 3]], dtype=float)
        orders = [np.array(order, dtype=float) for order in permutations(range(1, 5))]
        every = [agreement(np.array([rows[0], a, b])) for a in orders for b in orders]
        expected = np.mean(np.array(every) >= agreement(rows) - 1e-9)
        assert chance_of_agreement(rows) == pytest.approx(expected, abs=0.02)

    def test_chance_follows_the_number_of_seeds(self) -> None:
        row = np.arange(5.0)
        assert chance_of_agreement(np.array([row, row])) == pytest.approx(1 / 120, abs=0.005)
        assert chance_of_agreement(np.array([row] * 5)) == pytest.approx(0.0, abs=0.001)


class TestEffect:
    def test_follows_the_function(self) -> None:
        points = sample(PLANE, 1_500)
        found = effect(Forest(PLANE, points, np.sin(6 * points[:, 0]) + points[:, 1]), 0)
        assert found.active == 1.0
        assert found.mean == pytest.approx(np.sin(6 * found.at) + 0.5, abs=0.12)
        assert found.individual.shape == (128, 16)

    def test_is_of_the_points_in_which_it_is_active(self) -> None:
        domain = switched()
        points = sample(domain, 1_000)
        forest = Forest(domain, points, np.where(np.isnan(points[:, 1]), 10.0, points[:, 1]))
        found = effect(forest, 1)
        assert found.active == pytest.approx(0.5, abs=0.02)
        assert found.mean == pytest.approx(found.at, abs=0.08)

    def test_a_choice_has_one_place_a_value(self) -> None:
        domain = Domain((Axis("kind", 4), Axis("x")))
        points = sample(domain, 400)
        found = effect(Forest(domain, points, np.floor(points[:, 0] * 4) ** 2), 0)
        assert found.mean == pytest.approx([0, 1, 4, 9], abs=0.3)


class TestAroundAPoint:
    def test_local_importance_is_of_where_one_stands(self) -> None:
        # y matters only where x is large.
        points = sample(PLANE, 1_500)
        forest = Forest(PLANE, points, np.where(points[:, 0] > 0.5, 5 * points[:, 1], 0.0))
        low = local_importance(forest, np.array([0.2, 0.2, 0.5]))
        high = local_importance(forest, np.array([0.9, 0.2, 0.5]))
        assert low[1] < 0.1 < 0.5 < high[1]
        assert low.sum() == pytest.approx(1.0)

    def test_neighbours_lose_where_the_point_is_a_peak(self) -> None:
        domain = Domain((Axis("x"), Axis("kind", 3), Axis("end")))
        points = sample(domain, 1_500)
        peak = -20 * np.abs(points[:, 0] - 0.5) + 3 * (np.floor(points[:, 1] * 3) == 1)
        down_up, kinds, one = neighbours(Forest(domain, points, peak), np.array([0.5, 0.5, 0.0]))
        assert down_up == pytest.approx([-2, -2], abs=1.0)  # a forest rounds the peak off
        assert kinds == pytest.approx([-3, -3], abs=0.4)
        assert one == pytest.approx([0.0], abs=0.6)

    def test_what_is_inactive_has_no_neighbours(self) -> None:
        domain = switched()
        points = sample(domain, 200)
        forest = Forest(domain, points, np.nan_to_num(points[:, 1]))
        assert neighbours(forest, np.array([0.25, np.nan, 0.5]))[1].size == 0
        assert local_importance(forest, np.array([0.25, np.nan, 0.5]))[1] == 0.0


class TestAblation:
    def test_the_best_change_comes_first(self) -> None:
        points = sample(PLANE, 1_500)
        forest = Forest(PLANE, points, points[:, 0] + 5 * points[:, 1])
        start, end = np.array([0.1, 0.1, 0.5]), np.array([0.9, 0.9, 0.5])
        begun, steps = ablation_path(forest, start, end)
        assert [step.index for step in steps] == [1, 0]
        assert begun == pytest.approx(0.6, abs=0.3)
        assert [step.score for step in steps] == pytest.approx([4.6, 5.4], abs=0.3)
        assert steps[-1].score == pytest.approx(forest.predict(end[None])[0])
        falling, back = ablation_path(forest, end, start, higher_is_better=False)
        assert [step.index for step in back] == [1, 0]
        assert falling == pytest.approx(steps[-1].score)

    def test_a_child_follows_its_parent(self) -> None:
        domain = switched()
        points = sample(domain, 1_000)
        forest = Forest(domain, points, np.where(np.isnan(points[:, 1]), 0.0, 1 + points[:, 1]))
        _, steps = ablation_path(forest, np.array([0.25, np.nan, 0.5]), np.array([0.75, 0.9, 0.5]))
        assert [step.index for step in steps] == [0]
        assert steps[0].score == pytest.approx(1.9, abs=0.1)

    def test_the_same_configuration_needs_no_step(self) -> None:
        points = sample(PLANE, 50)
        _, steps = ablation_path(Forest(PLANE, points, points[:, 0]), points[0], points[0])
        assert steps == []


class TestPedAnova:
    def test_finds_what_decides(self) -> None:
        points = sample(PLANE)
        found = ped_anova(PLANE, points, points[:, 0])
        assert found[0] > 0.8
        assert found.sum() == pytest.approx(1.0)
        assert ped_anova(PLANE, points, -points[:, 0], higher_is_better=False) == pytest.approx(found)

    def test_of_conditional_parameters(self) -> None:
        domain = switched()
        points = sample(domain)
        found = ped_anova(domain, points, np.where(np.isnan(points[:, 1]), -1.0, points[:, 1]))
        assert found[1] > found[2]
        assert found[0] > found[2]

    def test_too_few_say_nothing(self) -> None:
        assert (ped_anova(PLANE, sample(PLANE, 5), np.arange(5.0)) == 0).all()
