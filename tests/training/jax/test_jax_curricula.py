"""Backend jax's engine host trains what teachers say: each run of a batch its own, resumed as if it had not stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conformance.backends import BackendConformance, RecordingHost, learned, train, train_for
from gymnasium.wrappers import RecordEpisodeStatistics
from stable_baselines3.common.monitor import Monitor

from autorl.engine.check import check
from autorl.errors import SpecError
from autorl.spec.curriculum import resolved
from autorl.spec.load import draft_study
from autorl.training.jax import JaxBackend
from autorl.training.jax.vector import Counted
from autorl.training.protocol import Interrupted, Job
from autorl.trial import Recipe, RunResult, Start

LAKE = "autorl.training.curriculum.frozen_lake:autorl/FrozenLakeStart-v0"
DISTANCE = {"parameters": {"distance": {"min": 1, "max": 8, "through": "set_task"}}, "target": {"distance": 8}}
GRAVITY = {"parameters": {"gravity": {"min": 5.0, "max": 15.0, "through": "attribute"}}, "target": {"gravity": 9.8}}
PENDULUM = {
    "parameters": {"g": {"min": 2.0, "max": 12.0, "through": "env_kwargs"}},
    "target": {"g": {"min": 9.0, "max": 11.0}},
}
ON = {"n_envs": 2, "n_steps": 16, "batch_size": 16, "n_epochs": 2}
OFF = {"n_envs": 2, "batch_size": 8, "learning_starts": 40, "train_freq": 2, "gradient_steps": 2, "buffer_size": 120}


def recipe(
    algorithm: str, env: str, hyperparameters: dict[str, Any], space: dict[str, Any], *, steps: int = 256, **kind: Any
) -> Recipe:
    kwargs = {"size": 5} if env == LAKE else {}
    made_of = hyperparameters, {"net_arch": [8]}, env, kwargs, ()
    taught = {"success_return": None, **space}
    return Recipe("jax", algorithm, *made_of, steps, 4, 2, True, task_space=taught, curriculum=resolved(kind))


ADR: dict[str, Any] = {"kind": "adr", "buffer": 2, "boundary": 0.9}
RECIPES = {
    "ppo": recipe("ppo", "CartPole-v1", ON, {**GRAVITY, "success_return": 15.0}, **ADR),
    "dqn": recipe("dqn", LAKE, {**OFF, "target_update_interval": 20}, DISTANCE, kind="alp_gmm", fit_every=5, window=10),
    "sac": recipe("sac", "Pendulum-v1", OFF, PENDULUM, steps=480, kind="plr", buffer=2),
}


def recorded(result: RunResult) -> list[Any]:
    return [(*point, told.curriculum) for point, told in zip(learned(result), result.curve, strict=True)]


@pytest.fixture
def backend() -> JaxBackend:
    return JaxBackend()


class TestJaxWithTeacher(BackendConformance):
    @pytest.fixture
    def recipe(self) -> Recipe:
        return RECIPES["ppo"]

    @pytest.fixture
    def failing(self) -> Recipe:
        # Nobody says what a success is.
        return recipe("ppo", "CartPole-v1", ON, GRAVITY, kind="adr", boundary=1.0)


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_with_a_teacher_goes_on_as_if_it_had_never_stopped(
    name: str, backend: JaxBackend, tmp_path: Path
) -> None:
    asked = RECIPES[name]
    whole = train(backend, asked, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train_for(RecordingHost(tmp_path / "parts", asked.env_steps // 4), backend, asked)
    train(backend, asked, tmp_path / "parts", until=asked.env_steps * 2 // 3)
    rest = train(backend, asked, tmp_path / "parts")
    assert recorded(rest) == recorded(whole)
    assert rest.notes == whole.notes == ()


def test_the_record_says_what_was_trained(backend: JaxBackend, tmp_path: Path) -> None:
    result = train(backend, recipe("ppo", LAKE, ON, DISTANCE, steps=512, kind="linear", over=0.5), tmp_path / "a")
    told = [point.curriculum["distance"]["env_steps"] for point in result.curve if point.curriculum is not None]
    assert 512 - 2 * 40 < sum(map(sum, told)) <= 512  # but for what is in the middle of an episode
    assert sum(told[0][:4]) > 0
    assert sum(told[-1][:7]) == 0  # then the target alone
    assert told[-1][7] > 0


def test_a_record_is_of_the_steps_up_to_its_point_within_a_rollout_too(backend: JaxBackend, tmp_path: Path) -> None:
    long = {**ON, "n_steps": 64}  # of two environments 128 steps, four points
    result = train(
        backend,
        replace(recipe("ppo", LAKE, long, DISTANCE, steps=512, kind="uniform"), evaluation_points=16),
        tmp_path / "a",
    )
    told = [sum(point.curriculum["distance"]["env_steps"]) for point in result.curve if point.curriculum is not None]
    assert len(told) == 16
    assert sum(steps > 0 for steps in told) > 10  # of whole rollouts it would be four
    assert max(told) < 32 + 2 * 40  # episodes that ended, of which two may have begun earlier


class Tenths(gym.Env[int, int]):
    """Ten rewards of a tenth, in single precision, and the same `info` at each step."""

    observation_space = action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        self._left, self._info = 10, dict[str, Any]()
        return 0, self._info

    def step(self, action: int) -> tuple[int, Any, bool, bool, dict[str, Any]]:
        self._left -= 1
        return 0, np.float32(0.1), self._left == 0, False, self._info


def test_teachers_hear_of_an_episode_what_stable_baselines3_says_of_it() -> None:
    for env in (Counted(Tenths()), Monitor(Tenths())):
        for _ in range(2):
            env.reset()
            for _ in range(9):
                assert not env.step(0)[2]
            told = env.step(0)[4]["episode"]
            assert (told["r"], told["l"]) == (1.0, 10)
    beside = Counted(RecordEpisodeStatistics(gym.make("CartPole-v1")))  # a wrapper of the study's own
    beside.reset(seed=0)
    while not (step := beside.step(0))[2]:
        pass
    assert step[4]["episode"]["r"] == step[4]["episode"]["l"]


def test_runs_of_several_kinds_share_a_program_and_nothing_else(backend: JaxBackend, tmp_path: Path) -> None:
    kinds = ("uniform", "linear", "bandit")
    recipes = [recipe("ppo", LAKE, ON, DISTANCE, kind=kind) for kind in kinds]
    assert len({backend.group(each) for each in recipes}) == 1
    assert backend.group(replace(recipes[0], task_space=None, curriculum=None)) != backend.group(recipes[0])
    jobs = [Job(each, seed, each.env_steps, None, 1e9) for seed, each in enumerate(recipes)]
    together = backend.train(jobs, [RecordingHost(tmp_path / kind) for kind in kinds])
    for seed, each in enumerate(recipes):
        assert recorded(together[seed]) == recorded(train(backend, each, tmp_path / f"alone-{seed}", seed=seed))


def test_without_a_curriculum_the_target_alone_is_trained(backend: JaxBackend, tmp_path: Path) -> None:
    taught = recipe("ppo", LAKE, ON, DISTANCE, kind="none")
    plain = replace(taught, task_space=None, curriculum=None)
    assert learned(train(backend, taught, tmp_path / "a")) == learned(train(backend, plain, tmp_path / "b"))


def test_a_fork_goes_on_with_its_donors_teacher_if_it_is_the_same(backend: JaxBackend, tmp_path: Path) -> None:
    donor = recipe("ppo", LAKE, ON, DISTANCE, **ADR)
    train(backend, donor, tmp_path / "same", until=128)
    (tmp_path / "other").write_bytes((tmp_path / "same").read_bytes())
    same = replace(donor, hyperparameters={**ON, "learning_rate": 1e-3}, start=Start(donor, 128))
    forked = train(backend, same, tmp_path / "same")
    assert recorded(forked) == recorded(train(backend, same, tmp_path / "anew"))  # the whole lineage
    other = replace(same, curriculum=resolved({"kind": "linear", "over": 0.6}))
    result = train(backend, other, tmp_path / "other")
    assert result.status == "completed", result.error
    assert recorded(result) != recorded(forked)
    assert result.curve[-1].curriculum is not None
    assert sum(result.curve[-1].curriculum["distance"]["env_steps"][:7]) == 0


STUDY = """
study: taught
task: {env: CartPole-v1, parameters: {gravity: {min: 5.0, max: 15.0, through: attribute}}, target: {gravity: 9.8}}
algorithm: {backend: jax, name: ppo}
curriculum: {kind: uniform}
search_space: {parameters: {learning_rate: {min: 1e-4, max: 1e-2, log: true}}}
seeds: {tuning: 0:2, test: 10:12}
budget: {trials: 2, steps_per_run: 128}
"""


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("algorithm.engine=compiled", r"algorithm.engine: engine compiled has no curricula.*; use engine host"),
        ("algorithm.engine=envpool", r"algorithm.engine: engine envpool has no curricula.*; use engine host"),
        ("curriculum.kind=alp", "unknown curriculum 'alp'; did you mean 'alp_gmm'"),
        ("task.parameters.gravity.through=set_task", "CartPole.* has no method set_task"),
    ],
)
def test_what_cannot_be_taught_is_told_before_anything_trains(override: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(STUDY)
    check(draft_study(file))
    with pytest.raises(SpecError, match=message):
        check(draft_study(file, [override]))
