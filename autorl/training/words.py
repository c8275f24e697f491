"""The words of a study file that the backends of control tasks understand, and what is wrong with a file's use of them.

A backend says which algorithms it has, and what each takes; what can be found without knowing more is found here.
"""

from __future__ import annotations

import difflib
import importlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import gymnasium as gym

from autorl.errors import did_you_mean
from autorl.spec.objectives import LATENCY, RUN_METRICS
from autorl.spec.space import Choice, Parameter, SearchSpace
from autorl.spec.yaml12 import Key
from autorl.training.metrics import asked_metrics, without_program
from autorl.training.signals import CostSignal, Robustness
from autorl.training.tasks import make_env
from autorl.trial import Recipe

METRICS: Mapping[str, str] = {
    "return": "undiscounted return, mean over the evaluation episodes",
    "return_std": "standard deviation of the return over the evaluation episodes",
    "length": "steps of an episode, mean over the evaluation episodes",
}
COST_METRICS: Mapping[str, str] = {
    "cost": "undiscounted cost, mean over the evaluation episodes",
    "cost_std": "standard deviation of the cost over the evaluation episodes",
}
SPECIFICATION_METRICS: Mapping[str, str] = {
    "robustness": "robustness of the specification, mean over the evaluation episodes",
    "robustness_std": "standard deviation of the robustness over the evaluation episodes",
}
NET_ARCHS: dict[str, list[int]] = {
    "tiny": [64],
    "small": [64, 64],
    "medium": [256, 256],
    "big": [400, 300],
    "large": [256, 256, 256],
    "verybig": [512, 512, 512],
}
ACTIVATIONS = ("tanh", "relu", "elu", "leaky_relu", "gelu", "silu")
NOISES = ("none", "normal", "ornstein-uhlenbeck")
_SCHEDULED = {"learning_rate", "clip_range", "clip_range_vf", "delta_std", "qf_learning_rate"}
# Hidden layers that SB3's policies have when none are asked for.
_OWN_NET_ARCH = {
    "sac": "medium",
    "tqc": "medium",
    "td3": "big",
    "ddpg": "big",
    **dict.fromkeys(("ppo", "a2c", "dqn", "qrdqn", "trpo", "recurrent_ppo", "ars", "ppo_lagrangian"), "small"),
}


