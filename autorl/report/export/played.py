"""Episodes that a model plays, so that others may begin in the midst of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from autorl.training.tasks import random_streams
from autorl.trial import Recipe

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm


def played(model: BaseAlgorithm, recipe: Recipe, seed: int) -> dict[str, np.ndarray]:
    """Play as many episodes as the study evaluates on, one after the other, and keep the better half.

    They begin as no evaluation does: a study that begins episodes in their states must not train on what it tests on.

    Args:
        model: plays; it has been trained as the recipe says.
        recipe: of its run, whose task does not vary: seed and actions would not say which task it was.
        seed: of its run.

    Returns:
        `seeds` and `lengths` (shape: episodes), `actions` and `observations` (shape: steps, ...) of the episodes whose
        return is at least the median, as `Trajectories` reads them; observations are the environment's own, flat.
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
        "actions": np.concatenate([np.array(episode["actions"]) for episode in good]),
        "observations": np.concatenate([np.array(episode["observations"]) for episode in good]),
    }


class _Recorded(gym.Wrapper[Any, Any, Any, Any]):
    """Takes down the episodes that are played in an environment."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.episodes: list[dict[str, Any]] = []
        self._seen: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        self._seen, info = self.env.reset(seed=seed, options=options)
        self.episodes.append({"seed": seed, "return": 0.0, "over": False, "actions": [], "observations": []})
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
