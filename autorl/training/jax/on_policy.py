"""PPO and A2C, as `stable_baselines3.PPO.train` and `A2C.train` update them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from autorl.training.jax import distributions, networks
from autorl.training.jax.distributions import ActionSpace
from autorl.training.jax.schedules import scheduled

Array = jax.Array
Numbers = dict[str, Array]


@dataclass(frozen=True)
class OnPolicy:
    """What a PPO or A2C program is compiled for; what else a recipe sets are its numbers.

    Attributes:
        features: size of an observation.
        space: of the actions.
        pi: hidden layers of the policy.
        vf: hidden layers of the value function.
        activation: key of `networks.ACTIVATIONS`.
        ortho_init: whether networks are initialized orthogonally.
        n_envs: training environments of a run.
        n_steps: steps of a rollout in each of them.
        batch_size: of a minibatch; a rollout's last may be smaller.
        n_epochs: how often a rollout is used; 0 for A2C, which uses it once and as a whole.
        rms_prop: whether A2C's RMSprop takes the steps instead of Adam.
        normalize_advantage: whether advantages are normalized in each minibatch.
        clip_values: whether the value function's change is clipped (`clip_range_vf`).
        stops_early: whether updates end when the policy has changed too much (`target_kl`).
    """

    features: int
    space: ActionSpace
    pi: tuple[int, ...]
    vf: tuple[int, ...]
    activation: str
    ortho_init: bool
    n_envs: int
    n_steps: int
    batch_size: int
    n_epochs: int
    rms_prop: bool
    normalize_advantage: bool
    clip_values: bool
    stops_early: bool

    @property
    def steps(self) -> int:
        """Environment steps of a rollout."""
        return self.n_envs * self.n_steps


class Policy(NamedTuple):
    """Networks of the policy and of the value function; `log_std` is empty for discrete actions."""

    pi: networks.Network
    vf: networks.Network
    log_std: Array


class Learner(NamedTuple):
    """What is learned, and the optimizer's state."""

    policy: Policy
    optimizer: Any


class Rollout(NamedTuple):
    """What an agent went through, n_steps in n_envs environments.

    Attributes:
        observations: Shape ``(n_steps, n_envs, features)``, what it acted on.
        actions: Shape ``(n_steps, n_envs, actions)``, as sampled.
        rewards: Shape ``(n_steps, n_envs)``.
        dones: Shape ``(n_steps, n_envs)``, whether the episode ended with the step.
        truncated: Shape ``(n_steps, n_envs)``, whether it ended without a terminal state.
        finals: Shape ``(n_steps, n_envs, features)``, the last observation of the episodes that ended.
        last: Shape ``(n_envs, features)``, the observations after the rollout.
    """

    observations: Array
    actions: Array
    rewards: Array
    dones: Array
    truncated: Array
    finals: Array
    last: Array


def optimizer(shape: OnPolicy, numbers: Numbers) -> optax.GradientTransformation:
    """Return Adam with SB3's epsilon of 1e-5, or `torch.optim.RMSprop`; the learning rate is applied apart."""
    if shape.rms_prop:
        return optax.scale_by_rms(decay=0.99, eps=numbers["rms_prop_eps"], eps_in_sqrt=False)
    return optax.scale_by_adam(eps=1e-5)


def begin(key: Array, shape: OnPolicy, numbers: Numbers) -> Learner:
    """Return networks initialized as `ActorCriticPolicy` does: gain 0.01 for the actions and 1 for the value."""
    of_pi, of_vf = jax.random.split(key)
    pi, vf = (shape.features, *shape.pi, shape.space.outputs), (shape.features, *shape.vf, 1)
    nets = (
        (networks.orthogonal(of_pi, pi, 0.01), networks.orthogonal(of_vf, vf, 1.0))
        if shape.ortho_init
        else (networks.uniform(of_pi, pi), networks.uniform(of_vf, vf))
    )
    log_std = jnp.full(0 if shape.space.discrete else shape.space.outputs, numbers["log_std_init"])
    policy = Policy(*nets, log_std)
    return Learner(policy, optimizer(shape, numbers).init(policy))


def act(policy: Policy, observations: Array, shape: OnPolicy, drawn: Array | float) -> Array:
    """Return actions, of shape ``(..., actions)``; `drawn` is of `distributions.noise`, or 0 for the mode."""
    outputs = networks.apply(policy.pi, observations, shape.activation)
    return distributions.sample(outputs, policy.log_std, shape.space, jnp.asarray(drawn))


def values(policy: Policy, observations: Array, shape: OnPolicy) -> Array:
    """Return the value function, of shape ``(...)``."""
    return networks.apply(policy.vf, observations, shape.activation)[..., 0]


def generalized_advantages(rewards: Array, known: Array, last: Array, dones: Array, numbers: Numbers) -> Array:
    """Return A_t = delta_t + gamma lambda A_t+1 (1 - done_t), delta_t = r_t + gamma V_t+1 (1 - done_t) - V_t.

    Schulman et al. (2016, arXiv 1506.02438), equation 16, as SB3's `compute_returns_and_advantage`.

    Args:
        rewards: Shape ``(n_steps, n_envs)``.
        known: Shape ``(n_steps, n_envs)``, the values V_t.
        last: Shape ``(n_envs,)``, the values after the last step.
        dones: Shape ``(n_steps, n_envs)``.
        numbers: for `gamma` and `gae_lambda`.
    """
    gamma, gae_lambda = numbers["gamma"], numbers["gae_lambda"]

    def back(carry: tuple[Array, Array], step: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], Array]:
        advantage, following = carry
        reward, value, done = step
        delta = reward + gamma * following * (1.0 - done) - value
        advantage = delta + gamma * gae_lambda * (1.0 - done) * advantage
        return (advantage, value), advantage

    steps = (rewards, known, dones.astype(jnp.float32))
    return jax.lax.scan(back, (jnp.zeros_like(last), last), steps, reverse=True)[1]


