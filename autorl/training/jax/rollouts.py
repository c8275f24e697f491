"""The loop of PPO and A2C over compiled environments: collect a rollout, learn from it, `lanes` runs at a time.

A run's learning from its last rollout waits until the next is asked for, so that what is evaluated between two calls is
the policy that acted in the rollout, as where SB3 evaluates within one.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from autorl.training.jax import distributions, normalize, on_policy
from autorl.training.jax.environments import CompiledEnv
from autorl.training.jax.normalize import Normalization, Scaling
from autorl.training.jax.on_policy import Learner, Numbers, OnPolicy, Rollout

Array = jax.Array


class Lane(NamedTuple):
    """The state of one run; arrays of a batch have the lanes in front.

    Attributes:
        learner: what it has learned.
        normalization: what it is normalized by; None if it is not.
        key: what its randomness is drawn from.
        environments: states of its environments.
        time: Shape ``(n_envs,)``, steps of their episodes.
        rollout: the last rollout.
    """

    learner: Learner
    normalization: Normalization | None
    key: Array
    environments: Any
    time: Array
    rollout: Rollout


def begin(
    network: Array, environment: Array, env: CompiledEnv, shape: OnPolicy, scaling: Scaling | None, numbers: Numbers
) -> Lane:
    """Return the state of a run before its first step.

    Args:
        network: key of the networks and of what is drawn in training.
        environment: key of the first episodes.
        env: the environment.
        shape: of the program.
        scaling: how to normalize, or None.
        numbers: of the run.
    """
    observations, environments = jax.vmap(env.reset)(jax.random.split(environment, shape.n_envs))
    return first(network, observations, environments, shape, scaling, numbers)


def first(
    network: Array, observations: Array, environments: Any, shape: OnPolicy, scaling: Scaling | None, numbers: Numbers
) -> Lane:
    """Return the state of a run whose environments have begun.

    Args:
        network: key of the networks and of what is drawn in training.
        observations: Shape ``(n_envs, features)``, those of the first episodes.
        environments: states of the environments.
        shape: of the program.
        scaling: how to normalize, or None.
        numbers: of the run.
    """
    of_networks, key = jax.random.split(network)
    learner = on_policy.begin(of_networks, shape, numbers)
    normalization = None
    if scaling is not None:
        normalization = normalize.begin(shape.features, shape.n_envs)
        normalization = normalize.see(normalization, observations, scaling)
        observations = normalize.normalize(normalization.observations, observations, scaling)
    wide = (shape.n_steps, shape.n_envs)
    rollout = Rollout(
        observations=jnp.zeros((*wide, shape.features)),
        actions=jnp.zeros((*wide, shape.space.actions), jnp.int32 if shape.space.discrete else jnp.float32),
        rewards=jnp.zeros(wide),
        dones=jnp.zeros(wide, bool),
        truncated=jnp.zeros(wide, bool),
        finals=jnp.zeros((*wide, shape.features)),
        last=observations,
    )
    return Lane(learner, normalization, key, environments, jnp.zeros(shape.n_envs, jnp.int32), rollout)


def collect(lane: Lane, env: CompiledEnv, shape: OnPolicy, scaling: Scaling | None, numbers: Numbers) -> Lane:
    """Act for a rollout."""
    key, of_noise, of_resets = jax.random.split(lane.key, 3)
    drawn = distributions.noise(of_noise, shape.space, (shape.n_steps, shape.n_envs))
    resets = jax.random.split(of_resets, (shape.n_steps, shape.n_envs))
    policy = lane.learner.policy

    def step(carry: Any, given: tuple[Array, Array]) -> tuple[Any, tuple[Array, ...]]:
        seen, states, time, normalization = carry
        noise, keys = given
        actions = on_policy.act(policy, seen, shape, noise)
        finals, states, rewards, over = jax.vmap(env.step)(states, distributions.playable(actions, shape.space))
        time += 1
        truncated = (time >= env.limit) & ~over
        dones = over | truncated
        fresh, begun = jax.vmap(env.reset)(keys)
        states = jax.tree.map(lambda new, old: jnp.where(_along(dones, old), new, old), begun, states)
        observations = jnp.where(dones[:, None], fresh, finals)
        if scaling is not None:
            normalization = normalize.see(normalization, observations, scaling)
            observations, finals = (
                normalize.normalize(normalization.observations, x, scaling) for x in (observations, finals)
            )
            normalization, rewards = normalize.see_rewards(
                normalization, rewards, dones, numbers["return_gamma"], scaling
            )
        carry = observations, states, jnp.where(dones, 0, time), normalization
        return carry, (seen, actions, rewards, dones, truncated, finals)

    carry = lane.rollout.last, lane.environments, lane.time, lane.normalization
    (last, environments, time, normalization), steps = jax.lax.scan(step, carry, (drawn, resets))
    seen, actions, rewards, dones, truncated, finals = steps
    rollout = Rollout(seen, actions, rewards, dones, truncated, finals, last)
    return Lane(lane.learner, normalization, key, environments, time, rollout)


def learn(lane: Lane, shape: OnPolicy, numbers: Numbers, progress: Array) -> Lane:
    """Learn from the last rollout."""
    key, of_orders = jax.random.split(lane.key)
    # `jax.random.permutation` sorts two times or more, lest numbers that are drawn twice keep their order: of 16,384
    # steps that is a pair in every thirtieth order. Sorting takes a fifth of all learning there.
    drawn = jax.random.bits(of_orders, (shape.n_epochs, shape.steps))
    orders = jnp.argsort(drawn, axis=-1)
    learner = on_policy.update(lane.learner, lane.rollout, shape, numbers, progress, orders)
    return lane._replace(learner=learner, key=key)


def learn_all(lanes: Lane, shape: OnPolicy, numbers: Numbers, progress: Array, runs: Array) -> Lane:
    """Let the runs of a batch learn from their last rollouts.

    On a CPU one after the other: what a run learns from then stays in the processor's cache, and lanes without a run
    cost nothing. Elsewhere all at once.

    Args:
        lanes: their states.
        shape: of the program.
        numbers: name → Shape ``(lanes,)``.
        progress: what remains of training, from 1 to 0.
        runs: how many lanes have a run.
    """

    def one(lane: Lane, own: Numbers) -> Lane:
        return learn(lane, shape, own, progress)

    def at(run: Array, lanes: Lane) -> Lane:
        lane, own = jax.tree.map(lambda leaf: leaf[run], (lanes, numbers))
        learned: Lane = jax.tree.map(lambda leaf, new: leaf.at[run].set(new), lanes, one(lane, own))
        return learned

    learned: Lane = jax.lax.platform_dependent(
        lanes,
        cpu=lambda lanes: jax.lax.fori_loop(0, runs, at, lanes),
        default=lambda lanes: jax.vmap(one)(lanes, numbers),
    )
    return learned


@partial(jax.jit, static_argnames=("env", "shape", "scaling"), donate_argnames="lanes")
def advance(
    lanes: Lane,
    numbers: Numbers,
    done: Array,
    rollouts: Array,
    closing: Array,
    env_steps: Array,
    runs: Array,
    *,
    env: CompiledEnv,
    shape: OnPolicy,
    scaling: Scaling | None,
) -> Lane:
    """Train a batch of runs.

    Args:
        lanes: their states.
        numbers: name → Shape ``(lanes,)``.
        done: rollouts so far.
        rollouts: how many to add.
        closing: whether to learn from the last one too.
        env_steps: length of a full run, over which schedules go.
        runs: how many lanes have a run.
        env: the environment.
        shape: of the program.
        scaling: how to normalize, or None.
    """

    def body(index: Array, lanes: Lane) -> Lane:
        progress = 1.0 - (index * shape.steps) / env_steps
        lanes = jax.lax.cond(
            index > 0,
            lambda: learn_all(lanes, shape, numbers, progress, runs),
            lambda: lanes,
        )
        collected: Lane = jax.lax.cond(
            index < done + rollouts,
            lambda: jax.vmap(lambda lane, own: collect(lane, env, shape, scaling, own))(lanes, numbers),
            lambda: lanes,
        )
        return collected

    trained: Lane = jax.lax.fori_loop(done, done + rollouts + closing, body, lanes)
    return trained


def choose(
    lane: Lane, observations: Array, key: Array, *, shape: OnPolicy, scaling: Scaling | None, deterministic: bool
) -> Array:
    """Return the actions of an evaluation, as the environment takes them.

    Args:
        lane: the run.
        observations: Shape ``(episodes, features)``.
        key: what they are drawn from, unless they are deterministic.
        shape: of the program.
        scaling: how to normalize, or None.
        deterministic: whether to act by the policy's mode.
    """
    if scaling is not None:
        assert lane.normalization is not None
        observations = normalize.normalize(lane.normalization.observations, observations, scaling)
    drawn = 0.0 if deterministic else distributions.noise(key, shape.space, observations.shape[:-1])
    return distributions.playable(on_policy.act(lane.learner.policy, observations, shape, drawn), shape.space)


def _along(mask: Array, array: Array) -> Array:
    return mask.reshape(mask.shape + (1,) * (array.ndim - mask.ndim))
