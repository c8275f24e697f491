"""Curricula over the categories of language tasks: they go on as they would have, and do what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conformance.backends import RecordingHost, learned, train, train_for
from probe_tasks import Dictation, Echo
from quickly import some

from autorl.engine.check import check
from autorl.errors import SpecError
from autorl.spec.curriculum import KINDS, OF_EPISODES, resolved
from autorl.spec.load import draft_study
from autorl.training.llm import LlmBackend
from autorl.training.llm.course import Course, category_of
from autorl.training.llm.families import Written
from autorl.training.llm.model import Architecture, Characters, Model
from autorl.training.llm.problems import Task, generator
from autorl.training.llm.recipe import Settings
from autorl.training.llm.rollouts import Asked
from autorl.training.llm.small import SmallLearner
from autorl.training.llm.values import PromptValues
from autorl.trial import Recipe, RunResult, Start

TINY = {"prompts": 4, "rollouts": 4, "max_tokens": 6, "sft_steps": 6, "sft_batch": 8}
NET = {"width": 16, "layers": 1, "heads": 2, "context": 32}
SPACE = {"parameters": {"level": {"min": 1, "max": 2}}, "target": {"level": 2}, "success_return": None}
QUICK = {"stages": {"window": 4}, "learning_progress": {"window": 2}, "alp_gmm": {"fit_every": 5, "window": 10}}
QUICK |= {"riac": {"region": 4, "window": 4}, "adr": {"buffer": 1}, "plr": {"buffer": 4}, "self_paced": {"window": 4}}
QUICK |= {"again": {"fit_every": 5, "window": 10, "niches": {"level": [[0.8, 0.2], [0.0, 1.0]]}}}
QUICK |= {"bandit": {"bins": 2}, "item_response": {"rounds": 3}}


def taught(kind: str, steps: int = 96, env: str = "probe_tasks:Echo", **settings: Any) -> Recipe:
    recipe = Recipe("llm", "dr_grpo", {**TINY, **settings}, NET, env, {}, (), steps, 3, 8, True)
    return replace(recipe, task_space=SPACE, curriculum=resolved({"kind": kind, **QUICK.get(kind, {})}))


def recorded(result: RunResult) -> list[Any]:
    return [*learned(result), *(point.curriculum for point in result.curve)]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


SOME = ("bandit", "alp_gmm", "middle_difficulty", "item_response", "length_stages")


@pytest.mark.parametrize("kind", some([kind for kind in KINDS if kind not in OF_EPISODES], *SOME))
def test_a_run_that_was_interrupted_has_the_curve_of_the_whole_one(kind: str, tmp_path: Path) -> None:
    recipe = taught(kind, dynamic_sampling=True)
    whole = train(LlmBackend(), recipe, tmp_path / "whole")
    train(LlmBackend(), recipe, tmp_path / "parts", until=48)
    rest = train(LlmBackend(), recipe, tmp_path / "parts")
    assert recorded(rest) == recorded(whole)
    told = [point.curriculum["level"] for point in whole.curve if point.curriculum is not None]
    assert sum(sum(part["env_steps"]) for part in told) == whole.env_steps  # all completions, however they were used
    categories = {name for point in whole.curve for name in point.metrics if "/" in name}
    assert categories == {"pass_at_1/echo/2"}  # of the target


def test_kinds_train_what_they_say(tmp_path: Path) -> None:
    shares = {}
    for kind in ("none", "uniform", "linear"):
        result = train(LlmBackend(), taught(kind), tmp_path / kind)
        steps = [point.curriculum["level"]["env_steps"] for point in result.curve if point.curriculum is not None]
        shares[kind] = np.array(steps) / 32
    assert shares["none"].tolist() == [[0, 1]] * 3
    assert 0 < shares["uniform"].mean(0)[0] < 1
    assert shares["linear"][0].tolist() == [1, 0]
    assert shares["linear"][-1].tolist() == [0, 1]


def test_without_a_task_space_nothing_is_recorded(tmp_path: Path) -> None:
    plain = replace(taught("none"), task_space=None, curriculum=None)
    assert all(point.curriculum is None for point in train(LlmBackend(), plain, tmp_path / "a").curve)


def test_a_fork_with_another_curriculum_begins_it_anew(tmp_path: Path) -> None:
    donor = taught("middle_difficulty")
    host = RecordingHost(tmp_path / "donor")
    train_for(host, LlmBackend(), donor, until=32)
    forked = train_for(host, LlmBackend(), replace(taught("linear"), start=Start(donor, 32)))
    assert forked.status == "completed", forked.error
    assert forked.curve[1].curriculum is not None
    # At two thirds of the run a linear curriculum is past the middle, also one that has just begun.
    assert forked.curve[2].curriculum == {
        "level": {**forked.curve[2].curriculum["level"], "env_steps": [0, 32]}  # type: ignore[index]
    }


def made(kind: str, task: Task, space: dict[str, Any] = SPACE, **options: Any) -> tuple[SmallLearner, Course]:
    course = Course(space, resolved({"kind": kind, **options}), 10_000, task, 3)
    torch.manual_seed(0)
    model = Model(Architecture(**NET), Characters(task.characters).size)
    own = Settings(prompts=3, rollouts=4, max_tokens=8, advantage_scale="none", minibatches=1)
    return SmallLearner(task, model, None, own, 10_000, (1, 2), course), course


DICTATED = {"parameters": {"level": {"values": [8]}}, "target": {"level": 8}, "success_return": None}


def test_guidance_gives_longer_hints_until_somebody_is_right() -> None:
    learner, course = made("guidance", Dictation(), DICTATED, stages=3)
    found = learner._rollouts.step()
    # Nobody knows what is dictated, but with three quarters of it.
    assert [each.share for each in found.asked] == [0.75] * 3
    assert all(each.problem.answer.startswith(each.hint) and len(each.hint) == 6 for each in found.asked)
    assert learner.counted.completions == 3 * 4 * 4
    learner._rollouts.tell(found, torch.zeros(12, 1))
    record = course.record()["level"]
    assert (record["env_steps"], record["episodes"]) == ([48], [12])


def test_a_hint_counts_for_the_answer_and_is_not_learned() -> None:
    problem = Dictation().draw("dictation/8", generator(0))
    asked = Asked(problem).hinted(Dictation(), 0.99)
    assert (asked.hint, asked.share) == (problem.answer[:7], 7 / 8)
    learner, _ = made("item_response", Dictation(), DICTATED, rounds=4)
    found = learner._rollouts.step()
    characters = Characters(Dictation.characters)
    for row, tokens in enumerate(found.written.tokens.tolist()):
        given = characters.decode(found.written.prompts[row].tolist()).partition("=")[2]
        asked_of = found.asked[row // 4].problem
        assert asked_of.answer.startswith(given)
        right = characters.decode(tokens) == asked_of.answer[len(given) :] and bool(found.written.ended[row])
        assert found.scores.reshape(-1)[row] == float(right)
    # Hints grow from round to round, since nobody is right.
    lengths = (found.written.prompt_real.sum(1).view(3, 4)).tolist()
    assert all(row == sorted(row) and row[0] < row[-1] for row in lengths)
    assert learner.counted.completions == 12


def test_the_value_model_tells_easy_prompts_and_the_ones_between_are_taken() -> None:
    characters = Characters(Echo.characters)
    torch.manual_seed(0)
    values = PromptValues(Model(Architecture(**NET), characters.size), 1e-2)
    prompts = [characters.encode(f"{n:02}=") for n in range(100)]
    assert values(prompts).tolist() == [0.5] * 100
    right = [float(n % 10 < 5) for n in range(100)]
    for _ in range(150):
        values.learn(prompts, right)
    assert float(((values(prompts) > 0.5).float() == torch.tensor(right)).float().mean()) > 0.9


def test_completions_become_longer_from_stage_to_stage(tmp_path: Path) -> None:
    learner, _ = made("length_stages", Dictation(), DICTATED, stages=3, first=0.25, over=0.6)
    lengths = []
    for completions in (0, 2999, 3000, 5999, 6000):
        learner.counted.completions = completions
        lengths.append(learner._rollouts.step().written.tokens.shape[1])
    assert lengths == [2, 2, 5, 5, 8]


def test_the_bandit_is_told_the_advantages_of_groups() -> None:
    learner, course = made("bandit", Echo(), bins=2, rate=0.5, temperature=1.0)
    found = learner._rollouts.step()
    gains = torch.arange(12.0).view(12, 1) * torch.tensor([1.0, -1.0]).repeat(6)[:, None]
    learner._rollouts.tell(found, gains)
    of_groups = gains.abs().view(3, 4).mean(1)
    marks = torch.tensor([each.chosen.mark for each in found.asked if each.chosen is not None])
    for category in (0, 1):
        paid = of_groups[marks == category]
        assert course.teacher.q[category] == pytest.approx(0.5 * float(paid.mean()) if len(paid) else 0.0)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_curriculum_learns_what_the_target_alone_does_not_teach(tmp_path: Path) -> None:
    """In demonstrations seven of ten digits are any, so that eight in a row are right once in thousands."""
    settings = {"prompts": 16, "rollouts": 8, "max_tokens": 9, "learning_rate": 3e-3, "minibatches": 1}
    settings |= {"sft_steps": 800, "sft_batch": 32, "sft_noise": 0.7}
    space = {"parameters": {"level": {"min": 1, "max": 8}}, "target": {"level": 8}, "success_return": None}
    reached = {}
    for kind in ("none", "linear"):
        recipe = taught("none", 128 * 60, "probe_tasks:Staircase", **settings)
        recipe = replace(recipe, task_space=space, curriculum=resolved({"kind": kind}), evaluation_episodes=40)
        recipe = replace(recipe, policy={**NET, "width": 32})
        reached[kind] = train(LlmBackend(), recipe, tmp_path / kind).curve[-1].metrics["pass_at_1"]
    assert reached["none"] < 0.1
    assert reached["linear"] > 0.6


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"category": "sort/8"}, "sort/8"),
        ({"family": "max"}, "max/3"),
        ({"level": 3}, "max/3"),
        ({"family": "sort", "level": 6}, "sort/6"),
        ({"family": "sort"}, "family sort is sort/6 and sort/8: name family and level"),
        ({"category": "sort/7"}, "no problems of category sort/7; did you mean 'sort/"),
        ({"family": "max", "level": 6}, "no problems of family max, level 6"),
    ],
)
def test_values_name_a_category(values: dict[str, Any], expected: str) -> None:
    task = Written({"sort": [6, 8], "max": [3]})
    if "/" in expected and " " not in expected:
        assert category_of(values, task.categories) == expected
    else:
        with pytest.raises(ValueError, match=expected):
            category_of(values, task.categories)


def test_only_what_is_demonstrated_is_shown_before_rl() -> None:
    assert Written({"sort": [6, 8]}).demonstrated == ["sort/6", "sort/8"]
    assert Written({"sort": [6, 8]}, {"sort": [6]}).demonstrated == ["sort/6"]
    with pytest.raises(ValueError, match="demonstrated: sort/7 is not among"):
        Written({"sort": [6, 8]}, {"sort": [7]})


STUDY = """\
study: small
task:
  env: steps
  parameters: {category: {values: [sort/6, sort/8, sort/10]}}
  target: {category: sort/10}
