"""The backend `llm`: checks a study of a language-model recipe, and trains one seed at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any

from autorl.errors import AutorlError, did_you_mean
from autorl.spec.curriculum import OF_EPISODES
from autorl.spec.space import Choice, Parameter, SearchSpace
from autorl.spec.yaml12 import Key
from autorl.training.curriculum import words
from autorl.training.metrics import unknown_metrics, without_program, without_signals
from autorl.training.protocol import KEEP, Backend, Host, Job
from autorl.trial import Recipe, RunResult

try:
    import torch

    from autorl.training.llm.course import target_categories, wrong_space
    from autorl.training.llm.learner import METRICS
    from autorl.training.llm.model import Architecture
    from autorl.training.llm.problems import GROUPS, Interactive, Task
    from autorl.training.llm.recipe import PRESETS, contradictions, defaults, settings, wrong
    from autorl.training.llm.run import Training
    from autorl.training.llm.suites import make_task
    from autorl.training.llm.trl_options import POLICY, missing, of_small, wrong_policy
except ImportError as _error:
    raise AutorlError("backend 'llm' needs torch; run: pip install 'autorl[llm]'") from _error

_SHAPE = asdict(Architecture())
_ENGINES = ("small", "trl")


class LlmBackend(Backend):
    """RL with verifiable rewards: on a small transformer, warmed up on demonstrations, or on any model with TRL.

    A run's environment steps are completions, those included that are drawn again or not learned from. A paused or
    interrupted run goes on bit-identically. All runs of a study that share task, policy and warm-up begin with the same
    model, which is made once and kept in the user's cache.
    """

    resumable = True
    lanes = 1
    metrics = METRICS

    def check(self, sections: Mapping[str, Any], repaired: Collection[str]) -> Iterator[tuple[Key, str]]:
        """Find unknown tasks, keys of the recipe, and values; see `Backend.check`."""
        yield from without_signals("llm", sections)
        yield from without_program(sections)
        yield from _shared_problems(sections.get("seeds"))
        task = None
        if sections.get("task") is not None and "task" not in repaired:
            task, mistakes = _made(sections["task"])
            yield from mistakes
        wrong_courses = list(_wrong_courses(sections, task))
        yield from wrong_courses
        categories = task.categories if task is not None else ()
        if task is not None and not wrong_courses:
            categories = target_categories(sections["task"].space(), task)
        known = [*METRICS, *(f"pass_at_1/{category}" for category in categories)]
        yield from unknown_metrics(sections, known, "; pass_at_1 is the usual one")
        if sections.get("evaluation") is not None and not sections["evaluation"].deterministic:
            message = "evaluations measure drawn completions and the most probable one; leave this out"
            yield ("evaluation", "deterministic"), message
        algorithm, space_spec = sections.get("algorithm"), sections.get("search_space")
        if "algorithm" not in repaired:
            yield from _wrong_policy(sections.get("policy"), algorithm.engine if algorithm is not None else None)
        if algorithm is not None and algorithm.engine == "trl" and isinstance(task, Interactive):
            yield ("task", "env"), "engine trl has no turns; use engine small"
        if algorithm is not None:
            space = space_spec.space() if space_spec is not None else SearchSpace()
            policy = sections.get("policy")
            yield from _wrong_recipe(
                algorithm, space, policy.model_dump(exclude_none=True) if policy is not None else {}
            )

    def default(self, recipe: Recipe, key: str) -> Any:
        """Return the default of a key of the recipe or the policy; see `Backend.default`."""
        if key == "algorithm.name":
            return recipe.algorithm
        if key.startswith("policy."):
            name = key.removeprefix("policy.")
            defaults_ = POLICY if recipe.engine == "trl" else _SHAPE
            return recipe.policy.get(name, defaults_.get(name))
        if key.startswith("task.env_kwargs."):
            return recipe.env_kwargs.get(key.removeprefix("task.env_kwargs."))
        if key.startswith("curriculum."):
            return (recipe.curriculum or {}).get(key.removeprefix("curriculum."))
        return recipe.hyperparameters.get(key, defaults(recipe.algorithm).get(key))

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

    def unforkable(self, recipe: Recipe, keys: Collection[str]) -> str | None:
        """Say if another model or task would have to go on; see `Backend.unforkable`."""
        del recipe
        other = sorted(key for key in keys if key.startswith(("policy.", "task.")))
        return f"backend llm cannot go on with another {other[0]}; {KEEP}" if other else None

    def train(self, jobs: Sequence[Job], hosts: Sequence[Host]) -> list[RunResult]:
        """Train the runs one after the other; see `Backend.train`."""
        torch.set_num_threads(1)
        return [Training(job, host).result() for job, host in zip(jobs, hosts, strict=True)]


def _shared_problems(seeds: Any) -> Iterator[tuple[Key, str]]:
    """Find phases that would be evaluated on the same problems."""
    if seeds is None:
        return
    before: dict[int, tuple[str, int]] = {}
    for phase in ("tuning", "validation", "test"):
        for seed in getattr(seeds, phase):
            other, same = before.setdefault(seed % GROUPS, (phase, seed))
            if other != phase:
                yield (
                    ("seeds", phase),
                    f"{phase} seed {seed} would be evaluated on problems of {other} seed {same}: they are a multiple "
                    f"of {GROUPS} apart; take others, such as 50:60",
                )
                break


def _made(spec: Any) -> tuple[Task | None, list[tuple[Key, str]]]:
    if spec.wrappers:
        return None, [(("task", "wrappers"), "a language-model task has no environment to wrap; leave this out")]
    try:
        return make_task(spec.env, spec.env_kwargs), []
    except AutorlError as error:
        return None, [(("task", "env_kwargs" if spec.env_kwargs else "env"), str(error))]


def _wrong_courses(sections: Mapping[str, Any], task: Task | None) -> Iterator[tuple[Key, str]]:
    """Find what is wrong with a study's task space and its curriculum."""
    algorithm = sections.get("algorithm")
    if algorithm is not None and algorithm.engine == "trl":
        for key, _ in words.without_curricula("llm", sections):
            yield key, "engine trl has no curricula; leave this out, or use engine small"
        return
    yield from words.mistakes(sections, beyond=OF_EPISODES)
    if sections.get("task") is not None:
        yield from wrong_space(sections["task"], task)
    if isinstance(task, Interactive):
        for key, kind in words.asked_kinds(sections):
            if kind in ("guidance", "item_response"):
                yield key, f"{kind} gives hints, which have no place in a task of several turns; use another kind"


