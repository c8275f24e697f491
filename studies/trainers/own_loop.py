"""A training loop of one's own as a function: `autorl` calls it, and can stop it and go on with it at any report."""

from __future__ import annotations

from typing import Any

import torch
from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy


def train(config: dict[str, Any], seed: int, budget: Any, report: Any) -> None:
    """Train A2C up to each evaluation point, keep it, and report how well it does on episodes of their own."""
    torch.set_num_threads(1)
    env = make_vec_env(budget.env, n_envs=8, seed=seed)
    held_out = make_vec_env(budget.env, n_envs=8, seed=2**30 + seed)
    if budget.checkpoint.exists():
        model = A2C.load(budget.checkpoint, env)
    else:
        model = A2C("MlpPolicy", env, seed=seed, device="cpu", **config)
    for steps in budget.points:
        if steps > model.num_timesteps:
            model.learn(steps - model.num_timesteps, reset_num_timesteps=False)
            with budget.checkpoint.with_suffix(".new").open("wb") as file:
                model.save(file)
            budget.checkpoint.with_suffix(".new").replace(budget.checkpoint)
            mean, _ = evaluate_policy(model, held_out, budget.episodes)
            report(model.num_timesteps, {"return": mean})
