"""PPO with a limit on the cost of episodes.

Copied into the scripts that `autorl export --format sb3` writes of it, as `autorl.training.sb3.plain` is into all.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import obs_as_tensor, update_learning_rate
from stable_baselines3.common.vec_env import VecEnv


class CostCritic(torch.nn.Module):
    """Estimates the discounted cost from an observation on, with a network like the policy's value function.

    Args:
        policy: gives layers, activation, initialization and optimizer; no weights are shared.
        learning_rate: schedule of the learning rate.
    """

    def __init__(self, policy: ActorCriticPolicy, learning_rate: Schedule) -> None:
        super().__init__()
        hidden = policy.net_arch["vf"] if isinstance(policy.net_arch, dict) else policy.net_arch
        self.space, self.normalize_images = policy.observation_space, policy.normalize_images
        self.features = policy.make_features_extractor()
        layers = create_mlp(self.features.features_dim, 1, list(hidden), policy.activation_fn)
        self.layers = torch.nn.Sequential(*layers)
        if policy.ortho_init:
            self.apply(partial(policy.init_weights, gain=np.sqrt(2)))
            layers[-1].apply(partial(policy.init_weights, gain=1))
        self.optimizer = policy.optimizer_class(self.parameters(), lr=learning_rate(1), **policy.optimizer_kwargs)  # type: ignore[call-arg]

    def forward(self, observations: Any) -> torch.Tensor:
        """Return estimates, shape ``(batch,)``, of observations as tensors."""
        seen = preprocess_obs(observations, self.space, self.normalize_images)
        estimates: torch.Tensor = self.layers(self.features(seen))
        return estimates.flatten()


class PPOLagrangian(PPO):
    """PPO that keeps the cost of an episode below a limit.

    Ray, Achiam and Amodei 2019, "Benchmarking Safe Exploration in Deep Reinforcement Learning".

    Environments put the cost of each step into `info["cost"]`. A critic of its own estimates discounted costs, and the
    policy follows the advantages ``(A - multiplier * A_cost) / (1 + multiplier)``. Before each update ``error`` is the
    cost of an episode, undiscounted, less its limit: the mean over the episodes that ended in the rollout; without any,
    the multiplier stays. With it (Stooke, Achiam and Abbeel 2020, arXiv 2007.03964, algorithm 2)::

        integral   = max(0, integral + lagrangian_lr * error)
        multiplier = max(0, lagrangian_kp * error + integral + lagrangian_kd * max(0, cost - last cost))

    which without `lagrangian_kp` and `lagrangian_kd` is gradient ascent on the multiplier. With `normalize_advantage`
    A is divided by its deviation over the rollout, so that the multiplier does not depend on the scale of rewards.

    Args:
        policy: as PPO's.
        env: as PPO's.
        cost_limit: cost that an episode may have.
        lagrangian_lr: step size of the multiplier, Stooke's K_I.
        lagrangian_kp: gain of the error itself, K_P.
        lagrangian_kd: gain of the cost's growth, K_D.
        initial_multiplier: multiplier to begin with.
        cost_gamma: discount of costs.
        cost_gae_lambda: GAE's lambda for costs.
        kwargs: PPO's.

    Raises:
        ValueError: a hyperparameter is out of its range.
    """

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: Any,
        *,
        cost_limit: float = 25.0,
        lagrangian_lr: float = 0.01,
        lagrangian_kp: float = 0.0,
        lagrangian_kd: float = 0.0,
        initial_multiplier: float = 0.0,
        cost_gamma: float = 0.99,
        cost_gae_lambda: float = 0.95,
        **kwargs: Any,
    ) -> None:
        gains = {"lagrangian_lr": lagrangian_lr, "lagrangian_kp": lagrangian_kp, "lagrangian_kd": lagrangian_kd}
        for name, value in {**gains, "initial_multiplier": initial_multiplier}.items():
            if value < 0:
                raise ValueError(f"{name} is {value}, and must be at least 0")
        for name, value in {"cost_gamma": cost_gamma, "cost_gae_lambda": cost_gae_lambda}.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}, and must be between 0 and 1")
        self.cost_limit, self.initial_multiplier = cost_limit, initial_multiplier
        self.lagrangian_lr, self.lagrangian_kp, self.lagrangian_kd = gains.values()
        self.cost_gamma, self.cost_gae_lambda = cost_gamma, cost_gae_lambda
        super().__init__(policy, env, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        self.cost_critic = CostCritic(self.policy, self.lr_schedule).to(self.device)
        assert self.rollout_buffer_class is not None
        self.cost_buffer = self.rollout_buffer_class(
            self.n_steps,
            self.observation_space,
            self.action_space,
            device=self.device,
            gamma=self.cost_gamma,
            gae_lambda=self.cost_gae_lambda,
            n_envs=self.n_envs,
        )
        start = float(self.initial_multiplier)
        self.multiplier, self.integral = (torch.tensor(start, dtype=torch.float64) for _ in range(2))
        self.last_cost = torch.tensor(np.nan, dtype=torch.float64)
        self._episode_costs = np.zeros(self.n_envs)
        self._ended_costs: list[float] = []
        self._step = 0

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Collect experience as PPO does, and estimate the advantages of its costs."""
        self._step, self._ended_costs = 0, []
        self.cost_buffer.reset()
        assert self._last_episode_starts is not None
        self._episode_costs = np.where(self._last_episode_starts, 0.0, self._episode_costs)
        if not super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps):
            return False
        costs = self.cost_buffer
        seen: Any = rollout_buffer.observations
        if isinstance(seen, dict):
            seen = dict(seen)  # each buffer flattens its own in place
        costs.observations = seen
        costs.actions = rollout_buffer.actions
        costs.episode_starts, costs.full = rollout_buffer.episode_starts, True
        for index in range(self.n_envs):
            costs.values[:, index] = self._estimates(of_environment(costs.observations, index))
        last = torch.as_tensor(self._estimates(self._last_obs))
        costs.compute_returns_and_advantage(last_values=last, dones=self._last_episode_starts)
        return True

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: np.ndarray | None = None) -> None:
        """Take note of a step's costs, as `collect_rollouts` hands its infos over."""
        super()._update_info_buffer(infos, dones)
        assert dones is not None
        for index, (info, done) in enumerate(zip(infos, dones, strict=True)):
            cost = info["cost"]
            self._episode_costs[index] += cost
            if done:
                self._ended_costs.append(float(self._episode_costs[index]))
                self._episode_costs[index] = 0.0
                if info.get("TimeLimit.truncated", False):  # the costs go on behind the end, as SB3's rewards do
                    cost += self.cost_gamma * self._estimates(batch_of_one(info["terminal_observation"]))[0]
            self.cost_buffer.rewards[self._step, index] = cost
        self._step += 1

    def _estimates(self, observations: Any) -> np.ndarray:
        with torch.no_grad():
            return self.cost_critic(obs_as_tensor(observations, self.device)).cpu().numpy()  # type: ignore[no-any-return]

    def update_multiplier(self, cost: float) -> None:
        """Update the multiplier after episodes of this cost, undiscounted, in the mean."""
        error, last = cost - self.cost_limit, float(self.last_cost)
        growth = 0.0 if np.isnan(last) else max(0.0, cost - last)
        integral = max(0.0, float(self.integral) + self.lagrangian_lr * error)
        self.integral.fill_(integral)
        self.multiplier.fill_(max(0.0, self.lagrangian_kp * error + integral + self.lagrangian_kd * growth))
        self.last_cost.fill_(cost)

    def train(self) -> None:
        """Update the multiplier, then the critic of costs, then policy and value function."""
        if self._ended_costs:
            self.update_multiplier(float(np.mean(self._ended_costs)))
        multiplier, buffer = float(self.multiplier), self.rollout_buffer
        gains, losses = buffer.advantages, self.cost_buffer.advantages
        if self.normalize_advantage:
            gains = (gains - gains.mean()) / (gains.std() + 1e-8)
        buffer.advantages = (gains - multiplier * (losses - losses.mean())) / (1 + multiplier)
        self._train_cost_critic()
        super().train()
        self.logger.record("train/multiplier", multiplier)
        self.logger.record("rollout/ep_cost_mean", float(self.last_cost))

    def _train_cost_critic(self) -> None:
        critic = self.cost_critic
        update_learning_rate(critic.optimizer, self.lr_schedule(self._current_progress_remaining))
        for _ in range(self.n_epochs):
            for batch in self.cost_buffer.get(self.batch_size):
                loss = torch.nn.functional.mse_loss(critic(batch.observations), batch.returns)
                critic.optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(critic.parameters(), self.max_grad_norm)
                critic.optimizer.step()

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "cost_buffer"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        networks, variables = super()._get_torch_save_params()
        return (
            [*networks, "cost_critic", "cost_critic.optimizer"],
            [*variables, "multiplier", "integral", "last_cost"],
        )


def of_environment(observations: Any, index: int) -> Any:
    """Return what one of several environments was seen in, one row a step."""
    if isinstance(observations, dict):
        return {key: part[:, index] for key, part in observations.items()}
    return observations[:, index]


def batch_of_one(observation: Any) -> Any:
    """Return a batch that holds one observation."""
    if isinstance(observation, dict):
        return {key: np.asarray(part)[None] for key, part in observation.items()}
    return np.asarray(observation)[None]