@dataclass(frozen=True)
class Vocabulary:
    """What a backend understands.

    Attributes:
        algorithms: their names.
        defaults: algorithm → every hyperparameter that it takes, with its default.
        policy_arguments: algorithm → arguments of its policies, `name` included.
        metrics: metric → what it is, of those that it measures of any task.
        engines: its engines.
        constrained: those of the algorithms that learn from costs.
        timed: whether evaluations measure how long the policy takes for an action.
    """

    algorithms: Collection[str]
    defaults: Callable[[str], Mapping[str, Any]]
    policy_arguments: Callable[[str], Collection[str]]
    metrics: Mapping[str, str]
    engines: Sequence[str] = ()
    constrained: Collection[str] = ()
    timed: bool = False

    def unmeasured(self, metric: str, task: Any) -> str | None:
        """Say why a metric is not measured, or None if it is.

        Args:
            metric: its name.
            task: the study's task, or None where it has mistakes of its own.
        """
        for key, of_key in (("cost", COST_METRICS), ("specification", SPECIFICATION_METRICS)):
            if metric in of_key:
                missing = task is not None and getattr(task, key) is None
                return f"'{metric}' is measured only of a task with 'task.{key}'" if missing else None
        own = [*self.metrics, *([LATENCY] if self.timed else [])]
        known = [*own, *COST_METRICS, *SPECIFICATION_METRICS, *RUN_METRICS]
        return None if metric in own else f"unknown metric '{metric}'{did_you_mean(metric, known)}"

    def mistakes(self, sections: Mapping[str, Any]) -> Iterator[tuple[Key, str]]:
        """Find unknown algorithms, hyperparameters, arguments of policies and metrics, and values that are no words."""
        yield from without_program(sections)
        algorithm, space_spec = sections.get("algorithm"), sections.get("search_space")
        space: SearchSpace = space_spec.space() if space_spec is not None else SearchSpace()
        if algorithm is not None:
            if algorithm.engine is not None and algorithm.engine not in self.engines:
                known = f"allowed: {', '.join(self.engines)}" if self.engines else "this backend has one; leave it out"
                yield ("algorithm", "engine"), f"unknown engine '{algorithm.engine}'; {known}"
            yield from self._of_algorithm(algorithm, space)
            yield from self._without_cost(algorithm, space, sections.get("task"))
            if sections.get("policy") is not None and algorithm.name in self.algorithms:
                yield from self._of_policy(algorithm.name, sections["policy"])
        for place, metric in asked_metrics(sections):
            if mistake := self.unmeasured(metric, sections.get("task")):
                yield place, mistake

    def default(self, recipe: Recipe, key: str) -> Any:
        """Return the default of a key, or None if it has none that can be written down; see `Backend.default`."""
        if key == "algorithm.name":
            return recipe.algorithm
        if key.startswith("task.env_kwargs."):
            return recipe.env_kwargs.get(key.removeprefix("task.env_kwargs."))
        if key == "policy.net_arch":
            return recipe.policy.get("net_arch", _OWN_NET_ARCH.get(recipe.algorithm))
        if key.startswith("policy."):
            return recipe.policy.get(key.removeprefix("policy."))
        if key.startswith("curriculum."):
            return (recipe.curriculum or {}).get(key.removeprefix("curriculum."))
        if key in recipe.hyperparameters:
            return recipe.hyperparameters[key]
        value = self.defaults(recipe.algorithm).get(key)
        return value if isinstance(value, bool | int | float | str) else None

    def switches(self, space: SearchSpace, algorithms: Sequence[str]) -> frozenset[str]:
        """Return the parameters named in conditions that no algorithm takes; see `Backend.switches`."""
        known = {key for name in algorithms for key in self.defaults(name)}
        return frozenset(p.name for p in space if p.name in space.parents and "." not in p.sets and p.sets not in known)

    def _without_cost(self, algorithm: Any, space: SearchSpace, task: Any) -> Iterator[tuple[Key, str]]:
        for name in (algorithm.name, *_searched(space)):
            if name in self.constrained and task is not None and task.cost is None:
                yield ("task", "cost"), f"{name} learns from costs: say where they come from, such as info.KEY"
                return

    def _of_algorithm(self, algorithm: Any, space: SearchSpace) -> Iterator[tuple[Key, str]]:
        names = _searched(space)
        for name in names:
            if name not in self.algorithms:
                yield (
                    ("search_space", "parameters", "algorithm.name"),
                    f"unknown algorithm '{name}'{did_you_mean(name, self.algorithms)}",
                )
        if algorithm.name not in self.algorithms:
            yield (
                ("algorithm", "name"),
                f"unknown algorithm '{algorithm.name}'{did_you_mean(algorithm.name, self.algorithms)}",
            )
            names = [name for name in names if name in self.algorithms]
            if not names:
                return
        names = [name for name in names or [algorithm.name] if name in self.algorithms]
        for key, value in algorithm.fixed.items():
            yield from self._of_values(("algorithm", "fixed", key), names, key, [value])
        for parameter in space:
            yield from self._of_parameter(parameter, names, space)

    def _of_parameter(
        self, parameter: Parameter, names: Sequence[str], space: SearchSpace
    ) -> Iterator[tuple[Key, str]]:
        at: Key = ("search_space", "parameters", parameter.name)
        key = parameter.sets
        if key.startswith(("algorithm.", "task.", "curriculum.")) or parameter.name in self.switches(space, names):
            return
        chosen = [str(v) for parent, values in parameter.when if space[parent].sets == "algorithm.name" for v in values]
        active = [name for name in names if not chosen or name in chosen]
        values = parameter.domain.values if isinstance(parameter.domain, Choice) else ()
        yield from self._of_values(at, active, key, values)

    def _of_policy(self, algorithm: str, policy: Any) -> Iterator[tuple[Key, str]]:
        for key, value in policy.model_dump(exclude_none=True).items():
            if key == "name":
                continue
            yield from self._of_values(("policy", key), [algorithm], f"policy.{key}", [value])

    def _of_values(
        self, at: Key, algorithms: Sequence[str], key: str, values: Sequence[Any]
    ) -> Iterator[tuple[Key, str]]:
        """Check that each algorithm takes a key, and the values that words stand for."""
        for name in algorithms:
            policy = key.startswith("policy.")
            known = {f"policy.{k}" for k in self.policy_arguments(name)} if policy else set(self.defaults(name))
            if key not in known:
                yield at, f"{name} has no hyperparameter '{key}'{did_you_mean(key, known)}"
                return
        for value in values:
            if mistake := wrong_value(key.removeprefix("policy."), value):
                yield at, mistake