def _wrong_policy(policy: Any, engine: str | None) -> Iterator[tuple[Key, str]]:
    given = policy.model_dump(exclude_none=True) if policy is not None else {}
    if engine == "trl":
        for name, mistake in wrong_policy(given):
            yield ("policy",) if name is None else ("policy", name), mistake
        return
    for key, value in given.items():
        if key not in _SHAPE:
            yield ("policy", key), f"a transformer has no '{key}'{did_you_mean(key, _SHAPE)}"
        elif isinstance(value, bool) or not isinstance(value, int) or value < 1:
            yield ("policy", key), f"{value!r} must be a whole number of at least 1"
    shape = {**_SHAPE, **given}
    if all(isinstance(shape[key], int) for key in _SHAPE) and shape["width"] % max(1, shape["heads"]):
        yield ("policy", "heads"), f"width {shape['width']} is no multiple of {shape['heads']} heads"


def _wrong_recipe(algorithm: Any, space: SearchSpace, policy: Mapping[str, Any]) -> Iterator[tuple[Key, str]]:
    if algorithm.engine not in (None, *_ENGINES):
        yield ("algorithm", "engine"), f"unknown engine '{algorithm.engine}'; allowed: {', '.join(_ENGINES)}"
    if algorithm.engine == "trl" and find_spec("trl") is None:
        yield ("algorithm", "engine"), "TRL is not installed; run: pip install 'autorl[trl]', or use engine small"
    for where, name in _names(algorithm, space):
        if name not in PRESETS:
            yield where, f"unknown algorithm '{name}'{did_you_mean(name, PRESETS)}"
    known, sound = defaults("grpo"), algorithm.name in PRESETS
    values = list(_values(algorithm, space))
    for where, key, each in values:
        mistakes = [f"the recipe has no '{key}'{did_you_mean(key, known)}"] if key not in known else []
        mistakes += [mistake for value in each if key in known and (mistake := wrong(key, value))]
        if algorithm.engine == "trl" and not mistakes:
            mistakes = sorted({mistake for value in each if (mistake := of_small(key, value))})
        sound = sound and not mistakes
        yield from ((where, mistake) for mistake in mistakes)
    if sound:
        own = settings(algorithm.name, algorithm.fixed)
        found = list(contradictions(own))
        if algorithm.engine == "trl":
            found += missing(own, policy)
        yield from ((("algorithm", "fixed"), mistake) for mistake in found)


def _names(algorithm: Any, space: SearchSpace) -> Iterator[tuple[Key, str]]:
    yield ("algorithm", "name"), algorithm.name
    for parameter in space:
        if parameter.sets == "algorithm.name" and isinstance(parameter.domain, Choice):
            yield from ((("search_space", "parameters", parameter.name), str(v)) for v in parameter.domain.values)


def _values(algorithm: Any, space: SearchSpace) -> Iterator[tuple[Key, str, Sequence[Any]]]:
    """Return where each key of the recipe is set, the key, and the values that it can get."""
    for key, value in algorithm.fixed.items():
        yield ("algorithm", "fixed", key), key, [value]
    known = defaults("grpo")
    for parameter in space:
        switch = parameter.name in space.parents and parameter.sets not in known
        if "." not in parameter.sets and not switch:
            yield ("search_space", "parameters", parameter.name), parameter.sets, _ends(parameter)


def _ends(parameter: Parameter) -> Sequence[Any]:
    """Return the values of a choice, or those at the ends of a range."""
    domain = parameter.domain
    return domain.values if isinstance(domain, Choice) else [parameter.value(domain.low), parameter.value(domain.high)]
