"""The loop of DQN, SAC and TD3: act, remember, learn from what is remembered, `lanes` runs at a time.

As in `rollouts`, learning from the last steps waits until the next are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from autorl.training.jax import distributions, dqn, normalize, off_policy, sac, td3
from autorl.training.jax.distributions import ActionSpace
from autorl.training.jax.dqn import Dqn
from autorl.training.jax.environments import CompiledEnv
from autorl.training.jax.normalize import Normalization, Scaling
from autorl.training.jax.off_policy import Batch, Numbers, OffPolicy
from autorl.training.jax.sac import Sac
from autorl.training.jax.td3 import Td3

Array = jax.Array

_MODULES: Mapping[type[OffPolicy], ModuleType] = {Dqn: dqn, Sac: sac, Td3: td3}


@dataclass(frozen=True)
class Replay:
    """What a program is compiled for.

    Attributes:
        agent: what learns.
        capacity: steps of each environment that are remembered.
        learning_starts: environment steps with random actions before learning.
        train_freq: steps of each environment between two times of learning.
        gradient_steps: how many are taken then.
        sync_every: steps of each environment between two updates of DQN's target network; 0 for the others.
    """

    agent: OffPolicy
    capacity: int
    learning_starts: int
    train_freq: int
    gradient_steps: int
    sync_every: int

    @property
    def features(self) -> int:
        """Size of an observation."""
        return self.agent.features

    @property
    def space(self) -> ActionSpace:
        """The actions."""
        return self.agent.space

    @property
    def n_envs(self) -> int:
        """Training environments of a run."""
        return self.agent.n_envs

    @property
    def steps(self) -> int:
        """Environment steps between two times of learning."""
        return self.train_freq * self.n_envs

    @property
    def module(self) -> Any:
        """The algorithm."""
        return _MODULES[type(self.agent)]


class Lane(NamedTuple):
    """The state of one run; arrays of a batch have the lanes in front.

    Attributes:
        learner: what it has learned.
        normalization: what it is normalized by; None if it is not.
        key: what its randomness is drawn from.
        environments: states of its environments.
        time: Shape ``(n_envs,)``, steps of their episodes.
        observations: Shape ``(n_envs, features)``, the last ones, not normalized.
        memory: transitions, of shape ``(capacity, n_envs, ...)``, neither normalized.
    """

    learner: Any
    normalization: Normalization | None
    key: Array
    environments: Any
    time: Array
    observations: Array
    memory: Batch


def begin(
    network: Array, environment: Array, env: CompiledEnv, shape: Replay, scaling: Scaling | None, numbers: Numbers
) -> Lane:
    """Return the state of a run before its first step; see `rollouts.begin`."""
    observations, environments = jax.vmap(env.reset)(jax.random.split(environment, shape.n_envs))
    return first(network, observations, environments, shape, scaling, numbers)


def first(
    network: Array, observations: Array, environments: Any, shape: Replay, scaling: Scaling | None, numbers: Numbers
) -> Lane:
    """Return the state of a run whose environments have begun; see `rollouts.first`."""
    of_networks, key = jax.random.split(network)
    normalization = None
    if scaling is not None:
        normalization = normalize.see(normalize.begin(shape.features, shape.n_envs), observations, scaling)
    wide = shape.capacity, shape.n_envs
    memory = Batch(
        observations=jnp.zeros((*wide, shape.features)),
        actions=jnp.zeros((*wide, shape.space.actions), jnp.int32 if shape.space.discrete else jnp.float32),
        rewards=jnp.zeros(wide),
        dones=jnp.zeros(wide),
        following=jnp.zeros((*wide, shape.features)),
    )
    learner = shape.module.begin(of_networks, shape.agent, numbers)
    time = jnp.zeros(shape.n_envs, jnp.int32)
    return Lane(learner, normalization, key, environments, time, observations, memory)


def explore(
    lane: Lane, shape: Replay, scaling: Scaling | None, numbers: Numbers, count: Array, progress: Array
) -> tuple[Array, Array]:
    """Choose actions as SB3's `_sample_action` does.

    Args:
        lane: the run.
        shape: of the program.
        scaling: how to normalize, or None.
        numbers: of the run.
        count: steps of each environment so far.
        progress: what remains of training, from 1 to 0.

    Returns:
        The run's new key, and actions as they are remembered: integers, or floats in [-1, 1].
    """
    key, of_random, of_act, of_noise, of_chance = jax.random.split(lane.key, 5)
    space, size = shape.space, (shape.n_envs, shape.space.actions)
    observations = _normalized(lane.normalization, lane.observations, scaling)
    drawn = distributions.noise(of_act, space, (shape.n_envs,)) if not space.discrete else ()
    chosen = shape.module.act(lane.learner, observations, shape.agent, numbers, drawn)
    warming = count * shape.n_envs < shape.learning_starts
    if space.discrete:
        random = jax.random.randint(of_random, size, 0, space.choices[0])
        # One draw for all environments, as in SB3; its rate is 0 until the first step is over.
        rate = jnp.where(count > 0, off_policy.exploration_rate(numbers, progress), 0.0)
        warming |= jax.random.uniform(of_chance) < rate
    else:
        random = jax.random.uniform(of_random, size, minval=-1.0, maxval=1.0)
        noisy = jnp.where(warming, random, chosen) + numbers["noise_std"] * jax.random.normal(of_noise, size)
        return key, jnp.clip(noisy, -1.0, 1.0)
    return key, jnp.where(warming, random, chosen)


def remember(
    lane: Lane,
    shape: Replay,
    scaling: Scaling | None,
    numbers: Numbers,
    count: Array,
    transition: Batch,
    ended: Array,
    observations: Array,
) -> Lane:
    """Take note of a step.

    Args:
        lane: the run, before the step.
        shape: of the program.
        scaling: how to normalize, or None.
        numbers: of the run.
        count: steps of each environment before this one.
        transition: of each environment, arrays of shape ``(n_envs, ...)``.
        ended: Shape ``(n_envs,)``, whether the episode ended, in whatever way.
        observations: Shape ``(n_envs, features)``, what is seen next.
    """
    at = count % shape.capacity
    memory = Batch(*(kept.at[at].set(new) for kept, new in zip(lane.memory, transition, strict=True)))
    normalization, learner = lane.normalization, lane.learner
    if scaling is not None:
        assert normalization is not None
        normalization = normalize.see(normalization, observations, scaling)
        gamma = numbers["return_gamma"]
        normalization, _ = normalize.see_rewards(normalization, transition.rewards, ended, gamma, scaling)
    if shape.sync_every:
        due = (count + 1) % shape.sync_every == 0
        learner = jax.lax.cond(due, lambda: shape.module.sync(learner, numbers), lambda: learner)
    return lane._replace(learner=learner, normalization=normalization, observations=observations, memory=memory)


def learn(
    lane: Lane, shape: Replay, scaling: Scaling | None, numbers: Numbers, count: Array, progress: Array
) -> tuple[Any, Array]:
    """Take the gradient steps that are due after `count` steps of each environment; return the learner and a key."""

    def step(index: Array, carry: tuple[Any, Array]) -> tuple[Any, Array]:
        learner, key = carry
        key, of_rows, of_envs, of_noise = jax.random.split(key, 4)
        batch_size = shape.agent.batch_size
        rows = jax.random.randint(of_rows, (batch_size,), 0, jnp.minimum(count, shape.capacity))
        envs = jax.random.randint(of_envs, (batch_size,), 0, shape.n_envs)
        batch = Batch(*(kept[rows, envs] for kept in lane.memory))
        if scaling is not None:
            assert lane.normalization is not None
            batch = batch._replace(
                observations=_normalized(lane.normalization, batch.observations, scaling),
                following=_normalized(lane.normalization, batch.following, scaling),
                rewards=normalize.scale_rewards(lane.normalization.returns, batch.rewards, scaling),
            )
        drawn = shape.module.noise(of_noise, shape.agent)
        return shape.module.update(learner, batch, shape.agent, numbers, progress, index, drawn), key

    learned: tuple[Any, Array] = jax.lax.fori_loop(0, shape.gradient_steps, step, (lane.learner, lane.key))
    return learned


def step(
    lane: Lane,
    env: CompiledEnv,
    shape: Replay,
    scaling: Scaling | None,
    numbers: Numbers,
    count: Array,
    progress: Array,
) -> Lane:
    """Act once in each environment, and remember it."""
    key, actions = explore(lane, shape, scaling, numbers, count, progress)
    key, of_resets = jax.random.split(key)
    finals, states, rewards, over = jax.vmap(env.step)(lane.environments, played(actions, shape.space))
    time = lane.time + 1
    dones = over | (time >= env.limit)
    fresh, begun = jax.vmap(env.reset)(jax.random.split(of_resets, shape.n_envs))
    states = jax.tree.map(
        lambda new, old: jnp.where(dones.reshape(dones.shape + (1,) * (old.ndim - 1)), new, old), begun, states
    )
    transition = Batch(lane.observations, actions, rewards, over.astype(jnp.float32), finals)
    observations = jnp.where(dones[:, None], fresh, finals)
    lane = lane._replace(key=key, environments=states, time=jnp.where(dones, 0, time))
    return remember(lane, shape, scaling, numbers, count, transition, dones, observations)


@partial(jax.jit, static_argnames=("env", "shape", "scaling"), donate_argnames="lanes")
def advance(
    lanes: Lane,
    numbers: Numbers,
    done: Array,
    times: Array,
    closing: Array,
    env_steps: Array,
    *,
    env: CompiledEnv,
    shape: Replay,
    scaling: Scaling | None,
) -> Lane:
    """Train a batch of runs; see `rollouts.advance`."""

    def body(index: Array, lanes: Lane) -> Lane:
        count = index * shape.train_freq
        lanes = learned(lanes, shape, scaling, numbers, count, env_steps)

        def once(offset: Array, lanes: Lane) -> Lane:
            now = count + offset
            progress = 1.0 - now * shape.n_envs / env_steps
            return jax.vmap(lambda lane, own: step(lane, env, shape, scaling, own, now, progress))(lanes, numbers)

        steps = jnp.where(index < done + times, shape.train_freq, 0)
        acted: Lane = jax.lax.fori_loop(0, steps, once, lanes)
        return acted

    trained: Lane = jax.lax.fori_loop(done, done + times + closing, body, lanes)
    return trained


def learned(
    lanes: Lane, shape: Replay, scaling: Scaling | None, numbers: Numbers, count: Array, env_steps: Array
) -> Lane:
    """Return a batch that has learned, if it is time to, after `count` steps of each environment."""
    progress = 1.0 - count * shape.n_envs / env_steps
    # What is remembered stays outside of the condition: XLA would copy it.
    learner, key = jax.lax.cond(
        count * shape.n_envs > shape.learning_starts,
        lambda: _each(lambda lane, own: learn(lane, shape, scaling, own, count, progress), lanes, numbers),
        lambda: (lanes.learner, lanes.key),
    )
    return lanes._replace(learner=learner, key=key)


def _each(function: Callable[[Lane, Numbers], Any], lanes: Lane, numbers: Numbers) -> Any:
    """Map over the lanes; a single one by itself, since what is mapped computes both sides of every condition.

    TD3's delayed learning of the policy is one.
    """
    if len(lanes.key) > 1:
        return jax.vmap(function)(lanes, numbers)
    return jax.tree.map(lambda leaf: leaf[None], function(*jax.tree.map(lambda leaf: leaf[0], (lanes, numbers))))


def played(actions: Array, space: ActionSpace) -> Array:
    """Return actions as the environment takes them."""
    return actions if space.discrete else off_policy.unscale(actions, space)


def choose(
    lane: Lane, observations: Array, key: Array, *, shape: Replay, scaling: Scaling | None, deterministic: bool
) -> Array:
    """Return the actions of an evaluation, as the environment takes them; see `rollouts.choose`."""
    observations = _normalized(lane.normalization, observations, scaling)
    if deterministic or not isinstance(shape.agent, Sac):
        actions = shape.module.mode(lane.learner, observations, shape.agent)
    else:
        drawn = distributions.noise(key, shape.space, observations.shape[:-1])
        actions = shape.module.act(lane.learner, observations, shape.agent, {}, drawn)
    return played(actions, shape.space)


def _normalized(state: Normalization | None, observations: Array, scaling: Scaling | None) -> Array:
    if scaling is None:
        return observations
    assert state is not None
    return normalize.normalize(state.observations, observations, scaling)
