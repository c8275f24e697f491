"""Environments in the middle of an episode, written down and taken up again.

An environment's inner state cannot be written down in general, so it is replayed: the generator's state before the last
reset and the actions since are stored, and the result is compared with the observation that was stored. It differs
where an environment draws from elsewhere than its `np_random`, or a wrapper remembers across episodes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

# What the notes of a run say whose episode could not be played again.
FRESH = "resumed from a fresh episode: the environment's state does not follow from its seed and actions"


class ReplayableEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Remembers how the current episode came about: the generator before its reset, and the actions since.

    Args:
        env: the environment.
        limit: steps after which an episode is truncated, besides what the environment says.
    """

    def __init__(self, env: gym.Env[Any, Any], limit: float = math.inf) -> None:
        super().__init__(env)
        self._limit = limit
        self._seed: int | None = None
        self._options: dict[str, Any] | None = None
        self._generator: dict[str, Any] = {}
        self._actions: list[Any] = []
        self._observation: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset, remembering what the reset depends on."""
        self._seed, self._options, self._actions = seed, options, []
        self._generator = dict(self.unwrapped.np_random.bit_generator.state)
        self._observation, info = self.env.reset(seed=seed, options=options)
        return self._observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, remembering the action."""
        self._actions.append(action if isinstance(action, np.generic) else np.array(action))
        self._observation, reward, terminated, truncated, info = self.env.step(action)
        return self._observation, reward, terminated, truncated or len(self._actions) >= self._limit, info

    def episode(self) -> dict[str, Any]:
        """Return the current episode: how it was reset (JSON), its actions and its last observation (arrays)."""
        reset = {"seed": self._seed, "options": self._options, "generator": self._generator}
        actions = np.stack(self._actions) if self._actions else np.zeros(0)
        return {"reset": json.dumps(reset), "actions": actions, "observation": self._observation}

    def replay(self, episode: Mapping[str, Any]) -> bool:
        """Play a stored episode up to where it was; say whether it led to the same observation."""
        reset = json.loads(episode["reset"])
        self.unwrapped.np_random.bit_generator.state = reset["generator"]
        self.reset(seed=reset["seed"], options=reset["options"])
        for action in episode["actions"]:
            # Discrete actions reach the environment as numpy integers, as they do in training.
            *_, terminated, truncated, _ = self.step(action if action.ndim else action[()])
            if terminated or truncated:
                return False
        return _equal(self._observation, episode["observation"])


def _equal(a: Any, b: Any) -> bool:
    if isinstance(b, dict):
        return all(_equal(a[key], b[key]) for key in b)
    return bool(np.array_equal(np.asarray(a), b))
