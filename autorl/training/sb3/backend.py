"""The backend `sb3`: checks a study against what SB3 takes, and trains one seed at a time."""

from __future__ import annotations

import difflib
import importlib
import resource
import time
import traceback
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from autorl.errors import CheckpointError, did_you_mean
from autorl.spec.space import Choice, Parameter, SearchSpace
from autorl.spec.yaml12 import Key
from autorl.training.protocol import Host, Interrupted, Job
from autorl.training.sb3 import checkpoint
from autorl.training.sb3.algorithms import ALGORITHMS, Arguments, arguments, own_defaults, policy_arguments, wrong_value
from autorl.training.sb3.plain import Evaluations, make_vec_env, random_streams
from autorl.trial import FailureClass, Point, Recipe, RunResult

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
    vectorized = False
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

    def warm(self) -> None:
        """Train PPO for a moment: the first training in a process initializes a second's worth of torch."""
        torch.set_num_threads(1)
        settings = {"n_steps": 8, "batch_size": 8, "n_epochs": 1}
        recipe = Recipe("sb3", "ppo", settings, {"net_arch": [4]}, "CartPole-v1", {}, (), 8, 1, 1, True)
        model, eval_env, _, _ = build(recipe, 0)
        model.learn(8)
        eval_env.close()

    def train(self, job: Job, host: Host) -> list[RunResult]:
        """Train the seeds one after the other; see `Backend.train`."""
        torch.set_num_threads(1)
        return [_Training(job, seed, host).result() for seed in job.seeds]


def build(recipe: Recipe, seed: int) -> tuple[BaseAlgorithm, VecEnv, Arguments, list[int]]:
    """Make the model of a run, with its training environments, and its evaluation environments.

    Returns:
        The model, the evaluation environments, SB3's arguments, and the seed of each evaluation.
    """
    network, environment, evaluations = random_streams(seed, recipe.evaluation_points)
    n_envs, stack = recipe.hyperparameters.get("n_envs", 1), recipe.hyperparameters.get("frame_stack")
    env = make_vec_env(recipe.env, recipe.env_kwargs, recipe.wrappers, n_envs, stack, checkpoint.ReplayableEnv)
    eval_env = make_vec_env(recipe.env, recipe.env_kwargs, recipe.wrappers, recipe.evaluation_episodes, stack)
    args = arguments(recipe, env.observation_space, env.action_space)
    if args.normalize is not None:
        env = VecNormalize(env, **args.normalize)
        eval_env = VecNormalize(eval_env, **{**args.normalize, "training": False, "norm_reward": False})
    model = args.algorithm(
        args.policy, env, policy_kwargs=args.policy_kwargs, seed=network, device="cpu", **args.kwargs
    )
    env.seed(environment)
    model.set_logger(Logger(folder=None, output_formats=[]))  # the default one makes a folder for each run
    return model, eval_env, args, evaluations


class _Paused(Exception):
    """Raised between two rollouts to leave SB3's training loop."""


