"""The backend `llm`: checks a study of a language-model recipe, and trains one seed at a time."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from autorl.errors import AutorlError, did_you_mean
from autorl.spec.space import Choice, Configuration, Parameter, SearchSpace
from autorl.spec.yaml12 import Key
from autorl.training.protocol import Host, Job
from autorl.trial import Recipe, RunResult

try:
    import torch

    from autorl.training.llm.model import Architecture
    from autorl.training.llm.problems import Task, make_task
    from autorl.training.llm.recipe import PRESETS, contradictions, defaults, settings, wrong
    from autorl.training.llm.run import Training
    from autorl.training.llm.small import METRICS
except ImportError as _error:
    raise AutorlError("backend 'llm' needs torch; run: pip install 'autorl[llm]'") from _error

_SHAPE = asdict(Architecture())


class LlmBackend:
    """RL with verifiable rewards on a small transformer, warmed up on demonstrations; one CPU thread a run.

    A run's environment steps are completions, those included that are drawn again or not learned from. A paused or
    interrupted run goes on bit-identically. All runs of a study that share task, policy and warm-up begin with the same
    model, which is made once and kept in the user's cache.
    """

    resumable = True
    lanes = 1
    metrics = METRICS

    def check(self, sections: Mapping[str, Any], repaired: Collection[str]) -> Iterator[tuple[Key, str]]:
        """Find unknown tasks, keys of the recipe, and values; see `Backend.check`."""
        task = None
        if sections.get("task") is not None and "task" not in repaired:
            task, mistakes = _made(sections["task"])
            yield from mistakes
        for index, objective in enumerate(sections.get("objectives") or ()):
            known = [*METRICS, *(f"pass_at_1/{c}" for c in (task.categories if task is not None else ()))]
            if objective.metric not in known:
                hint = did_you_mean(objective.metric, known) or "; pass_at_1 is the usual one"
                yield ("objectives", index, "metric"), f"unknown metric '{objective.metric}'{hint}"
        if sections.get("evaluation") is not None and not sections["evaluation"].deterministic:
            message = "evaluations measure drawn completions and the most probable one; leave this out"
            yield ("evaluation", "deterministic"), message
        wrong_shape = list(_wrong_shape(sections.get("policy")))
        yield from wrong_shape
        algorithm, space_spec = sections.get("algorithm"), sections.get("search_space")
        if algorithm is not None:
            space = space_spec.space() if space_spec is not None else SearchSpace()
            yield from _wrong_recipe(algorithm, space)

    def default(self, recipe: Recipe, key: str) -> Any:
        """Return the default of a key of the recipe or the policy; see `Backend.default`."""
        if key == "algorithm.name":
            return recipe.algorithm
        if key.startswith("policy."):
            name = key.removeprefix("policy.")
            return recipe.policy.get(name, _SHAPE.get(name))
        if key.startswith("task.env_kwargs."):
            return recipe.env_kwargs.get(key.removeprefix("task.env_kwargs."))
        return recipe.hyperparameters.get(key, defaults(recipe.algorithm).get(key))

    def match(
        self, recipe: Recipe, space: SearchSpace, config: Configuration, taken: Collection[Configuration]
    ) -> Configuration:
        """Return the configuration itself: any can be trained; see `Backend.match`."""
        del recipe, space, taken
        return config

    def switches(self, space: SearchSpace, algorithms: Sequence[str]) -> frozenset[str]:
        """Return the parameters named in conditions that the recipe does not have; see `Backend.switches`."""
        known = {key for name in algorithms for key in defaults(name)}
        return frozenset(p.name for p in space if p.name in space.parents and "." not in p.sets and p.sets not in known)

    def warm(self) -> None:
        """Take a step of a tiny model: the first in a process initializes torch."""
        torch.set_num_threads(1)
        layer = torch.nn.Linear(2, 2)
        optimizer = torch.optim.AdamW(layer.parameters(), foreach=True)
        layer(torch.zeros(1, 2)).sum().backward()
        optimizer.step()

    def group(self, recipe: Recipe) -> Hashable:
        """Return nothing of use: runs are trained one by one; see `Backend.group`."""
        return recipe.backend

    def train(self, jobs: Sequence[Job], hosts: Sequence[Host]) -> list[RunResult]:
        """Train the runs one after the other; see `Backend.train`."""
        torch.set_num_threads(1)
        return [Training(job, host).result() for job, host in zip(jobs, hosts, strict=True)]


def _made(spec: Any) -> tuple[Task | None, list[tuple[Key, str]]]:
    if spec.wrappers:
        return None, [(("task", "wrappers"), "a language-model task has no environment to wrap; leave this out")]
    try:
        return make_task(spec.env, spec.env_kwargs), []
    except AutorlError as error:
        return None, [(("task", "env_kwargs" if spec.env_kwargs else "env"), str(error))]


def _wrong_shape(policy: Any) -> Iterator[tuple[Key, str]]:
    given = policy.model_dump(exclude_none=True) if policy is not None else {}
    for key, value in given.items():
        if key not in _SHAPE:
            yield ("policy", key), f"a transformer has no '{key}'{did_you_mean(key, _SHAPE)}"
        elif isinstance(value, bool) or not isinstance(value, int) or value < 1:
            yield ("policy", key), f"{value!r} must be a whole number of at least 1"
    shape = {**_SHAPE, **given}
    if all(isinstance(shape[key], int) for key in _SHAPE) and shape["width"] % max(1, shape["heads"]):
        yield ("policy", "heads"), f"width {shape['width']} is no multiple of {shape['heads']} heads"


def _wrong_recipe(algorithm: Any, space: SearchSpace) -> Iterator[tuple[Key, str]]:
    if algorithm.engine not in (None, "small"):
        yield ("algorithm", "engine"), f"unknown engine '{algorithm.engine}'; allowed: small"
    searched = next((p.domain.values for p in space if p.sets == "algorithm.name" and isinstance(p.domain, Choice)), ())
    at: Key = ("search_space", "parameters", "algorithm.name")
    for where, name in ((("algorithm", "name"), algorithm.name), *((at, str(value)) for value in searched)):
        if name not in PRESETS:
            yield where, f"unknown algorithm '{name}'{did_you_mean(name, PRESETS)}"
    known = defaults("grpo")
    switches = {p.name for p in space if p.name in space.parents and "." not in p.sets and p.sets not in known}
    values: list[tuple[Key, str, Sequence[Any]]] = [
        (("algorithm", "fixed", key), key, [value]) for key, value in algorithm.fixed.items()
    ]
    for parameter in space:
        if "." not in parameter.sets and parameter.name not in switches:
            values.append((("search_space", "parameters", parameter.name), parameter.sets, _ends(parameter)))
    sound = True
    for where, key, each in values:
        if key not in known:
            yield where, f"the recipe has no '{key}'{did_you_mean(key, known)}"
            sound = False
        for value in each if key in known else ():
            if mistake := wrong(key, value):
                yield where, mistake
                sound = False
    if sound and algorithm.name in PRESETS:
        for mistake in contradictions(settings(algorithm.name, algorithm.fixed)):
            yield ("algorithm", "fixed"), mistake


def _ends(parameter: Parameter) -> Sequence[Any]:
    """Return the values of a choice, or those at the ends of a range."""
    domain = parameter.domain
    return domain.values if isinstance(domain, Choice) else [parameter.value(domain.low), parameter.value(domain.high)]
