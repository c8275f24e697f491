"""The sb3 backend keeps the promises of backends with every algorithm, and learns what can be learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from conformance.backends import BackendConformance, learned, train

from autorl.training.replay import ReplayableEnv
from autorl.training.sb3 import Sb3Backend, checkpoint
from autorl.training.sb3.algorithms import ALGORITHMS
from autorl.training.sb3.model import build
from autorl.training.tasks import random_streams
from autorl.trial import Recipe

BANDIT, TARGET = "probe_envs:autorl-tests/Bandit-v0", "probe_envs:autorl-tests/Target-v0"


def recipe(algorithm: str, env: str, hyperparameters: dict[str, Any], steps: int = 240, **rest: Any) -> Recipe:
    settings: dict[str, Any] = {
        "policy": {},
        "env_kwargs": {},
        "wrappers": (),
        "evaluation_points": 4,
        "evaluation_episodes": 2,
    }
    return Recipe(
        backend="sb3",
        algorithm=algorithm,
        hyperparameters=hyperparameters,
        env=env,
        env_steps=steps,
        deterministic=True,
        **{**settings, **rest},
    )


# Every algorithm with what makes its state hard to keep: half-full and overflowing buffers, schedules, noise that
# walks, state-dependent exploration, normalization, stacked frames, recurrent state, several environments, updates by
# the episode.
SMALL = {"net_arch": [16]}
RECIPES = {
    "ppo": recipe(
        "ppo", "CartPole-v1", {"n_steps": 32, "n_envs": 2, "normalize": True, "learning_rate": "lin_1e-3"}, policy=SMALL
    ),
    "ppo-sde": recipe(
        "ppo", "Pendulum-v1", {"n_steps": 40, "use_sde": True, "normalize": {"norm_obs": False}}, policy=SMALL
    ),
    "a2c": recipe("a2c", "CartPole-v1", {"frame_stack": 3, "lr_schedule": "linear"}, policy=SMALL),
    "dqn": recipe(
        "dqn",
        "CartPole-v1",
        {"learning_starts": 20, "n_envs": 2, "buffer_size": 100, "target_update_interval": 30, "normalize": True},
        policy=SMALL,
    ),
    "sac": recipe("sac", "Pendulum-v1", {"learning_starts": 20, "use_sde": True, "batch_size": 16}, policy=SMALL),
    "td3": recipe(
        "td3",
        "Pendulum-v1",
        {"learning_starts": 20, "noise_type": "ornstein-uhlenbeck", "batch_size": 16},
        policy=SMALL,
    ),
    "ddpg": recipe(
        "ddpg", TARGET, {"learning_starts": 20, "noise_type": "normal", "train_freq": [2, "episode"]}, policy=SMALL
    ),
    "tqc": recipe("tqc", "Pendulum-v1", {"learning_starts": 20, "batch_size": 16}, policy=SMALL),
    "qrdqn": recipe("qrdqn", "CartPole-v1", {"learning_starts": 20}, policy={**SMALL, "n_quantiles": 10}),
    "trpo": recipe("trpo", "CartPole-v1", {"n_steps": 40}, policy=SMALL),
    "ars": recipe("ars", "CartPole-v1", {"n_delta": 2, "learning_rate": "lin_0.1", "normalize": True}),
    "recurrent_ppo": recipe(
        "recurrent_ppo", "CartPole-v1", {"n_steps": 16, "n_envs": 2}, policy={"lstm_hidden_size": 8, **SMALL}, steps=160
    ),
    "crossq": recipe("crossq", "Pendulum-v1", {"learning_starts": 20, "batch_size": 16}, policy=SMALL),
    "ppo_lagrangian": recipe(
        "ppo_lagrangian",
        "Pendulum-v1",
        {"n_steps": 32, "n_envs": 2, "normalize": True, "cost_limit": 5.0, "lagrangian_kp": 0.1, "lagrangian_kd": 0.1},
        policy=SMALL,
        steps=640,
        cost="probe_envs:swing",
        specification="always(cost <= 0.5)",
    ),
    "box2d": recipe("ppo", "LunarLander-v3", {"n_steps": 40}, policy=SMALL),
    "mujoco": recipe("ppo", "HalfCheetah-v5", {"n_steps": 40}, policy={"activation_fn": "elu", **SMALL}),
}


def test_every_algorithm_is_covered() -> None:
    assert {r.algorithm for r in RECIPES.values()} == set(ALGORITHMS)


@pytest.mark.filterwarnings("ignore")
class TestSb3(BackendConformance):
    @pytest.fixture
    def backend(self) -> Sb3Backend:
        return Sb3Backend()

    @pytest.fixture(params=["ppo", "dqn", "ars"])
    def recipe(self, request: pytest.FixtureRequest) -> Recipe:
        return RECIPES[request.param]

    @pytest.fixture
    def failing(self) -> Recipe:
        return recipe("ppo", "probe_envs:autorl-tests/Broken-v0", {"n_steps": 32}, env_kwargs={"how": "raise"})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", RECIPES)
def test_every_algorithm_goes_on_bit_identically(name: str, tmp_path: Path) -> None:
    backend, asked = Sb3Backend(), RECIPES[name]
    whole = train(backend, asked, tmp_path / "whole")
    for until in (asked.env_steps // 3, asked.env_steps // 3 * 2):
        train(backend, asked, tmp_path / "parts", until=until)
    assert learned(train(backend, asked, tmp_path / "parts")) == learned(whole)


def test_an_environment_that_hides_its_randomness_is_named(tmp_path: Path) -> None:
    hidden = recipe("ppo", "probe_envs:autorl-tests/Walk-v0", {"n_steps": 30, "batch_size": 30}, policy=SMALL)
    train(Sb3Backend(), hidden, tmp_path / "a", until=90)
    result = train(Sb3Backend(), hidden, tmp_path / "a")
    assert result.status == "completed"
    assert any("fresh episode" in note for note in result.notes)


@pytest.mark.parametrize(
    ("algorithm", "env", "hyperparameters", "at_least"),
    [
        ("ppo", BANDIT, {"n_steps": 64, "batch_size": 64, "learning_rate": 0.01}, 0.99),
        ("dqn", BANDIT, {"learning_starts": 100, "learning_rate": 0.005, "exploration_fraction": 0.5}, 0.99),
        ("sac", TARGET, {"learning_starts": 100, "learning_rate": 0.005, "batch_size": 64}, -0.05),
    ],
)
def test_learns_a_probe_with_a_known_answer(
    algorithm: str, env: str, hyperparameters: dict[str, Any], at_least: float, tmp_path: Path
) -> None:
    asked = recipe(algorithm, env, hyperparameters, steps=1200, policy=SMALL, evaluation_episodes=20)
    result = train(Sb3Backend(), asked, tmp_path / "a")
    assert result.curve[-1].metrics["return"] >= at_least


def test_nan_is_a_divergence(tmp_path: Path) -> None:
    asked = recipe(
        "ppo", "probe_envs:autorl-tests/Broken-v0", {"n_steps": 32, "batch_size": 32}, env_kwargs={"how": "nan"}
    )
    result = train(Sb3Backend(), asked, tmp_path / "a")
    assert (result.status, result.error_class) == ("failed", "diverged")


def test_wrappers_and_env_kwargs_reach_the_environment(tmp_path: Path) -> None:
    plain = recipe("ppo", BANDIT, {"n_steps": 64, "batch_size": 64, "learning_rate": 0.01}, steps=1200, policy=SMALL)
    doubled = {"probe_envs:Doubled": {"by": 3.0}}
    result = train(
        Sb3Backend(), Recipe.from_dict({**plain.to_dict(), "wrappers": (doubled, "probe_envs:Doubled")}), tmp_path / "a"
    )
    assert result.curve[-1].metrics["return"] == pytest.approx(6.0)


def test_words_become_arguments() -> None:
    asked = recipe(
        "ppo",
        "CartPole-v1",
        {
            "n_envs": 3,
            "frame_stack": 2,
            "normalize": True,
            "gamma": 0.9,
            "learning_rate": "lin_0.01",
            "clip_range": 0.3,
        },
        policy={"net_arch": "tiny", "activation_fn": "elu"},
    )
    model, eval_env, args, _ = build(asked, seed=1)
    env = model.get_env()
    assert env is not None
    assert (env.num_envs, eval_env.num_envs) == (3, 2)
    assert env.observation_space.shape == (8,)
    assert args.normalize == {"gamma": 0.9}
    assert [model.lr_schedule(p) for p in (1.0, 0.5, 0.0)] == pytest.approx([0.01, 0.005, 0.0])
    layers = [type(m) for m in model.policy.modules() if isinstance(m, torch.nn.Linear | torch.nn.ELU)]
    assert torch.nn.ELU in layers
    assert model.policy.action_net.in_features == 64  # type: ignore[union-attr]


def test_random_streams_never_meet() -> None:
    seeds = [random_streams(seed, 20) for seed in range(500)]
    training = {s for network, environment, _ in seeds for s in (network, environment)}
    evaluation = [s for _, _, found in seeds for s in found]
    assert max(training) + 2**16 <= 2**30 <= min(evaluation)
    assert len(training) == 1000
    assert len(set(evaluation)) == len(evaluation)
    assert max(evaluation) + 10_000 < 2**31


def test_evaluation_leaves_training_untouched(tmp_path: Path) -> None:
    """Ten evaluations or two, stochastic or not: the trained network is the same."""
    weights = []
    for points, deterministic in ((10, True), (2, True), (10, False)):
        asked = recipe("dqn", "CartPole-v1", {"learning_starts": 20}, policy=SMALL, evaluation_points=points)
        asked = Recipe.from_dict({**asked.to_dict(), "deterministic": deterministic})
        file = tmp_path / f"{points}-{deterministic}"
        train(Sb3Backend(), asked, file, until=200)
        weights.append(checkpoint.read(file)["model"]["parameters"]["policy"])
    for other in weights[1:]:
        assert all(torch.equal(weights[0][key], other[key]) for key in weights[0])


def test_a_checkpoint_executes_nothing(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"format": 1, "model": Hostile()}, tmp_path / "a")
    asked = RECIPES["a2c"]
    result = train(Sb3Backend(), asked, tmp_path / "a")
    assert not (tmp_path / "executed").exists()
    assert any("damaged" in note for note in result.notes)


def test_one_thread_a_run(tmp_path: Path) -> None:
    torch.set_num_threads(2)
    train(Sb3Backend(), RECIPES["a2c"], tmp_path / "a")
    assert torch.get_num_threads() == 1


def test_replay_restores_a_box2d_episode() -> None:
    """The lander's world cannot be copied; its episode can be played again."""
    env = ReplayableEnv(gym.make("LunarLander-v3"))
    env.reset(seed=5)
    env.action_space.seed(5)
    for _ in range(30):
        env.step(env.action_space.sample())
    episode, following = env.episode(), [env.action_space.sample() for _ in range(10)]
    expected = [env.step(a)[0] for a in following]
    other = ReplayableEnv(gym.make("LunarLander-v3"))
    assert other.replay(episode)
    np.testing.assert_array_equal([other.step(a)[0] for a in following], expected)
