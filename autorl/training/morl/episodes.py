"""Environments around which agents train and are evaluated, and the generators that both draw from."""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from autorl.training.morl.indicators import Array, nondominated
from autorl.training.tasks import make_env

Policy = Callable[[gym.Env], object]
"""Plays one episode in an environment, resetting it first."""


def make(env_id: str, env_kwargs: Mapping[str, Any], wrappers: Sequence[Any]) -> gym.Env:
    """Make an environment with vector rewards; see `autorl.training.tasks.make_env`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of mo-gymnasium's spaces, that their precision is lowered
        # Gymnasium's checker holds rewards to be numbers.
        env = make_env(env_id, {"disable_env_checker": True, **env_kwargs}, wrappers)
    # MOSAC lowers the precision of the space that it is given, which an environment may share with others of its class.
    env.observation_space = copy.deepcopy(env.observation_space)
    return env


def objectives(env: gym.Env) -> int | None:
    """Return how many numbers an environment's reward has, or None if it is one number."""
    space = getattr(env.unwrapped, "reward_space", None)
    return int(space.shape[0]) if isinstance(space, gym.spaces.Box) and len(space.shape) == 1 else None


def known_front(env: gym.Env, gamma: float) -> Array | None:
    """Return the front of an environment's discounted returns, (points, objectives), if mo-gymnasium knows it."""
    front = getattr(env.unwrapped, "pareto_front", None)
    return None if front is None else np.array(front(gamma), float)


@contextmanager
def generators(seed: int) -> Iterator[None]:
    """Seed the global generators, from which morl-baselines draws, and give them back as they were."""
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(state[0])
        np.random.set_state(state[1])  # noqa: NPY002
        torch.set_rng_state(state[2])


class Clock(gym.Wrapper[Any, Any, Any, Any]):
    """Counts the steps of training, and calls back before each: the algorithms train in one call.

    Attributes:
        env_steps: steps taken.
        first_observation: of the present episode.
    """

    def __init__(self, env: gym.Env, before_step: Callable[[int], None]) -> None:
        super().__init__(env)
        self.env_steps = 0
        self.first_observation: Any = None
        self._before_step = before_step

    def reset(self, **kwargs: Any) -> Any:
        """Begin an episode."""
        begun = super().reset(**kwargs)
        self.first_observation = begun[0]
        return begun

    def step(self, action: Any) -> Any:
        """Take a step, unless the callback ends training."""
        self._before_step(self.env_steps)
        taken = super().step(action)
        self.env_steps += 1
        return taken


class Tally(gym.Wrapper[Any, Any, Any, Any]):
    """Adds up the discounted vector returns of episodes whose seeds it is given."""

    def __init__(self, env: gym.Env, gamma: float) -> None:
        super().__init__(env)
        self._gamma = gamma
        self._seed: int | None = None
        self._weight, self._return = 1.0, np.zeros(0)

    def reset(self, **kwargs: Any) -> Any:
        """Begin the episode of the seed."""
        self._weight, self._return = 1.0, np.zeros(objectives(self) or 0)
        return super().reset(**{**kwargs, "seed": self._seed})

    def step(self, action: Any) -> Any:
        """Take a step."""
        taken = super().step(action)
        self._return += self._weight * np.asarray(taken[1], float)
        self._weight *= self._gamma
        return taken

    def mean_return(self, policy: Policy, seeds: Sequence[int]) -> Array:
        """Return the mean vector return of a policy over the episodes of seeds.

        Raises:
            FloatingPointError: it is not finite.
        """
        total = np.zeros(objectives(self) or 0)
        for self._seed in seeds:
            policy(self)
            total += self._return
        if not np.isfinite(total).all():
            raise FloatingPointError(f"the evaluation's vector return is {total / len(seeds)}")
        return total / len(seeds)


def evaluated_front(
    policies: Sequence[Policy], env: Tally, seed: int, episodes: int, pulse: Callable[[], None]
) -> Array:
    """Play an agent's policies and return its front, (points, objectives), in ascending order.

    Which policies are its members is decided on some episodes, and what they are worth measured on others: the best of
    many noisy means is too good. All policies play the same episodes, so that equal policies are one point.

    Args:
        policies: the agent's.
        env: evaluation environment.
        seed: of the first episode; the others follow.
        episodes: how many choose the members, and how many others measure them.
        pulse: called after each policy.
    """

    def means(chosen: Sequence[Policy], first: int) -> Array:
        found = []
        for policy in chosen:
            found.append(env.mean_return(policy, range(first, first + episodes)))
            pulse()
        return np.array(found)

    members = nondominated(means(policies, seed))
    front = means([policy for policy, kept in zip(policies, members, strict=True) if kept], seed + episodes)
    front = front[nondominated(front)]
    return front[np.lexsort(front.T[::-1])]
