"""Tasks of reasoning-gym, by name and level."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conformance.backends import train

from autorl.errors import AutorlError
from autorl.training.llm import LlmBackend
from autorl.training.llm.problems import Task, draw_to_evaluate, draw_to_train, generator
from autorl.training.llm.suites import make_task
from autorl.trial import Recipe

TASKS = {"chain_sum": [0, 3], "letter_counting": [0], "prime_factorization": [1]}


@pytest.fixture(scope="module")
def task() -> Task:
    return make_task("reasoning_gym", {"tasks": TASKS})


def test_each_level_is_a_category_of_its_own(task: Task) -> None:
    assert list(task.categories) == ["chain_sum/0", "chain_sum/3", "letter_counting/0", "prime_factorization/1"]
    rng = generator(0)
    easy, hard = (task.draw(f"chain_sum/{level}", rng).prompt for level in (0, 3))
    assert easy.count("+") + easy.count(" - ") == 1
    assert hard.count("+") + hard.count(" - ") == 4


@pytest.mark.parametrize("category", ["chain_sum/0", "letter_counting/0", "prime_factorization/1"])
def test_its_own_answers_are_right_and_others_wrong(task: Task, category: str) -> None:
    rng = generator(1)
    for _ in range(20):
        problem = task.draw(category, rng)
        assert task.reward(problem, problem.answer) == 1.0
        assert task.reward(problem, "") == task.reward(problem, "certainly not") == 0.0
        assert task.demonstration(problem, rng, 0.0) == problem.answer
        assert set(problem.prompt + problem.answer) <= set(task.characters)


def test_the_same_seed_draws_the_same_problems_and_the_next_one_others(task: Task) -> None:
    def drawn(seed: int) -> set[str]:
        rng = random.Random(seed)
        return {task.draw("chain_sum/3", rng).prompt for _ in range(100)}

    assert drawn(0) == drawn(0)
    assert len(drawn(0)) == 100
    assert not drawn(0) & drawn(1)


def test_no_seed_trains_on_what_any_is_evaluated_on() -> None:
    task, rng = make_task("reasoning_gym", {"tasks": {"chain_sum": [3], "letter_counting": [0]}}), generator(0)
    trained = {draw_to_train(task, "chain_sum/3", rng).prompt for _ in range(2000)}
    held = [{p.prompt for p in draw_to_evaluate(task, 8, seed, generator(seed))} for seed in (0, 1, 100)]
    assert not trained & set.union(*held)
    assert not held[0] & held[1]
    assert not held[0] & held[2]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"chain_summ": [0]}, "no 'chain_summ'; did you mean 'chain_sum'"),
        ({"acre": [0]}, "acre of reasoning_gym draws other problems each time"),
        ({"rush_hour": [0]}, "rush_hour of reasoning_gym does not accept all of its own answers"),
        ({"chain_sum": []}, "levels of 'chain_sum' are whole numbers from 0 on"),
        ({"chain_sum": [50]}, "the levels of chain_sum end with 10, not 50"),
        ({"tsumego": [99]}, "levels of tsumego end with"),
        ({}, "no task is asked for"),
    ],
)
def test_mistakes_are_told(tasks: dict[str, list[int]], message: str) -> None:
    with pytest.raises(AutorlError, match=message):
        make_task("reasoning_gym", {"tasks": tasks})


def test_a_task_is_imported_without_its_package() -> None:
    program = (
        "import sys; from autorl.training.llm.suites import make_task\n"
        "make_task('reasoning_gym', {'tasks': {'chain_sum': [0]}})\n"
        "assert not {'sympy', 'matplotlib', 'reasoning_gym'} & set(sys.modules), 'imported too much'\n"
        "import reasoning_gym; assert reasoning_gym.create_dataset('chain_sum', size=1)[0]['answer']"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_small_model_trains_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    settings = {"prompts": 4, "rollouts": 4, "max_tokens": 6, "sft_steps": 6, "sft_batch": 8}
    net = {"width": 16, "layers": 1, "heads": 2, "context": 128}
    tasks = {"tasks": {"chain_sum": [3]}}
    recipe = Recipe("llm", "grpo", settings, net, "reasoning_gym", tasks, (), 32, 2, 8, True)
    result = train(LlmBackend(), recipe, tmp_path / "a")
    assert result.status == "completed", result.error
    assert "pass_at_1/chain_sum/3" in result.curve[-1].metrics
    narrow = replace(recipe, policy={**net, "context": 32})
    assert "raise policy.context" in str(train(LlmBackend(), narrow, tmp_path / "b").error)
