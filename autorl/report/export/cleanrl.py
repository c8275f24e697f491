"""A trial as a command line of CleanRL (https://github.com/vwxyzjn/cleanrl): its scripts, with tyro's options.

CleanRL's algorithms are the same as Stable-Baselines3's but for what its scripts fix (networks, normalization, losses):
what of a trial a script has no option for is said in the file, a line each.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from stable_baselines3.common.preprocessing import is_image_space

from autorl.errors import ExportError
from autorl.ledger.records import TrialRecord
from autorl.report.export import header, unable
from autorl.report.export.configuration import described
from autorl.report.export.sb3_arguments import spaces
from autorl.report.findings import Findings

# SB3's hyperparameter → CleanRL's option, where the two mean the same.
_PPO = {
    "gamma": "gamma",
    "gae_lambda": "gae-lambda",
    "n_epochs": "update-epochs",
    "clip_range": "clip-coef",
    "ent_coef": "ent-coef",
    "max_grad_norm": "max-grad-norm",
}
_REPLAY = {
    "buffer_size": "buffer-size",
    "gamma": "gamma",
    "tau": "tau",
    "batch_size": "batch-size",
    "learning_starts": "learning-starts",
}
_DQN = {
    **_REPLAY,
    "target_update_interval": "target-network-frequency",
    "exploration_initial_eps": "start-e",
    "exploration_final_eps": "end-e",
    "exploration_fraction": "exploration-fraction",
    "train_freq": "train-frequency",
}
_TD3 = {
    **_REPLAY,
    "policy_delay": "policy-frequency",
    "target_policy_noise": "policy-noise",
    "target_noise_clip": "noise-clip",
}

# Arguments of policies of which `_of_policy` tells, and what the scripts do as if others had this value.
_TOLD = {"name", "net_arch", "activation_fn", "ortho_init"}
_OF_POLICY = {"log_std_init": 0.0, "full_std": True, "use_expln": False, "squash_output": False}


@dataclass(frozen=True)
class _Script:
    """A script of CleanRL.

    Attributes:
        file: its name.
        options: hyperparameter → its option, where the two mean the same.
        net_arch: hidden layers of its networks.
        activation: what is between them.
        fixed: hyperparameter → the only value of it that the script has.
        says: what of it differs from Stable-Baselines3 whatever the hyperparameters, a line each.
    """

    file: str
    options: Mapping[str, str]
    net_arch: tuple[int, ...]
    activation: str
    fixed: Mapping[str, Any]
    says: tuple[str, ...] = ()


_CUT_OFF = "the value of what follows is 0 where a time limit cuts an episode off"
_OWN_NORMALIZATION = "it always normalizes observations and rewards, clipped at 10"
_ONE_STEP = {"gradient_steps": 1, "n_envs": 1, "n_steps": 1}
_SCRIPTS = {
    ("ppo", "discrete"): _Script("ppo.py", _PPO, (64, 64), "Tanh", {"use_sde": False}, (_CUT_OFF,)),
    ("ppo", "continuous"): _Script(
        "ppo_continuous_action.py", _PPO, (64, 64), "Tanh", {"use_sde": False}, (_CUT_OFF, _OWN_NORMALIZATION)
    ),
    ("dqn", "discrete"): _Script(
        "dqn.py", _DQN, (120, 84), "ReLU", _ONE_STEP, ("its loss is squared, not Huber's", "it clips no gradients")
    ),
    ("sac", "continuous"): _Script(
        "sac_continuous_action.py",
        {**_REPLAY, "target_update_interval": "target-network-frequency"},
        (256, 256),
        "ReLU",
        {**_ONE_STEP, "train_freq": 1, "use_sde": False, "action_noise": None, "target_entropy": "auto"},
    ),
    ("td3", "continuous"): _Script(
        "td3_continuous_action.py", _TD3, (256, 256), "ReLU", {**_ONE_STEP, "train_freq": 1}
    ),
    ("ddpg", "continuous"): _Script(
        "ddpg_continuous_action.py", _REPLAY, (256, 256), "ReLU", {**_ONE_STEP, "train_freq": 1}
    ),
}


def render(findings: Findings, trial: TrialRecord) -> str:
    """Return the shell script.

    Raises:
        ExportError: the trial is a schedule or has a curriculum or costs, CleanRL has no script for its algorithm, or
            the environment cannot be made here, so its actions are unknown.
    """
    recipe = trial.recipe
    if recipe.start is not None:
        raise unable(findings, trial, "cleanrl", "its options have one value")
    if recipe.task_space is not None:
        raise ExportError(f"CleanRL has no teachers for the task of trial {trial.number}; use --format sb3")
    observations, actions = spaces(recipe)
    if is_image_space(observations) or isinstance(observations, gym.spaces.Dict):
        raise ExportError("CleanRL's scripts for images have a preprocessing of their own; use --format sb3")
    kind = {gym.spaces.Discrete: "discrete", gym.spaces.Box: "continuous"}.get(type(actions), "other")
    script = _SCRIPTS.get((recipe.algorithm, kind))
    if script is None:
        known = ", ".join(sorted({f"{name} ({actions})" for name, actions in _SCRIPTS}))
        raise ExportError(
            f"CleanRL has no script for {recipe.algorithm} with {kind} actions, only for {known}; use --format sb3"
        )
    data = described(recipe)
    options = _options(script, recipe.algorithm, data)
    own = {**_OF_POLICY, "n_critics": 1 if recipe.algorithm == "ddpg" else 2}
    further = {key: value for key, value in recipe.policy.items() if own.get(key, ()) != value}
    unsaid = [*_unsaid(script, recipe.algorithm, data)]
    unsaid += [f"policy.{key} {value}" for key, value in further.items() if key not in _TOLD]
    first = findings.spec.seeds.test[0]
    lines = ["cleanrl/" + script.file, *options, f'--seed "${{1:-{first}}}"']
    about = [
        *header(findings, trial),
        f"CleanRL's {script.file} is the algorithm in other words: scores agree over seeds, as far as this allows.",
        f"Run it where your clone is: sh THIS_FILE [SEED], by default {first}.",
    ]
    about += [f"Not as in the study: {what}." for what in (*script.says, *unsaid)]
    comment = "".join(f"# {line}\n" for line in about)
    return f"#!/bin/sh\n{comment}python " + " \\\n    ".join(lines) + "\n"


def _options(script: _Script, algorithm: str, data: Mapping[str, Any]) -> list[str]:
    own: dict[str, Any] = data["hyperparameters"]
    rate = own["learning_rate"]
    start = rate["start"] if isinstance(rate, Mapping) else rate
    options = {"env-id": data["env"], "total-timesteps": data["env_steps"]}
    if algorithm == "sac":
        auto = isinstance(own["ent_coef"], str)
        options |= {"policy-lr": start, "q-lr": start, "policy-frequency": 1, "autotune": auto}
        options |= {} if auto else {"alpha": own["ent_coef"]}
    else:
        options["learning-rate"] = start
    for key, option in script.options.items():
        options[option] = _number(own[key])
    if algorithm == "ppo":
        rollout = own["n_steps"] * data["n_envs"]
        options |= {
            # Whole rollouts: it leaves out what Stable-Baselines3 trains of a last one.
            "total-timesteps": -(-data["env_steps"] // rollout) * rollout,
            "num-envs": data["n_envs"],
            "num-steps": own["n_steps"],
            "num-minibatches": max(1, round(rollout / own["batch_size"])),
            "anneal-lr": isinstance(rate, Mapping),
            "norm-adv": own["normalize_advantage"],
            "clip-vloss": own["clip_range_vf"] is not None,
            # CleanRL halves the squared error of the values; SB3 stops at 1.5 times the divergence asked for.
            "vf-coef": 2 * own["vf_coef"],
            **({} if own["target_kl"] is None else {"target-kl": 1.5 * own["target_kl"]}),
        }
    if algorithm in ("td3", "ddpg"):
        noise = own.get("action_noise")
        options["exploration-noise"] = 0.0 if noise is None else noise["std"][0]
    if algorithm == "ddpg":
        options["policy-frequency"] = 1
    return [_option(name, value) for name, value in options.items()]


def _option(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name} {shlex.quote(str(value))}"


def _number(value: Any) -> Any:
    """Return a number as an option takes it: a schedule's start, a frequency's count."""
    if isinstance(value, Mapping):
        return value["start"]
    return value[0] if isinstance(value, list) else value


def _unsaid(script: _Script, algorithm: str, data: Mapping[str, Any]) -> Iterator[str]:
    """Say what of a configuration the script has no option for."""
    own = data["hyperparameters"]
    yield from _of_policy(script, data["policy"])
    for key in ("frame_stack", "wrappers", "env_kwargs", "cost", "specification"):
        if data.get(key):
            yield f"{key} {data[key]}"
    if data["normalize"] and _OWN_NORMALIZATION not in script.says:
        yield "normalization of observations or rewards"
    for key, value in script.fixed.items():
        found = data["n_envs"] if key == "n_envs" else own.get(key, value)
        if found not in (value, [value, "step"]):
            yield f"{key} {found}, of which it has {value}"
    if algorithm == "dqn" and isinstance(own["train_freq"], list) and own["train_freq"][1] != "step":
        yield f"train_freq {own['train_freq']}: it counts steps"
    for key, value in own.items():
        if isinstance(value, Mapping) and "schedule" in value and (key, algorithm) != ("learning_rate", "ppo"):
            yield f"the schedule of {key}"
    if algorithm == "ppo":
        yield from _of_ppo(own, data["n_envs"])
    if algorithm == "sac" and str(own["ent_coef"]).startswith("auto_"):
        yield f"ent_coef {own['ent_coef']}: its coefficient starts at 1"
    if algorithm in ("td3", "ddpg") and (own.get("action_noise") or {}).get("noise") == "ornstein-uhlenbeck":
        yield "Ornstein-Uhlenbeck noise: it draws each step's anew"


def _of_policy(script: _Script, policy: Mapping[str, Any]) -> Iterator[str]:
    layers = policy["net_arch"] if isinstance(policy["net_arch"], Mapping) else {"": policy["net_arch"]}
    if any(tuple(hidden) != script.net_arch for hidden in layers.values()):
        yield f"hidden layers {policy['net_arch']}, of which it has {list(script.net_arch)}"
    activation = policy["activation_fn"].rpartition(".")[2]
    if activation != script.activation:
        yield f"activation {activation}, of which it has {script.activation}"
    if not policy.get("ortho_init", True):
        yield "ortho_init false: it always initializes orthogonally"


def _of_ppo(own: Mapping[str, Any], n_envs: int) -> Iterator[str]:
    rollout, batch = own["n_steps"] * n_envs, own["batch_size"]
    if batch < rollout and rollout % batch:
        yield f"minibatches of {batch}, which do not divide its {rollout} steps"
    if own["clip_range_vf"] not in (None, own["clip_range"]):
        yield f"clip_range_vf {own['clip_range_vf']}: it clips values as far as --clip-coef"
