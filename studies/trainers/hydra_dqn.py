"""A Hydra application that trains SB3's DQN, and prints its evaluations as lines of JSON.

Try it: `python hydra_dqn.py seed=1 env_steps=20000 agent.learning_rate=1e-3`
"""

from __future__ import annotations

import json

import gymnasium as gym
import hydra
import torch
from omegaconf import DictConfig, OmegaConf
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor


class Report(BaseCallback):
    """Evaluates every so often on episodes of their own."""

    def __init__(self, config: DictConfig) -> None:
        super().__init__()
        self.config, self.env = config, Monitor(gym.make(config.env))
        self.env.reset(seed=2**30 + config.seed)

    def _on_step(self) -> bool:
        if self.num_timesteps % self.config.evaluation.every == 0:
            mean, _ = evaluate_policy(self.model, self.env, self.config.evaluation.episodes)
            print(json.dumps({"env_steps": self.num_timesteps, "return": float(mean)}), flush=True)
        return True


@hydra.main(config_path="conf", config_name="dqn", version_base=None)
def main(config: DictConfig) -> None:
    """Train."""
    torch.set_num_threads(1)
    agent = OmegaConf.to_container(config.agent, resolve=True)
    model = DQN("MlpPolicy", config.env, seed=config.seed, device="cpu", **agent)
    model.learn(config.env_steps, Report(config))


if __name__ == "__main__":
    main()
