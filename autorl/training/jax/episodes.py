"""Evaluation episodes in compiled environments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from autorl.training.jax.environments import CompiledEnv

Array = jax.Array


def play(env: CompiledEnv, episodes: int, choose: Callable[[Array, Array], Array], key: Array) -> tuple[Array, Array]:
    """Play episodes side by side, each to its end.

    Args:
        env: the environment.
        episodes: how many.
        choose: observations of shape ``(episodes, features)``, key → actions of shape ``(episodes, actions)``.
        key: what the first states and the actions are drawn from.

    Returns:
        Undiscounted returns and lengths, both of shape ``(episodes,)``.
    """
    of_resets, of_actions = jax.random.split(key)
    observations, states = jax.vmap(env.reset)(jax.random.split(of_resets, episodes))

    def step(carry: Any) -> Any:
        time, observations, states, playing, returns, lengths, key = carry
        key, of_step = jax.random.split(key)
        observations, states, rewards, over = jax.vmap(env.step)(states, choose(observations, of_step))
        returns, lengths = returns + playing * rewards, lengths + playing
        return time + 1, observations, states, playing & ~over, returns, lengths, key

    def some(carry: Any) -> Array:
        return jnp.logical_and(carry[0] < env.limit, jnp.any(carry[3]))

    zeros = jnp.zeros(episodes)
    begun = (jnp.asarray(0), observations, states, jnp.ones(episodes, bool), zeros, zeros, of_actions)
    ended = jax.lax.while_loop(some, step, begun)
    returns, lengths = jnp.asarray(ended[4]), jnp.asarray(ended[5])
    return returns, lengths
