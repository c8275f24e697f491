"""Gymnasium environments of a batch of runs, stepped by Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from numpy.typing import NDArray

from autorl.training.curriculum.lessons import Taught
from autorl.training.replay import ReplayableEnv

Numpy = NDArray[Any]


def trained_in(env: gym.Env[Any, Any]) -> ReplayableEnv:
    """Return an environment as it is trained in: its episodes can be replayed, and little is around it.

    Of the wrappers that `gymnasium.make` puts around all, the time limit is what counts here; evaluations keep them, so
    that an environment is checked. They take a tenth of the time of a simple one.
    """
    limit = math.inf
    while isinstance(env, TimeLimit | OrderEnforcing | PassiveEnvChecker):
        if isinstance(env, TimeLimit):
            assert env.spec is not None and env.spec.max_episode_steps is not None
            limit = min(limit, env.spec.max_episode_steps)
        env = env.env
    return ReplayableEnv(env, limit)


class Counted(gym.Wrapper[Any, Any, Any, Any]):
    """Says of an episode that ends its return and length, in `info["episode"]`, to the digit as SB3's `Monitor` does.

    Gymnasium's own adds rewards up in their precision, which misses round sums, and refuses an `info` that has it.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._rewards: list[float] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        self._rewards = []
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and tell of the episode if it is over."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._rewards.append(float(reward))
        if terminated or truncated:
            info["episode"] = {"r": round(sum(self._rewards), 6), "l": len(self._rewards)}
        return observation, reward, terminated, truncated, info


class Environments:
    """The environments of a batch: some for each run. A run whose environment raises is left out from then on.

    Args:
        make: makes one of the run with a number.
        runs: how many runs there are.
        lanes: how many the program has; the observations of those without a run are 0.
        copies: environments a run.
        features: size of an observation.
        signals: keys of the steps' infos to take note of.
    """

    def __init__(
        self,
        make: Callable[[int], gym.Env[Any, Any]],
        runs: int,
        lanes: int,
        copies: int,
        features: int,
        signals: Sequence[str] = (),
    ) -> None:
        self._copies = list(range(copies))
        self.all = [[make(run) for _ in range(copies)] for run in range(runs)]
        observations, actions = self.all[0][0].observation_space, self.all[0][0].action_space
        self._one_hot = isinstance(observations, gym.spaces.Discrete)
        self._flat = observations.shape == (features,)
        self._start = int(actions.start) if isinstance(actions, gym.spaces.Discrete) else None
        self.observations = np.zeros((lanes, copies, features), np.float32)
        self.finals = np.zeros_like(self.observations)
        self.rewards = np.zeros((lanes, copies), np.float32)
        self.signals = {key: np.zeros((lanes, copies)) for key in signals}
        self.dones, self.truncated = (np.zeros((lanes, copies), bool) for _ in range(2))
        self.errors: dict[int, Exception] = {}

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin episodes; environment i of a run gets the run's seed + i, as SB3's vectorized environments do."""
        for run, (envs, seed) in enumerate(zip(self.all, seeds, strict=True)):
            try:
                for copy, env in enumerate(envs):
                    self.observations[run, copy] = self._vector(env.reset(seed=seed + copy)[0])
            except Exception as error:  # noqa: BLE001 - environments and wrappers are the user's code
                self.errors[run] = error

    def step(self, actions: Numpy, playing: Numpy | None = None) -> None:
        """Take a step in each environment, after which episodes that have ended begin anew; or play episodes once.

        Args:
            actions: Shape ``(lanes, copies, actions)``, within their bounds.
            playing: Shape ``(lanes, copies)``, those that take a step and do not begin anew; None for all, which do.
        """
        self.dones[:] = self.truncated[:] = False
        for run in range(len(self.all)):
            if run in self.errors:
                continue
            copies = self._copies if playing is None else np.flatnonzero(playing[run]).tolist()
            try:
                self._step(run, copies, self._played(actions[run]), again=playing is None)
            except Exception as error:  # noqa: BLE001 - environments and wrappers are the user's code
                self.errors[run] = error

    def _played(self, actions: Numpy) -> list[Any]:
        """Return a run's actions as its environments take them."""
        if self._start is not None:
            return list(actions[:, 0] + self._start)
        if not np.isfinite(actions).all():
            raise FloatingPointError("the policy's actions are not finite")
        return list(actions)

    def _step(self, run: int, copies: Sequence[int], actions: Sequence[Any], *, again: bool) -> None:
        # Single numbers are slow to write into arrays, so they are gathered first.
        envs, seen, rewards = self.all[run], [], []
        for copy in copies:
            observation, reward, over, truncated, info = envs[copy].step(actions[copy])
            for key, values in self.signals.items():
                values[run, copy] = info.get(key, 0.0)
            if over or truncated:
                self.dones[run, copy], self.truncated[run, copy] = True, truncated and not over
                if again:
                    self.finals[run, copy] = self._vector(observation)
                    observation = envs[copy].reset()[0]
            seen.append(observation if self._flat else self._vector(observation))
            rewards.append(reward)
        if copies:
            self.observations[run, copies], self.rewards[run, copies] = seen, rewards

    def _vector(self, observation: Any) -> Numpy:
        """Return an observation as a vector."""
        vector: Numpy = np.ravel(observation)
        if self._one_hot:
            vector = np.zeros(self.observations.shape[-1], np.float32)
            vector[int(observation)] = 1.0
        return vector

    def episodes(self, run: int) -> dict[str, Any]:
        """Return the episodes that a run is in the middle of; its environments are `ReplayableEnv`, perhaps taught."""
        return {str(copy): env.episode() for copy, env in enumerate(self._replayable(run))}

    def replay(self, stored: Sequence[Mapping[str, Any]]) -> list[bool]:
        """Play the runs' episodes up to where they were; those that lead elsewhere begin anew, and it says False."""
        return [self._replay(run, episodes) for run, episodes in enumerate(stored)]

    def _replay(self, run: int, stored: Mapping[str, Any]) -> bool:
        try:
            exact = [env.replay(stored[str(copy)]) for copy, env in enumerate(self._replayable(run))]
            for copy, env in enumerate(self.all[run]):
                observation = stored[str(copy)]["observation"] if exact[copy] else env.reset()[0]
                self.observations[run, copy] = self._vector(observation)
        except Exception as error:  # noqa: BLE001 - environments and wrappers are the user's code
            self.errors[run] = error
            return True
        return all(exact)

    def _replayable(self, run: int) -> Iterator[ReplayableEnv]:
        for each in self.all[run]:
            env = each.env if isinstance(each, Taught) else each
            assert isinstance(env, ReplayableEnv)
            yield env
