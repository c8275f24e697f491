"""What follows from a study before anything has trained: its default configuration, its runs, its parallelism."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

from autorl.engine.selection import rank
from autorl.ledger.reader import Reader
from autorl.optimizers.protocol import Method, Optimizer, Question
from autorl.plugins import find
from autorl.spec.space import Configuration
from autorl.spec.study import StudySpec
from autorl.training.protocol import Backend
from autorl.trial import Phase, Recipe, bind

Matcher = Callable[[Configuration, Collection[Configuration]], Configuration]


def optimizer_options(spec: StudySpec) -> tuple[Method, Any]:
    """Return the optimizer that a study names, and its options."""
    method: Method = find("autorl.optimizers", spec.optimizer.name)
    return method, method.options.model_validate(spec.optimizer.options)


def make_optimizer(spec: StudySpec) -> Optimizer:
    """Make the optimizer that a study names, for the question that the study asks."""
    method, options = optimizer_options(spec)
    question = Question(
        spec.space,
        spec.seeds.tuning,
        spec.points,
        spec.objective.direction,
        spec.optimizer.seed,
        spec.tuning_steps,
        len(spec.seeds.test),
        options,
        tuple(objective.direction for objective in spec.objectives[1:]),
        tuple((constraint.sign, constraint.bound) for constraint in spec.constraints),
        most_given(spec),
    )
    return method.make(question)


def most_given(spec: StudySpec) -> int:
    """Return how many of the first trials may not be the optimizer's choice: the default, those enqueued, others'."""
    transfer = spec.optimizer.transfer
    return 1 + len(spec.optimizer.enqueue) + (0 if transfer is None else transfer.top)


def max_pending(spec: StudySpec, lanes: int) -> int:
    """Return how many unfinished proposals the next one may ignore: as few as keep all workers busy.

    Args:
        spec: the study.
        lanes: runs that its backend trains in one call.
    """
    count = spec.execution.parallel * lanes
    if count == 1:
        return 0
    method, options = optimizer_options(spec)
    runs = getattr(options, "seeds", None) or len(spec.seeds.tuning)
    return math.ceil(count / (1 if method.single else runs))


def switches(spec: StudySpec, backend: Backend) -> frozenset[str]:
    """Return the study's parameters that only the conditions of others use."""
    space = spec.space
    names = [str(v) for p in space if p.sets == "algorithm.name" for v in getattr(p.domain, "values", ())]
    return backend.switches(space, names or [spec.algorithm.name])


def default_configuration(spec: StudySpec, backend: Backend) -> Configuration:
    """Return the study's default configuration: the space's defaults, else the algorithm's own."""
    return matcher(spec, backend)(_with(spec, backend, {}), ())


def enqueued(spec: StudySpec, backend: Backend) -> list[Configuration]:
    """Return the configurations that the study wants tried after the default."""
    return [_with(spec, backend, values) for values in spec.optimizer.enqueue]


def transferred(spec: StudySpec, backend: Backend, reader: Reader) -> list[Configuration]:
    """Return the best configurations of the earlier study that is named, in this study's space.

    A parameter that only one of the studies has is left out, or as in the default.
    """
    assert spec.optimizer.transfer is not None
    earlier = reader.study(spec.optimizer.transfer.study)
    ranked = rank(reader.trials(earlier.name), earlier.spec.objective.direction)
    best = [trial.config.values for trial in ranked[: spec.optimizer.transfer.top]]
    return [_with(spec, backend, values) for values in best]


def _with(spec: StudySpec, backend: Backend, values: Mapping[str, Any]) -> Configuration:
    """Return the default configuration with some values laid over it."""
    space, unused = spec.space, switches(spec, backend)
    known = {parameter.name for parameter in space}
    given = {name: value for name, value in values.items() if name in known}
    return space.default(lambda key, chosen: backend.default(bind(spec, space, chosen, unused), key), given)


def matcher(spec: StudySpec, backend: Backend) -> Matcher:
    """Return what gives the configuration that is trained in place of another, given those that are taken."""
    space = spec.space
    common = bind(spec, space, {})
    return lambda config, taken: backend.match(common, space, config, taken)


def default_recipe(spec: StudySpec, backend: Backend) -> Recipe:
    """Return the recipe of the default configuration."""
    return bind(spec, spec.space, default_configuration(spec, backend).values, switches(spec, backend))


def planned_steps(spec: StudySpec) -> dict[Phase, int | None]:
    """Return phase → environment steps of a whole study, or None if only time limits it.

    A bound, reached when winner, default and retested trials all differ.
    """
    alone = spec.budget.trials == 1
    top = 1 if alone else spec.retested
    tested = 1 if alone else 1 + (top if len(spec.objectives) > 1 else 1)
    return {
        "tuning": spec.tuning_steps,
        "validation": top * len(spec.seeds.validation) * spec.budget.steps_per_run,
        "test": tested * len(spec.seeds.test) * spec.budget.steps_per_run,
    }
