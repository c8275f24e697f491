"""What DQN, SAC and TD3 share: the batches they learn from, critics, optimizers, and how they explore.

`Dqn`, `Sac` and `Td3` have the same doors in their modules: `begin`, `noise`, `update`, which is one gradient step of
SB3's `train`, `act` and `mode`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from autorl.training.jax import networks
from autorl.training.jax.distributions import ActionSpace

Array = jax.Array
Numbers = dict[str, Array]

ADAM = optax.scale_by_adam(eps=1e-8)
"""SB3's optimizer for all three, as torch sets it; the learning rate is applied apart."""


@dataclass(frozen=True)
class OffPolicy:
    """What a program is compiled for; what else a recipe sets are its numbers.

    Attributes:
        features: size of an observation.
        space: of the actions.
        activation: key of `networks.ACTIVATIONS`.
        n_envs: training environments of a run.
        batch_size: of a minibatch.
    """

    features: int
    space: ActionSpace
    activation: str
    n_envs: int
    batch_size: int


@dataclass(frozen=True)
class ActorCritic(OffPolicy):
    """What SAC and TD3 share.

    Attributes:
        pi: hidden layers of the actor.
        qf: hidden layers of each critic.
        n_critics: how many critics there are.
    """

    pi: tuple[int, ...]
    qf: tuple[int, ...]
    n_critics: int


class Batch(NamedTuple):
    """Transitions out of the replay memory.

    Attributes:
        observations: Shape ``(batch_size, features)``.
        actions: Shape ``(batch_size, actions)``; integers, or floats in [-1, 1].
        rewards: Shape ``(batch_size,)``.
        dones: Shape ``(batch_size,)``, 1 where a terminal state was reached, and 0 also where time ran out.
        following: Shape ``(batch_size, features)``, the observations after the actions.
    """

    observations: Array
    actions: Array
    rewards: Array
    dones: Array
    following: Array


def step(parameters: Any, gradients: Any, state: Any, rate: Array) -> tuple[Any, Any]:
    """Take a step of Adam and return the parameters and the optimizer's state after it."""
    updates, state = ADAM.update(gradients, state)
    return jax.tree.map(lambda p, u: p - rate * u, parameters, updates), state


def critics(key: Array, shape: ActorCritic) -> networks.Network:
    """Return the critics as one network, whose arrays have an axis of ``n_critics`` before their own."""
    sizes = (shape.features + shape.space.actions, *shape.qf, 1)
    return jax.vmap(lambda k: networks.uniform(k, sizes))(jax.random.split(key, shape.n_critics))


def q_values(several: networks.Network, observations: Array, actions: Array, shape: ActorCritic) -> Array:
    """Return what each critic expects, of shape ``(n_critics, batch_size)``."""
    inputs = jnp.concatenate([observations, actions], axis=-1)
    return jax.vmap(lambda one: networks.apply(one, inputs, shape.activation))(several)[..., 0]


def squared_errors(several: networks.Network, batch: Batch, targets: Array, shape: ActorCritic) -> Array:
    """Return the sum, over the critics, of their mean squared errors."""
    errors = q_values(several, batch.observations, batch.actions, shape) - targets
    return jnp.sum(jnp.mean(errors**2, axis=-1))


def bootstrapped(batch: Batch, following: Array, numbers: Numbers) -> Array:
    """Return r + gamma (1 - done) V', of shape ``(batch_size,)``, where V' are the values that follow."""
    return batch.rewards + (1.0 - batch.dones) * numbers["gamma"] * following


def exploration_rate(numbers: Numbers, progress: Array) -> Array:
    """Return the probability of a random action, SB3's `LinearSchedule`; `progress` goes from 1 to 0."""
    start, end, fraction = (numbers[f"exploration_{name}"] for name in ("initial_eps", "final_eps", "fraction"))
    passed = 1.0 - progress
    return jnp.where(passed > fraction, end, start + passed * (end - start) / fraction)


def unscale(actions: Array, space: ActionSpace) -> Array:
    """Return actions in [-1, 1] as the environment takes them, SB3's `unscale_action`."""
    low, high = jnp.asarray(space.low), jnp.asarray(space.high)
    return low + 0.5 * (actions + 1.0) * (high - low)
