"""Train a batch of runs that are equally far, and tell what comes of each."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from autorl.training.jax.checkpoint import Saved, pack
from autorl.training.jax.protocol import Engine
from autorl.training.meter import Meter, Spent
from autorl.training.protocol import Host, Interrupted, Job, out_of_memory
from autorl.trial import FailureClass, Point, Recipe, RunResult

_SECONDS_PER_CALL = 2.0


@dataclass
class Course:
    """How one run of a batch goes.

    Attributes:
        job: what was asked for.
        host: what it has around it.
        curve: its evaluations so far.
        notes: what the user should know.
        before: what it had spent when it was taken up.
        inherited_seconds: wall time that donors had spent on it before.
        result: how it ended, once it has.
    """

    job: Job
    host: Host
    curve: list[Point] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    before: Spent = field(default_factory=Spent)
    inherited_seconds: float = 0.0
    result: RunResult | None = None


class Batch:
    """Runs that are trained together.

    Time is shared: each run is charged its part of what the batch spent.

    Args:
        courses: the runs.
        recipes: what each trains, in numbers alone unlike the others.
        engine: what trains them.
    """

    def __init__(self, courses: Sequence[Course], recipes: Sequence[Recipe], engine: Engine) -> None:
        self._courses, self._recipes, self._engine = courses, recipes, engine
        for index, note in engine.notes.items():
            courses[index].notes.append(note)
        self._meter = Meter()
        self._saved = time.monotonic()
        self._seconds_per_unit = 0.0

    def train(self, until: int) -> None:
        """Train until the runs are to pause, or are done.

        Raises:
            Interrupted: a host asked to stop; the runs have saved their state.
        """
        engine, recipe = self._engine, self._recipes[0]
        points, last = recipe.points, recipe.evaluation_points
        unit, slack = engine.unit, recipe.hyperparameters.get("n_envs", 1)
        while engine.env_steps < until and self._alive:
            done = min(len(course.curve) for course in self._alive)
            ahead = min([until, *(p for p in points[done:-1] if p > engine.env_steps)])
            self._advance(-(-(ahead - engine.env_steps) // unit))
            for index in range(done, last - 1):
                if points[index] <= engine.env_steps:
                    self._evaluate(index, -(-points[index] // slack) * slack)
            self._look_around(until)
        if until < recipe.env_steps:
            self._save()
        elif self._alive:
            engine.close()
            self._evaluate(last - 1, engine.env_steps)
        for course in self._alive:
            course.before = self._spent(course)
        self._meter = Meter()

    def finish(self) -> None:
        """Record that the runs that have not failed have ended."""
        for index, course in enumerate(self._courses):
            if course.result is None:
                self._end(index, "completed")

    @property
    def _alive(self) -> list[Course]:
        return [course for course in self._courses if course.result is None]

    def _advance(self, times: int) -> None:
        """Go on by so many units, or by as many as take no longer than a person would wait for an answer."""
        # The first call compiles, the second shows how long a unit takes.
        most = int(_SECONDS_PER_CALL / self._seconds_per_unit) if self._seconds_per_unit else 1
        times = max(1, min(times, most))
        started = time.monotonic()
        self._engine.advance(times)
        if self._engine.env_steps > self._engine.unit:
            self._seconds_per_unit = (time.monotonic() - started) / times
        self._bury()
        for course in self._alive:
            course.host.alive(self._engine.env_steps)

    def _bury(self) -> None:
        """Record the runs that an error has ended."""
        for index, error in self._engine.errors.items():
            if self._courses[index].result is None:
                self._fail(index, error)

    def _evaluate(self, point: int, env_steps: int) -> None:
        found = self._engine.evaluate(point)
        self._bury()
        for index, (metrics, finite) in enumerate(zip(found, self._engine.finite(), strict=True)):
            course = self._courses[index]
            if course.result is not None:
                continue
            wrong = [f"the evaluation's {key} is {value}" for key, value in metrics.items() if not np.isfinite(value)]
            wrong += [] if finite else ["parameters of the policy are not finite"]
            if wrong:
                self._end(index, "failed", "diverged", f"after {env_steps} steps {' and '.join(wrong)}")
                continue
            seconds = course.inherited_seconds + self._spent(course).wall_seconds
            reached = Point(env_steps, seconds, metrics, curriculum=self._engine.record(index))
            course.curve.append(reached)
            course.host.evaluated(reached)

    def _look_around(self, until: int) -> None:
        stopping = any(course.host.stopping() for course in self._alive)
        due = time.monotonic() - self._saved > min(course.job.checkpoint_seconds for course in self._courses)
        if (stopping or due) and self._engine.env_steps < until:
            self._save()
        if stopping and self._engine.env_steps < until:
            raise Interrupted

    def _save(self) -> None:
        for index, course in enumerate(self._courses):
            if course.result is None:
                state, spent, done = self._engine.save(index), self._spent(course), self._engine.env_steps
                saved = Saved(state, tuple(course.curve), spent, course.inherited_seconds, done)
                job = course.job
                course.host.save(done, pack(self._recipes[index], job.recipe, job.seed, saved))
        self._saved = time.monotonic()

    def _spent(self, course: Course) -> Spent:
        spent, share, before = self._meter.spent(), 1 / len(self._courses), course.before
        energy = before.energy_joules
        if spent.energy_joules is not None:
            energy = (energy or 0.0) + share * spent.energy_joules
        return Spent(
            before.wall_seconds + share * spent.wall_seconds, before.cpu_seconds + share * spent.cpu_seconds, energy
        )

    def _end(
        self, index: int, status: Any, error_class: FailureClass | None = None, error: str | None = None, **rest: Any
    ) -> None:
        course = self._courses[index]
        course.result = RunResult(
            status,
            tuple(course.curve),
            self._engine.env_steps,
            **asdict(self._spent(course)),
            error_class=error_class,
            error=error,
            notes=tuple(course.notes),
            **rest,
        )

    def fail(self, error: Exception) -> None:
        """Record that an exception ended all runs that had not ended before."""
        for index, course in enumerate(self._courses):
            if course.result is None:
                self._fail(index, error)

    def _fail(self, index: int, error: Exception) -> None:
        course = self._courses[index]
        course.result = failure(course, error, self._engine.env_steps, self._spent(course))


def failure(course: Course, error: Exception, env_steps: int, spent: Spent) -> RunResult:
    """Return the result of a run that an exception has ended."""
    kind: FailureClass = "exception"
    if isinstance(error, FloatingPointError):
        kind = "diverged"
    elif out_of_memory(error):
        kind = "out_of_memory"
    text = "".join(traceback.format_exception(error))
    curve, notes = tuple(course.curve), tuple(course.notes)
    return RunResult("failed", curve, env_steps, **asdict(spent), error_class=kind, error=text, notes=notes)
