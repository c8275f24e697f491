"""Gymnasium environments of a batch of runs, stepped by Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from autorl.training.replay import ReplayableEnv

Numpy = NDArray[Any]


class Environments:
    """The environments of a batch: some for each run. A run whose environment raises is left out from then on.

    Args:
        make: makes one.
        runs: how many runs there are.
        lanes: how many the program has; the observations of those without a run are 0.
        copies: environments a run.
        features: size of an observation.
        signals: keys of the steps' infos to take note of.
    """

    def __init__(
        self,
        make: Callable[[], gym.Env[Any, Any]],
        runs: int,
        lanes: int,
        copies: int,
        features: int,
        signals: Sequence[str] = (),
    ) -> None:
        self.all = [[make() for _ in range(copies)] for _ in range(runs)]
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
                    self.see(self.observations, run, copy, env.reset(seed=seed + copy)[0])
            except Exception as error:  # noqa: BLE001 - environments and wrappers are the user's code
                self.errors[run] = error

    def step(self, actions: Numpy, playing: Numpy | None = None) -> None:
        """Take a step in each environment, or in those that are playing; episodes that end begin anew.

        Args:
            actions: Shape ``(lanes, copies, actions)``, within their bounds.
            playing: Shape ``(lanes, copies)``, or None for all.
        """
        self.dones[:] = self.truncated[:] = False
        for run, envs in enumerate(self.all):
            if run in self.errors:
                continue
            try:
                for copy, (env, action) in enumerate(zip(envs, self._played(actions[run]), strict=True)):
                    if playing is None or playing[run, copy]:
                        self._step(run, copy, env, action)
            except Exception as error:  # noqa: BLE001 - environments and wrappers are the user's code
                self.errors[run] = error

    def _played(self, actions: Numpy) -> Numpy:
        """Return a run's actions as its environments take them, one after the other."""
        if self._start is not None:
            return np.asarray(actions[:, 0] + self._start)
        if not np.isfinite(actions).all():
            raise FloatingPointError("the policy's actions are not finite")
        return actions

    def _step(self, run: int, copy: int, env: gym.Env[Any, Any], action: Any) -> None:
        observation, reward, over, truncated, info = env.step(action)
        self.rewards[run, copy] = reward
        for key, values in self.signals.items():
            values[run, copy] = info.get(key, 0.0)
        if over or truncated:
            self.dones[run, copy], self.truncated[run, copy] = True, truncated and not over
            self.see(self.finals, run, copy, observation)
            observation = env.reset()[0]
        self.see(self.observations, run, copy, observation)

    def see(self, into: Numpy, run: int, copy: int, observation: Any) -> None:
        """Write an observation into its place."""
        if self._flat:
            into[run, copy] = observation
        elif self._one_hot:
            into[run, copy] = 0.0
            into[run, copy, int(observation)] = 1.0
        else:
            into[run, copy] = np.ravel(observation)

    def episodes(self, run: int) -> dict[str, Any]:
        """Return the episodes that a run is in the middle of; its environments are `ReplayableEnv`."""
        return {str(copy): env.episode() for copy, env in enumerate(self._replayable(run))}

    def replay(self, run: int, stored: Mapping[str, Any]) -> bool:
        """Play a run's episodes up to where they were; those that lead elsewhere begin anew, and it says False."""
        exact = [env.replay(stored[str(copy)]) for copy, env in enumerate(self._replayable(run))]
        for copy, env in enumerate(self._replayable(run)):
            observation = stored[str(copy)]["observation"] if exact[copy] else env.reset()[0]
            self.see(self.observations, run, copy, observation)
        return all(exact)

    def _replayable(self, run: int) -> Iterator[ReplayableEnv]:
        for env in self.all[run]:
            assert isinstance(env, ReplayableEnv)
            yield env
