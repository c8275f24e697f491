"""SAC, as `stable_baselines3.SAC` trains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from autorl.training.jax import distributions, networks, off_policy
from autorl.training.jax.distributions import ActionSpace
from autorl.training.jax.off_policy import Batch, Numbers
from autorl.training.jax.schedules import scheduled

Array = jax.Array

_LOG_STD = (-20.0, 2.0)
_EPSILON = 1e-6


@dataclass(frozen=True)
class Sac(off_policy.ActorCritic):
    """What a SAC program is compiled for.

    Attributes:
        auto_entropy: whether the entropy coefficient is learned.
    """

    auto_entropy: bool


class Noise(NamedTuple):
    """Normal noise for the actions on a batch's observations and on those that follow, ``(batch_size, actions)``."""

    current: Array
    following: Array


class Learner(NamedTuple):
    """What is learned, and the states of the optimizers.

    Attributes:
        actor: its network puts out means and then logarithms of standard deviations.
        critics: as `off_policy.critics`.
        target: moving averages of the critics.
        log_ent_coef: Shape ``(1,)``, logarithm of the entropy coefficient; empty if it is not learned.
        actor_optimizer: of the actor.
        critics_optimizer: of the critics.
        entropy_optimizer: of the entropy coefficient.
    """

    actor: networks.Network
    critics: networks.Network
    target: networks.Network
    log_ent_coef: Array
    actor_optimizer: Any
    critics_optimizer: Any
    entropy_optimizer: Any


def entropy_settings(
    ent_coef: str | float, target_entropy: str | float, space: ActionSpace
) -> tuple[bool, dict[str, float]]:
    """Return whether the entropy coefficient is learned, and the numbers `ent_coef` and `target_entropy`.

    Args:
        ent_coef: `auto`, `auto_` and what it begins with, or a number.
        target_entropy: `auto`, which is minus the number of actions, or a number.
        space: of the actions.

    Raises:
        ValueError: If a word is neither.
    """
    auto, first = str(ent_coef).startswith("auto"), 1.0
    if not auto:
        first = float(ent_coef)
    elif "_" in str(ent_coef):
        first = float(str(ent_coef).split("_")[1])
        if first <= 0.0:
            raise ValueError("The initial value of ent_coef must be greater than 0")
    wanted = -space.actions if target_entropy == "auto" else target_entropy
    return auto, {"ent_coef": first, "target_entropy": float(wanted)}


def begin(key: Array, shape: Sac, numbers: Numbers) -> Learner:
    """Return networks initialized as torch does, targets that are copies, and the first entropy coefficient.

    SB3's actor has a layer for the means and another for the standard deviations; the bounds that torch draws from
    depend on a layer's inputs alone, and Adam sees single numbers, so one layer of both is the same.
    """
    of_actor, of_critics = jax.random.split(key)
    actor = networks.uniform(of_actor, (shape.features, *shape.pi, 2 * shape.space.actions))
    critics = off_policy.critics(of_critics, shape)
    # A constant one has its place here too, so that a fork may learn it from there on.
    first = numbers["ent_coef"]
    log_ent_coef = jnp.full(1, jnp.where(first > 0.0, jnp.log(first), 0.0))
    init = off_policy.ADAM.init
    return Learner(actor, critics, critics, log_ent_coef, init(actor), init(critics), init(log_ent_coef))


def noise(key: Array, shape: Sac) -> Noise:
    """Draw what `update` needs."""
    return Noise(*jax.random.normal(key, (2, shape.batch_size, shape.space.actions)))


def act(learner: Learner, observations: Array, shape: Sac, numbers: Numbers, drawn: Array) -> Array:
    """Return actions sampled from the policy; `drawn` is of `distributions.noise`, shape ``(n_envs, actions)``."""
    mean, log_std = _outputs(learner.actor, observations, shape)
    return jnp.tanh(distributions.sample(mean, log_std, shape.space, drawn))


def mode(learner: Learner, observations: Array, shape: Sac) -> Array:
    """Return the squashed means, of shape ``(..., actions)``."""
    return jnp.tanh(_outputs(learner.actor, observations, shape)[0])


