"""What a run's seed and task become, whatever the backend: independent random streams, and environments.

Nothing here knows autorl: see `sb3/plain.py`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np


def random_streams(seed: int, points: int) -> tuple[int, int, list[int]]:
    """Derive a run's independent random streams from its seed.

    Training seeds lie below 2**30 and evaluation seeds above, so that no evaluation episode is ever one trained on.

    Returns:
        Seed of the network, seed of the training environments, and one seed for each evaluation.
    """
    network, environment, evaluation = np.random.SeedSequence(seed).spawn(3)
    room = 2**30 - 2**16  # environment i of several gets seed + i
    training = [int(stream.generate_state(1)[0]) % room for stream in (network, environment)]
    return training[0], training[1], [2**30 + int(state) % room for state in evaluation.generate_state(points)]


def teacher_stream(seed: int) -> np.random.Generator:
    """Return what a run's teacher draws from: one more stream beside those of `random_streams`."""
    return np.random.default_rng(np.random.SeedSequence(seed).spawn(4)[3])


def make_env(env_id: str, env_kwargs: Mapping[str, Any], wrappers: Sequence[Any]) -> gym.Env:
    """Make an environment and wrap it.

    Args:
        env_id: Gymnasium id; `module:Env-v0` imports the module first.
        env_kwargs: arguments of `gymnasium.make`.
        wrappers: inner first: `module:Class`, or `{module:Class: arguments}`.
    """
    env: gym.Env = gym.make(env_id, **env_kwargs)
    for wrapper in wrappers:
        name, arguments = next(iter(wrapper.items())) if isinstance(wrapper, Mapping) else (wrapper, {})
        module, _, attribute = name.partition(":")
        env = getattr(importlib.import_module(module), attribute)(env, **arguments)
    return env
