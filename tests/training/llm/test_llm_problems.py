"""Problems are right, and what a run is evaluated on no run trains on."""

from __future__ import annotations

import itertools

import pytest

from autorl.errors import AutorlError
from autorl.training.llm.problems import (
    FAMILIES,
    SUITES,
    Written,
    draw_to_evaluate,
    draw_to_train,
    generator,
    make_task,
)


@pytest.mark.parametrize("name", SUITES)
def test_right_demonstrations_are_rewarded_and_others_are_not(name: str) -> None:
    task, rng = make_task(name, {}), generator(0)
    for category in task.categories:
        for _ in range(20):
            problem = task.draw(category, rng)
            assert set(problem.prompt) <= set(task.characters)
            shown = task.demonstration(problem, rng, 0.0)
            assert set(shown) <= set(task.characters)
            assert task.reward(problem, shown) == 1.0
            assert task.reward(problem, problem.answer) == 0.0  # nothing says that this is the answer
            assert task.reward(problem, f"{shown}0") == 0.0
            assert task.reward(problem, "") == 0.0
        noisy = [task.reward(p, task.demonstration(p, rng, 0.3)) for p in (task.draw(category, rng) for _ in range(99))]
        assert 0.0 <= sum(noisy) < 80


def test_answers() -> None:
    rng = generator(1)
    for _ in range(50):
        prompt, _, answer = FAMILIES["sort"](rng, 6)
        assert answer == "".join(sorted(prompt[1:-1]))
        prompt, steps, answer = FAMILIES["max"](rng, 4)
        numbers = [int(number) for number in prompt[1:-1].split(",")]
        assert [int(step) for step in steps] == list(itertools.accumulate(numbers, max))[1:]
        assert int(answer) == max(numbers)
        prompt, steps, answer = FAMILIES["add"](rng, 3)
        assert int(answer) == sum(int(number) for number in prompt[1:-1].split("+"))
        assert steps == (answer[::-1],)
        prompt, steps, answer = FAMILIES["mod"](rng, 5)
        total = int(prompt[1])
        for sign, digit, step in zip(prompt[2:-1:2], prompt[3:-1:2], steps, strict=True):
            total = (total + int(sign + digit)) % 10
            assert int(step) == total
        assert int(answer) == total


def test_knights_and_knaves_have_one_solution() -> None:
    rng = generator(2)
    for _ in range(20):
        prompt, _, answer = FAMILIES["knights"](rng, 4)
        claims = [said.split(":") for said in prompt[1:-1].split(",")]
        fits = []
        for kinds in itertools.product("01", repeat=4):
            true = [(kinds[int(said[0])] == kinds[int(said[2])]) == (said[1] == "~") for _, said in claims]
            if all((kinds[int(who)] == "1") == fact for (who, _), fact in zip(claims, true, strict=True)):
                fits.append("".join(kinds))
        assert fits == [answer]


def test_nobody_trains_on_what_anybody_is_evaluated_on() -> None:
    task = Written({"sort": [5], "max": [3]})
    training = {draw_to_train(task, c, generator(seed)).prompt for seed in range(400) for c in task.categories}
    held_out = [{p.prompt for p in draw_to_evaluate(task, 40, seed, generator(seed))} for seed in (0, 1, 2, 50, 100)]
    assert all(len(own) == 40 for own in held_out)
    for one, other in itertools.combinations([training, *held_out], 2):
        assert not one & other


def test_every_category_has_its_share_of_an_evaluation() -> None:
    task = make_task("steps", {})
    problems = draw_to_evaluate(task, 14, 3, generator(0))
    assert [p.category for p in problems] == [*task.categories, *task.categories]


def test_a_kind_with_too_few_problems_is_refused() -> None:
    with pytest.raises(AutorlError, match="sort/2 has too few problems"):
        draw_to_evaluate(Written({"sort": [2]}), 50, 0, generator(0))
