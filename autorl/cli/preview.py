"""What `autorl validate` shows: the resolved study, samples of its space, and its cost."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

from autorl.engine.plan import default_recipe, optimizer_options, planned_steps
from autorl.ledger.database import without_passwords
from autorl.optimizers.priors import draw
from autorl.plugins import find
from autorl.report.words import duration, setting
from autorl.spec.space import SearchSpace
from autorl.spec.study import StudySpec
from autorl.spec.yaml12 import dump
from autorl.training.protocol import Backend, Job
from autorl.trial import Point, Recipe

SAMPLES = 5
PROBE_STEPS = 500


def show(spec: StudySpec, console: Console) -> None:
    """Print the preview of a checked study."""
    data = without_passwords(spec.model_dump(mode="json", exclude_none=True))
    data.pop("search_space")
    console.print(Syntax(dump(data).rstrip(), "yaml", background_color="default"))
    console.print()
    if len(spec.space):
        console.print(samples(spec.space, spec.optimizer.seed))
    console.print()
    console.print(_cost(spec))


def samples(space: SearchSpace, seed: int) -> Table:
    """Return some configurations of a space, drawn at random, as a table."""
    generator = np.random.default_rng(seed)
    configs = [draw(space, generator) for _ in range(SAMPLES)]
    table = Table(
        title=f"{len(space)} parameters, and {SAMPLES} configurations drawn at random",
        title_justify="left",
        box=None,
        header_style="dim",
    )
    table.add_column("parameter")
    for index in range(SAMPLES):
        table.add_column(f"#{index + 1}", justify="right")
    for parameter in space:
        values = [setting(c.values[parameter.name]) if parameter.name in c.values else "–" for c in configs]
        table.add_row(parameter.name, *values)
    return table


def _cost(spec: StudySpec) -> str:
    plan, full = planned_steps(spec), spec.budget.steps_per_run
    steps = sum(count or 0 for count in plan.values())
    phases = ", ".join(f"{phase} {count / full:.4g}" for phase, count in plan.items() if count)
    at_a_time = spec.execution.parallel
    seconds = _seconds_per_run(spec) * steps / full / at_a_time
    caveat = optimizer_options(spec)[0].caveat
    return (
        (f"{spec.optimizer.name}: {caveat}\n" if caveat else "")
        + f"{steps:,} environment steps: as many as {steps / full:.4g} runs of {full:,} ({phases}).\n"
        f"About {duration(seconds)} with {at_a_time} at a time, going by the default configuration on this machine; "
        f"others may train several times slower or faster."
    )


def _seconds_per_run(spec: StudySpec) -> float:
    """Train the default configuration for a moment, and scale what it took to a full run."""
    backend: Backend = find("autorl.backends", spec.algorithm.backend)()
    recipe = default_recipe(spec, backend)
    steps = min(PROBE_STEPS, recipe.env_steps)
    # The first probe compiles, or warms up, which is done once.
    _probe(backend, replace(recipe, env_steps=steps, evaluation_points=1), spec)
    with_one, reached = _probe(backend, replace(recipe, env_steps=steps, evaluation_points=1), spec)
    with_two, _ = _probe(backend, replace(recipe, env_steps=steps, evaluation_points=2), spec)
    evaluation = max(with_two - with_one, 0.0)
    training = max(with_one - evaluation, 0.0)
    return training * recipe.env_steps / max(reached, 1) + evaluation * recipe.evaluation_points


def _probe(backend: Backend, recipe: Recipe, spec: StudySpec) -> tuple[float, int]:
    job = Job(recipe, spec.seeds.tuning[0], recipe.env_steps, None, math.inf)
    started, together = time.monotonic(), backend.together(recipe)
    results = backend.train([job] * together, [_Nobody()] * together)
    return (time.monotonic() - started) / together, results[0].env_steps


class _Nobody:
    """Hosts a run of which only the time matters."""

    def evaluated(self, point: Point) -> None:
        del point

    def alive(self, env_steps: int) -> None:
        del env_steps

    def save(self, env_steps: int, content: memoryview) -> None:
        del env_steps, content

    def stopping(self) -> bool:
        return False
