"""The backend `landscape`: trains nothing, and answers from a table of what training gave."""

from __future__ import annotations

import json
import math
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autorl.errors import AutorlError, CheckpointError, did_you_mean
from autorl.spec.space import Configuration, SearchSpace, same
from autorl.spec.yaml12 import Key, show
from autorl.training.curriculum.words import without_curricula
from autorl.training.landscape.table import Rows, Table, load_table
from autorl.training.metrics import unknown_metrics, without_program, without_signals
from autorl.training.protocol import Backend, Host, Interrupted, Job
from autorl.trial import Point, Recipe, RunResult


class LandscapeBackend(Backend):
    """A table of results in place of training: any configuration of it, with any of its seeds, at once.

    Runs have as many environment steps as the study says; they are spread over the table's evaluations. A run that
    failed when the table was made (NaN) has diverged.
    """

    resumable = True
    lanes = 1
    metrics: Mapping[str, str] = {"return": "return, as the table holds it"}

    def __init__(self) -> None:
        self._rows: tuple[Any, Rows] | None = None

    def check(self, sections: Mapping[str, Any], repaired: Collection[str]) -> Iterator[tuple[Key, str]]:
        """Find what the table does not hold: seeds, evaluations, hyperparameters; see `Backend.check`."""
        del repaired
        yield from without_curricula("landscape", sections)
        yield from without_signals("landscape", sections)
        yield from without_program(sections)
        yield from unknown_metrics(sections, self.metrics)
        policy = sections.get("policy")
        for key in policy.model_dump(exclude_none=True) if policy is not None else ():
            yield ("policy", key), "a table has no policy to set up; leave this out"
        task = sections.get("task")
        if task is None:
            return
        for key in ("env_kwargs", "wrappers"):
            if getattr(task, key):
                yield ("task", key), "a table has no environment to change; leave this out"
        try:
            table = load_table(Path(task.env))
        except AutorlError as error:
            yield ("task", "env"), str(error)
            return
        yield from _not_measured(table, sections)
        yield from _not_searchable(table, sections)

    def default(self, recipe: Recipe, key: str) -> Any:
        """Return what the study fixes, since a table has no defaults; see `Backend.default`."""
        return recipe.hyperparameters.get(key)

    def match(
        self, recipe: Recipe, space: SearchSpace, config: Configuration, taken: Collection[Configuration]
    ) -> Configuration:
        """Return the nearest configuration of the table; see `Backend.match` and `Rows.nearest`."""
        table = load_table(Path(recipe.env))
        asked = (table, space, recipe.hyperparameters)
        if self._rows is None or self._rows[0] != asked:  # placing all rows takes longer than all else
            self._rows = asked, Rows(table, space, recipe.hyperparameters)
        return self._rows[1].nearest(config, taken)

    def switches(self, space: SearchSpace, algorithms: Sequence[str]) -> frozenset[str]:
        """Return none: each parameter is a column of the table."""
        del space, algorithms
        return frozenset()

    def warm(self) -> None:
        """Do nothing: there is nothing to initialize."""

    def unforkable(self, recipe: Recipe, keys: Collection[str]) -> str | None:
        """Say that no run can be forked; see `Backend.unforkable`."""
        del recipe, keys
        return "a table knows no run that changed its hyperparameters; use an optimizer that forks none, such as tpe"

    def train(self, jobs: Sequence[Job], hosts: Sequence[Host]) -> list[RunResult]:
        """Look the runs up; see `Backend.train`."""
        return [_Lookup(job, host).result() for job, host in zip(jobs, hosts, strict=True)]


