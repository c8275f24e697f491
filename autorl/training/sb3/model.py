"""Make what a recipe trains: a model, with environments to train and to evaluate it in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter

import gymnasium as gym
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from autorl.training.curriculum.kinds import make_lessons
from autorl.training.curriculum.lessons import OnTarget, TaskEnv, Taught
from autorl.training.curriculum.space import TaskSpace
from autorl.training.replay import ReplayableEnv
from autorl.training.sb3.algorithms import CONSTRAINED, Arguments, arguments
from autorl.training.sb3.plain import make_vec_env
from autorl.training.signals import CostSignal, measured
from autorl.training.tasks import random_streams
from autorl.trial import Recipe


def build(recipe: Recipe, seed: int) -> tuple[BaseAlgorithm, VecEnv, Arguments, list[int]]:
    """Make the model of a run, with its training environments, and its evaluation environments.

    Returns:
        The model, the evaluation environments, SB3's arguments, and the seed of each evaluation.
    """
    network, environment, evaluations = random_streams(seed, recipe.evaluation_points)
    n_envs, stack = recipe.hyperparameters.get("n_envs", 1), recipe.hyperparameters.get("frame_stack")
    task = recipe.env, recipe.env_kwargs, recipe.wrappers
    if recipe.task_space is None or recipe.curriculum is None:
        env = make_vec_env(*task, n_envs, stack, lambda each: ReplayableEnv(_learned_from(recipe, each)))
    else:
        lessons = make_lessons(recipe.task_space, recipe.curriculum, recipe.env_steps, seed)
        make = partial(TaskEnv, space=lessons.space)

        def taught(each: gym.Env) -> gym.Env:
            return Taught(ReplayableEnv(_learned_from(recipe, each)), lessons)

        env = make_vec_env(*task, n_envs, stack, taught, make)
    args = arguments(recipe, env.observation_space, env.action_space)
    if args.normalize is not None:
        env = VecNormalize(env, **args.normalize)
    eval_env = evaluation_env(recipe, args, recipe.evaluation_episodes)
    model = args.algorithm(
        args.policy, env, policy_kwargs=args.policy_kwargs, seed=network, device="cpu", **args.kwargs
    )
    _hurry(model)
    env.seed(environment)
    model.set_logger(Logger(folder=None, output_formats=[]))  # the default one makes a folder for each run
    return model, eval_env, args, evaluations


def evaluation_env(
    recipe: Recipe, args: Arguments, copies: int, outermost: Callable[[gym.Env], gym.Env] = lambda env: env
) -> VecEnv:
    """Make environments to evaluate a recipe in, normalized by what training has seen as soon as that is known.

    Args:
        recipe: of the run.
        args: its arguments in SB3.
        copies: how many.
        outermost: wraps each last, but for what draws the target.
    """
    stack = recipe.hyperparameters.get("frame_stack")
    task = recipe.env, recipe.env_kwargs, recipe.wrappers
    judge = partial(measured, cost=recipe.cost, specification=recipe.specification)
    if recipe.task_space is None:
        env = make_vec_env(*task, copies, stack, lambda each: outermost(judge(each)))
    else:
        space = TaskSpace(recipe.task_space["parameters"], recipe.task_space["target"])
        env = make_vec_env(
            *task, copies, stack, lambda each: OnTarget(outermost(judge(each)), space), partial(TaskEnv, space=space)
        )
    if args.normalize is None:
        return env
    return VecNormalize(env, **{**args.normalize, "training": False, "norm_reward": False})


def _learned_from(recipe: Recipe, env: gym.Env) -> gym.Env:
    """Return an environment to train in: with costs, if the algorithm learns from them."""
    return env if recipe.cost is None or recipe.algorithm not in CONSTRAINED else CostSignal(env, recipe.cost)


def _hurry(model: BaseAlgorithm) -> None:
    """Let optimizers step all parameters in one call: the digits are those of one at a time, torch's choice on a CPU.

    Its fused steps would be faster yet, with other digits than the user's own training has.
    """
    for name in model._get_torch_save_params()[0]:
        optimizer = attrgetter(name)(model)
        for group in optimizer.param_groups if isinstance(optimizer, torch.optim.Optimizer) else ():
            if group.get("foreach", False) is None and not group.get("fused"):
                group["foreach"] = True
