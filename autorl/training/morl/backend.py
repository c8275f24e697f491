"""The backend `morl`: checks a study of multi-objective agents, and trains one seed at a time."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, redirect_stdout
from io import StringIO
from typing import Any

from autorl.errors import AutorlError
from autorl.spec.space import SearchSpace
from autorl.spec.yaml12 import Key
from autorl.training.curriculum.words import without_curricula
from autorl.training.metrics import asked_metrics, without_signals
from autorl.training.protocol import Backend, Host, Job
from autorl.training.words import Vocabulary, missing_env, probe
from autorl.trial import Recipe, RunResult

try:
    import gymnasium as gym
    import mo_gymnasium  # noqa: F401 - registers its environments
    import torch
    from morl_baselines.common.weights import equally_spaced_weights

    from autorl.training.morl import algorithms, scalarized
    from autorl.training.morl.episodes import Clock, generators, known_front, make, objectives
    from autorl.training.morl.indicators import KNOWN_FRONT_METRICS, METRICS
    from autorl.training.morl.run import Training, make_agent
    from autorl.training.sb3.algorithms import policy_arguments
except ImportError as _error:
    raise AutorlError(f"backend 'morl' needs morl-baselines ({_error}); run: pip install 'autorl[morl]'") from _error

# What is measured; a study cannot choose it by how well it is measured.
_MEASURE = {"ref_point": None, "eval_gamma": 1.0}


_WEIGHTS = 100  # morl-baselines' default for fronts


def _defaults(name: str) -> Mapping[str, Any]:
    own = scalarized.own_defaults if name in scalarized.ALGORITHMS else algorithms.own_defaults
    return {**own(name), **_MEASURE}


def _policy_arguments(name: str) -> set[str]:
    if name in scalarized.ALGORITHMS:
        return policy_arguments(name.removeprefix(scalarized.PREFIX), None)
    return set()


_WORDS = Vocabulary((*algorithms.ALGORITHMS, *scalarized.ALGORITHMS), _defaults, _policy_arguments, METRICS)


class MorlBackend(Backend):
    """morl-baselines 1.3 and one SB3 agent a weight, on environments with vector rewards, such as mo-gymnasium's.

    An agent is evaluated by its front: every policy that it has plays held-out episodes, never those it learned from.
    Training cannot be gone on with: a run that was interrupted or paused is trained anew, to the same curve.
    """

    resumable = False
    lanes = 1
    metrics = METRICS

    def check(self, sections: Mapping[str, Any], repaired: Collection[str]) -> Iterator[tuple[Key, str]]:
        """Find unknown algorithms and hyperparameters, and tasks without objectives; see `Backend.check`."""
        mistakes = [*_WORDS.mistakes(sections), *_wrong_measure(sections)]
        mistakes += [*without_curricula("morl", sections), *without_signals("morl", sections)]
        if sections.get("evaluation") is not None and not sections["evaluation"].deterministic:
            message = "the policies of a front are evaluated by their mode; leave this out"
            mistakes.append((("evaluation", "deterministic"), message))
        if sections.get("task") is not None:
            usable = not mistakes and not {"algorithm", "policy"} & set(repaired)
            mistakes += _wrong_task(sections, repaired, usable)
        yield from mistakes

    def default(self, recipe: Recipe, key: str) -> Any:
        """Return morl-baselines' or SB3's own default of a key; see `Backend.default`."""
        return _WORDS.default(recipe, key)

    def switches(self, space: SearchSpace, names: Sequence[str]) -> frozenset[str]:
        """Return the parameters named in conditions that no algorithm takes; see `Backend.switches`."""
        return _WORDS.switches(space, names)

    def warm(self) -> None:
        """Spread the weights that most algorithms ask for, which takes seconds and is kept."""
        torch.set_num_threads(1)
        for count in (2, 3):
            equally_spaced_weights(count, _WEIGHTS)

    def unforkable(self, recipe: Recipe, keys: Collection[str]) -> str | None:
        """Say that no run can be forked; see `Backend.unforkable`."""
        del recipe, keys
        return "backend morl cannot go on from another run's agent; use an optimizer that forks none, such as tpe"

    def train(self, jobs: Sequence[Job], hosts: Sequence[Host]) -> list[RunResult]:
        """Train the runs one after the other; see `Backend.train`."""
        torch.set_num_threads(1)
        return [Training(job, host).result() for job, host in zip(jobs, hosts, strict=True)]


def _wrong_measure(sections: Mapping[str, Any]) -> Iterator[tuple[Key, str]]:
    algorithm, space_spec = sections.get("algorithm"), sections.get("search_space")
    for parameter in space_spec.space() if space_spec is not None else ():
        if parameter.sets in _MEASURE:
            where = ("search_space", "parameters", parameter.name)
            yield where, f"'{parameter.sets}' says what is measured; set it in algorithm.fixed"
    if algorithm is None:
        return
    if "ref_point" not in algorithm.fixed:
        message = "the hypervolume needs 'ref_point', one number for each objective, such as [0, -25]"
        yield ("algorithm", "fixed"), message
    elif not _numbers(algorithm.fixed["ref_point"]):
        yield ("algorithm", "fixed", "ref_point"), f"{algorithm.fixed['ref_point']!r} must be a list of numbers"
    gamma = algorithm.fixed.get("eval_gamma", 1.0)
    if not _numbers([gamma]) or not 0 < gamma <= 1:
        yield ("algorithm", "fixed", "eval_gamma"), f"{gamma!r} must be a number above 0, and at most 1"


def _numbers(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in values
    )


def _wrong_task(sections: Mapping[str, Any], repaired: Collection[str], usable: bool) -> list[tuple[Key, str]]:
    task, algorithm, policy = sections["task"], sections.get("algorithm"), sections.get("policy")
    if missing := missing_env(task.env):
        return [(("task", "env"), missing)]
    if "task" in repaired:
        return []
    try:
        env = make(task.env, task.env_kwargs, task.wrappers)
    except Exception as error:  # noqa: BLE001 - an environment's constructor may raise anything
        return [(("task", "env"), f"'{task.env}' cannot be made: {type(error).__name__}: {error}")]
    with closing(env):
        count = objectives(env)
        if count is None or count < 2:
            message = f"'{task.env}' has no vector of rewards ('reward_space'); backend sb3 trains for one number"
            return [(("task", "env"), message)]
        mistakes: list[tuple[Key, str]] = []
        for place, metric in asked_metrics(sections):
            if metric in KNOWN_FRONT_METRICS and known_front(env, 1.0) is None:
                mistakes.append((place, f"nobody knows the front of '{task.env}', which {metric} compares with"))
        if not usable or algorithm is None or policy is None:
            return mistakes
        ref_point = algorithm.fixed["ref_point"]
        if len(ref_point) != count:
            message = f"{list(ref_point)} must have {count} numbers, one for each objective of '{task.env}'"
            return [*mistakes, (("algorithm", "fixed", "ref_point"), message)]
        return mistakes + _untrainable(probe(task, algorithm, policy), env)


def _untrainable(recipe: Recipe, env: gym.Env) -> list[tuple[Key, str]]:
    try:
        with redirect_stdout(StringIO()), generators(0):
            make_agent(recipe, Clock(env, lambda _: None), env, 0)
    except Exception as error:  # noqa: BLE001 - whatever morl-baselines says against the combination, the user should read it
        said = " ".join(str(error).split()) or type(error).__name__
        return [(("algorithm", "name"), f"{recipe.algorithm} cannot train on {recipe.env}: {said}")]
    return []
