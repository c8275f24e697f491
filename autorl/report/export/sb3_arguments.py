"""A recipe in Stable-Baselines3's terms: what every export for it begins with."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import gymnasium as gym

from autorl.errors import ExportError
from autorl.training.sb3 import plain
from autorl.training.sb3.algorithms import Arguments, arguments
from autorl.trial import Recipe

OUTSIDE = frozenset({"n_envs", "normalize", "frame_stack", "lr_schedule", "noise_type", "noise_std"})
"""Hyperparameters of a study file that are no arguments of Stable-Baselines3's algorithms."""


def resolve(recipe: Recipe) -> Arguments:
    """Return a recipe in SB3's terms.

    Raises:
        ExportError: the environment cannot be made here, so its spaces are unknown.
    """
    return arguments(recipe, *spaces(recipe))


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