def _searched(space: SearchSpace) -> list[str]:
    """Return the algorithms that a search space chooses from."""
    searched = [p for p in space if p.sets == "algorithm.name"]
    return [str(v) for p in searched for v in (p.domain.values if isinstance(p.domain, Choice) else ())]


def wrong_value(key: str, value: Any) -> str | None:
    """Say what is wrong with the value of a hyperparameter or policy argument, or None; only what the words allow."""
    if key.endswith("net_arch") and isinstance(value, str) and value not in NET_ARCHS:
        return f"unknown architecture '{value}'{did_you_mean(value, NET_ARCHS)}"
    if key == "activation_fn" and value not in ACTIVATIONS:
        return f"unknown activation '{value}'{did_you_mean(str(value), ACTIVATIONS)}"
    if key == "noise_type" and value not in NOISES:
        return f"unknown noise '{value}'{did_you_mean(str(value), NOISES)}"
    if key == "lr_schedule" and value not in ("constant", "linear"):
        return f"unknown schedule '{value}'{did_you_mean(str(value), ('constant', 'linear'))}"
    if (
        key in ("n_envs", "frame_stack")
        and value is not None
        and (not isinstance(value, int) or isinstance(value, bool) or value < 1)
    ):
        return f"{value!r} must be a whole number of at least 1"
    if key == "normalize" and not isinstance(value, bool | dict):
        return f"{value!r} must be true, false, or VecNormalize's arguments"
    if isinstance(value, str) and value.startswith("lin_"):
        if key not in _SCHEDULED:
            return f"{key} takes no schedule"
        if _number(value.removeprefix("lin_")) is None:
            return f"'{value}' must be 'lin_' and a number, such as lin_3e-4"
    return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def missing_env(env_id: str) -> str | None:
    """Say why there is no environment of an id, or None if there is one."""
    module, _, name = env_id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        gym.spec(name)
    except (gym.error.Error, ImportError) as error:
        near = difflib.get_close_matches(env_id, gym.registry, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else "; module:Env-v0 imports the module that registers it"
        return f"no environment '{env_id}' ({' '.join(str(error).split())}){hint}"
    return None


def made(task: Any) -> gym.Env | str:
    """Make a task's environment, or say why it cannot be made."""
    try:
        return make_env(task.env, task.env_kwargs, task.wrappers)
    except Exception as error:  # noqa: BLE001 - an environment's constructor may raise anything
        return f"'{task.env}' cannot be made: {type(error).__name__}: {error}"


def unmeasurable(task: Any) -> Iterator[tuple[Key, str]]:
    """Find out why a task's cost or specification cannot be measured; for the cost one step is played."""
    if task.cost is None and task.specification is None:
        return
    with closing(make_env(task.env, task.env_kwargs, task.wrappers)) as env:
        if task.cost is not None:
            try:
                env = CostSignal(env, task.cost)
                env.reset(seed=0)
                env.action_space.seed(0)
                *_, info = env.step(env.action_space.sample())
            except ValueError as error:
                yield ("task", "cost"), str(error)
                return
            except Exception as error:  # noqa: BLE001 - the function is the user's code
                yield ("task", "cost"), f"a first step cannot be judged: {type(error).__name__}: {error}"
                return
            if not math.isfinite(info["cost"]):
                yield ("task", "cost"), f"the cost of a first step is {info['cost']}"
        if task.specification is None:
            return
        if find_spec("rtamt") is None:
            yield ("task", "specification"), "rtamt is not installed; run: pip install 'autorl[stl]'"
            return
        try:
            Robustness(env, task.specification)
        except ValueError as error:
            yield ("task", "specification"), str(error)


def probe(task: Any, algorithm: Any, policy: Any) -> Recipe:
    """Return a recipe of one step with what a study's sections say of it, to see whether it can be trained."""
    fixed = {key: value for key, value in algorithm.fixed.items() if key != "n_envs"}
    return Recipe(
        algorithm.backend,
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
        engine=algorithm.engine,
        cost=task.cost,
        specification=task.specification,
    )