class _Lookup:
    """The looking up of one job."""

    def __init__(self, job: Job, host: Host) -> None:
        self.job, self.seed, self.host = job, job.seed, host
        self.curve: list[Point] = []
        self.notes: tuple[str, ...] = ()
        self.env_steps = 0

    def result(self) -> RunResult:
        """Return the table's curve up to the job's end; a failure is a result too."""
        try:
            self._replay()
        except Interrupted:
            raise
        except Exception as error:  # noqa: BLE001 - a file that changed under a study may hold anything
            kind: Any = "diverged" if isinstance(error, FloatingPointError) else "exception"
            text = "".join(traceback.format_exception(error))
            return RunResult(
                "failed", tuple(self.curve), self.env_steps, error_class=kind, error=text, notes=self.notes
            )
        return RunResult("completed", tuple(self.curve), self.env_steps, notes=self.notes)

    def _replay(self) -> None:
        recipe, until = self.job.recipe, self.job.until
        table = load_table(Path(recipe.env))
        row = table.find(recipe.hyperparameters)
        if not self.seed < table.seeds:
            raise AutorlError(f"the table has no seed {self.seed}")
        every, rest = divmod(table.points, recipe.evaluation_points)
        if rest:
            raise AutorlError(f"the table has {table.points} evaluations, not {recipe.evaluation_points}")
        done = self._resume()
        for index, steps in enumerate(recipe.points, start=1):
            if steps > until:
                break
            self.env_steps = steps
            value = float(table.returns[row, self.seed, index * every - 1])
            if not math.isfinite(value):
                raise FloatingPointError(f"after {steps} steps the table's return is {value}")
            self.curve.append(Point(steps, 0.0, {"return": value}))
            if steps > done:
                self.host.alive(steps)
                self.host.evaluated(self.curve[-1])
            if self.host.stopping() and steps < until:
                self._save()
                raise Interrupted
        self.env_steps = until
        if until < recipe.env_steps:
            self._save()

    def _save(self) -> None:
        content = json.dumps({"run": self.job.recipe.fingerprint(self.seed), "env_steps": self.env_steps})
        self.host.save(self.env_steps, memoryview(content.encode()))

    def _resume(self) -> int:
        """Return the environment steps of the checkpoint, whose evaluations were reported then."""
        path = self.job.resume
        if path is None:
            return 0
        try:
            return self._read(path)
        except CheckpointError as error:
            self.notes = (f"started anew: {error}",)
            return 0

    def _read(self, path: Path) -> int:
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            run, env_steps = state["run"], int(state["env_steps"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path}: damaged ({type(error).__name__})") from error
        if run != self.job.recipe.fingerprint(self.seed):
            raise CheckpointError(f"{path}: written for another configuration")
        return env_steps


def _not_measured(table: Table, sections: Mapping[str, Any]) -> Iterator[tuple[Key, str]]:
    seeds, evaluation = sections.get("seeds"), sections.get("evaluation")
    for phase in ("tuning", "validation", "test") if seeds is not None else ():
        beyond = [seed for seed in getattr(seeds, phase) if seed >= table.seeds]
        if beyond:
            yield ("seeds", phase), f"the table has the seeds 0:{table.seeds}, not {beyond[0]}"
    if evaluation is not None and table.points % evaluation.points:
        allowed = ", ".join(str(n) for n in range(1, table.points + 1) if table.points % n == 0)
        message = (
            f"the table has {table.points} evaluations; {evaluation.points} do not fall on them; allowed: {allowed}"
        )
        yield ("evaluation", "points"), message


def _not_searchable(table: Table, sections: Mapping[str, Any]) -> Iterator[tuple[Key, str]]:
    algorithm, space = sections.get("algorithm"), sections.get("search_space")
    for parameter in space.space() if space is not None else ():
        if parameter.sets not in table.hyperparameters:
            hint = did_you_mean(parameter.sets, table.hyperparameters)
            yield (
                ("search_space", "parameters", parameter.name),
                f"the table has no hyperparameter '{parameter.sets}'{hint}",
            )
    fixed: Mapping[str, Any] = algorithm.fixed if algorithm is not None else {}
    wrong = False
    for key, value in fixed.items():
        if key not in table.hyperparameters:
            hint = did_you_mean(key, table.hyperparameters)
            yield ("algorithm", "fixed", key), f"the table has no hyperparameter '{key}'{hint}"
        elif not any(same(config[key], value) for config in table.configs):
            yield ("algorithm", "fixed", key), f"no configuration of the table has {show(value)}"
        else:
            continue
        wrong = True
    if not wrong:
        try:
            table.find(fixed)
        except AutorlError as error:
            yield ("algorithm", "fixed"), str(error)
