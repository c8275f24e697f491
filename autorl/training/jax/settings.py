"""Recipes in the terms of the compiled programs: what a program is compiled for, and the numbers of each run.

The words, the defaults and their meaning are those of the backend `sb3`, so that a study can change its backend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autorl.training.jax.distributions import ActionSpace
from autorl.training.jax.dqn import Dqn
from autorl.training.jax.normalize import Scaling
from autorl.training.jax.on_policy import OnPolicy
from autorl.training.jax.sac import Sac, entropy_settings
from autorl.training.jax.td3 import Td3
from autorl.training.jax.transitions import Replay
from autorl.training.words import NET_ARCHS
from autorl.trial import Recipe

_COMMON: dict[str, Any] = {"n_envs": 1, "normalize": False, "lr_schedule": "constant", "gamma": 0.99}
_ON_POLICY: dict[str, Any] = {
    **_COMMON,
    "ent_coef": 0.0,
    "vf_coef": 0.5,
    "max_grad_norm": 0.5,
}
_OFF_POLICY: dict[str, Any] = {
    **_COMMON,
    "buffer_size": 1_000_000,
    "learning_starts": 100,
    "batch_size": 256,
    "tau": 0.005,
    "train_freq": 1,
    "gradient_steps": 1,
}
_NOISE: dict[str, Any] = {"noise_type": "none", "noise_std": 0.1}
# Algorithm -> hyperparameter -> default: Stable-Baselines3's.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "ppo": {
        **_ON_POLICY,
        "learning_rate": 3e-4,
        "n_steps": 2048,
        "batch_size": 64,
        "n_epochs": 10,
        "gae_lambda": 0.95,
        "clip_range": 0.2,
        "clip_range_vf": None,
        "normalize_advantage": True,
        "target_kl": None,
    },
    "a2c": {
        **_ON_POLICY,
        "learning_rate": 7e-4,
        "n_steps": 5,
        "gae_lambda": 1.0,
        "rms_prop_eps": 1e-5,
        "use_rms_prop": True,
        "normalize_advantage": False,
    },
    "dqn": {
        **_OFF_POLICY,
        "learning_rate": 1e-4,
        "batch_size": 32,
        "tau": 1.0,
        "train_freq": 4,
        "target_update_interval": 10_000,
        "exploration_fraction": 0.1,
        "exploration_initial_eps": 1.0,
        "exploration_final_eps": 0.05,
        "max_grad_norm": 10.0,
    },
    "sac": {
        **_OFF_POLICY,
        **_NOISE,
        "learning_rate": 3e-4,
        "ent_coef": "auto",
        "target_update_interval": 1,
        "target_entropy": "auto",
    },
    "td3": {
        **_OFF_POLICY,
        **_NOISE,
        "learning_rate": 1e-3,
        "policy_delay": 2,
        "target_policy_noise": 0.2,
        "target_noise_clip": 0.5,
    },
}
POLICY_KEYS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("ppo", "a2c"), ("name", "net_arch", "activation_fn", "ortho_init", "log_std_init")),
    "dqn": ("name", "net_arch", "activation_fn"),
    **dict.fromkeys(("sac", "td3"), ("name", "net_arch", "activation_fn", "n_critics")),
}
_SCHEDULED = ("learning_rate", "clip_range", "clip_range_vf")


@dataclass(frozen=True)
class Settings:
    """A recipe, taken apart.

    Attributes:
        shape: what the program is compiled for.
        scaling: how observations and rewards are normalized, or None.
        numbers: name → value, what the runs of a program may differ in.
    """

    shape: OnPolicy | Replay
    scaling: Scaling | None
    numbers: Mapping[str, float]


def hyperparameters(recipe: Recipe) -> dict[str, Any]:
    """Return all hyperparameters of a recipe, the defaults included."""
    return {**DEFAULTS[recipe.algorithm], **recipe.hyperparameters}


def settings(recipe: Recipe, features: int, space: ActionSpace) -> Settings:
    """Take a recipe apart.

    Args:
        recipe: what is trained.
        features: size of an observation.
        space: of the actions.

    Raises:
        ValueError: the algorithm cannot train with these settings; the message says why.
    """
    given = hyperparameters(recipe)
    numbers = {key: float(given[key]) for key in _NUMBERS[recipe.algorithm]}
    for key in _SCHEDULED:
        numbers |= _scheduled(key, given)
    scaling = _scaling(given["normalize"])
    asked = given["normalize"] if isinstance(given["normalize"], Mapping) else {}
    numbers["return_gamma"] = float(asked.get("gamma", given["gamma"]))
    numbers["target_kl"] = float(given.get("target_kl") or 0.0)
    numbers["log_std_init"] = float(recipe.policy.get("log_std_init", 0.0))
    if recipe.algorithm in ("ppo", "a2c"):
        return Settings(_on_policy(recipe, given, features, space), scaling, numbers)
    shape, more = _off_policy(recipe, given, features, space)
    return Settings(shape, scaling, numbers | more)


_NUMBERS: Mapping[str, Sequence[str]] = {
    "ppo": ("gamma", "gae_lambda", "ent_coef", "vf_coef", "max_grad_norm"),
    "a2c": ("gamma", "gae_lambda", "ent_coef", "vf_coef", "max_grad_norm", "rms_prop_eps"),
    "dqn": (
        "gamma",
        "tau",
        "max_grad_norm",
        "exploration_fraction",
        "exploration_initial_eps",
        "exploration_final_eps",
    ),
    "sac": ("gamma", "tau", "target_update_interval"),
    "td3": ("gamma", "tau", "policy_delay", "target_policy_noise", "target_noise_clip"),
}


def _scheduled(key: str, given: Mapping[str, Any]) -> dict[str, float]:
    value = given.get(key)
    linear = isinstance(value, str) or (key == "learning_rate" and given["lr_schedule"] == "linear")
    number = float(value.removeprefix("lin_")) if isinstance(value, str) else float(value or 0.0)
    return {key: number, f"{key}_linear": float(linear)}


def _scaling(asked: bool | Mapping[str, Any]) -> Scaling | None:
    if asked is False:
        return None
    given = asked if isinstance(asked, Mapping) else {}
    known = {
        "norm_obs": "observations",
        "norm_reward": "rewards",
        "clip_obs": "clip_observations",
        "clip_reward": "clip_rewards",
        "epsilon": "epsilon",
    }
    unknown = set(given) - set(known) - {"gamma"}
    if unknown:
        raise ValueError(f"normalize: unknown argument '{min(unknown)}'; allowed: {', '.join([*known, 'gamma'])}")
    return Scaling(**{known[key]: value for key, value in given.items() if key in known})


def _on_policy(recipe: Recipe, given: Mapping[str, Any], features: int, space: ActionSpace) -> OnPolicy:
    arch = recipe.policy.get("net_arch", "small")
    arch = NET_ARCHS[arch] if isinstance(arch, str) else arch
    ppo = recipe.algorithm == "ppo"
    n_envs, n_steps = given["n_envs"], given["n_steps"]
    if ppo and given["normalize_advantage"] and min(given["batch_size"], n_envs * n_steps) < 2:
        raise ValueError("a batch of one step has no advantages to normalize")
    return OnPolicy(
        features=features,
        space=space,
        pi=_layers(arch, "pi"),
        vf=_layers(arch, "vf"),
        activation=recipe.policy.get("activation_fn", "tanh"),
        ortho_init=recipe.policy.get("ortho_init", True),
        n_envs=n_envs,
        n_steps=n_steps,
        batch_size=min(given["batch_size"], n_envs * n_steps) if ppo else n_envs * n_steps,
        n_epochs=given["n_epochs"] if ppo else 0,
        rms_prop=not ppo and given["use_rms_prop"],
        normalize_advantage=given["normalize_advantage"],
        clip_values=given.get("clip_range_vf") is not None,
        stops_early=given.get("target_kl") is not None,
    )


def _off_policy(
    recipe: Recipe, given: Mapping[str, Any], features: int, space: ActionSpace
) -> tuple[Replay, dict[str, float]]:
    name, n_envs, frequency = recipe.algorithm, given["n_envs"], given["train_freq"]
    if space.discrete != (name == "dqn") or len(space.choices) > 1:
        wanted = "one discrete action" if name == "dqn" else "continuous actions"
        raise ValueError(f"{name} needs {wanted}")
    if not isinstance(frequency, int):
        raise ValueError(f"train_freq: {frequency}; backend jax counts steps, not episodes")
    if given.get("noise_type", "none") == "ornstein-uhlenbeck":
        raise ValueError("noise_type: backend jax has normal noise only")
    arch = recipe.policy.get("net_arch", {"dqn": "small", "sac": "medium", "td3": "big"}[name])
    arch = NET_ARCHS[arch] if isinstance(arch, str) else arch
    activation = recipe.policy.get("activation_fn", "relu")
    shared = features, space, activation, n_envs, given["batch_size"]
    numbers, sync = {"noise_std": float(given["noise_std"]) if given.get("noise_type") == "normal" else 0.0}, 0
    agent: Dqn | Sac | Td3
    if name == "dqn":
        agent, sync = Dqn(*shared, tuple(arch)), max(given["target_update_interval"] // n_envs, 1)
    elif name == "sac":
        auto, of_entropy = entropy_settings(given["ent_coef"], given["target_entropy"], space)
        numbers |= of_entropy
        agent = Sac(*shared, _layers(arch, "pi"), _layers(arch, "qf"), recipe.policy.get("n_critics", 2), auto)
    else:
        agent = Td3(*shared, _layers(arch, "pi"), _layers(arch, "qf"), recipe.policy.get("n_critics", 2))
    # What a run can never fill needs no memory.
    capacity = min(max(given["buffer_size"] // n_envs, 1), -(-recipe.env_steps // n_envs) + frequency)
    steps = given["gradient_steps"] if given["gradient_steps"] >= 0 else frequency * n_envs
    return Replay(agent, capacity, given["learning_starts"], frequency, steps, sync), numbers


def _layers(arch: Sequence[int] | Mapping[str, Sequence[int]], of: str) -> tuple[int, ...]:
    return tuple(arch.get(of, ())) if isinstance(arch, Mapping) else tuple(arch)
