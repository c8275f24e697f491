"""TD3, as `stable_baselines3.TD3` trains it; DDPG is the same with one critic, no delay and no smoothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from autorl.training.jax import networks, off_policy
from autorl.training.jax.off_policy import Batch, Numbers
from autorl.training.jax.schedules import scheduled

Array = jax.Array


@dataclass(frozen=True)
class Td3(off_policy.ActorCritic):
    """What a TD3 program is compiled for."""


class Learner(NamedTuple):
    """What is learned, and the states of the optimizers.

    Attributes:
        actor: its outputs are squashed.
        critics: as `off_policy.critics`.
        actor_target: moving averages of the actor.
        critics_target: moving averages of the critics.
        actor_optimizer: of the actor.
        critics_optimizer: of the critics.
        n_updates: gradient steps so far; the actor takes every `policy_delay`-th.
    """

    actor: networks.Network
    critics: networks.Network
    actor_target: networks.Network
    critics_target: networks.Network
    actor_optimizer: Any
    critics_optimizer: Any
    n_updates: Array


def begin(key: Array, shape: Td3, numbers: Numbers) -> Learner:
    """Return networks initialized as torch does, and targets that are copies."""
    of_actor, of_critics = jax.random.split(key)
    actor = networks.uniform(of_actor, (shape.features, *shape.pi, shape.space.actions))
    critics = off_policy.critics(of_critics, shape)
    init = off_policy.ADAM.init
    return Learner(actor, critics, actor, critics, init(actor), init(critics), jnp.asarray(0))


def noise(key: Array, shape: Td3) -> Array:
    """Draw what `update` needs: normal noise that smooths the targets, of shape ``(batch_size, actions)``."""
    return jax.random.normal(key, (shape.batch_size, shape.space.actions))


def act(learner: Learner, observations: Array, shape: Td3, numbers: Numbers, drawn: Any) -> Array:
    """Return the actor's actions; action noise is added to them."""
    return mode(learner, observations, shape)


def mode(learner: Learner, observations: Array, shape: Td3) -> Array:
    """Return the actor's actions, of shape ``(..., actions)``."""
    return _actions(learner.actor, observations, shape)


def update(
    learner: Learner, batch: Batch, shape: Td3, numbers: Numbers, progress: Array, index: Array, drawn: Array
) -> Learner:
    """Take one gradient step with the critics and, if it is due, with the actor; the targets move with the actor.

    Args:
        learner: what was learned so far.
        batch: transitions.
        shape: of the program.
        numbers: of the run: `learning_rate`, `gamma`, `tau`, `policy_delay`, `target_policy_noise`,
            `target_noise_clip`.
        progress: what remains of training, from 1 to 0.
        index: of no use here.
        drawn: of `noise`.
    """
    rate, n_updates = scheduled("learning_rate", numbers, progress), learner.n_updates + 1
    largest = numbers["target_noise_clip"]
    smoothing = jnp.clip(numbers["target_policy_noise"] * drawn, -largest, largest)
    next_actions = jnp.clip(_actions(learner.actor_target, batch.following, shape) + smoothing, -1.0, 1.0)
    following = off_policy.q_values(learner.critics_target, batch.following, next_actions, shape).min(axis=0)
    targets = off_policy.bootstrapped(batch, following, numbers)
    # Fujimoto et al. (2018, arXiv 1802.09477), algorithm 1.
    gradients = jax.grad(off_policy.squared_errors)(learner.critics, batch, targets, shape)
    critics, critics_optimizer = off_policy.step(learner.critics, gradients, learner.critics_optimizer, rate)
    moved = learner.actor, learner.actor_target, learner.critics_target, learner.actor_optimizer

    def learn_policy() -> Any:
        gradients = jax.grad(_actor_loss)(learner.actor, critics, batch.observations, shape)
        actor, actor_optimizer = off_policy.step(learner.actor, gradients, learner.actor_optimizer, rate)
        targets = networks.polyak((learner.actor_target, learner.critics_target), (actor, critics), numbers["tau"])
        return actor, *targets, actor_optimizer

    due = n_updates % numbers["policy_delay"] == 0
    actor, actor_target, critics_target, actor_optimizer = jax.lax.cond(due, learn_policy, lambda: moved)
    return Learner(actor, critics, actor_target, critics_target, actor_optimizer, critics_optimizer, n_updates)


def _actions(actor: networks.Network, observations: Array, shape: Td3) -> Array:
    return jnp.tanh(networks.apply(actor, observations, shape.activation))


def _actor_loss(actor: networks.Network, critics: networks.Network, observations: Array, shape: Td3) -> Array:
    """Return minus what the first critic expects of the actor's actions."""
    first = jax.tree.map(lambda x: x[:1], critics)
    return -jnp.mean(off_policy.q_values(first, observations, _actions(actor, observations, shape), shape))
