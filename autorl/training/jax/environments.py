"""Environments that are compiled into the training loop: gymnax's, where they are Gymnasium's to the letter.

Of MountainCarContinuous-v0 the step is our own: gymnax's car keeps its speed at the left wall and loses it at the goal.
Their time limits are Gymnasium's: an episode that reaches it is truncated, which gymnax does not tell from an end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np

from autorl.training.jax.distributions import ActionSpace

Array = jax.Array

# Those whose transitions were found equal to Gymnasium's by tests/training/jax/test_jax_environments.py.
COMPILED = ("Acrobot-v1", "CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1")


@dataclass(frozen=True)
class CompiledEnv:
    """An environment as pure functions of one copy of it.

    Attributes:
        features: size of an observation.
        space: of the actions.
        limit: steps after which an episode is truncated.
        reset: key → observation, state.
        step: state, action of shape ``(actions,)`` → observation, state, reward, whether it is over.
    """

    features: int
    space: ActionSpace
    limit: int
    reset: Callable[[Array], tuple[Array, Any]]
    step: Callable[[Any, Array], tuple[Array, Any, Array, Array]]


@cache
def compiled(env_id: str) -> CompiledEnv:
    """Return a compiled environment, one of `COMPILED`."""
    import gymnax

    env, parameters = gymnax.make(env_id)
    # Its own limit is set out of reach, since it would end episodes as if their state were terminal.
    parameters = parameters.replace(max_steps_in_episode=2**30)
    features, space = spaces(gym.spec(env_id).make())
    unused = jax.random.key(0)

    def step(state: Any, action: Array) -> tuple[Array, Any, Array, Array]:
        played = action[0] if space.discrete else jnp.reshape(action, env.action_space(parameters).shape)
        observation, state, reward, over, _ = env.step_env(unused, state, played, parameters)
        return observation, state, jnp.reshape(jnp.asarray(reward, jnp.float32), ()), jnp.asarray(over, bool)

    limit = gym.spec(env_id).max_episode_steps
    assert limit is not None
    own = partial(_drive, parameters=parameters) if env_id == "MountainCarContinuous-v0" else step
    return CompiledEnv(features, space, limit, lambda key: env.reset_env(key, parameters), own)


def _drive(state: Any, action: Array, parameters: Any) -> tuple[Array, Any, Array, Array]:
    """Take a step of `gymnasium.envs.classic_control.Continuous_MountainCarEnv`."""
    force = jnp.clip(action[0], parameters.min_action, parameters.max_action)
    velocity = state.velocity + force * parameters.power - parameters.gravity * jnp.cos(3.0 * state.position)
    velocity = jnp.clip(velocity, -parameters.max_speed, parameters.max_speed)
    position = jnp.clip(state.position + velocity, parameters.min_position, parameters.max_position)
    velocity = jnp.where((position <= parameters.min_position) & (velocity < 0.0), 0.0, velocity)
    over = (position >= parameters.goal_position) & (velocity >= parameters.goal_velocity)
    reward = jnp.where(over, 100.0, 0.0) - 0.1 * action[0] ** 2
    return jnp.stack([position, velocity]), state.replace(position=position, velocity=velocity), reward, over


def spaces(env: gym.Env[Any, Any]) -> tuple[int, ActionSpace]:
    """Return the size of an environment's observations and its action space.

    Raises:
        ValueError: networks of this backend cannot take these observations, or these actions; the message says which.
    """
    observations, actions = env.observation_space, env.action_space
    if isinstance(observations, gym.spaces.Discrete):
        features = int(observations.n)
    elif isinstance(observations, gym.spaces.Box) and len(observations.shape) < 3:
        features = math.prod(observations.shape)
    else:
        raise ValueError(f"observations of {observations} need a network that backend jax has not; use backend sb3")
    if isinstance(actions, gym.spaces.Discrete):
        return features, ActionSpace(choices=(int(actions.n),))
    if isinstance(actions, gym.spaces.MultiDiscrete) and actions.nvec.ndim == 1:
        return features, ActionSpace(choices=tuple(int(n) for n in actions.nvec))
    if isinstance(actions, gym.spaces.Box) and len(actions.shape) == 1:
        if not np.isfinite([actions.low, actions.high]).all():
            raise ValueError("continuous actions need finite bounds, for which Stable-Baselines3 asks too")
        low, high = (tuple(float(x) for x in np.ravel(end)) for end in (actions.low, actions.high))
        return features, ActionSpace(low=low, high=high)
    raise ValueError(f"actions of {actions} need a distribution that backend jax has not; use backend sb3")
