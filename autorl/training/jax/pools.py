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


class Pool:
    """The environments of all runs in one pool, to be used like `vector.Environments`.

    One, since a call of envpool costs as much as some fifty steps of a simple environment. Their states cannot be
    written down, so that all of a run's actions are kept, from which they follow.

    Args:
        env_id: one of `POOLED`.
        runs: how many runs there are.
        lanes: how many the program has; the observations of those without a run are 0.
        copies: environments a run.
        features: size of an observation.
    """

    def __init__(self, env_id: str, runs: int, lanes: int, copies: int, features: int) -> None:
        self._env_id = env_id
        self._numbers = np.arange(runs * copies, dtype=np.int32).reshape(runs, copies)
        self._seeds: list[int] = []
        self._played: list[Numpy] = []
        self.observations = np.zeros((lanes, copies, features), np.float32)
        self.finals = np.zeros_like(self.observations)
        self.rewards = np.zeros((lanes, copies), np.float32)
        self.dones, self.truncated = (np.zeros((lanes, copies), bool) for _ in range(2))
        self.errors: dict[int, Exception] = {}

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin episodes; environment i of a run gets the run's seed + i."""
        import envpool

        each = (np.array(seeds)[:, None] + np.arange(self._numbers.shape[1])).ravel()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*precision lowered")  # of its spaces, when they are made
            # One thread: the other processors have runs of their own.
            self._pool = envpool.make(self._env_id, "gymnasium", num_envs=len(each), seed=each, num_threads=1)
            self._space = self._pool.action_space
            self._flat(self.observations)[:] = self._pool.reset()[0]
        self._seeds, self._played = list(seeds), []

    def step(self, actions: Numpy) -> None:
        """Take a step in each environment; episodes that end begin anew.

        Args:
            actions: Shape ``(lanes, copies, actions)``, within their bounds.
        """
        runs, copies = self._numbers.shape
        for run in np.flatnonzero(~np.isfinite(actions[:runs]).all(axis=(1, 2))).tolist():
            self.errors.setdefault(run, FloatingPointError("the policy's actions are not finite"))
        played = actions[:runs].astype(self._space.dtype).reshape(runs, copies, *self._space.shape)
        played[list(self.errors)] = 0  # what is played in their place is not looked at
        self._step(played)

    def episodes(self, run: int) -> dict[str, Any]:
        """Return what the states of a run's environments follow from."""
        actions = np.stack([each[run] for each in self._played]) if self._played else np.zeros(0)
        return {"seed": self._seeds[run], "actions": actions, "observations": self.observations[run].copy()}

    def replay(self, stored: Sequence[Mapping[str, Any]]) -> list[bool]:
        """Play all that the runs have played; say of each whether it led to the same observations."""
        self.reset([each["seed"] for each in stored])
        for actions in zip(*(each["actions"] for each in stored), strict=True):
            self._step(np.stack(actions))
        return [np.array_equal(self.observations[run], each["observations"]) for run, each in enumerate(stored)]

    def _step(self, actions: Numpy) -> None:
        self._played.append(actions)
        seen, rewards, over, truncated, _ = self._pool.step(actions.reshape(-1, *self._space.shape))
        self._flat(self.observations)[:], self._flat(self.rewards)[:] = seen, rewards
        self._flat(self.dones)[:], self._flat(self.truncated)[:] = over | truncated, truncated & ~over
        ended = np.flatnonzero(over | truncated)
        if len(ended):
            self._flat(self.finals)[ended] = seen[ended]
            self._flat(self.observations)[ended] = self._pool.reset(self._numbers.ravel()[ended])[0]

    def _flat(self, of_lanes: Numpy) -> Numpy:
        """Return a view of what belongs to the environments, in the pool's order."""
        return of_lanes[: len(self._numbers)].reshape(self._numbers.size, *of_lanes.shape[2:])
