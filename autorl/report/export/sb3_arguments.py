"""A recipe in Stable-Baselines3's terms: what every export for it begins with.

Networks and normalization are written out, since an export is to train the same once a library's defaults are others.
"""

from __future__ import annotations

import inspect
from contextlib import closing
from dataclasses import replace
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import VecNormalize

from autorl.errors import ExportError
from autorl.training.sb3 import plain
from autorl.training.sb3.algorithms import Arguments, arguments
from autorl.trial import Recipe

OUTSIDE = frozenset({"n_envs", "normalize", "frame_stack", "lr_schedule", "noise_type", "noise_std"})
"""Hyperparameters of a study file that are no arguments of Stable-Baselines3's algorithms."""


def resolve(recipe: Recipe) -> Arguments:
    """Return a recipe in SB3's terms, the networks and all that is normalized by as they are by default, too.

    Raises:
        ExportError: the environment cannot be made here, so its spaces are unknown.
    """
    seen, done = spaces(recipe)
    args = arguments(recipe, seen, done)
    policy = made_policy(args, seen, done)
    taken = inspect.signature(type(policy).__init__).parameters
    own = {name: getattr(policy, name, None) for name in ("net_arch", "activation_fn") if name in taken}
    networks = {name: value for name, value in own.items() if value is not None}
    normalize = None
    if args.normalize is not None:
        defaults = inspect.signature(VecNormalize.__init__).parameters
        outside = ("self", "venv", "training", "norm_obs_keys")
        normalize = {name: p.default for name, p in defaults.items() if name not in outside} | args.normalize
    return replace(args, policy_kwargs={**networks, **args.policy_kwargs}, normalize=normalize)


def made_policy(args: Arguments, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> Any:
    """Return the policy that a recipe trains, as it is when it has been made: `net_arch` None is no answer."""
    kind = args.algorithm.policy_aliases[args.policy]
    positional: list[Any] = [observation_space, action_space]
    if "lr_schedule" in inspect.signature(kind.__init__).parameters:
        positional.append(lambda _: 0.0)
    return kind(*positional, **args.policy_kwargs)


def spaces(recipe: Recipe) -> tuple[gym.Space[Any], gym.Space[Any]]:
    """Return what the agent of a recipe sees and does, frames stacked.

    Raises:
        ExportError: the environment cannot be made here.
    """
    stack = recipe.hyperparameters.get("frame_stack")
    try:
        env = plain.make_vec_env(recipe.env, recipe.env_kwargs, recipe.wrappers, 1, stack)
    except Exception as error:  # noqa: BLE001 - an environment's constructor may raise anything
        raise ExportError(f"'{recipe.env}' cannot be made here: {type(error).__name__}: {error}") from None
    with closing(env):
        return env.observation_space, env.action_space
