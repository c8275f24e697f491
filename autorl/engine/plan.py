"""What follows from a study before anything has trained: its default configuration, its runs, its parallelism."""

from __future__ import annotations

import math

from autorl.spec.space import Configuration
from autorl.spec.study import StudySpec
from autorl.training.protocol import Backend
from autorl.trial import Recipe, bind


def max_pending(spec: StudySpec) -> int:
    """Return how many unfinished trials a proposal may ignore: as few as keep all workers busy."""
    count = spec.execution.parallel
    return 0 if count == 1 else math.ceil(count / len(spec.seeds.tuning))


def switches(spec: StudySpec, backend: Backend) -> frozenset[str]:
    """Return the study's parameters that only the conditions of others use."""
    space = spec.space
    names = [str(v) for p in space if p.sets == "algorithm.name" for v in getattr(p.domain, "values", ())]
    return backend.switches(space, names or [spec.algorithm.name])


def default_configuration(spec: StudySpec, backend: Backend) -> Configuration:
    """Return the study's default configuration: the space's defaults, else the algorithm's own."""
    space, unused = spec.space, switches(spec, backend)
    return space.default(lambda key, values: backend.default(bind(spec, space, values, unused), key))


def default_recipe(spec: StudySpec, backend: Backend) -> Recipe:
    """Return the recipe of the default configuration."""
    return bind(spec, spec.space, default_configuration(spec, backend).values, switches(spec, backend))


def planned_runs(spec: StudySpec) -> dict[str, int]:
    """Return phase → runs of a whole study: a bound, reached when winner, default and retested trials all differ."""
    top = min(spec.retest.top, spec.budget.trials) if spec.seeds.validation else 0
    return {
        "tuning": spec.budget.trials * len(spec.seeds.tuning),
        "validation": top * len(spec.seeds.validation),
        "test": min(2, spec.budget.trials) * len(spec.seeds.test),
    }
