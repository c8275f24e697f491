"""DQN, as `stable_baselines3.DQN` trains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from autorl.training.jax import networks, off_policy
from autorl.training.jax.off_policy import Batch, Numbers
from autorl.training.jax.schedules import scheduled

Array = jax.Array


@dataclass(frozen=True)
class Dqn(off_policy.OffPolicy):
    """What a DQN program is compiled for.

    Attributes:
        hidden: hidden layers of the network.
    """

    hidden: tuple[int, ...]


class Learner(NamedTuple):
    """The network, the network that its targets are of, and the optimizer's state."""

    q: networks.Network
    target: networks.Network
    optimizer: Any


def begin(key: Array, shape: Dqn, numbers: Numbers) -> Learner:
    """Return a network initialized as torch does, and a target that is its copy."""
    q = networks.uniform(key, (shape.features, *shape.hidden, shape.space.outputs))
    return Learner(q, q, off_policy.ADAM.init(q))


def noise(key: Array, shape: Dqn) -> tuple[()]:
    """Return what `update` draws, which is nothing."""
    return ()


def act(learner: Learner, observations: Array, shape: Dqn, numbers: Numbers, drawn: Any) -> Array:
    """Return the greedy actions; exploration is added to them."""
    return mode(learner, observations, shape)


def mode(learner: Learner, observations: Array, shape: Dqn) -> Array:
    """Return the greedy actions, of shape ``(..., 1)``."""
    return jnp.argmax(networks.apply(learner.q, observations, shape.activation), axis=-1, keepdims=True)


def update(
    learner: Learner, batch: Batch, shape: Dqn, numbers: Numbers, progress: Array, index: Array, drawn: tuple[()]
) -> Learner:
    """Take one gradient step.

    Args:
        learner: what was learned so far.
        batch: transitions; actions are integers.
        shape: of the program.
        numbers: of the run: `learning_rate`, `gamma`, `max_grad_norm`.
        progress: what remains of training, from 1 to 0.
        index: of no use here.
        drawn: of `noise`.
    """
    following = jnp.max(networks.apply(learner.target, batch.following, shape.activation), axis=-1)
    targets = off_policy.bootstrapped(batch, following, numbers)
    gradients = networks.clip_by_global_norm(
        jax.grad(_loss)(learner.q, batch, targets, shape), numbers["max_grad_norm"]
    )
    rate = scheduled("learning_rate", numbers, progress)
    q, optimizer = off_policy.step(learner.q, gradients, learner.optimizer, rate)
    return Learner(q, learner.target, optimizer)


def sync(learner: Learner, numbers: Numbers) -> Learner:
    """Move the target towards the network; SB3 does it by environment steps, not by gradient steps."""
    return learner._replace(target=networks.polyak(learner.target, learner.q, numbers["tau"]))


def _loss(q: networks.Network, batch: Batch, targets: Array, shape: Dqn) -> Array:
    """Mnih et al. (2015, doi 10.1038/nature14236), equation 1, with Huber's loss (torch's smooth L1)."""
    values = networks.apply(q, batch.observations, shape.activation)
    chosen = jnp.take_along_axis(values, batch.actions.astype(jnp.int32), axis=-1)[..., 0]
    return jnp.mean(optax.huber_loss(chosen, targets))
