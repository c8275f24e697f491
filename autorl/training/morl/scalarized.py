"""The simplest multi-objective agent: one single-objective agent of SB3 for each of evenly spaced weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import gymnasium as gym
import torch
from mo_gymnasium.wrappers.wrappers import LinearReward
from morl_baselines.common.weights import equally_spaced_weights
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from autorl.training.morl.episodes import Policy, objectives
from autorl.training.sb3.algorithms import arguments
from autorl.training.sb3.algorithms import own_defaults as sb3_defaults
from autorl.trial import Recipe

PREFIX = "scalarized_"
ALGORITHMS: tuple[str, ...] = (f"{PREFIX}ppo", f"{PREFIX}dqn")
_NOT_HYPERPARAMETERS = {"n_envs", "normalize", "frame_stack"}


def own_defaults(name: str) -> dict[str, Any]:
    """Return every hyperparameter that an algorithm takes, with its default: SB3's, and how many agents there are."""
    found = sb3_defaults(name.removeprefix(PREFIX))
    return {**{key: value for key, value in found.items() if key not in _NOT_HYPERPARAMETERS}, "n_weights": 5}


class ScalarizedAgent:
    """Agents of SB3, each trained on the rewards' weighted sum for an even share of the steps, one after the other."""

    def __init__(self, recipe: Recipe, given: Mapping[str, Any], env: gym.Env, seed: int) -> None:
        """Make the agents.

        Args:
            recipe: the run's.
            given: hyperparameters.
            env: training environment.
            seed: of the first agent; the others follow.
        """
        settings = dict(given)
        count = settings.pop("n_weights", own_defaults(recipe.algorithm)["n_weights"])
        self._recipe = Recipe.from_dict(
            {**recipe.to_dict(), "algorithm": recipe.algorithm.removeprefix(PREFIX), "hyperparameters": settings}
        )
        self._env, self._seed = env, seed
        self._weights = equally_spaced_weights(objectives(env) or 0, count)
        self._models: list[BaseAlgorithm] = [self._made(0)]

    def _made(self, index: int) -> BaseAlgorithm:
        args = arguments(self._recipe, self._env.observation_space, self._env.action_space)
        weighted = DummyVecEnv([lambda: Monitor(LinearReward(self._env, self._weights[index]))])
        model = args.algorithm(
            args.policy,
            weighted,
            policy_kwargs=args.policy_kwargs,
            seed=self._seed + index,
            device="cpu",
            **args.kwargs,
        )
        weighted.seed(int(self._env.np_random.integers(2**30)))  # the training environment's stream goes on
        model.set_logger(Logger(folder=None, output_formats=[]))
        return model

    def train(self, env_steps: int) -> None:
        """Train one agent after the other; see `Agent`."""
        ends = [round(env_steps * k / len(self._weights)) for k in range(len(self._weights) + 1)]
        for index, (start, end) in enumerate(pairwise(ends)):
            if index:
                self._models.append(self._made(index))
            # A rollout that would be cut short is not learned from, else the shares would differ.
            self._models[-1].learn(end - start, _Until(end - start))

    def policies(self) -> Sequence[Policy]:
        """Return the policies of the agents that have begun; see `Agent`."""
        return [_greedy(model) for model in self._models]

    def networks(self) -> Iterator[torch.nn.Module]:
        """Yield the networks; see `Agent`."""
        yield from (model.policy for model in self._models)


class _Until(BaseCallback):
    """Ends training after so many steps, in the middle of a rollout if need be."""

    def __init__(self, env_steps: int) -> None:
        super().__init__()
        self._env_steps = env_steps

    def _on_step(self) -> bool:
        return self.num_timesteps < self._env_steps


def _greedy(model: BaseAlgorithm) -> Policy:
    def play(env: gym.Env) -> None:
        observation, over = env.reset()[0], False
        while not over:
            action = model.predict(observation, deterministic=True)[0]
            observation, _, terminated, truncated, _ = env.step(action)
            over = terminated or truncated

    return play
