"""The backend `sb3`: checks a study against what SB3 takes, and trains one seed at a time."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import torch
from stable_baselines3.common.vec_env import VecNormalize

from autorl.spec.space import SearchSpace
from autorl.spec.yaml12 import Key
from autorl.training.curriculum import words
from autorl.training.curriculum.tryout import wrong_tasks
from autorl.training.protocol import KEEP, Backend, Host, Job
from autorl.training.sb3.algorithms import ALGORITHMS, CONSTRAINED, arguments, own_defaults, policy_arguments
from autorl.training.sb3.fork import fixed_for_life
from autorl.training.sb3.model import build
from autorl.training.sb3.plain import make_vec_env
from autorl.training.sb3.run import Training
from autorl.training.words import METRICS, Vocabulary, missing_env, probe, unmeasurable
from autorl.trial import Recipe, RunResult

_METRICS = {**METRICS, "parameters": "parameters of the networks that choose an action"}
_WORDS = Vocabulary(
    ALGORITHMS, own_defaults, lambda name: policy_arguments(name, None), _METRICS, constrained=CONSTRAINED, timed=True
)


class Sb3Backend(Backend):
    """Stable-Baselines3 2.9 and sb3-contrib 2.9 on any Gymnasium environment, one CPU thread a run.

    A paused or interrupted run goes on bit-identically for every algorithm, provided that the environment draws all its
    randomness from `np_random` (as Gymnasium asks) and no wrapper of it remembers across episodes; otherwise it goes on
    from a fresh episode and the result's notes say so. A pause falls on the first rollout boundary at or after the
    steps asked for, since SB3 cannot stop within a rollout.
    """

    resumable = True
    lanes = 1
    metrics: Mapping[str, str] = _METRICS

    def check(self, sections: Mapping[str, Any], repaired: Collection[str]) -> Iterator[tuple[Key, str]]:
        """Find unknown algorithms, hyperparameters, policies and environments; see `Backend.check`."""
        mistakes = [*_WORDS.mistakes(sections), *words.mistakes(sections)]
        if sections.get("task") is not None:
            usable = not mistakes and not {"algorithm", "policy"} & set(repaired)
            mistakes += self._check_task(sections, repaired, usable)
        yield from mistakes

    def _check_task(
        self, sections: Mapping[str, Any], repaired: Collection[str], usable: bool
    ) -> list[tuple[Key, str]]:
        task, algorithm, policy = sections["task"], sections.get("algorithm"), sections.get("policy")
        if missing := missing_env(task.env):
            return [(("task", "env"), missing)]
        if "task" in repaired:
            return []
        try:
            env = make_vec_env(task.env, task.env_kwargs, task.wrappers, 1, None)
        except Exception as error:  # noqa: BLE001 - an environment's constructor may raise anything
            return [(("task", "env"), f"'{task.env}' cannot be made: {type(error).__name__}: {error}")]
        mistakes: list[tuple[Key, str]] = list(unmeasurable(task))
        with closing(env):
            if wrong := wrong_tasks(task):
                return [(("task", "parameters"), wrong)]
            if not usable or algorithm is None or policy is None:
                return mistakes
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # a run keeps SB3's warnings as its notes
                    args = arguments(probe(task, algorithm, policy), env.observation_space, env.action_space)
                    if args.normalize is not None:
                        VecNormalize(env, **args.normalize)
                    args.algorithm(args.policy, env, policy_kwargs=args.policy_kwargs, device="cpu", **args.kwargs)
            except Exception as error:  # noqa: BLE001 - whatever SB3 says against the combination, the user should read it
                said = " ".join(str(error).split())
                mistakes.append((("algorithm", "name"), f"{algorithm.name} cannot train on {task.env}: {said}"))
        return mistakes

    def switches(self, space: SearchSpace, algorithms: Sequence[str]) -> frozenset[str]:
        """Return the parameters named in conditions that no algorithm takes; see `Backend.switches`."""
        return _WORDS.switches(space, algorithms)

    def default(self, recipe: Recipe, key: str) -> Any:
        """Return SB3's own default of a key; see `Backend.default`."""
        return _WORDS.default(recipe, key)

    def warm(self) -> None:
        """Train PPO for a moment: the first training in a process initializes a second's worth of torch."""
        torch.set_num_threads(1)
        settings = {"n_steps": 8, "batch_size": 8, "n_epochs": 1}
        recipe = Recipe("sb3", "ppo", settings, {"net_arch": [4]}, "CartPole-v1", {}, (), 8, 1, 1, True)
        model, eval_env, _, _ = build(recipe, 0)
        model.learn(8)
        eval_env.close()

    def unforkable(self, recipe: Recipe, keys: Collection[str]) -> str | None:
        """Say if a key is one that a run cannot go on with another value of; see `Backend.unforkable`."""
        other = sorted(key for key in keys if fixed_for_life(recipe.algorithm, key))
        return f"a run of {recipe.algorithm} cannot go on with another {other[0]}; {KEEP}" if other else None

    def train(self, jobs: Sequence[Job], hosts: Sequence[Host]) -> list[RunResult]:
        """Train the runs one after the other; see `Backend.train`."""
        torch.set_num_threads(1)
        return [Training(job, host).result() for job, host in zip(jobs, hosts, strict=True)]
