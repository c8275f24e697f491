"""SB3's `VecNormalize`: running means and variances of observations and of discounted returns."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array


class Moments(NamedTuple):
    """A running mean and variance, and how many they are of (SB3 begins with 1e-4)."""

    mean: Array
    var: Array
    seen: Array


class Normalization(NamedTuple):
    """What observations and rewards are normalized by.

    Attributes:
        observations: moments of the observations, of shape ``(features,)``.
        returns: moments of the discounted returns so far, scalars.
        discounted: the discounted return so far in each environment, shape ``(n_envs,)``.
    """

    observations: Moments
    returns: Moments
    discounted: Array


class Scaling(NamedTuple):
    """How to normalize; the same for all runs of a program.

    Attributes:
        observations: whether observations are normalized.
        rewards: whether rewards are.
        clip_observations: their greatest value.
        clip_rewards: their greatest value.
        epsilon: added to variances.
    """

    observations: bool = True
    rewards: bool = True
    clip_observations: float = 10.0
    clip_rewards: float = 10.0
    epsilon: float = 1e-8


def begin(features: int, n_envs: int) -> Normalization:
    """Return the state before anything was seen."""
    start = jnp.asarray(1e-4)
    return Normalization(
        Moments(jnp.zeros(features), jnp.ones(features), start),
        Moments(jnp.zeros(()), jnp.ones(()), start),
        jnp.zeros(n_envs),
    )


def update(moments: Moments, batch: Array) -> Moments:
    """Add a batch, of shape ``(n, ...)``, to the moments (Chan et al. 1979, as SB3's `RunningMeanStd`)."""
    mean, var, count = batch.mean(axis=0), batch.var(axis=0), batch.shape[0]
    delta, total = mean - moments.mean, moments.seen + count
    together = moments.var * moments.seen + var * count + delta**2 * moments.seen * count / total
    return Moments(moments.mean + delta * count / total, together / total, total)


def normalize(moments: Moments, observations: Array, scaling: Scaling) -> Array:
    """Return normalized observations; as they are, if they are not to be normalized."""
    if not scaling.observations:
        return observations
    scaled = (observations - moments.mean) / jnp.sqrt(moments.var + scaling.epsilon)
    return jnp.clip(scaled, -scaling.clip_observations, scaling.clip_observations)


def see(state: Normalization, observations: Array, scaling: Scaling) -> Normalization:
    """Take note of observations, of shape ``(n_envs, features)``."""
    if not scaling.observations:
        return state
    return state._replace(observations=update(state.observations, observations))


def see_rewards(
    state: Normalization, rewards: Array, dones: Array, gamma: Array | float, scaling: Scaling
) -> tuple[Normalization, Array]:
    """Take note of rewards, of shape ``(n_envs,)``, and return them normalized; returns begin anew after the last."""
    if not scaling.rewards:
        return state, rewards
    discounted = state.discounted * gamma + rewards
    moments = update(state.returns, discounted)
    scaled = scale_rewards(moments, rewards, scaling)
    return state._replace(returns=moments, discounted=jnp.where(dones, 0.0, discounted)), scaled


def scale_rewards(moments: Moments, rewards: Array, scaling: Scaling) -> Array:
    """Return normalized rewards; as they are, if they are not to be normalized."""
    if not scaling.rewards:
        return rewards
    scaled = rewards / jnp.sqrt(moments.var + scaling.epsilon)
    return jnp.clip(scaled, -scaling.clip_rewards, scaling.clip_rewards)
