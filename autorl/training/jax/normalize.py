"""SB3's `VecNormalize`: running means and variances of observations and of discounted returns."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array

_FIRST = 1e-4  # SB3 counts from here


class Moments(NamedTuple):
    """A running mean and variance in single precision that move as far as SB3's in double precision do.

    Attributes:
        mean: the mean.
        var: the variance.
        seen: how many they are of.
        rests: what rounding has left of the sums that mean and variance are (Kahan 1965, Communications of the ACM 8,
            40); without it they would stand still once a step is smaller than their last bit.
    """

    mean: Array
    var: Array
    seen: Array
    rests: tuple[Array, Array]


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

    def moments(shape: tuple[int, ...]) -> Moments:
        nothing = jnp.zeros(shape)
        return Moments(nothing, jnp.ones(shape), jnp.asarray(0, jnp.int32), (nothing, nothing))

    return Normalization(moments((features,)), moments(()), jnp.zeros(n_envs))


def update(moments: Moments, batch: Array) -> Moments:
    """Add a batch, of shape ``(n, ...)``, to the moments (Chan et al. 1979, as SB3's `RunningMeanStd`)."""
    seen = moments.seen + batch.shape[0]
    before, after = _FIRST + moments.seen, _FIRST + seen
    (of_mean, of_var), share = moments.rests, batch.shape[0] / after
    delta = batch.mean(axis=0) - moments.mean - of_mean
    mean, of_mean = _added(moments.mean, of_mean, delta * share)
    spread = batch.var(axis=0) + delta**2 * (before / after)
    var, of_var = _added(moments.var, of_var, (spread - moments.var - of_var) * share)
    # From its first value to a much smaller one a variance would keep that one's rounding.
    var = jnp.where(moments.seen == 0, moments.var * (before / after) + spread * share, var)
    return Moments(mean, var, seen, (of_mean, of_var))


def _added(value: Array, rest: Array, change: Array) -> tuple[Array, Array]:
    change += rest
    total = value + change
    return total, change - (total - value)


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