class _Training:
    """One seed of a job."""

    def __init__(self, job: Job, seed: int, host: Host) -> None:
        self.job, self.seed, self.host = job, seed, host
        self.curve: list[Point] = []
        self.notes: list[str] = []
        self.model: BaseAlgorithm | None = None
        self._started = time.monotonic(), _cpu_seconds()
        self._before = 0.0, 0.0

    def result(self) -> RunResult:
        """Train; a failure is a result too."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            try:
                self._train()
            except Interrupted:
                raise
            except Exception as error:  # noqa: BLE001 - environments, wrappers and policies are the user's code
                return self._failed(error)
            finally:
                self.notes += dict.fromkeys(
                    " ".join(str(w.message).split()) for w in caught if w.category is UserWarning
                )
        return self._ended("completed", score=self.curve[-1].metrics[self.job.metric] if self.curve else None)

    def _train(self) -> None:
        recipe = self.job.recipe
        self.model, eval_env, _, seeds = build(recipe, self.seed)
        points = [
            round(recipe.env_steps * k / recipe.evaluation_points) for k in range(1, recipe.evaluation_points + 1)
        ]
        evaluations = Evaluations(eval_env, points, seeds, recipe.deterministic, self._evaluated)
        keeper = _Keeper(self)
        self._resume(keeper)
        evaluations.done = len(self.curve)
        if recipe.algorithm == "ars":
            _anneal_over(self.model, recipe.env_steps)
        try:
            if self.model.num_timesteps < recipe.env_steps:
                remaining = recipe.env_steps - self.model.num_timesteps
                self.model.learn(remaining, [evaluations, keeper], reset_num_timesteps=keeper.resumed is None)
        except _Paused:
            pass
        finally:
            training_env = self.model.get_env()
            eval_env.close()
            if training_env is not None:
                training_env.close()

    def _resume(self, keeper: _Keeper) -> None:
        assert self.model is not None
        path = self.job.resume.get(self.seed)
        if path is None:
            return
        try:
            state = checkpoint.read(path)
            if state["recipe"] != _fingerprint(self.job.recipe, self.seed):
                raise CheckpointError(f"{path}: written for another configuration")
        except CheckpointError as error:
            self.notes.append(f"started anew: {error}")
            return
        self.notes += checkpoint.restore(self.model, state["model"])
        self.curve = [Point(**point) for point in state["curve"]]
        self._before = state["wall_seconds"], state["cpu_seconds"]
        keeper.resumed = state

    def save(self, random_state: dict[str, Any]) -> None:
        """Hand the run's state to the host."""
        assert self.model is not None
        wall, cpu = self._seconds()
        content = {
            "recipe": _fingerprint(self.job.recipe, self.seed),
            "model": checkpoint.capture(self.model),
            "random": random_state,
            "curve": [point.to_dict() for point in self.curve],
            "wall_seconds": wall,
            "cpu_seconds": cpu,
        }
        self.host.save(self.seed, self.model.num_timesteps, checkpoint.pack(content))

    def _evaluated(self, env_steps: int, metrics: dict[str, float]) -> None:
        wrong = [f"the evaluation's {name} is {value}" for name, value in metrics.items() if not np.isfinite(value)]
        if self._broken():
            wrong.append("parameters of the policy are not finite")
        if wrong:
            raise FloatingPointError(f"after {env_steps} steps {' and '.join(wrong)}")
        point = Point(env_steps, self._seconds()[0], metrics)
        self.curve.append(point)
        self.host.evaluated(self.seed, point)

    def _broken(self) -> bool:
        return self.model is not None and any(not bool(torch.isfinite(p).all()) for p in self.model.policy.parameters())

    def _seconds(self) -> tuple[float, float]:
        return (
            self._before[0] + time.monotonic() - self._started[0],
            self._before[1] + _cpu_seconds() - self._started[1],
        )

    def _failed(self, error: Exception) -> RunResult:
        diverged = isinstance(error, FloatingPointError) or self._broken()
        text = "".join(traceback.format_exception(error))
        return self._ended("failed", error_class=_kind(error, diverged), error=text)

    def _ended(self, status: Any, **rest: Any) -> RunResult:
        wall, cpu = self._seconds()
        steps = self.model.num_timesteps if self.model is not None else 0
        return RunResult(status, tuple(self.curve), steps, wall, cpu, notes=tuple(self.notes), **rest)


class _Keeper(BaseCallback):
    """Saves, pauses and resumes between rollouts, where SB3's state is whole."""

    def __init__(self, training: _Training) -> None:
        super().__init__()
        self.training = training
        self.resumed: dict[str, Any] | None = None
        self._saved = time.monotonic()
        self._after_rollout: dict[str, Any] | None = None
        # ARS draws its candidates before it first calls back, so its generators are those after the last rollout.
        self._early = training.job.recipe.algorithm == "ars"

    def _on_training_start(self) -> None:
        if self.resumed is not None and self._early:
            checkpoint.restore_random_state(self.model, self.resumed["random"])
            self.resumed = None

    def _on_rollout_start(self) -> None:
        if self.resumed is not None:
            checkpoint.restore_random_state(self.model, self.resumed["random"])
            checkpoint.restore_within_rollout(self.model, self.resumed["model"])
            self.resumed = None
        done = self.num_timesteps >= self.training.job.until
        stopping = self.training.host.stopping()
        due = time.monotonic() - self._saved > self.training.job.checkpoint_seconds
        if not (done or due or stopping):
            return
        state = self._after_rollout if self._early else checkpoint.random_state(self.model)
        if state is None:
            return
        self.training.save(state)
        self._saved = time.monotonic()
        if stopping:
            raise Interrupted
        if done:
            raise _Paused

    def _on_rollout_end(self) -> None:
        if self._early:
            self._after_rollout = checkpoint.random_state(self.model)

    def _on_step(self) -> bool:
        self.training.host.alive(self.training.seed, self.num_timesteps)
        return True


def _kind(error: Exception, diverged: bool) -> FailureClass:
    # torch says that memory is short in a RuntimeError of its own on the CPU, and in a class of its own on a GPU.
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return "out_of_memory"
    return "diverged" if diverged else "exception"


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


def _anneal_over(model: BaseAlgorithm, env_steps: int) -> None:
    """Make schedules run over the whole run: ARS would start them anew over the steps that remain."""
    update = model._update_current_progress_remaining
    instance: Any = model
    instance._update_current_progress_remaining = lambda done, _total: update(done, env_steps)


def _fingerprint(recipe: Recipe, seed: int) -> str:
    return repr((sorted(recipe.to_dict().items(), key=lambda item: item[0]), seed))


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
