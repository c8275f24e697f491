"""A trial as an entry of rl-zoo3's hyperparameter files: `python -m rl_zoo3.train --algo ppo --env ID -conf FILE`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from autorl.errors import ExportError
from autorl.ledger.records import TrialRecord
from autorl.report.export import header, unable
from autorl.report.export.configuration import dumped
from autorl.report.export.sb3_arguments import OUTSIDE, resolve
from autorl.report.export.sb3_script import code
from autorl.report.findings import Findings
from autorl.training.sb3.algorithms import CONSTRAINED, Arguments, own_defaults

# rl-zoo3's names of the algorithms, where they differ.
_NAMES = {"recurrent_ppo": "ppo_lstm"}


def render(findings: Findings, trial: TrialRecord) -> str:
    """Return the YAML file.

    Raises:
        ExportError: the trial is a schedule or has a curriculum, rl-zoo3 does not have its algorithm, or the
            environment cannot be made here, so its spaces are unknown.
    """
    recipe = trial.recipe
    if recipe.start is not None:
        raise unable(findings, trial, "rl-zoo3", "its files give a hyperparameter one value")
    if recipe.algorithm in CONSTRAINED:
        raise ExportError(
            f"trial {trial.number} is of {recipe.algorithm}, which rl-zoo3 does not have; --format sb3 does"
        )
    if recipe.curriculum is not None and recipe.task_space is not None:
        vary = ", ".join(recipe.task_space["parameters"])
        raise ExportError(
            f"rl-zoo3 cannot hold trial {trial.number}: its task varies in {vary} (curriculum "
            f"{recipe.curriculum['kind']}), and rl-zoo3 has no teachers; use --format sb3"
        )
    args = resolve(recipe)
    defaults = {
        key: value
        for key, value in own_defaults(recipe.algorithm).items()
        if isinstance(value, bool | int | float | str)
    }
    entry: dict[str, Any] = {"n_timesteps": recipe.env_steps, "policy": args.policy, "n_envs": args.n_envs}
    entry |= {key: value for key, value in defaults.items() if key not in OUTSIDE}
    entry |= {key: value for key, value in recipe.hyperparameters.items() if key not in OUTSIDE and value is not None}
    if recipe.hyperparameters.get("lr_schedule") == "linear" and not isinstance(entry["learning_rate"], str):
        entry["learning_rate"] = f"lin_{entry['learning_rate']!r}"
    if recipe.hyperparameters.get("noise_type", "none") != "none":
        entry |= {
            "noise_type": recipe.hyperparameters["noise_type"],
            "noise_std": recipe.hyperparameters.get("noise_std", 0.1),
        }
    if args.normalize is not None:
        entry["normalize"] = f"dict({', '.join(f'{key}={code(value)}' for key, value in args.normalize.items())})"
    if args.frame_stack:
        entry["frame_stack"] = args.frame_stack
    if recipe.wrappers:
        entry["env_wrapper"] = [_wrapper(wrapper) for wrapper in recipe.wrappers]
    if recipe.env_kwargs:
        entry["env_kwargs"] = dict(recipe.env_kwargs)
    if args.policy_kwargs:
        entry["policy_kwargs"] = (
            f"dict({', '.join(f'{key}={code(value)}' for key, value in args.policy_kwargs.items())})"
        )
    algorithm = _NAMES.get(recipe.algorithm, recipe.algorithm)
    module, _, env = recipe.env.rpartition(":")
    words = ["python", "-m", "rl_zoo3.train", "--algo", algorithm, "--env", env, "-conf", "THIS_FILE"]
    words += ["--gym-packages", module] if module else []
    if recipe.env_kwargs:  # what the file says of them is for training alone
        words += ["--eval-env-kwargs", *(f"{key}:{value!r}" for key, value in recipe.env_kwargs.items())]
    lines = [*header(findings, trial), f"Train: {shlex.join(words)}", *_differences(args, entry["gamma"])]
    comment = "".join(f"# {line}\n" for line in lines)
    return comment + dumped({env: entry}, width=120)


def _differences(args: Arguments, gamma: float) -> Iterator[str]:
    """Say what rl-zoo3 does otherwise, whatever its file says."""
    if args.normalize is not None and args.frame_stack:
        yield "rl-zoo3 normalizes before it stacks frames; the study's runs did after."
    if args.normalize is not None and args.normalize.get("gamma", gamma) != gamma:
        yield "rl-zoo3 normalizes rewards with the algorithm's gamma, the study's runs did with normalize's."


def _wrapper(wrapper: Any) -> Any:
    if isinstance(wrapper, str):
        return wrapper.replace(":", ".")
    return {name.replace(":", "."): arguments for name, arguments in wrapper.items()}
