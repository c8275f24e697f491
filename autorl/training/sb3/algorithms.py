"""SB3's algorithms by name, and the words of a study file turned into their arguments."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import ActionNoise, NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.utils import LinearSchedule
from torch import nn

from autorl.training.words import NET_ARCHS
from autorl.trial import Recipe

ALGORITHMS = {
    "ppo": ("stable_baselines3", "PPO"),
    "a2c": ("stable_baselines3", "A2C"),
    "dqn": ("stable_baselines3", "DQN"),
    "sac": ("stable_baselines3", "SAC"),
    "td3": ("stable_baselines3", "TD3"),
    "ddpg": ("stable_baselines3", "DDPG"),
    "tqc": ("sb3_contrib", "TQC"),
    "qrdqn": ("sb3_contrib", "QRDQN"),
    "trpo": ("sb3_contrib", "TRPO"),
    "ars": ("sb3_contrib", "ARS"),
    "recurrent_ppo": ("sb3_contrib", "RecurrentPPO"),
    "crossq": ("sb3_contrib", "CrossQ"),
    "ppo_lagrangian": ("autorl.training.sb3.lagrangian", "PPOLagrangian"),
}

CONSTRAINED = frozenset({"ppo_lagrangian"})
"""Those that learn from costs."""

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}

# Arguments of SB3's constructors that the study sets elsewhere (seed, policy) or that no file can write down.
_NOT_HYPERPARAMETERS = {
    "self",
    "policy",
    "env",
    "policy_kwargs",
    "seed",
    "device",
    "verbose",
    "tensorboard_log",
    "stats_window_size",
    "action_noise",
    "replay_buffer_class",
    "replay_buffer_kwargs",
    "rollout_buffer_class",
    "rollout_buffer_kwargs",
    "optimize_memory_usage",
    "_init_setup_model",
}


def algorithm_class(name: str) -> type[BaseAlgorithm]:
    """Return the class of an algorithm in `ALGORITHMS`."""
    module, attribute = ALGORITHMS[name]
    found: type[BaseAlgorithm] = getattr(importlib.import_module(module), attribute)
    return found


def own_defaults(name: str) -> dict[str, Any]:
    """Return every hyperparameter that an algorithm takes, with its default.

    These are its constructor's arguments and what this backend adds: `n_envs`, `normalize`, `frame_stack`,
    `lr_schedule`, and for off-policy algorithms with continuous actions `noise_type` and `noise_std`.
    """
    signature = _parameters(algorithm_class(name))
    found = {key: p.default for key, p in signature.items() if key not in _NOT_HYPERPARAMETERS}
    if "action_noise" in signature and name not in ("dqn", "qrdqn"):
        found |= {"noise_type": "none", "noise_std": 0.1}
    return {**found, "n_envs": 1, "normalize": False, "frame_stack": None, "lr_schedule": "constant"}


def _parameters(kind: type[BaseAlgorithm]) -> dict[str, inspect.Parameter]:
    """Return the parameters of a constructor, and those of the one that it passes the others on to."""
    own = dict(inspect.signature(kind.__init__).parameters)
    rest = [name for name, parameter in own.items() if parameter.kind is inspect.Parameter.VAR_KEYWORD]
    for name in rest:
        del own[name]
    return {**_parameters(kind.__mro__[1]), **own} if rest else own


def policy_arguments(algorithm: str, policy_name: str | None) -> set[str]:
    """Return the arguments that a policy class takes, `name` included."""
    aliases = algorithm_class(algorithm).policy_aliases
    policy = aliases.get(policy_name or "", next(iter(aliases.values())))
    outside = {"self", "observation_space", "action_space", "lr_schedule", "args", "kwargs"}
    return set(inspect.signature(policy.__init__).parameters) - outside | {"name"}


@dataclass(frozen=True)
class Arguments:
    """A recipe in SB3's own terms.

    Attributes:
        algorithm: the class.
        policy: the policy's alias, such as MlpPolicy.
        policy_kwargs: its arguments.
        kwargs: arguments of the algorithm's constructor.
        n_envs: training environments.
        frame_stack: observations stacked, or None.
        normalize: arguments of VecNormalize, or None.
    """

    algorithm: type[BaseAlgorithm]
    policy: str
    policy_kwargs: dict[str, Any]
    kwargs: dict[str, Any]
    n_envs: int
    frame_stack: int | None
    normalize: dict[str, Any] | None


def arguments(recipe: Recipe, observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> Arguments:
    """Turn a recipe's words into SB3's arguments.

    Args:
        recipe: the recipe.
        observation_space: of the environment; decides the policy where the recipe names none.
        action_space: of the environment; gives the action noise its shape.
    """
    given = dict(recipe.hyperparameters)
    policy_kwargs = dict(recipe.policy)
    policy = policy_kwargs.pop("name", None) or _policy_for(recipe.algorithm, observation_space)
    if isinstance(policy_kwargs.get("net_arch"), str):
        policy_kwargs["net_arch"] = NET_ARCHS[policy_kwargs["net_arch"]]
    if "activation_fn" in policy_kwargs:
        policy_kwargs["activation_fn"] = ACTIVATIONS[policy_kwargs["activation_fn"]]
    n_envs, frame_stack = given.pop("n_envs", 1), given.pop("frame_stack", None)
    normalize = _normalize(recipe.algorithm, given.pop("normalize", False), given)
    if given.pop("lr_schedule", "constant") == "linear":
        rate = given.get("learning_rate", own_defaults(recipe.algorithm)["learning_rate"])
        given["learning_rate"] = rate if isinstance(rate, str) else f"lin_{rate!r}"
    noise_type, noise_std = given.pop("noise_type", "none"), given.pop("noise_std", 0.1)
    kwargs: dict[str, Any] = {key: _scheduled(value) for key, value in given.items()}
    if isinstance(kwargs.get("train_freq"), list):
        kwargs["train_freq"] = tuple(kwargs["train_freq"])
    if noise_type != "none":
        kwargs["action_noise"] = _noise(noise_type, noise_std, action_space)
    return Arguments(algorithm_class(recipe.algorithm), policy, policy_kwargs, kwargs, n_envs, frame_stack, normalize)


def _policy_for(algorithm: str, space: gym.Space[Any]) -> str:
    kind = "MultiInput" if isinstance(space, gym.spaces.Dict) else "Cnn" if is_image_space(space) else "Mlp"
    return f"{kind}LstmPolicy" if algorithm == "recurrent_ppo" else f"{kind}Policy"


def _normalize(algorithm: str, asked: bool | Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any] | None:
    if asked is False:
        return None
    # The returns are scaled with the discount that the algorithm uses, as rl-zoo3 does.
    gamma = given.get("gamma", own_defaults(algorithm).get("gamma", 0.99))
    return {"gamma": gamma, **(asked if isinstance(asked, Mapping) else {})}


def _scheduled(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("lin_"):
        return LinearSchedule(float(value.removeprefix("lin_")), 0.0, 1.0)
    return value


def _noise(kind: str, std: float, space: gym.Space[Any]) -> ActionNoise:
    if not isinstance(space, gym.spaces.Box):
        raise ValueError(f"action noise needs continuous actions, not {space}")
    mean, sigma = np.zeros(space.shape), std * np.ones(space.shape)
    return NormalActionNoise(mean, sigma) if kind == "normal" else OrnsteinUhlenbeckActionNoise(mean, sigma)
