"""Environments with known answers, and environments that misbehave."""

from __future__ import annotations

import os
import signal
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Bandit(gym.Env[np.ndarray, int]):
    """One step; the third of four actions pays 1, the others 0. The best return is 1."""

    observation_space = spaces.Box(0.0, 1.0, (2,), np.float32)
    action_space = spaces.Discrete(4)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return self.np_random.random(2, dtype=np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return self.np_random.random(2, dtype=np.float32), float(action == 2), True, False, {}


class Target(gym.Env[np.ndarray, np.ndarray]):
    """One step; the return is minus the squared distance of the action from 0.5. The best return is 0."""

    observation_space = spaces.Box(0.0, 1.0, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return self.np_random.random(2, dtype=np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return self.np_random.random(2, dtype=np.float32), -float((action[0] - 0.5) ** 2), True, False, {}


class Walk(gym.Env[np.ndarray, int]):
    """Episodes of twenty steps whose observations come from a generator that Gymnasium does not know."""

    observation_space = spaces.Box(0.0, 1.0, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self._unknown = np.random.default_rng(0)
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return self._unknown.random(2, dtype=np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        return self._unknown.random(2, dtype=np.float32), float(action), False, self._steps >= 20, {}


class Broken(Bandit):
    """Raises, gives NaN, or dies, at a given step."""

    def __init__(self, how: str, at: int = 40) -> None:
        self._how, self._at, self._steps = how, at, 0

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        if self._steps == self._at:
            if self._how == "raise":
                raise RuntimeError("the simulator broke")
            if self._how == "die":
                os.kill(os.getpid(), signal.SIGKILL)
        observation, reward, *rest = super().step(action)
        return observation, float("nan") if self._how == "nan" and self._steps >= self._at else reward, *rest  # type: ignore[return-value]


class Doubled(gym.RewardWrapper[np.ndarray, int]):
    """Multiplies rewards."""

    def __init__(self, env: gym.Env[np.ndarray, int], by: float = 2.0) -> None:
        super().__init__(env)
        self._by = by

    def reward(self, reward: Any) -> float:
        return float(reward) * self._by


for name, kind in (("Bandit", Bandit), ("Target", Target), ("Walk", Walk), ("Broken", Broken)):
    gym.register(f"autorl-tests/{name}-v0", kind)
