"""GPI-PD (Alegre et al. 2023, arXiv 2301.07784): GPI-LS that also learns from a model of the environment.

The model imagines steps, but is not told when an episode ends. That is a rule, which there is for some environments.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any
from unittest.mock import patch

import gymnasium as gym
import numpy as np
from morl_baselines.common.model_based.utils import ModelEnv
from morl_baselines.multi_policy.gpi_pd import gpi_pd, gpi_pd_continuous_action

from autorl.training.morl.indicators import Array

Ends = Callable[[Any, Any, Array, Array], Any]
"""Observations, actions, next observations, (n, features), rewards, (n, objectives) → whether episodes end, (n, 1)."""

_KNOWN = "deep seas, mountain cars, minecarts, lunar landers, hoppers, half-cheetahs, humanoids and reachers"


def ends(env: gym.Env) -> Ends:
    """Return the rule by which episodes of an environment end: morl-baselines', or its own where that is another.

    Raises:
        ValueError: there is none.
    """
    own: Any = env.unwrapped
    if env.observation_space.shape is None or len(env.observation_space.shape) != 1:
        raise ValueError("its model needs observations that are vectors; use gpi_ls")
    if hasattr(own, "sea_map"):
        # morl-baselines 1.3.0 looks for a module that mo-gymnasium has moved, and has the map of another sea.
        return partial(_treasure, own.sea_map, 10 if own.float_state else 1)
    if hasattr(own, "goal_position"):
        return partial(_goal, own.goal_position, own.goal_velocity)
    try:
        rule: Ends = ModelEnv(None, "" if env.spec is None else env.spec.id).termination_func
    except NotImplementedError:
        raise ValueError(
            f"its model does not know when episodes end, except those of mo-gymnasium's {_KNOWN}; use gpi_ls"
        ) from None
    return rule


def _treasure(sea_map: Array, scale: int, _obs: Any, _act: Any, next_obs: Array, _rew: Array) -> Any:
    places = np.rint(next_obs * scale).astype(int)
    inside = ((places >= 0) & (places < sea_map.shape)).all(axis=1)
    found = sea_map[tuple(np.clip(places, 0, np.array(sea_map.shape) - 1).T)] > 0
    return (inside & found)[:, None]


def _goal(position: float, velocity: float, _obs: Any, _act: Any, next_obs: Array, _rew: Array) -> Any:
    return ((next_obs[:, 0] >= position) & (next_obs[:, 1] >= velocity))[:, None]


class _Imagined(ModelEnv):  # type: ignore[misc]  # morl-baselines has no types
    """The model as an environment whose episodes end by a rule that it is given."""

    def __init__(self, rule: Ends, model: Any, _env_id: str, rew_dim: int) -> None:
        self.termination_func, self.model, self.rew_dim = rule, model, rew_dim


def _imagining(module: ModuleType, rule: Ends) -> Any:
    """Have an algorithm's module imagine steps that end by the rule; a context."""
    return patch.object(module, "ModelEnv", partial(_Imagined, rule))


class GPIPD(gpi_pd.GPIPD):  # type: ignore[misc]
    """GPI-PD for discrete actions; how often the model learns is a number of steps."""

    def __init__(self, env: gym.Env, *args: Any, dynamics_train_freq: int, **kwargs: Any) -> None:
        self._ends = ends(env)
        super().__init__(env, *args, dynamics_train_freq=lambda _: dynamics_train_freq, **kwargs)

    def _rollout_dynamics(self, w: Any) -> None:
        with _imagining(gpi_pd, self._ends):
            super()._rollout_dynamics(w)


class GPIPDContinuous(gpi_pd_continuous_action.GPIPDContinuousAction):  # type: ignore[misc]
    """GPI-PD for continuous actions."""

    def __init__(self, env: gym.Env, *args: Any, **kwargs: Any) -> None:
        self._ends = ends(env)
        super().__init__(env, *args, **kwargs)

    def _rollout_dynamics(self, weight: Any) -> None:
        with _imagining(gpi_pd_continuous_action, self._ends):
            super()._rollout_dynamics(weight)
