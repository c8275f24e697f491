"""A trial as a Python script of plain Stable-Baselines3.

The functions that make environments, evaluate and derive seeds are copied from the module that trained the study, so
with the same versions on the same kind of processor the script repeats a run's learning curve to the last digit.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from contextlib import closing
from typing import Any

import numpy as np
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.utils import LinearSchedule

from autorl.errors import ExportError
from autorl.ledger.records import TrialRecord
from autorl.report.export import header
from autorl.report.findings import Findings
from autorl.training.sb3 import plain
from autorl.training.sb3.algorithms import ALGORITHMS, Arguments, arguments, own_defaults
from autorl.trial import Recipe

_COPIED = (plain.random_streams, plain.make_vec_env, plain.evaluate, plain.Evaluations)

_PROMISE = '''

Needs only stable-baselines3, sb3-contrib and the environment. With these versions, on the same kind of processor,
a seed of the study repeats that run's learning curve to the last digit.
"""
'''

_IMPORTS = """\
from __future__ import annotations

import argparse
import importlib
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
{algorithm}
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack, VecNormalize, sync_envs_normalization
from torch import nn
"""

_MAIN = '''\
ENV = {env!r}
ENV_KWARGS = {env_kwargs!r}
WRAPPERS = {wrappers!r}
N_ENVS = {n_envs!r}
FRAME_STACK = {frame_stack!r}
STEPS = {steps!r}
EVALUATIONS = {points!r}
EPISODES = {episodes!r}
DETERMINISTIC = {deterministic!r}


def train(seed: int) -> tuple[BaseAlgorithm, list[tuple[int, dict[str, float]]]]:
    """Train one agent; return it and its learning curve."""
    torch.set_num_threads(1)
    network_seed, environment_seed, evaluation_seeds = random_streams(seed, EVALUATIONS)
    env = make_vec_env(ENV, ENV_KWARGS, WRAPPERS, N_ENVS, FRAME_STACK)
    eval_env = make_vec_env(ENV, ENV_KWARGS, WRAPPERS, EPISODES, FRAME_STACK)
{normalize}    model = {algorithm}(
{arguments}
    )
    env.seed(environment_seed)
    curve: list[tuple[int, dict[str, float]]] = []

    def report(env_steps: int, metrics: dict[str, float]) -> None:
        curve.append((env_steps, metrics))
        print(f"{{env_steps:>10,}} steps   return {{metrics['return']:.4f}}", flush=True)

    points = [round(STEPS * k / EVALUATIONS) for k in range(1, EVALUATIONS + 1)]
    model.learn(STEPS, Evaluations(eval_env, points, evaluation_seeds, DETERMINISTIC, report))
    return model, curve


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default={seed}, help="one of the study's repeats that run (%(default)s)")
    parser.add_argument("--save", metavar="FILE", help="save the trained model as an SB3 .zip")
    parser.add_argument("--curve", metavar="FILE", help="save the learning curve as CSV")
    options = parser.parse_args()
    trained, learned = train(options.seed)
    if options.save:
        trained.save(options.save)
        if isinstance(normalization := trained.get_env(), VecNormalize):
            normalization.save(options.save.removesuffix(".zip") + ".vecnormalize.pkl")
    if options.curve:
        with open(options.curve, "w") as file:
            file.write("env_steps,return,return_std,length\\n")
            for steps, m in learned:
                file.write(f"{{steps}},{{m['return']!r}},{{m['return_std']!r}},{{m['length']!r}}\\n")
'''


def render(findings: Findings, trial: TrialRecord) -> str:
    """Return the script.

    Raises:
        ExportError: the environment cannot be made here, so its spaces are unknown.
    """
    recipe = trial.recipe
    args = resolve(recipe)
    module, name = ALGORITHMS[recipe.algorithm]
    body = _MAIN.format(
        env=recipe.env,
        env_kwargs=dict(recipe.env_kwargs),
        wrappers=list(recipe.wrappers),
        n_envs=args.n_envs,
        frame_stack=args.frame_stack,
        steps=recipe.env_steps,
        points=recipe.evaluation_points,
        episodes=recipe.evaluation_episodes,
        deterministic=recipe.deterministic,
        normalize=_normalize(args),
        algorithm=name,
        arguments=textwrap.indent(",\n".join([*_arguments(recipe.algorithm, args), ""]).rstrip("\n"), " " * 8),
        seed=findings.spec.seeds.test[0],
    )
    docstring = '"""' + "\n".join(header(findings, trial)) + _PROMISE
    copied = "\n\n".join(re.sub(r"  # noqa.*", "", inspect.getsource(part)).rstrip() + "\n" for part in _COPIED)
    return f"{docstring}\n{_IMPORTS.format(algorithm=f'from {module} import {name}')}\n\n{copied}\n\n{body}"


def resolve(recipe: Recipe) -> Arguments:
    """Return a recipe in SB3's terms.

    Raises:
        ExportError: the environment cannot be made here, so its spaces are unknown.
    """
    try:
        env = plain.make_vec_env(recipe.env, recipe.env_kwargs, recipe.wrappers, 1, None)
    except Exception as error:  # noqa: BLE001 - an environment's constructor may raise anything
        raise ExportError(f"'{recipe.env}' cannot be made here: {type(error).__name__}: {error}") from None
    with closing(env):
        return arguments(recipe, env.observation_space, env.action_space)


def _normalize(args: Arguments) -> str:
    if args.normalize is None:
        return ""
    shared = ", ".join(
        f"{key}={code(value)}" for key, value in args.normalize.items() if key not in ("training", "norm_reward")
    )
    training = ", ".join(f"{key}={code(value)}" for key, value in args.normalize.items())
    lines = [
        f"env = VecNormalize(env, {training})",
        f"eval_env = VecNormalize(eval_env, {shared}, training=False, norm_reward=False)",
    ]
    return textwrap.indent("\n".join(lines) + "\n", " " * 4)


def _arguments(algorithm: str, args: Arguments) -> list[str]:
    """Return the constructor's arguments as code, the algorithm's own defaults written out."""
    outside = {"n_envs", "normalize", "frame_stack", "lr_schedule", "noise_type", "noise_std"}
    defaults = {key: value for key, value in own_defaults(algorithm).items() if key not in outside}
    lines = [repr(args.policy), "env"]
    lines += [f"{key}={code(value)}" for key, value in {**defaults, **args.kwargs}.items()]
    if args.policy_kwargs:
        inner = ", ".join(f"{key}={code(value)}" for key, value in args.policy_kwargs.items())
        lines.append(f"policy_kwargs=dict({inner})")
    return [*lines, "seed=network_seed", 'device="cpu"']


def code(value: Any) -> str:
    """Return Python code for an argument of Stable-Baselines3.

    Raises:
        ExportError: it has no code.
    """
    if isinstance(value, type):
        return f"nn.{value.__name__}"
    if isinstance(value, LinearSchedule):
        return f"LinearSchedule({value.start!r}, {value.end!r}, {value.end_fraction!r})"
    if isinstance(value, NormalActionNoise | OrnsteinUhlenbeckActionNoise):
        mean, sigma = np.asarray(value._mu).tolist(), np.asarray(value._sigma).tolist()
        return f"{type(value).__name__}(np.array({mean!r}), np.array({sigma!r}))"
    if isinstance(value, None | bool | int | float | str | list | tuple | dict):
        return repr(value)
    raise ExportError(f"no code for {value!r}")
