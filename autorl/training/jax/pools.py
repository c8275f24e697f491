"""Environments of a batch of runs, stepped by envpool in C++, where its environments are Gymnasium's."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numpy = NDArray[Any]

# Those that were found equal to Gymnasium's by tests/training/jax/test_jax_pools.py. Pendulum is not: at the highest
# speed it turns further in a step.
POOLED = (
    "Acrobot-v1",
    "CartPole-v1",
    "HalfCheetah-v5",
    "LunarLander-v3",
    "MountainCar-v0",
    "MountainCarContinuous-v0",
)


class Pools:
    """A pool of environments for each run, to be used like `vector.Environments`.

    An environment's state cannot be written down, so that all of a run's actions are kept, from which it follows.

    Args:
        env_id: one of `POOLED`.
        lanes: how many the program has; the observations of those without a run are 0.
        copies: environments a run.
        features: size of an observation.
    """

    def __init__(self, env_id: str, lanes: int, copies: int, features: int) -> None:
        self._env_id = env_id
        self._pools: dict[int, Any] = {}
        self._seeds: dict[int, int] = {}
        self._played: dict[int, list[Numpy]] = {}
        self.observations = np.zeros((lanes, copies, features), np.float32)
        self.finals = np.zeros_like(self.observations)
        self.rewards = np.zeros((lanes, copies), np.float32)
        self.dones, self.truncated = (np.zeros((lanes, copies), bool) for _ in range(2))
        self.errors: dict[int, Exception] = {}

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin episodes; environment i of a run gets the run's seed + i."""
        for run, seed in enumerate(seeds):
            self._begin(run, seed)

    def step(self, actions: Numpy) -> None:
        """Take a step in each environment; episodes that end begin anew.

        Args:
            actions: Shape ``(lanes, copies, actions)``, within their bounds.
        """
        self.dones[:] = self.truncated[:] = False
        for run in self._pools:
            if run in self.errors:
                continue
            if not np.isfinite(actions[run]).all():
                self.errors[run] = FloatingPointError("the policy's actions are not finite")
                continue
            played = np.reshape(actions[run], (len(actions[run]), *self._space.shape))
            self._step(run, played.astype(self._space.dtype))

    def episodes(self, run: int) -> dict[str, Any]:
        """Return what the states of a run's environments follow from."""
        played = self._played[run]
        actions = np.stack(played) if played else np.zeros(0)
        return {"seed": self._seeds[run], "actions": actions, "observations": self.observations[run].copy()}

    def replay(self, run: int, stored: Mapping[str, Any]) -> bool:
        """Play all that a run has played; say whether it led to the same observations."""
        self._begin(run, stored["seed"])
        for actions in stored["actions"]:
            self._step(run, actions)
        return bool(np.array_equal(self.observations[run], stored["observations"]))

    def _begin(self, run: int, seed: int) -> None:
        import envpool

        copies = self.observations.shape[1]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*precision lowered")  # of its spaces, when they are made
            # One thread: the other processors have runs of their own.
            self._pools[run] = envpool.make(self._env_id, "gymnasium", num_envs=copies, seed=seed, num_threads=1)
            self._space = self._pools[run].action_space
            self.observations[run] = self._pools[run].reset()[0]
        self._seeds[run], self._played[run] = seed, []

    def _step(self, run: int, actions: Numpy) -> None:
        pool = self._pools[run]
        self._played[run].append(actions)
        seen, self.rewards[run], over, truncated, _ = pool.step(actions)
        self.observations[run] = seen
        ended = over | truncated
        if ended.any():
            self.dones[run], self.truncated[run] = ended, truncated & ~over
            self.finals[run, ended] = seen[ended]
            self.observations[run, ended] = pool.reset(np.flatnonzero(ended).astype(np.int32))[0]