algorithm: {backend: llm, name: grpo}
curriculum: {kind: bandit, bins: 3}
search_space: {parameters: {learning_rate: {min: 1e-5, max: 1e-2, log: true}}}
objectives: [{metric: pass_at_1/sort/10}]
seeds: {tuning: 0:2, test: 50:52}
budget: {trials: 2, steps_per_run: 256}
"""


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task.parameters={size: {min: 1, max: 3}}", "task.target={size: 3}"], "category, family and level may vary"),
        (["task.target={category: sort/12}"], r"'sort/12' is not one of"),
        (
            ["task.parameters={category: {values: [sort/6, sort/7]}}", "task.target={category: sort/6}"],
            "no problems of",
        ),
        (
            ["task.parameters={level: {min: 3, max: 12}}", "task.target={level: 12}"],
            "no problems of level 7; allowed: max",
        ),
        (["task.success_return=1.0"], "succeeds if its reward is 1"),
        (["task.parameters.category.through=attribute"], "leave 'through' out"),
        (["objectives=[{metric: pass_at_1/sort/6}]"], "unknown metric 'pass_at_1/sort/6'"),
        (["curriculum={kind: guidance, bins: 3}"], "has no parameter 'bins'"),
        (["algorithm.engine=trl", "policy={model: x}"], "engine trl has no curricula"),
        (
            [
                "task={env: steps-tools, parameters: {category: {values: [lookup/2, lookup/4]}}, "
                "target: {category: lookup/4}}",
                "objectives=[{metric: pass_at_1}]",
                "curriculum={kind: guidance}",
            ],
            "guidance gives hints, which have no place",
        ),
        (
            ["task={env: steps, parameters: {level: {min: 3.5, max: 12.0}}, target: {level: 12}}"],
            "must be whole numbers",
        ),
        (
            ["task={env: steps, parameters: {level: {min: 3, max: 1000000000}}, target: {level: 3}}"],
            "999,999,998 values from 3 to 1000000000",
        ),
    ],
)
def test_mistakes_are_told_before_anything_trains(overrides: list[str], message: str, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(STUDY)
    check(draft_study(file, []))
    with pytest.raises(SpecError, match=message):
        check(draft_study(file, overrides))
