"""Costs and specifications are measured as they are defined, and PPO with a multiplier keeps to a limit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from conformance.backends import learned, train
from small_study import load

from autorl.errors import SpecError
from autorl.training.jax import JaxBackend
from autorl.training.sb3 import Sb3Backend
from autorl.training.sb3.algorithms import own_defaults
from autorl.training.sb3.lagrangian import PPOLagrangian
from autorl.training.sb3.model import build
from autorl.training.signals import Robustness, cost_function
from autorl.trial import Recipe

RISKY = "probe_envs:autorl-tests/Risky-v0"
SETTINGS = {"n_steps": 64, "batch_size": 64, "learning_rate": 0.02, "n_epochs": 5}
RECIPE = Recipe("sb3", "ppo", SETTINGS, {"net_arch": [16]}, RISKY, {}, (), 1500, 3, 10, True, cost="info.risk")
INFO = {"cost": 1.5, "x_velocity": 0.8, "reward_ctrl": -0.25, "crashed": True}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("info", 1.5),
        ("info.x_velocity", 0.8),
        ("-info.reward_ctrl", 0.25),
        ("info.crashed", 1.0),
        ("info.x_velocity > 0.7402", 1.0),
        ("info.x_velocity>8e-1", 0.0),
        ("info.reward_ctrl < -0.2", 1.0),
        ("-info.reward_ctrl > 0.2", 1.0),
        ("probe_envs:swing", 1.0),
        ({"probe_envs:swing": {"above": 2.5}}, 0.0),
    ],
)
def test_a_cost_comes_from_where_the_file_says(source: Any, expected: float) -> None:
    assert cost_function(source)(np.array([0.0, 0.0, -2.0]), 0, 0.0, False, False, INFO) == expected


# Of a signal x = 1, 2, 5, 0: worked by hand from the quantitative semantics.
@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("always(reward <= 3)", -2.0),
        ("always(reward <= 6.5)", 1.5),
        ("eventually(reward >= 4)", 1.0),
        ("eventually[0:1](reward >= 4)", -2.0),
        ("not(reward >= 4)", 3.0),
        ("always[1:2]((reward >= 1.5) and (reward <= 9))", 0.5),
        ("(reward <= 3) until[0:3] (reward >= 4.5)", 0.5),
        ("always((reward >= 4) implies (eventually[0:1](reward <= 0.5)))", 0.5),
        ("abs(reward - 3) <= 1", -1.0),
    ],
)
def test_robustness_of_worked_examples(formula: str, expected: float) -> None:
    measured = Robustness(gym.make("CartPole-v1"), formula)
    assert measured.robustness({"reward": [1.0, 2.0, 5.0, 0.0]}) == expected


def test_an_episode_of_one_step_has_a_robustness_and_a_time_beyond_the_end_has_none() -> None:
    measured = Robustness(gym.make("CartPole-v1"), "always(reward <= 3)")
    assert measured.robustness({"reward": [1.0]}) == 2.0
    with pytest.raises(ValueError, match="looks at no step of an episode of 3: its times lie outside"):
        Robustness(gym.make("CartPole-v1"), "always[5:9](reward <= 3)").robustness({"reward": [1.0, 2.0, 3.0]})


class Recorded(gym.Wrapper):
    """Keeps what the agent saw, did and got."""

    steps: list[tuple[Any, ...]] = []  # noqa: RUF012 - of all episodes, which other objects read

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        found = super().step(action)
        Recorded.steps.append((np.copy(action), *found))
        return found


def test_signals_are_those_of_each_step() -> None:
    env = Robustness(Recorded(gym.make("Pendulum-v1")), "always((observation_2 + action_0 - reward) <= 3)")
    env.action_space.seed(1)
    for seed in range(2):
        Recorded.steps.clear()
        env.reset(seed=seed)
        done = False
        while not done:
            *_, done, info = env.step(env.action_space.sample())
        worst = max(float(seen[2]) + float(action[0]) - float(reward) for action, seen, reward, *_ in Recorded.steps)
        assert info["robustness"] == pytest.approx(3 - worst)


@pytest.mark.parametrize("backend", [Sb3Backend(), JaxBackend()], ids=["sb3", "jax"])
def test_evaluations_measure_costs_and_robustness(backend: Any, tmp_path: Path) -> None:
    """Two steps pay a and b, and cost a² + b², least where a = b; the dearer one costs between half of it and all."""
    name = type(backend).__name__.removesuffix("Backend").lower()
    asked = replace(RECIPE, backend=name, env_steps=64, evaluation_points=1, specification="always(cost <= 0.5)")
    ((_, metrics),) = learned(train(backend, asked, tmp_path / "a"))
    assert metrics["return"] ** 2 / 2 <= metrics["cost"] <= 2
    assert metrics["cost"] == pytest.approx(metrics["return"] ** 2 / 2, abs=0.05)  # a policy untrained hardly varies
    assert 0.5 - metrics["cost"] <= metrics["robustness"] <= 0.5 - metrics["cost"] / 2
    assert metrics.keys() - backend.metrics.keys() == {"cost", "cost_std", "robustness", "robustness_std"}


def test_what_is_measured_changes_nothing_else(tmp_path: Path) -> None:
    unasked = learned(train(Sb3Backend(), replace(RECIPE, cost=None, env_steps=192), tmp_path / "a"))
    asked = learned(train(Sb3Backend(), replace(RECIPE, env_steps=192), tmp_path / "b"))
    assert [metrics | extra for (_, extra), (_, metrics) in zip(unasked, asked, strict=True)] == [m for _, m in asked]


def test_a_cost_that_goes_missing_fails_the_run_and_says_so(tmp_path: Path) -> None:
    result = train(Sb3Backend(), replace(RECIPE, cost="info.crashed"), tmp_path / "a")
    assert (result.status, result.error_class) == ("failed", "exception")
    assert result.error is not None
    assert "info has no 'crashed' to take the cost from; it has fast, risk" in result.error


def test_what_is_not_asked_for_is_not_stored() -> None:
    plain = replace(RECIPE, cost=None)
    assert not {"cost", "specification"} & plain.to_dict().keys()
    both = replace(RECIPE, cost={"probe_envs:swing": {"above": 2.0}}, specification="always(cost <= 1)")
    assert Recipe.from_dict(json.loads(json.dumps(both.to_dict()))) == both
    assert len({each.fingerprint(0) for each in (plain, RECIPE, both)}) == 3


TASK = f'task={{env: "{RISKY}", '


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([TASK + "cost: risk}"], "task.cost: 'risk' is no source of costs; allowed: info, info.KEY"),
        (
            [TASK + "cost: info}"],
            "task.cost: the environment's info has no 'cost' to take the cost from; it has fast, ri",
        ),
        ([TASK + "cost: 'nowhere:f'}"], "task.cost: no function 'nowhere:f' (No module named 'nowhere')"),
        ([TASK + "cost: 'probe_envs:g'}"], "task.cost: no function 'probe_envs:g'"),
        (
            [TASK + "cost: 'math:sqrt'}"],
            "task.cost: a first step cannot be judged: TypeError: math.sqrt() takes exactly one argument",
        ),
        ([TASK + "cost: {}}"], "task.cost: 0 functions; write one"),
        (
            [TASK + "specification: 'always(cost <= 1)'}"],
            "unknown signal 'cost'; this task has observation_0, observation_1, ac",
        ),
        ([TASK + "specification: 'always(reward <= '}"], "task.specification: 'always(reward <= ': 1:17: Syntax ERROR"),
        ([TASK + "specification: '1 <= 2'}"], "task.specification: '1 <= 2' names no signal"),
        (["objectives=[{metric: cost}]"], "objectives.0.metric: 'cost' is measured only of a task with 'task.cost'"),
        (["objectives=[{metric: robustnes}]"], "unknown metric 'robustnes'; did you mean 'robustness'?"),
        (["algorithm.name=ppo_lagrangian"], "task.cost: ppo_lagrangian learns from costs: say where they come from"),
        (
            [TASK + "cost: info.risk}", "algorithm={name: ppo_lagrangian, fixed: {lagrangian_lr: -1}}"],
            "lagrangian_lr is -1, and must be at least 0",
        ),
        (
            [
                "task={env: CartPole-v1, cost: {'probe_envs:swing': {}}}",
                "algorithm={backend: jax, engine: compiled, name: ppo}",
            ],
            "engine compiled measures neither a cost nor a specification; use engine host",
        ),
    ],
)
def test_mistakes_are_found_before_anything_trains(overrides: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load(tmp_path, *overrides)
    assert message in str(caught.value)


def test_a_cost_may_be_the_objective(tmp_path: Path) -> None:
    asked = load(tmp_path, TASK + "cost: info.fast}", "objectives=[{metric: cost, direction: minimize}]")
    assert asked.task.cost == "info.fast"


def test_the_multiplier_follows_the_errors() -> None:
    """Stooke et al., algorithm 2, by hand: limit 10, costs 14, 20, 6."""
    asked = {"cost_limit": 10.0, "lagrangian_lr": 0.1, "lagrangian_kp": 0.5, "lagrangian_kd": 0.25}
    model, *_ = build(replace(RECIPE, algorithm="ppo_lagrangian", hyperparameters={**SETTINGS, **asked}), 0)
    assert isinstance(model, PPOLagrangian)
    found = []
    for cost in (14.0, 20.0, 6.0, 0.0):
        model.update_multiplier(cost)
        found.append((float(model.integral), float(model.multiplier)))
    # The integral grows by 0.1 * 4 and 0.1 * 10, and falls by 0.1 * 4 and 0.1 * 10; the cost has grown by 6 once.
    np.testing.assert_allclose(found, [(0.4, 2 + 0.4), (1.4, 5 + 1.4 + 1.5), (1.0, 0.0), (0.0, 0.0)], atol=1e-12)


def test_without_gains_it_is_gradient_ascent_from_where_it_begins() -> None:
    asked = {**SETTINGS, "cost_limit": 1.0, "lagrangian_lr": 0.5, "initial_multiplier": 0.75}
    model, *_ = build(replace(RECIPE, algorithm="ppo_lagrangian", hyperparameters=asked), 0)
    assert isinstance(model, PPOLagrangian)
    assert float(model.multiplier) == 0.75
    found = []
    for cost in (2.0, 1.0, 0.0, 0.0, 0.0):
        model.update_multiplier(cost)
        found.append(float(model.multiplier))
    assert found == [1.25, 1.25, 0.75, 0.25, 0.0]


def test_it_takes_what_ppo_takes_and_its_own() -> None:
    own, ppo = own_defaults("ppo_lagrangian"), own_defaults("ppo")
    assert ppo.items() <= own.items()
    assert own.keys() - ppo.keys() == {
        *("cost_limit", "lagrangian_lr", "lagrangian_kp", "lagrangian_kd", "initial_multiplier"),
        *("cost_gamma", "cost_gae_lambda"),
    }


def test_its_costs_and_their_advantages_are_those_of_the_rollout() -> None:
    """Episodes of two steps: costs as played, cut where episodes end, and the multiplier's share of the advantages."""
    asked = {**SETTINGS, "n_envs": 2, "n_steps": 8, "batch_size": 16, "normalize_advantage": False}
    more = {"cost_limit": 0.0, "lagrangian_lr": 0.0, "initial_multiplier": 3.0, "cost_gae_lambda": 1.0}
    model, *_ = build(replace(RECIPE, algorithm="ppo_lagrangian", hyperparameters={**asked, **more}), 0)
    assert isinstance(model, PPOLagrangian)
    _, callback = model._setup_learn(16, None)
    env = model.get_env()
    assert env is not None
    model.collect_rollouts(env, callback, model.rollout_buffer, 8)
    actions = np.clip(model.rollout_buffer.actions[..., 0], -1, 1)
    costs = model.cost_buffer
    np.testing.assert_allclose(costs.rewards, actions**2, rtol=1e-5)
    # With lambda 1 the targets are the discounted costs until the end of the episode.
    np.testing.assert_allclose(costs.returns[0::2], costs.rewards[0::2] + 0.99 * costs.rewards[1::2], rtol=1e-4)
    np.testing.assert_allclose(costs.returns[1::2], costs.rewards[1::2], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.mean(model._ended_costs), 2 * costs.rewards.mean(), rtol=1e-5)
    gains, losses = model.rollout_buffer.advantages.copy(), costs.advantages.copy()
    model.train()
    expected = (gains - 3 * (losses - losses.mean())) / 4
    combined = model.rollout_buffer.advantages.reshape(2, 8).T  # training has flattened them, by environment
    np.testing.assert_allclose(combined, expected, rtol=1e-4, atol=1e-6)


