"""Problems are right, and what a run is evaluated on no run trains on."""

from __future__ import annotations

import hashlib
import itertools

import pytest

from autorl.errors import AutorlError
from autorl.training.llm import tools
from autorl.training.llm.families import FAMILIES, Written
from autorl.training.llm.problems import (
    VERSION,
    Inspected,
    Interactive,
    draw_many_to_train,
    draw_to_evaluate,
    draw_to_train,
    dumped,
    generator,
)
from autorl.training.llm.suites import OURS, SUITES, make_task


@pytest.mark.parametrize("name", [*SUITES, "steps-tools"])
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


def test_problems_are_those_of_the_version() -> None:
    """They are kept in the user's cache: whoever changes what is drawn raises `VERSION`, and this with it."""
    drawn = hashlib.sha256()
    for name in sorted(OURS):
        drawn.update(dumped(draw_many_to_train(make_task(name, {}), 100, generator(0))))
    assert (VERSION, drawn.hexdigest()[:16]) == (1, "4fd204be5dc60e21")


def test_every_category_has_its_share_of_an_evaluation() -> None:
    task = make_task("steps", {})
    problems = draw_to_evaluate(task, 14, 3, generator(0))
    assert [p.category for p in problems] == [*task.categories, *task.categories]


def test_a_kind_with_too_few_problems_is_refused() -> None:
    with pytest.raises(AutorlError, match="sort/2 has too few problems"):
        draw_to_evaluate(Written({"sort": [2]}), 50, 0, generator(0))


def test_flaws_are_steps_that_are_wrong_missing_or_too_many() -> None:
    task = Written({"max": [4]})
    problem = task.draw("max/4", generator(0))
    assert isinstance(task, Inspected)
    one, two, three = problem.steps
    assert task.flaw(problem, f"{one};{two};{three}#{problem.answer}") == 0.0
    assert task.flaw(problem, f"{one};{two}#{problem.answer}") == pytest.approx(1 / 3)
    assert task.flaw(problem, f"{one};00;{three}#{problem.answer}") == pytest.approx(1 / 3)
    assert task.flaw(problem, f"{one};{two};{three};{three}#{problem.answer}") == pytest.approx(1 / 4)
    assert task.flaw(problem, f"#{problem.answer}") == 1.0
    sort = Written({"sort": [6]})
    assert sort.flaw(sort.draw("sort/6", generator(0)), "#012345") == 0.0


def test_a_tool_answers_what_it_is_asked() -> None:
    task = make_task("steps-tools", {})
    assert isinstance(task, Interactive)
    rng = generator(0)
    for _ in range(50):
        problem = task.draw("calculator/3", rng)
        first, second, third = (int(number) for number in problem.prompt[1:-1].split("+"))
        assert problem.answer == str(first + second + third)
        assert task.reply(problem, f"{first}+{second}?") == f"{first + second};"
        assert task.reply(problem, f"1+2?3;{first}+{second}?") == f"{first + second};"
        assert task.reply(problem, "+?") == task.reply(problem, "?") == "!;"
        problem = task.draw("lookup/2", rng)
        at = problem.prompt[6]
        middle = task.reply(problem, f"{at}?")[:-1]
        assert task.reply(problem, f"{at}?{middle};{middle}?") == f"{problem.answer};"
        assert task.reply(problem, "12?") == "!;"


def test_only_the_tool_knows_the_table() -> None:
    """As often as not, two prompts that differ by their table alone have different answers."""
    task, rng = make_task("steps-tools", {}), generator(0)
    answers = {task.reply(task.draw("lookup/2", rng), "3?") for _ in range(200)}
    assert len(answers) == 10


def test_refused_calls_are_flaws_and_so_is_not_to_ask() -> None:
    task = tools.Tools({"calculator": [3]})
    problem = task.draw("calculator/3", generator(0))
    assert task.flaw(problem, "1+2?3;+?!;#3") == 0.5
    assert task.flaw(problem, "#3") == 1.0
    assert task.flaw(problem, task.demonstration(problem, generator(0), 0.0)) == 0.0
