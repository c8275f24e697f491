"""PPO in one file, with the arguments and the output of CleanRL's ppo.py: a stand-in for your own clone of it.

Try it: `python cleanrl_ppo.py --env-id CartPole-v1 --seed 1 --total-timesteps 50000 --learning-rate 2.5e-4`
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
import tyro
from torch import nn, optim
from torch.distributions import Categorical


@dataclass
class Args:
    """What CleanRL's ppo.py takes, the logging apart."""

    seed: int = 1
    env_id: str = "CartPole-v1"
    total_timesteps: int = 500_000
    learning_rate: float = 2.5e-4
    num_envs: int = 4
    num_steps: int = 128
    anneal_lr: bool = True
    gamma: float = 0.99
    gae_lambda: float = 0.95
    num_minibatches: int = 4
    update_epochs: int = 4
    norm_adv: bool = True
    clip_coef: float = 0.2
    clip_vloss: bool = True
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5


def layer(inputs: int, outputs: int, std: float = 2**0.5) -> nn.Linear:
    """Return a layer with orthogonal weights."""
    made = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(made.weight, std)
    nn.init.zeros_(made.bias)
    return made


class Agent(nn.Module):
    """An actor and a critic, apart."""

    def __init__(self, observations: int, actions: int) -> None:
        super().__init__()
        self.critic = nn.Sequential(layer(observations, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, 1, std=1.0))
        self.actor = nn.Sequential(
            layer(observations, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, actions, std=0.01)
        )

    def act(self, obs: torch.Tensor, action: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        """Return actions, their log-probabilities, the entropies and the values."""
        distribution = Categorical(logits=self.actor(obs))
        action = distribution.sample() if action is None else action
        return action, distribution.log_prob(action), distribution.entropy(), self.critic(obs).flatten()


def main(args: Args) -> None:
    """Train, and print the return of every episode."""
    random.seed(args.seed)
    np.random.seed(args.seed)  # noqa: NPY002 - as CleanRL does
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    envs = gym.vector.SyncVectorEnv(
        [lambda: gym.wrappers.RecordEpisodeStatistics(gym.make(args.env_id)) for _ in range(args.num_envs)],
        autoreset_mode=gym.vector.AutoresetMode.SAME_STEP,
    )
    agent = Agent(envs.single_observation_space.shape[0], int(envs.single_action_space.n))
    optimizer = optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    batch_size = args.num_envs * args.num_steps
    shape = (args.num_steps, args.num_envs)
    obs = torch.zeros(*shape, *envs.single_observation_space.shape)
    actions, logprobs, rewards, dones, values = (torch.zeros(shape) for _ in range(5))
    next_obs = torch.Tensor(envs.reset(seed=args.seed)[0])
    next_done = torch.zeros(args.num_envs)
    global_step, iterations = 0, args.total_timesteps // batch_size
    for iteration in range(iterations):
        if args.anneal_lr:
            optimizer.param_groups[0]["lr"] = (1 - iteration / iterations) * args.learning_rate
        for step in range(args.num_steps):
            global_step += args.num_envs
            obs[step], dones[step] = next_obs, next_done
            with torch.no_grad():
                actions[step], logprobs[step], _, values[step] = agent.act(next_obs)
            observed, reward, ended, cut, infos = envs.step(actions[step].long().numpy())
            rewards[step] = torch.tensor(reward)
            next_obs, next_done = torch.Tensor(observed), torch.Tensor(np.logical_or(ended, cut))
            finished = infos.get("final_info", {}).get("episode")
            if finished is not None:
                for index in np.flatnonzero(infos["_final_info"]):
                    print(f"global_step={global_step}, episodic_return={finished['r'][index]}")
        with torch.no_grad():
            advantages, running = torch.zeros(shape), torch.zeros(args.num_envs)
            following, unfinished = agent.act(next_obs)[3], 1 - next_done
            for step in reversed(range(args.num_steps)):
                delta = rewards[step] + args.gamma * following * unfinished - values[step]
                running = delta + args.gamma * args.gae_lambda * unfinished * running
                advantages[step], following, unfinished = running, values[step], 1 - dones[step]
            returns = advantages + values
        flat = [part.flatten(0, 1) for part in (obs, logprobs, actions, advantages, returns, values)]
        for _ in range(args.update_epochs):
            for chosen in np.array_split(np.random.permutation(batch_size), args.num_minibatches):  # noqa: NPY002
                b_obs, b_logprob, b_action, advantage, b_return, b_value = (part[chosen] for part in flat)
                _, logprob, entropy, value = agent.act(b_obs, b_action)
                if args.norm_adv:
                    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                ratio = (logprob - b_logprob).exp()
                clipped = ratio.clamp(1 - args.clip_coef, 1 + args.clip_coef)
                policy_loss = -torch.min(advantage * ratio, advantage * clipped).mean()
                error = (value - b_return) ** 2
                if args.clip_vloss:
                    moved = b_value + (value - b_value).clamp(-args.clip_coef, args.clip_coef)
                    error = torch.max(error, (moved - b_return) ** 2)
                loss = policy_loss - args.ent_coef * entropy.mean() + args.vf_coef * 0.5 * error.mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
                optimizer.step()
    envs.close()


if __name__ == "__main__":
    main(tyro.cli(Args))
