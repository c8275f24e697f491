"""What an SB3 run is made of, in plain Stable-Baselines3.

`autorl export --format sb3` copies the source of these functions, and of those in `training/tasks.py`, into the script
that it writes, so that the script trains with the very code that trained in the study.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack, VecNormalize, sync_envs_normalization

from autorl.training.tasks import make_env


def make_vec_env(
    env_id: str,
    env_kwargs: Mapping[str, Any],
    wrappers: Sequence[Any],
    n_envs: int,
    frame_stack: int | None,
    outermost: Callable[[gym.Env], gym.Env] = lambda env: env,
    make: Callable[[str, Mapping[str, Any], Sequence[Any]], gym.Env] = make_env,
) -> VecEnv:
    """Make `n_envs` copies of an environment, wrapped, monitored and stacked.

    Args:
        env_id: Gymnasium id; `module:Env-v0` imports the module first.
        env_kwargs: arguments of `gymnasium.make`.
        wrappers: inner first: `module:Class`, or `{module:Class: arguments}`.
        n_envs: how many.
        frame_stack: observations stacked into one, or None.
        outermost: wraps each environment last.
        make: makes each, wrapped.
    """
    env: VecEnv = DummyVecEnv([lambda: outermost(Monitor(make(env_id, env_kwargs, wrappers)))] * n_envs)
    return VecFrameStack(env, frame_stack) if frame_stack else env


def generators(model: BaseAlgorithm) -> tuple[Any, ...]:
    """Return the state of every random generator that training draws from."""
    actions = model.action_space.np_random.bit_generator.state
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), actions  # noqa: NPY002


def set_generators(model: BaseAlgorithm, state: tuple[Any, ...]) -> None:
    """Set every generator to a state that `generators` returned."""
    python, numpy, torch_state, actions = state
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002
    torch.set_rng_state(torch_state)
    model.action_space.np_random.bit_generator.state = actions


def acting_parameters(model: BaseAlgorithm) -> int:
    """Count the parameters of the networks that choose an action; critics and target networks are none of them."""
    assert model._last_obs is not None
    used: set[torch.nn.Module] = set()
    hooks = [part.register_forward_hook(lambda ran, *_: used.add(ran)) for part in model.policy.modules()]
    model.predict(model._last_obs, deterministic=True)
    for hook in hooks:
        hook.remove()
    return sum(parameter.numel() for part in used for parameter in part.parameters(recurse=False))


def evaluate(
    model: BaseAlgorithm, env: VecEnv, seed: int, deterministic: bool, signals: Sequence[str] = ()
) -> dict[str, float]:
    """Play one episode in each of the evaluation environments, seeded, and leave the training's randomness untouched.

    Args:
        model: acts.
        env: the evaluation environments.
        seed: of the episodes.
        deterministic: whether it acts by the policy's mode.
        signals: keys of the steps' infos to add up over each episode.

    Returns:
        `return` and `length`, means over the episodes, and `return_std`, the deviation of the returns; `parameters`;
        and mean and deviation of each signal.
    """
    sums = {name: np.zeros(env.num_envs) for name in signals}

    def add(step: dict[str, Any], _: dict[str, Any]) -> None:
        for name, total in sums.items():
            total[step["i"]] += step["info"].get(name, 0.0)

    training_env = model.get_env()
    if isinstance(env, VecNormalize) and training_env is not None:
        sync_envs_normalization(training_env, env)
    training = generators(model)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    model.action_space.seed(seed)
    env.seed(seed)
    try:
        returns, lengths = evaluate_policy(
            model,
            env,
            env.num_envs,
            deterministic=deterministic,
            callback=add if signals else None,
            return_episode_rewards=True,
        )
    finally:
        set_generators(model, training)
    metrics = {
        "return": float(np.mean(returns)),
        "return_std": float(np.std(returns)),
        "length": float(np.mean(lengths)),
        "parameters": float(acting_parameters(model)),
    }
    for name, totals in sums.items():
        metrics |= {name: float(np.mean(totals)), f"{name}_std": float(np.std(totals))}
    return metrics


class Evaluations(BaseCallback):
    """Evaluates at given points of training: the last at its very end, the others as soon as their step is reached."""

    def __init__(
        self,
        env: VecEnv,
        points: Sequence[int],
        seeds: Sequence[int],
        deterministic: bool,
        report: Callable[[int, dict[str, float]], None],
        signals: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.eval_env, self.points, self.seeds = env, points, seeds
        self.deterministic, self.report, self.signals = deterministic, report, signals
        self.done = 0

    def _evaluate(self) -> None:
        metrics = evaluate(self.model, self.eval_env, self.seeds[self.done], self.deterministic, self.signals)
        self.done += 1
        self.report(self.num_timesteps, metrics)

    def _on_step(self) -> bool:
        while self.done < len(self.points) - 1 and self.num_timesteps >= self.points[self.done]:
            self._evaluate()
        return True

    def _on_training_end(self) -> None:
        self._evaluate()