def update(
    learner: Learner, rollout: Rollout, shape: OnPolicy, numbers: Numbers, progress: Array, orders: Array
) -> Learner:
    """Learn from a rollout.

    Args:
        learner: what was learned so far.
        rollout: what the policy went through.
        shape: of the program.
        numbers: of the run.
        progress: what remains of training, from 1 to 0; schedules follow it.
        orders: Shape ``(n_epochs, n_steps * n_envs)``, a permutation for each epoch; the rollout's steps are numbered
            environment by environment. Of no use to A2C.
    """
    policy = learner.policy
    known = values(policy, rollout.observations, shape)
    beyond = numbers["gamma"] * rollout.truncated * values(policy, rollout.finals, shape)
    last = values(policy, rollout.last, shape)
    advantages = generalized_advantages(rollout.rewards + beyond, known, last, rollout.dones, numbers)
    outputs = networks.apply(policy.pi, rollout.observations, shape.activation)
    likely, _ = distributions.log_prob_and_entropy(outputs, policy.log_std, rollout.actions, shape.space)
    data = jax.tree.map(
        lambda x: x.swapaxes(0, 1).reshape(shape.steps, *x.shape[2:]),
        (rollout.observations, rollout.actions, likely, known, advantages, advantages + known),
    )
    rate = scheduled("learning_rate", numbers, progress)
    if shape.n_epochs == 0:
        gradients = jax.grad(_a2c_loss)(policy, data, shape, numbers)
        return _step(learner, gradients, shape, numbers, rate)
    clips = scheduled("clip_range", numbers, progress), scheduled("clip_range_vf", numbers, progress)

    def learn(carry: tuple[Learner, Array], batch: Any) -> tuple[tuple[Learner, Array], None]:
        now, going = carry
        gradients, divergence = jax.grad(_ppo_loss, has_aux=True)(now.policy, batch, shape, numbers, clips)
        then = _step(now, gradients, shape, numbers, rate)
        if not shape.stops_early:
            return (then, going), None
        going &= ~(divergence > 1.5 * numbers["target_kl"])  # what is not a number stops nothing, as in SB3
        return (jax.tree.map(lambda a, b: jnp.where(going, a, b), then, now), going), None

    def epoch(carry: tuple[Learner, Array], order: Array) -> tuple[tuple[Learner, Array], None]:
        if shape.batch_size >= shape.steps:  # one batch of everything, in whatever order
            return learn(carry, data)
        whole = shape.steps - shape.steps % shape.batch_size
        shuffled = jax.tree.map(lambda x: x[order], data)
        batches = jax.tree.map(lambda x: x[:whole].reshape(-1, shape.batch_size, *x.shape[1:]), shuffled)
        carry, _ = jax.lax.scan(learn, carry, batches)
        if whole < shape.steps:
            carry, _ = learn(carry, jax.tree.map(lambda x: x[whole:], shuffled))
        return carry, None

    (learner, _), _ = jax.lax.scan(epoch, (learner, jnp.asarray(True)), orders)
    return learner


def _step(learner: Learner, gradients: Any, shape: OnPolicy, numbers: Numbers, rate: Array) -> Learner:
    clipped = networks.clip_by_global_norm(gradients, numbers["max_grad_norm"])
    updates, state = optimizer(shape, numbers).update(clipped, learner.optimizer)
    policy = jax.tree.map(lambda p, u: p - rate * u, learner.policy, updates)
    return Learner(policy, state)


def _evaluated(policy: Policy, observations: Array, actions: Array, shape: OnPolicy) -> tuple[Array, Array, Array]:
    outputs = networks.apply(policy.pi, observations, shape.activation)
    likely, entropy = distributions.log_prob_and_entropy(outputs, policy.log_std, actions, shape.space)
    return likely, entropy, values(policy, observations, shape)


def _normalized(advantages: Array, shape: OnPolicy) -> Array:
    if not shape.normalize_advantage or len(advantages) < 2:
        return advantages
    return (advantages - advantages.mean()) / (advantages.std(ddof=1) + 1e-8)


def _ppo_loss(
    policy: Policy, batch: Any, shape: OnPolicy, numbers: Numbers, clips: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Schulman et al. (2017, arXiv 1707.06347), equation 9, and the policy's divergence from the one that acted."""
    observations, actions, before, known, advantages, returns = batch
    likely, entropy, estimated = _evaluated(policy, observations, actions, shape)
    advantages, change = _normalized(advantages, shape), likely - before
    ratio, (clip, clip_values) = jnp.exp(change), clips
    gain = jnp.minimum(advantages * ratio, advantages * jnp.clip(ratio, 1.0 - clip, 1.0 + clip))
    if shape.clip_values:
        estimated = known + jnp.clip(estimated - known, -clip_values, clip_values)
    error = jnp.mean((returns - estimated) ** 2)
    loss = -gain.mean() - numbers["ent_coef"] * entropy.mean() + numbers["vf_coef"] * error
    return loss, jnp.mean(ratio - 1.0 - change)


def _a2c_loss(policy: Policy, data: Any, shape: OnPolicy, numbers: Numbers) -> Array:
    """Mnih et al. (2016, arXiv 1602.01783): the policy gradient with a critic's advantages, and an entropy bonus."""
    observations, actions, _, _, advantages, returns = data
    likely, entropy, estimated = _evaluated(policy, observations, actions, shape)
    gain = jnp.mean(_normalized(advantages, shape) * likely)
    error = jnp.mean((returns - estimated) ** 2)
    return -gain - numbers["ent_coef"] * entropy.mean() + numbers["vf_coef"] * error