def update(
    learner: Learner, batch: Batch, shape: Sac, numbers: Numbers, progress: Array, index: Array, drawn: Noise
) -> Learner:
    """Take one gradient step with the critics, then the actor and the entropy coefficient.

    SB3 steps the coefficient first, but all three losses are of the coefficient before its step, and the coefficient's
    is of the actor before its step; the actor's is of the critics after theirs.

    Args:
        learner: what was learned so far.
        batch: transitions.
        shape: of the program.
        numbers: of the run: `learning_rate`, `gamma`, `tau`, `target_update_interval`, `ent_coef` (the first one, if
            it is learned), `target_entropy`.
        progress: what remains of training, from 1 to 0.
        index: of the step in this call of SB3's `train`, from 0; targets move at multiples of the interval.
        drawn: of `noise`.
    """
    rate = scheduled("learning_rate", numbers, progress)
    ent_coef = jnp.exp(learner.log_ent_coef[0]) if shape.auto_entropy else numbers["ent_coef"]
    next_actions, next_log_prob = _sampled(learner.actor, batch.following, shape, drawn.following)
    following = off_policy.q_values(learner.target, batch.following, next_actions, shape).min(axis=0)
    targets = off_policy.bootstrapped(batch, following - ent_coef * next_log_prob, numbers)
    gradients = jax.grad(_critic_loss)(learner.critics, batch, targets, shape)
    critics, critics_optimizer = off_policy.step(learner.critics, gradients, learner.critics_optimizer, rate)

    of_actor = jax.grad(_actor_loss, has_aux=True)
    gradients, log_prob = of_actor(learner.actor, critics, ent_coef, batch.observations, shape, drawn.current)
    actor, actor_optimizer = off_policy.step(learner.actor, gradients, learner.actor_optimizer, rate)

    # The coefficient's loss is -log alpha (log pi + target), linear in log alpha.
    log_ent_coef, entropy_optimizer = learner.log_ent_coef, learner.entropy_optimizer
    if shape.auto_entropy:
        slope = jnp.broadcast_to(-jnp.mean(log_prob + numbers["target_entropy"]), log_ent_coef.shape)
        log_ent_coef, entropy_optimizer = off_policy.step(log_ent_coef, slope, entropy_optimizer, rate)

    moved = networks.polyak(learner.target, critics, numbers["tau"])
    due = index % numbers["target_update_interval"] == 0
    target = jax.tree.map(lambda new, old: jnp.where(due, new, old), moved, learner.target)
    return Learner(actor, critics, target, log_ent_coef, actor_optimizer, critics_optimizer, entropy_optimizer)


def _outputs(actor: networks.Network, observations: Array, shape: Sac) -> tuple[Array, Array]:
    mean, log_std = jnp.split(networks.apply(actor, observations, shape.activation), 2, axis=-1)
    return mean, jnp.clip(log_std, *_LOG_STD)


def _sampled(actor: networks.Network, observations: Array, shape: Sac, drawn: Array) -> tuple[Array, Array]:
    """Return actions and the logarithms of their densities (Haarnoja et al. 2018, arXiv 1812.05905, equation 26)."""
    mean, log_std = _outputs(actor, observations, shape)
    unsquashed = distributions.sample(mean, log_std, shape.space, drawn)
    log_prob, _ = distributions.log_prob_and_entropy(mean, log_std, unsquashed, shape.space)
    # 1 - tanh(u)^2 without its cancellation: where tanh nears 1, torch and XLA round it to different numbers.
    slopes = 4.0 * jax.nn.sigmoid(2.0 * unsquashed) * jax.nn.sigmoid(-2.0 * unsquashed)
    return jnp.tanh(unsquashed), log_prob - jnp.sum(jnp.log(slopes + _EPSILON), axis=-1)


def _critic_loss(critics: networks.Network, batch: Batch, targets: Array, shape: Sac) -> Array:
    """Equation 5 there, for all critics."""
    return 0.5 * off_policy.squared_errors(critics, batch, targets, shape)


def _actor_loss(
    actor: networks.Network, critics: networks.Network, ent_coef: Array, observations: Array, shape: Sac, drawn: Array
) -> tuple[Array, Array]:
    """Equation 9 there with the least of the critics, and the logarithms of the actions' densities."""
    actions, log_prob = _sampled(actor, observations, shape, drawn)
    least = off_policy.q_values(critics, observations, actions, shape).min(axis=0)
    return jnp.mean(ent_coef * log_prob - least), log_prob
