"""Episodes that a model plays, so that others may begin in the midst of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from autorl.training.tasks import random_streams
from autorl.trial import Recipe

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

_STEPWISE = ("actions", "observations", "values")


def played(model: BaseAlgorithm, recipe: Recipe, seed: int) -> dict[str, np.ndarray]:
    """Play as many episodes as the study evaluates on, one after the other, and keep the better half.

    They begin as no evaluation does: a study that begins episodes in their states must not train on what it tests on.

    Args:
        model: plays; it has been trained as the recipe says.
        recipe: of its run, whose task does not vary: seed and actions would not say which task it was.
        seed: of its run.

    Returns:
        `seeds` and `lengths` (shape: episodes), `actions` and `observations` (shape: steps, ...) of the episodes whose
        return is at least the median, as `Trajectories` reads them, and `values`, all 0 where the model has no critic;
        observations are the environment's own, flat.
    """
    import torch
    from stable_baselines3.common.vec_env import VecNormalize, sync_envs_normalization

    from autorl.training.sb3.algorithms import arguments
    from autorl.training.sb3.model import evaluation_env

    recorder: list[_Recorded] = []

    def recorded(env: gym.Env) -> gym.Env:
        recorder.append(_Recorded(env))
        return recorder[0]

    env = evaluation_env(recipe, arguments(recipe, model.observation_space, model.action_space), 1, recorded)
    training_env = model.get_env()
    if isinstance(env, VecNormalize) and training_env is not None:
        sync_envs_normalization(training_env, env)
    first = random_streams(seed, recipe.evaluation_points)[1]
    torch.manual_seed(first)
    try:
        for number in range(recipe.evaluation_episodes):
            env.seed(first + number)
            observation, state, starts, over = env.reset(), None, np.array([True]), False
            while not over:
                recorder[0].episodes[-1]["values"].append(_value(model, observation))
                action, state = model.predict(
                    observation,  # type: ignore[arg-type]
                    state=state,
                    episode_start=starts,
                    deterministic=recipe.deterministic,
                )
                observation, _, starts, _ = env.step(action)
                over = bool(starts[0])
    finally:
        env.close()
    episodes = [episode for episode in recorder[0].episodes if episode["over"]]
    median = np.median([episode["return"] for episode in episodes])
    good = [episode for episode in episodes if episode["return"] >= median]
    return {
        "seeds": np.array([episode["seed"] for episode in good]),
        "lengths": np.array([len(episode["actions"]) for episode in good]),
        **{name: np.concatenate([np.array(episode[name]) for episode in good]) for name in _STEPWISE},
    }


def _value(model: BaseAlgorithm, observation: Any) -> float:
    """Return what the critic expects to return from an observation; 0 of a model that has none for a single one."""
    import torch
    from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
    from stable_baselines3.common.policies import ActorCriticPolicy
    from stable_baselines3.dqn.policies import DQNPolicy
    from stable_baselines3.sac.policies import SACPolicy
    from stable_baselines3.td3.policies import TD3Policy

    policy = model.policy
    seen, _ = policy.obs_to_tensor(observation)
    with torch.no_grad():
        if isinstance(policy, ActorCriticPolicy) and not isinstance(policy, RecurrentActorCriticPolicy):
            return float(policy.predict_values(seen).flatten()[0])
        if isinstance(policy, DQNPolicy):
            return float(policy.q_net(seen).max())
        if isinstance(policy, SACPolicy | TD3Policy):
            return float(torch.cat(policy.critic(seen, policy(seen, deterministic=True)), dim=1).min())
    return 0.0


class _Recorded(gym.Wrapper[Any, Any, Any, Any]):
    """Takes down the episodes that are played in an environment."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.episodes: list[dict[str, Any]] = []
        self._seen: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        self._seen, info = self.env.reset(seed=seed, options=options)
        self.episodes.append({"seed": seed, "return": 0.0, "over": False, **{name: [] for name in _STEPWISE}})
        return self._seen, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and take it down."""
        episode = self.episodes[-1]
        episode["observations"].append(gym.spaces.flatten(self.observation_space, self._seen))
        episode["actions"].append(action)
        self._seen, reward, terminated, truncated, info = self.env.step(action)
        episode["return"] += float(reward)
        episode["over"] = terminated or truncated
        return self._seen, reward, terminated, truncated, info
