"""Every kind keeps the promises of teachers, does what its paper's equations say, and finds what can be learned."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conformance.teachers import SPACE, MakeTeacher, TeacherConformance

from autorl.analysis.lessons import added_up, niches
from autorl.spec.curriculum import KINDS, ON_TARGET, resolved
from autorl.training.curriculum.alp_gmm import fitted
from autorl.training.curriculum.fixed import TargetOnly
from autorl.training.curriculum.hints import response
from autorl.training.curriculum.kinds import TEACHERS, make_teacher
from autorl.training.curriculum.lessons import Lessons
from autorl.training.curriculum.riac import box_progress, subset_progress
from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Outcome, Task, Teacher, Weights, spread_points

LINE = TaskSpace({"x": {"min": 0.0, "max": 1.0}}, {"x": 1.0})


NICHES = {
    "x": [[0.0, 0.2, 0.8], [0.0, 0.0, 0.0]],
    "size": [[1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1]],
    "map": [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0]],
}


def make(kind: str, space: TaskSpace = LINE, seed: int = 0, **options: Any) -> Any:
    return make_teacher(resolved({"kind": kind, **options}), space, np.random.default_rng(seed))


def told(teacher: Teacher, task: Task, value: float) -> None:
    teacher.tell(task, Outcome(value, value, 1))


class TestTeachers(TeacherConformance):
    @pytest.fixture(params=[kind for kind in KINDS if kind != "snapshots"])
    def make_teacher(self, request: pytest.FixtureRequest) -> MakeTeacher:
        return lambda seed: make(request.param, SPACE, seed, niches=NICHES)


class TestSnapshots(TeacherConformance):
    @pytest.fixture
    def make_teacher(self, tmp_path: Path) -> MakeTeacher:
        observations = np.random.default_rng(0).random((40, 3))
        played = {"seeds": np.array([3, 4]), "lengths": np.array([25, 15]), "actions": np.zeros(40, int)}
        np.savez(tmp_path / "played.npz", **played, observations=observations)
        entry = {"min": 0.0, "max": 0.9, "through": "trajectory", "trajectories": str(tmp_path / "played.npz")}
        space = TaskSpace({**SPACE.parameters, "start": entry}, {**SPACE.target, "start": 1.0})
        return lambda seed: make("snapshots", space, seed)


def test_every_kind_has_a_teacher() -> None:
    assert list(TEACHERS) == list(KINDS)
    assert {kind for kind, teacher in TEACHERS.items() if issubclass(teacher, TargetOnly)} == set(ON_TARGET)


def test_none_trains_the_target_even_outside_the_range() -> None:
    space = TaskSpace({"x": {"min": 0.0, "max": 1.0}, "n": {"min": 1, "max": 4}}, {"x": 3.5, "n": 6})
    assert space.task(np.array(make("none", space).ask(0.0).vector)) == {"x": 3.5, "n": 6}
    assert space.easy.tolist() == [0.0, 0.0]


def test_linear_is_where_its_share_of_the_run_says() -> None:
    teacher = make("linear", TaskSpace({"x": {"min": 0.0, "max": 10.0, "easy": 9.0}}, {"x": 1.0}), over=0.5)
    assert [teacher.space.task(np.array(teacher.ask(t).vector))["x"] for t in (0.0, 0.25, 0.5, 0.9)] == [9, 5, 1, 1]


def test_stages_wait_for_success() -> None:
    teacher = make("stages", stages=3, threshold=0.75, window=4)
    for success, expected in ((1, 0.0), (0, 0.0), (1, 0.0), (0, 0.0), (1, 0.0), (1, 0.5)):
        told(teacher, teacher.ask(0.9), success)  # 0, then the last four 0 1 0 1 → 0.5, then 1 0 1 1 → 0.75
        assert teacher.ask(0.9).vector == (expected,)
    late = Task((0.0,), 0)
    for _ in range(4):
        told(teacher, late, 1)  # of a stage that is over: says nothing of this one
    assert teacher.ask(0.9).vector == (0.5,)


def test_stages_by_steps() -> None:
    teacher = make("stages", stages=3, advance="steps", over=0.5)
    assert [teacher.ask(t).vector[0] for t in (0.0, 0.24, 0.25, 0.49, 0.5, 1.0)] == [0, 0, 0.5, 0.5, 1, 1]


def test_learning_progress_by_hand() -> None:
    teacher = make("learning_progress", bins=3, window=2, exploration=0.3)
    for cell, values in enumerate(([0, 0, 0.5, 0.5], [9, 1, 1, 0, 0], [0.25, 0.25, 0.5, 0.5])):
        for value in values:
            told(teacher, Task((0.5,), cell), value)
    # Recent minus before: 0.5; 0 − 1 (the first return has been forgotten); 0.25.
    np.testing.assert_allclose(teacher.progress, [0.5, 1.0, 0.25])
    asked = [teacher.ask(0.0) for _ in range(4000)]
    assert all(task.mark == int(3 * task.vector[0]) for task in asked)
    shares = np.bincount([task.mark for task in asked]) / 4000
    np.testing.assert_allclose(shares, 0.1 + 0.7 * np.array([0.5, 1.0, 0.25]) / 1.75, atol=0.025)  # three deviations


def test_alp_is_the_difference_to_the_nearest_task() -> None:
    teacher = make("alp_gmm")
    for x, value in ((0.1, 5.0), (0.9, 1.0), (0.2, 3.0), (0.95, 4.0), (0.16, 0.0)):
        told(teacher, Task((x,)), value)
    assert teacher.progress[:5].tolist() == [0.0, 4.0, 2.0, 3.0, 3.0]  # the nearest of 0.16 is 0.2


def test_alp_gmm_puts_a_gaussian_where_progress_is() -> None:
    teacher = make("alp_gmm", fit_every=100, window=100, exploration=0.0)
    rng = np.random.default_rng(0)
    for number in range(100):
        x = float(rng.random())
        told(teacher, Task((x,)), float(number % 2) if 0.4 < x < 0.6 else 0.0)
    drawn = np.array([teacher.ask(0.5).vector[0] for _ in range(500)])
    assert np.mean((drawn > 0.3) & (drawn < 0.7)) > 0.8


def test_again_by_hand() -> None:
    teacher = make("again", SPACE, prior=0.75, exploration=0.0, niches=NICHES)
    # Until it has a mixture of its own the rest is drawn evenly.
    asked = np.array([teacher.ask(0.2).vector for _ in range(6000)])
    parts = [np.bincount((column * count).astype(int)) / 6000 for column, count in zip(asked.T, (3, 7, 3), strict=True)]
    for found, niche in zip(parts, ([0, 0.2, 0.8], [1, 0, 0, 0, 0, 0, 0], [0.5, 0.5, 0]), strict=True):
        np.testing.assert_allclose(found, 0.75 * np.array(niche) + 0.25 / len(niche), atol=0.02)  # three deviations
    within = 3 * asked[asked[:, 0] > 2 / 3, 0] - 2
    assert np.mean(within < 0.5) == pytest.approx(0.5, abs=0.03)  # anywhere in its part
    alone = make("again", SPACE, prior=1.0, niches=NICHES)
    for progress, size in ((0.0, 3), (0.49, 3), (0.5, 9), (1.0, 9)):
        tasks = [SPACE.task(np.array(alone.ask(progress).vector)) for _ in range(200)]
        assert {task["size"] for task in tasks} == {size}
        assert {task["map"] for task in tasks} == ({"plain", "maze"} if progress < 0.5 else {"maze"})
    # Where nothing was found along an axis, all of it is alike.
    assert np.std([alone.ask(1.0).vector[0] for _ in range(200)]) == pytest.approx(12**-0.5, abs=0.04)


def test_again_without_niches_is_alp_gmm() -> None:
    taught = [make(kind, fit_every=20, window=40) for kind in ("again", "alp_gmm")]
    for number in range(100):
        first, second = (teacher.ask(number / 100) for teacher in taught)
        assert first == second
        for teacher in taught:
            told(teacher, first, float(first.vector[0] < number / 100))


def test_a_mixture_is_that_of_scikit_learn() -> None:
    from sklearn.mixture import GaussianMixture

    rng = np.random.default_rng(3)
    centres = np.array([[0.2, 0.0], [0.5, 0.6], [0.9, 0.1]])
    points = np.vstack([rng.normal(centre, (0.05, 0.03), (80, 2)) for centre in centres])
    starts = [spread_points(points, count, rng) for count in (2, 3)]
    for start, (means, covariances, aic) in zip(starts, fitted(points, starts, tolerance=1e-7), strict=True):
        nearest = ((points - start[:, None]) ** 2).sum(axis=2).argmin(axis=0)
        parts = [points[nearest == number] for number in range(len(start))]
        # What is not given begins from k-means with a seed of its own, and ends, now and then, in another maximum.
        theirs = GaussianMixture(
            len(start),
            weights_init=[len(part) / len(points) for part in parts],
            means_init=[part.mean(axis=0) for part in parts],
            precisions_init=[np.linalg.inv(np.cov(part.T, bias=True) + 1e-6 * np.eye(2)) for part in parts],
            tol=1e-9,
            max_iter=500,
        ).fit(points)
        order, their_order = np.argsort(means[:, 0]), np.argsort(theirs.means_[:, 0])
        np.testing.assert_allclose(means[order], theirs.means_[their_order], atol=1e-4)
        np.testing.assert_allclose(covariances[order], theirs.covariances_[their_order], atol=1e-5)
        assert aic == pytest.approx(theirs.aic(points), rel=1e-5)


def test_weights_are_drawn_in_proportion() -> None:
    weights = Weights()
    for number, weight in ((5, 2.0), (0, 1.0), (2, 4.0), (2, 1.0)):
        weights.put(number, weight)
    assert weights.total == 4.0
    assert [weights.draw(u) for u in (0.0, 0.24, 0.25, 0.49, 0.5, 0.99, 1.0)] == [0, 0, 2, 2, 5, 5, 5]


def test_riac_progress_and_split_by_hand() -> None:
    assert box_progress([1.0, 2.0, 5.0, 6.0]) == 2.0  # |(1 + 2) − (5 + 6)| / 4
    assert box_progress([9.0, 1.0, 4.0]) == 1.5  # an odd one out, the oldest, is left out: |1 − 4| / 2
    assert box_progress([1.0]) == 0.0
    values = np.random.default_rng(0).normal(size=11)
    inside = np.array([[k % step == 0 for k in range(11)] for step in (1, 2, 3, 7, 11)])
    for window in (4, 5, 40):
        by_hand = [box_progress(values[own][-window:]) for own in inside]
        np.testing.assert_allclose(subset_progress(inside, values, window), by_hand)
    teacher = make("riac", region=40, window=40, splits=200)
    for number in range(20):
        told(teacher, Task((0.3 * number / 20,)), 0.0)  # nothing is learned below 0.3,
        told(teacher, Task((0.3 + 0.7 * (number + 1) / 20,)), number / 20)  # and all the time above
    (left, right) = teacher.boxes
    assert 0.25 < left["high"][0] == right["low"][0] < 0.4
    assert box_progress(right["values"]) > 0.2 > 0.05 > box_progress(left["values"])


def test_riac_divides_no_further_than_a_fifteenth() -> None:
    teacher, rng = make("riac", region=20, window=10), np.random.default_rng(0)
    for _ in range(3000):
        told(teacher, teacher.ask(0.0), rng.random())
    widths = [box["high"][0] - box["low"][0] for box in teacher.boxes]
    assert len(widths) > 5
    assert min(widths) >= 1 / 15
    assert all(len(box["tasks"]) < 20 for box in teacher.boxes)


def test_adr_moves_a_bound_as_success_says() -> None:
    teacher = make("adr", boundary=1.0, buffer=4, low=0.25, high=0.75, step=0.2)
    bounds = []
    for successes in ((1, 1, 1, 0), (1, 1, 1, 1), (1, 1, 0, 0), (0, 1, 0, 0)):
        for success in successes:
            task = teacher.ask(0.0)
            assert task.mark == 1  # the lower bound is at its end, there is nothing to ask of it
            told(teacher, task, success)
        bounds.append(round(float(teacher.bounds[1, 0]), 9))
    assert bounds == [0.2, 0.4, 0.4, 0.2]
    told_inside = Task((0.1,))
    before = teacher.state()
    told(teacher, told_inside, 0)
    assert teacher.state() == before


def test_adr_stays_in_the_cube_and_keeps_the_easy_task() -> None:
    teacher = make("adr", TaskSpace({"x": {"min": 0.0, "max": 1.0, "easy": 0.5}}, {"x": 1.0}), buffer=1, step=0.4)
    for success, expected in ((0, (0.5, 0.5)), (1, (0.5, 0.9)), (1, (0.5, 1.0))):
        told(teacher, Task((float(teacher.bounds[1, 0]),), 1), success)
        assert tuple(teacher.bounds[:, 0]) == pytest.approx(expected)
    told(teacher, Task((0.5,), 0), 1)
    assert tuple(teacher.bounds[:, 0]) == pytest.approx((0.1, 1.0))


@pytest.mark.parametrize("kind", ["adr", "self_paced"])
def test_what_was_asked_before_a_move_says_nothing_of_the_next(kind: str) -> None:
    own = {"adr": {"boundary": 1.0, "buffer": 4}, "self_paced": {"window": 4}}[kind]
    teacher = make(kind, **own)
    batch = [teacher.ask(0.0) for _ in range(12)]
    states = []
    for task in batch:
        told(teacher, task, 1)
        states.append(teacher.state())
    assert states[3] != states[2]
    assert states[4:] == [states[3]] * 8
    told(teacher, teacher.ask(0.0), 1)
    assert teacher.state() != states[3]


def test_learning_progress_of_single_episodes() -> None:
    teacher = make("learning_progress", bins=2, window=1)
    for value in (1.0, 4.0, 3.0):
        told(teacher, Task((0.2,), 0), value)
    assert teacher.progress.tolist() == [1.0, 0.0]


def test_a_target_between_whole_numbers_is_as_continuous_as_what_varies() -> None:
    space = TaskSpace(
        {"x": {"min": 0.0, "max": 20.0}, "n": {"min": 1, "max": 9}}, {"x": {"min": 15, "max": 20}, "n": 3}
    )
    rng = np.random.default_rng(0)
    drawn = np.array([space.task(space.draw_target(rng))["x"] for _ in range(200)])
    assert len(set(drawn)) == 200
    assert 15 <= drawn.min() < 15.5 < 19.5 < drawn.max() < 20


def test_the_record_says_where_the_teacher_stands() -> None:
    lessons = Lessons(LINE, make("adr", boundary=1.0, buffer=1, step=0.2), 100, None)
    assert lessons.record()["(teacher)"] == {"bounds": [[0.0], [0.0]]}
    lessons.tell([(lessons.ask(), Outcome(1.0, 1.0, 7))])
    assert lessons.record()["(teacher)"] == {"bounds": [[0.0], [0.2]]}
    assert list(Lessons(LINE, make("uniform"), 100, None).record()) == ["x"]


def test_the_record_has_a_value_in_one_part_wherever_it_was_drawn() -> None:
    space = TaskSpace({"distance": {"min": 1, "max": 38}}, {"distance": 38})
    lessons = Lessons(space, make("uniform", space), 100, None)
    for u in (3 / 38, 3.9 / 38):  # both are distance 4
        lessons.tell([(Task((u,)), Outcome(1.0, None, 7))])
    assert [steps for steps in lessons.record()["distance"]["env_steps"] if steps] == [14]


def test_plr_by_hand() -> None:
    teacher = make("plr", buffer=3, replay=1.0, temperature=0.5, staleness=0.25)
    for x, value in ((0.1, 2.0), (0.2, 8.0), (0.3, 4.0), (0.1, 5.0)):
        told(teacher, Task((x,)), value)
    # |8 − 2| and |4 − 8|, by the nearest before; |5 − 2|; trained at 4, 2, 3.
    assert teacher.scores == [3.0, 6.0, 4.0]
    by_score = np.array([1 / 9, 1, 1 / 4])  # (1 / rank)²
    by_age = np.array([0, 2, 1]) / 3
    asked = np.array([teacher.ask(0.0).vector[0] for _ in range(4000)])
    shares = [np.mean(asked == x) for x in (0.1, 0.2, 0.3)]
    # Three deviations.
    np.testing.assert_allclose(shares, 0.75 * by_score / by_score.sum() + 0.25 * by_age, atol=0.024)
    told(teacher, Task((0.4,)), 6.5)  # a new one that scores less than the lowest of the memory
    assert [0.4] not in teacher.tasks
    told(teacher, Task((0.5,)), 7.5)
    assert teacher.tasks == [[0.5], [0.2], [0.3]]


def test_plr_replays_levels_of_one_score_in_turn() -> None:
    teacher = make("plr", buffer=5, replay=1.0, temperature=0.1, staleness=0.0)
    for number in range(5):
        told(teacher, Task((number / 10,)), 0.0)
    replayed = []
    for _ in range(10):
        replayed.append(teacher.ask(0.0).vector[0])
        told(teacher, Task((replayed[-1],)), 0.0)
    assert sorted(replayed) == sorted([number / 10 for number in range(5)] * 2)


def test_self_paced_steps_as_far_as_the_divergence_allows() -> None:
    space = TaskSpace({"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}}, {"x": 0.6, "y": 0.8})
    teacher = make("self_paced", space, threshold=0.5, window=2, spread=0.1, divergence=2.0)
    reached = []
    for successes in ((0, 0), (1, 0), (1, 1), (0, 0), (1, 1), (1, 1), (0, 1)):
        for success in successes:
            told(teacher, teacher.ask(0.0), success)
        reached.append(float(np.linalg.norm(teacher.mean)))
    # A step of 0.2 is as far as KL = |Δm|² / 2σ² = 2 allows; the goal is 1 away.
    assert reached == pytest.approx([0.0, 0.2, 0.4, 0.4, 0.6, 0.8, 1.0])
    assert teacher.ask(0.0).vector == pytest.approx((0.6, 0.8))  # no longer around it


def test_bandit_by_hand() -> None:
    teacher = make("bandit", bins=2, rate=0.5, temperature=0.2)
    for category, value in ((0, 0.0), (1, 10.0), (0, 4.0), (0, 4.0)):
        told(teacher, Task((0.5,), category), value)
    # r = |4 − 0| / 10, V = 2; r = |4 − 2| / 10, V = 3.
    assert teacher.q == pytest.approx([0.5 * (0.5 * 0.4) + 0.5 * 0.2, 0.0])
    assert teacher.values == [3.0, 10.0]
    odds = math.exp(0.2 / 0.2)
    assert np.mean([teacher.ask(0.0).mark == 0 for _ in range(4000)]) == pytest.approx(odds / (1 + odds), abs=0.021)


@pytest.mark.parametrize("temperature", [1e-3, 1e-5])
def test_bandit_stays_with_the_best_category_however_cold_it_is(temperature: float) -> None:
    teacher = make("bandit", bins=3, rate=0.5, temperature=temperature)
    for value in (0.0, 10.0, 0.0):
        told(teacher, Task((0.5,), 1), value)
    assert {teacher.ask(0.0).mark for _ in range(50)} == {1}
    for _ in range(40):
        told(teacher, Task((0.5,), 1), 0.0)  # nothing to learn there any more: all are alike
    for value in (5.0, 5.5):
        told(teacher, Task((0.9,), 2), value)
    assert {teacher.ask(0.0).mark for _ in range(50)} == {2}


def test_bandit_learns_a_category_once_from_all_groups_of_a_batch() -> None:
    """SEC's r(c) is the mean absolute advantage of the category's completions, Q(c) ← (1 − α) Q(c) + α r(c)."""
    teacher = make("bandit", bins=3, rate=0.5, temperature=0.25)
    for advantages in (((0, 0.8), (0, 0.4), (1, 1.0)), ((1, 0.0), (2, 0.5))):
        teacher.tell_all([(Task((0.5,), mark), Outcome(0.5, 0.5, 8, gain)) for mark, gain in advantages])
    q = [0.5 * 0.6, 0.5 * (0.5 * 1.0) + 0.5 * 0.0, 0.5 * 0.5]
    assert teacher.q == pytest.approx(q)
    odds, drawn = np.exp(np.array(q) / 0.25), [teacher.ask(0.0).mark for _ in range(4000)]
    np.testing.assert_allclose(np.bincount(drawn) / 4000, odds / odds.sum(), atol=0.025)  # three deviations


def test_degrade_has_the_pace_of_its_paper() -> None:
    teacher = make("degrade", TaskSpace({"x": {"min": 0.0, "max": 10.0}}, {"x": 10.0}), base=4.0, over=0.5)
    # p_s = 0, p_e = 10: of m steps, at i/m = 1/2 it is (4^½ − 1) / 3 of the way.
    at = [teacher.space.task(np.array(teacher.ask(t).vector))["x"] for t in (0.0, 0.25, 0.5, 0.9)]
    assert at == pytest.approx([0.0, 10 / 3, 10.0, 10.0])


def test_middle_difficulty_takes_what_is_nearest_to_the_middle() -> None:
    teacher = make("middle_difficulty", middle=0.4)
    assert teacher.nearest(np.array([0.9, 0.45, 0.0, 0.5, 0.35, 0.2]), 3) == [1, 3, 4]


def test_item_response_by_hand() -> None:
    teacher = make("item_response", rounds=3, aim=0.6)
    # (0.6 − 0.2) / (1 − 0.2) is a half: at h = b the model is half-way between guessing and knowing.
    fits = np.array([[8.0, 0.3, 0.2], [8.0, 0.3, 0.0], [8.0, -0.4, 0.0], [8.0, 1.4, 0.0]])
    assert teacher.hints(fits).tolist() == pytest.approx([0.3, 0.3 + math.log(0.6 / 0.4) / 8, 0.0, 0.95])
    assert float(response(np.array(0.3), *fits[0])) == pytest.approx(0.6)
    # Before anything is known it is what problems are as a rule. What is always wrong is harder than was thought, what
    # is always right is easier.
    nothing = np.zeros((1, 0))
    assert teacher.fitted(nothing, nothing, [])[0, 1] == pytest.approx(0.5)
    wrong, right = teacher.fitted(np.array([[0.5], [0.5]]), np.array([[0], [2]]), [2])[:, 1]
    assert wrong > 0.5 > right
    # With much evidence it finds what the answers were made from.
    hints = np.array([[0.0, 0.2, 0.4, 0.6, 0.8]])
    (found,) = teacher.fitted(hints, np.round(1000 * response(hints, *np.array([16.0, 0.7, 0.0]))), [1000] * 5)
    assert found.tolist() == pytest.approx([16.0, 0.7, 0.0])
    teacher.known(np.array([[16.0, 0.7, 0.0], [16.0, 0.9, 0.0]]))
    assert teacher.usual == pytest.approx(0.5 + 0.05 * 0.2 + 0.05 * (0.9 - 0.51))


def test_guidance_and_length_stages_by_hand() -> None:
    assert make("guidance", stages=3).shares == [0.25, 0.5, 0.75]
    teacher = make("length_stages", stages=3, first=0.5, over=0.8)
    assert [teacher.room(t) for t in (0.0, 0.39, 0.4, 0.79, 0.8, 1.0)] == [0.5, 0.5, 0.75, 0.75, 1.0, 1.0]


def test_who_needs_successes_says_so() -> None:
    for kind in ("stages", "adr", "self_paced"):
        teacher = make(kind, boundary=1.0)
        with pytest.raises(ValueError, match=r"no 'is_success'.*; set task\.success_return"):
            teacher.tell(teacher.ask(0.0), Outcome(1.0, None, 1))


def practised(teacher: Teacher, seed: int, episodes: int) -> tuple[list[bool], list[tuple[int, dict[str, Any]]]]:
    """Teach a learner that below 0.4 can do everything, above 0.6 nothing, and between learns it in 500 episodes.

    Returns:
        Whether each episode was between, and what ten evaluations of a run of 1000 episodes recorded of `x`.
    """
    rng, lessons = np.random.default_rng(100 + seed), Lessons(LINE, teacher, 1000, None)
    between: list[bool] = []
    records = []
    for number in range(episodes):
        task = lessons.ask()
        between.append(0.4 <= task.vector[0] < 0.6)
        skill = sum(between) / 500 if between[-1] else float(task.vector[0] < 0.4)
        lessons.steps += 1
        lessons.tell([(task, Outcome(float(rng.random() < skill), None, 1))])
        if number % 100 == 99:
            records.append((number // 100, lessons.record()["x"]))
    return between, records


def test_again_begins_where_an_earlier_run_found_something_to_learn() -> None:
    # The paper's 250 episodes before the first fit are a quarter of this run.
    shares = []
    for seed in range(3):
        earlier = [
            practised(make("alp_gmm", seed=10 + 3 * seed + run, fit_every=50), seed, 1000)[1] for run in range(3)
        ]
        found = added_up(record for run in earlier for record in run)
        assert found is not None
        learned = {"x": niches(found, 10).tolist()}
        students = [make(kind, seed=seed, fit_every=50, niches=learned) for kind in ("again", "alp_gmm")]
        shares.append([np.mean(practised(student, 50 + seed, 100)[0]) for student in students])
    again, alp_gmm = np.mean(shares, axis=0)
    assert alp_gmm < 0.3
    assert again > 0.45


@pytest.mark.parametrize("kind", ["learning_progress", "alp_gmm", "riac", "bandit"])
def test_training_goes_where_something_can_be_learned(kind: str) -> None:
    shares = []
    for seed in range(3):
        # The paper's 250 episodes before the first fit are a quarter of this run.
        between, _ = practised(make(kind, seed=seed, fit_every=50, window=100), seed, 1000)
        shares.append(np.mean(between))
    assert np.mean(shares) >= 2 * 0.2


def test_failures_come_again_until_they_are_mended() -> None:
    teacher = make("failures", replay=1.0, buffer=2)
    episodes = [teacher.ask(0.0) for _ in range(4)]
    assert len({task.seed for task in episodes}) == 4  # nothing has failed: new episodes of the target
    for task, success in zip(episodes, (0.0, 1.0, 0.0, 0.0), strict=True):
        told(teacher, task, success)
    assert {teacher.ask(0.0) for _ in range(20)} == {episodes[2], episodes[3]}  # the oldest of three is forgotten
    told(teacher, episodes[2], 1.0)
    assert {teacher.ask(0.0) for _ in range(20)} == {episodes[3]}
    told(teacher, episodes[3], 0.0)  # failed again: remembered once
    told(teacher, episodes[3], 1.0)
    assert teacher.ask(0.0) not in episodes


def test_snapshots_begin_in_every_sort_of_state_alike(tmp_path: Path) -> None:
    # Of 100 states 90 look alike; the others are of two more sorts.
    observations = np.array([[0.0, 0.1 * (n % 2)] for n in range(91)] + [[5.0, 0.0]] * 5 + [[5.0, 9.0]] * 5)
    played = {"seeds": np.array([3]), "lengths": np.array([101]), "actions": np.zeros(101, int)}
    np.savez(tmp_path / "played.npz", **played, observations=observations)
    entry = {"min": 0.0, "max": 1.0, "through": "trajectory", "trajectories": str(tmp_path / "played.npz")}
    teacher = make("snapshots", TaskSpace({"start": entry}, {"start": 1.0}), clusters=3, over=0.5, truncate=7)
    drawn = [teacher.ask(0.2).vector[0] for _ in range(600)]
    # The states with the fewest steps left come first on the axis: 95 to 100, and 90 to 95, of the trajectory's steps.
    shares = [np.mean([low <= u < high for u in drawn]) for low, high in ((0.0, 0.05), (0.05, 0.1), (0.1, 1.0))]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.07)
    assert {teacher.ask(0.2).limit for _ in range(5)} == {7}
    assert {teacher.ask(0.5) for _ in range(5)} == {Task((1.0,))}
    # With values, the sorts are of these: here of the last 50 states and of the others.
    values = np.where(np.arange(101) < 51, 0.0, 80.0)
    np.savez(tmp_path / "played.npz", **played, observations=observations, values=values)
    entry["sha256"] = hashlib.sha256((tmp_path / "played.npz").read_bytes()).hexdigest()
    valued = make("snapshots", TaskSpace({"start": entry}, {"start": 1.0}), clusters=2, over=1.0)
    assert np.mean([valued.ask(0.0).vector[0] < 0.5 for _ in range(400)]) == pytest.approx(0.5, abs=0.1)
    # A range that lies within one state is that state.
    narrow = make("snapshots", TaskSpace({"start": {**entry, "min": 0.101, "max": 0.102}}, {"start": 1.0}), over=0.5)
    assert {narrow.ask(0.0).vector for _ in range(5)} == {(1.0,)}
