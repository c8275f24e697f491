"""How long a policy takes for one action."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm

_REPEATS = 20


def latency(model: BaseAlgorithm) -> float:
    """Return the median time in which a model chooses one action on one observation, in milliseconds.

    It acts by its mode on an observation of zeros, and draws no random number: a run is the same with it and without.
    """
    observation = _zeros(model.observation_space)
    taken = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        model.predict(observation, deterministic=True)
        taken.append(time.perf_counter() - started)
    return 1e3 * median(taken)


def _zeros(space: spaces.Space[Any]) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _zeros(part) for key, part in space.items()}
    return np.zeros(space.shape or (), space.dtype)