def test_a_dictionary_of_one_observation_is_learned_from_as_the_observation(tmp_path: Path) -> None:
    asked = {**SETTINGS, "n_envs": 2, "cost_limit": 0.1, "lagrangian_lr": 0.5}
    plain = replace(RECIPE, algorithm="ppo_lagrangian", hyperparameters=asked, env_steps=512)
    named = replace(plain, wrappers=("probe_envs:Named",))
    assert learned(train(Sb3Backend(), named, tmp_path / "a")) == learned(train(Sb3Backend(), plain, tmp_path / "b"))


def test_sb3_saves_and_loads_it(tmp_path: Path) -> None:
    model, *_ = build(replace(RECIPE, algorithm="ppo_lagrangian"), 0)
    assert isinstance(model, PPOLagrangian)
    model.update_multiplier(40.0)
    model.save(tmp_path / "model.zip")
    loaded = PPOLagrangian.load(tmp_path / "model.zip")
    assert float(loaded.multiplier) == float(model.multiplier) > 0
    for ours, theirs in zip(model.cost_critic.parameters(), loaded.cost_critic.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_ppo_breaks_the_limit_and_its_lagrangian_form_keeps_it(tmp_path: Path) -> None:
    """The best return is 2 at a cost of 2, and 1 under a limit of 0.5."""
    free = train(Sb3Backend(), RECIPE, tmp_path / "free").curve[-1].metrics
    assert (free["return"], free["cost"]) == pytest.approx((2.0, 2.0), abs=0.01)
    limit = {"cost_limit": 0.5, "lagrangian_lr": 0.2}
    asked = replace(RECIPE, algorithm="ppo_lagrangian", hyperparameters={**SETTINGS, **limit}, env_steps=4000)
    curve = learned(train(Sb3Backend(), replace(asked, evaluation_points=20), tmp_path / "limited"))
    late = [metrics for _, metrics in curve[10:]]
    assert np.mean([m["cost"] for m in late]) == pytest.approx(0.5, abs=0.1)
    assert np.mean([m["return"] for m in late]) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("algorithm", "env", "policy", "expected"),
    [
        ("ppo", "CartPole-v1", {"net_arch": [8]}, 4 * 8 + 8 + 8 * 2 + 2),
        ("ppo", "CartPole-v1", {"net_arch": {"pi": [8], "vf": [64]}}, 4 * 8 + 8 + 8 * 2 + 2),
        ("dqn", "CartPole-v1", {"net_arch": [8]}, 4 * 8 + 8 + 8 * 2 + 2),
        ("sac", "Pendulum-v1", {"net_arch": [8]}, 3 * 8 + 8 + 2 * (8 + 1)),
        ("td3", "Pendulum-v1", {"net_arch": [8]}, 3 * 8 + 8 + 8 + 1),
    ],
)
def test_parameters_are_of_the_networks_that_act(
    algorithm: str, env: str, policy: dict[str, Any], expected: int, tmp_path: Path
) -> None:
    settings = {"n_steps": 16, "batch_size": 16} if algorithm == "ppo" else {"learning_starts": 8}
    asked = Recipe("sb3", algorithm, settings, policy, env, {}, (), 16, 1, 1, True)
    assert train(Sb3Backend(), asked, tmp_path / "a").curve[-1].metrics["parameters"] == expected
