"""The backend `sb3`: checks a study against what SB3 takes, and trains one seed at a time."""

from __future__ import annotations

import difflib
import importlib
import warnings
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import gymnasium as gym
import torch

from autorl.errors import did_you_mean
from autorl.spec.space import Choice, Configuration, Parameter, SearchSpace
from autorl.spec.yaml12 import Key
from autorl.training.protocol import Host, Job
from autorl.training.sb3.algorithms import ALGORITHMS, arguments, own_defaults, policy_arguments, wrong_value
from autorl.training.sb3.model import build
from autorl.training.sb3.plain import make_vec_env
from autorl.training.sb3.run import Training
from autorl.trial import Recipe, RunResult

# Hidden layers that SB3's policies have when none are asked for, in the words of a study file.
_OWN_NET_ARCH = {
    "sac": "medium",
    "tqc": "medium",
    "td3": "big",
    "ddpg": "big",
    **dict.fromkeys(("ppo", "a2c", "dqn", "qrdqn", "trpo", "recurrent_ppo", "ars"), "small"),
}


class Sb3Backend:
    """Stable-Baselines3 2.9 and sb3-contrib 2.9 on any Gymnasium environment, one CPU thread a run.

    A paused or interrupted run goes on bit-identically for every algorithm, provided that the environment draws all its
    randomness from `np_random` (as Gymnasium asks) and no wrapper of it remembers across episodes; otherwise it goes on
    from a fresh episode and the result's notes say so. A pause falls on the first rollout boundary at or after the
    steps asked for, since SB3 cannot stop within a rollout.
    """

    resumable = True
    lanes = 1
    metrics: Mapping[str, str] = {
        "return": "undiscounted return, mean over the evaluation episodes",
        "return_std": "standard deviation of the return over the evaluation episodes",
        "length": "steps of an episode, mean over the evaluation episodes",
    }

    def check(self, sections: Mapping[str, Any], repaired: Collection[str]) -> Iterator[tuple[Key, str]]:
        """Find unknown algorithms, hyperparameters, policies and environments; see `Backend.check`."""
        algorithm, space_spec = sections.get("algorithm"), sections.get("search_space")
        space: SearchSpace = space_spec.space() if space_spec is not None else SearchSpace()
        mistakes: list[tuple[Key, str]] = []
        if algorithm is not None:
            mistakes += self._check_algorithm(algorithm, space)
            if sections.get("policy") is not None and algorithm.name in ALGORITHMS:
                mistakes += self._check_policy(algorithm.name, sections["policy"])
        for index, objective in enumerate(sections.get("objectives") or ()):
            if objective.metric not in self.metrics:
                mistakes.append(
                    (
                        ("objectives", index, "metric"),
                        f"unknown metric '{objective.metric}'{did_you_mean(objective.metric, self.metrics)}",
                    )
                )
        if sections.get("task") is not None:
            usable = not mistakes and not {"algorithm", "policy"} & set(repaired)
            mistakes += self._check_task(sections, repaired, usable)
        yield from mistakes

    def _check_algorithm(self, algorithm: Any, space: SearchSpace) -> Iterator[tuple[Key, str]]:
        searched = [p for p in space if p.sets == "algorithm.name"]
        names = [str(v) for p in searched for v in (p.domain.values if isinstance(p.domain, Choice) else ())]
        for name in names:
            if name not in ALGORITHMS:
                yield (
                    ("search_space", "parameters", "algorithm.name"),
                    f"unknown algorithm '{name}'{did_you_mean(name, ALGORITHMS)}",
                )
        if algorithm.name not in ALGORITHMS:
            yield (
                ("algorithm", "name"),
                f"unknown algorithm '{algorithm.name}'{did_you_mean(algorithm.name, ALGORITHMS)}",
            )
            names = [name for name in names if name in ALGORITHMS]
            if not names:
                return
        names = [name for name in names or [algorithm.name] if name in ALGORITHMS]
        for key, value in algorithm.fixed.items():
            yield from _mistakes(("algorithm", "fixed", key), names, key, [value])
        for parameter in space:
            yield from self._check_parameter(parameter, names, space)

    def _check_parameter(
        self, parameter: Parameter, names: Sequence[str], space: SearchSpace
    ) -> Iterator[tuple[Key, str]]:
        at: Key = ("search_space", "parameters", parameter.name)
        key = parameter.sets
        if key.startswith(("algorithm.", "task.")) or parameter.name in self.switches(space, names):
            return
        chosen = [str(v) for parent, values in parameter.when if space[parent].sets == "algorithm.name" for v in values]
        active = [name for name in names if not chosen or name in chosen]
        values = parameter.domain.values if isinstance(parameter.domain, Choice) else ()
        yield from _mistakes(at, active, key, values)

    def _check_policy(self, algorithm: str, policy: Any) -> Iterator[tuple[Key, str]]:
        for key, value in policy.model_dump(exclude_none=True).items():
            if key == "name":
                continue
            yield from _mistakes(("policy", key), [algorithm], f"policy.{key}", [value])

    def _check_task(
        self, sections: Mapping[str, Any], repaired: Collection[str], usable: bool
    ) -> list[tuple[Key, str]]:
        task, algorithm, policy = sections["task"], sections.get("algorithm"), sections.get("policy")
        module, _, name = task.env.rpartition(":")
        try:
            if module:
                importlib.import_module(module)
            gym.spec(name)
        except (gym.error.Error, ImportError) as error:
            near = difflib.get_close_matches(task.env, gym.registry, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else "; module:Env-v0 imports the module that registers it"
            return [(("task", "env"), f"no environment '{task.env}' ({' '.join(str(error).split())}){hint}")]
        if "task" in repaired:
            return []
        try:
            env = make_vec_env(task.env, task.env_kwargs, task.wrappers, 1, None)
        except Exception as error:  # noqa: BLE001 - an environment's constructor may raise anything
            return [(("task", "env"), f"'{task.env}' cannot be made: {type(error).__name__}: {error}")]
        with closing(env):
            if not usable or algorithm is None or policy is None:
                return []
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # a run keeps SB3's warnings as its notes
                    args = arguments(_probe(task, algorithm, policy), env.observation_space, env.action_space)
                    args.algorithm(args.policy, env, policy_kwargs=args.policy_kwargs, device="cpu", **args.kwargs)
            except Exception as error:  # noqa: BLE001 - whatever SB3 says against the combination, the user should read it
                said = " ".join(str(error).split())
                return [(("algorithm", "name"), f"{algorithm.name} cannot train on {task.env}: {said}")]
        return []

    def switches(self, space: SearchSpace, algorithms: Sequence[str]) -> frozenset[str]:
        """Return the parameters named in conditions that no algorithm takes; see `Backend.switches`."""
        known = {key for name in algorithms for key in own_defaults(name)}
        return frozenset(p.name for p in space if p.name in space.parents and "." not in p.sets and p.sets not in known)

    def default(self, recipe: Recipe, key: str) -> Any:
        """Return SB3's own default of a key; see `Backend.default`."""
        if key == "algorithm.name":
            return recipe.algorithm
        if key.startswith("task.env_kwargs."):
            return recipe.env_kwargs.get(key.removeprefix("task.env_kwargs."))
        if key == "policy.net_arch":
            return recipe.policy.get("net_arch", _OWN_NET_ARCH.get(recipe.algorithm))
        if key.startswith("policy."):
            return recipe.policy.get(key.removeprefix("policy."))
        if key in recipe.hyperparameters:
            return recipe.hyperparameters[key]
        value = own_defaults(recipe.algorithm).get(key)
        return value if isinstance(value, bool | int | float | str) else None

    def match(
        self, recipe: Recipe, space: SearchSpace, config: Configuration, taken: Collection[Configuration]
    ) -> Configuration:
        """Return the configuration itself: any can be trained; see `Backend.match`."""
        del recipe, space, taken
        return config

    def warm(self) -> None:
        """Train PPO for a moment: the first training in a process initializes a second's worth of torch."""
        torch.set_num_threads(1)
        settings = {"n_steps": 8, "batch_size": 8, "n_epochs": 1}
        recipe = Recipe("sb3", "ppo", settings, {"net_arch": [4]}, "CartPole-v1", {}, (), 8, 1, 1, True)
        model, eval_env, _, _ = build(recipe, 0)
        model.learn(8)
        eval_env.close()

    def group(self, recipe: Recipe) -> Hashable:
        """Return nothing of use: runs are trained one by one; see `Backend.group`."""
        return recipe.backend

    def train(self, jobs: Sequence[Job], hosts: Sequence[Host]) -> list[RunResult]:
        """Train the runs one after the other; see `Backend.train`."""
        torch.set_num_threads(1)
        return [Training(job, host).result() for job, host in zip(jobs, hosts, strict=True)]


def _mistakes(at: Key, algorithms: Sequence[str], key: str, values: Sequence[Any]) -> Iterator[tuple[Key, str]]:
    """Check that each algorithm takes a key, and the values that words stand for."""
    for name in algorithms:
        known = (
            {f"policy.{k}" for k in policy_arguments(name, None)}
            if key.startswith("policy.")
            else set(own_defaults(name))
        )
        if key not in known:
            yield at, f"{name} has no hyperparameter '{key}'{did_you_mean(key, known)}"
            return
    for value in values:
        if mistake := wrong_value(key.removeprefix("policy."), value):
            yield at, mistake


def _probe(task: Any, algorithm: Any, policy: Any) -> Recipe:
    fixed = {key: value for key, value in algorithm.fixed.items() if key != "n_envs"}
    return Recipe(
        "sb3",
        algorithm.name,
        fixed,
        policy.model_dump(exclude_none=True),
        task.env,
        task.env_kwargs,
        task.wrappers,
        1,
        1,
        1,
        True,
    )
