"""One run: a model made, trained, evaluated, saved and resumed, by either engine."""

from __future__ import annotations

import io
import traceback
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from autorl.errors import CheckpointError
from autorl.training.llm.cache import made_once
from autorl.training.llm.course import Course, target_categories
from autorl.training.llm.learner import Learner
from autorl.training.llm.model import Architecture
from autorl.training.llm.problems import VERSION, Problem, Task, draw_to_evaluate, dumped, generator, loaded
from autorl.training.llm.recipe import Settings, contradictions, settings
from autorl.training.llm.small import SmallLearner
from autorl.training.llm.suites import OURS, make_task
from autorl.training.llm.warmup import warmed
from autorl.training.meter import Meter, Spent
from autorl.training.protocol import Host, Interrupted, Job, out_of_memory
from autorl.training.resumption import Origin
from autorl.training.tasks import random_streams
from autorl.trial import FailureClass, Point, Recipe, RunResult

FORMAT = 1


class Training:
    """The training of one job. Its environment steps are completions."""

    def __init__(self, job: Job, host: Host) -> None:
        self._job, self._host = job, host
        self._curve: list[Point] = []
        self._notes: list[str] = []
        self._meter, self._inherited = Meter(), 0.0
        self._learner: Learner | None = None
        self._state: dict[str, Any] | None = None

    def result(self) -> RunResult:
        """Train; a failure is a result too."""
        try:
            self._train()
        except Interrupted:
            raise
        except Exception as error:  # noqa: BLE001 - tasks are the user's code
            kind: FailureClass = "exception"
            if isinstance(error, FloatingPointError) or (self._learner is not None and self._learner.broken()):
                kind = "diverged"
            elif out_of_memory(error):
                kind = "out_of_memory"
            return self._ended("failed", error_class=kind, error="".join(traceback.format_exception(error)))
        return self._ended("completed")

    def _train(self) -> None:
        segments = self._job.recipe.lineage(self._job.until)
        for recipe, until in segments[self._take_up(segments) :]:
            self._train_segment(recipe, until)

    def _take_up(self, segments: Sequence[tuple[Recipe, int]]) -> int:
        """Load the state that the run is to go on from, if there is one; return the segment that goes on from it."""
        path = self._job.resume
        if path is None:
            return 0
        try:
            state = _read(path)
            origin = Origin(**{**state["origin"], "spent": Spent(**state["origin"]["spent"])})
            segment, before, self._inherited = origin.taken_up(path, segments, self._job.seed)
        except CheckpointError as error:
            self._notes.append(f"started anew: {error}")
            return 0
        self._meter.go_on(before)
        self._curve = [Point.from_dict(point) for point in state["curve"]]
        self._state = state["learner"]
        return segment

    def _train_segment(self, recipe: Recipe, until: int) -> None:
        """Train one recipe until it is to pause, from the state of the run so far."""
        own = settings(recipe.algorithm, recipe.hyperparameters)
        for mistake in contradictions(own):
            raise ValueError(mistake)
        task = make_task(recipe.env, recipe.env_kwargs)
        network, environment, evaluations = random_streams(self._job.seed, recipe.evaluation_points)
        self._learner = learner = self._made(recipe, task, own, (network, environment))
        if self._state is not None:
            learner.restore(self._state)
        problems = self._problems(recipe, task, evaluations[0])
        points, last = recipe.points, recipe.evaluation_points
        saved = self._meter.spent().wall_seconds
        while learner.counted.completions < until:
            learner.step()
            self._host.alive(learner.counted.completions)
            while len(self._curve) < last and learner.counted.completions >= points[len(self._curve)]:
                self._evaluated(learner.evaluate(problems, evaluations[len(self._curve)]))
            stopping, now = self._host.stopping(), self._meter.spent().wall_seconds
            if learner.counted.completions < until and (stopping or now - saved > self._job.checkpoint_seconds):
                self._save(recipe)
                saved = now
                if stopping:
                    raise Interrupted
        if until < recipe.env_steps:
            self._save(recipe)
        self._state = learner.state()

    def _problems(self, recipe: Recipe, task: Task, drawn_by: int) -> list[Problem]:
        """Return what the run is evaluated on; few of the problems drawn are its seed's, so that drawing takes long."""
        count, seed, asked = recipe.evaluation_episodes, self._job.seed, target_categories(recipe.task_space, task)

        def draw() -> list[Problem]:
            return draw_to_evaluate(task, count, seed, generator(drawn_by), asked)

        if recipe.env not in OURS:  # code that is not ours may draw others tomorrow
            return draw()
        about = [VERSION, recipe.env, recipe.env_kwargs, count, seed, drawn_by, asked]
        return made_once("problems", about, draw, dumped, loaded, self._pulse)

    def _made(self, recipe: Recipe, task: Task, own: Settings, seeds: tuple[int, int]) -> Learner:
        if recipe.engine == "trl":
            from autorl.training.llm.trl_engine import TrlLearner

            return TrlLearner(task, recipe.policy, own, recipe.env_steps, seeds)
        about = {"env": recipe.env, "env_kwargs": recipe.env_kwargs}
        shape, teacher = Architecture(**recipe.policy), None
        if own.taught:
            longer = replace(own, sft_steps=own.teacher_steps, sft_noise=own.teacher_noise)
            teacher = warmed(task, about, shape, longer, self._pulse).eval().requires_grad_(False)
        start = warmed(task, about, shape, own, self._pulse)
        course = None
        if recipe.task_space is not None and recipe.curriculum is not None:
            course = Course(recipe.task_space, recipe.curriculum, recipe.env_steps, task, self._job.seed)
        return SmallLearner(task, start, teacher, own, recipe.env_steps, seeds, course)

    def _pulse(self) -> None:
        """Say, during the warm-up, that something goes on; nothing of it is worth saving."""
        if self._host.stopping():
            raise Interrupted
        self._host.alive(0)

    def _evaluated(self, metrics: dict[str, float]) -> None:
        assert self._learner is not None
        if self._learner.broken():
            raise FloatingPointError("parameters of the model are not finite")
        spent = self._inherited + self._meter.spent().wall_seconds
        point = Point(self._learner.counted.completions, spent, metrics, curriculum=self._learner.record())
        self._curve.append(point)
        self._host.evaluated(point)

    def _save(self, recipe: Recipe) -> None:
        assert self._learner is not None
        done, seed = self._learner.counted.completions, self._job.seed
        run = self._job.recipe.fingerprint(seed)
        origin = Origin(recipe.fingerprint(seed), run, done, self._meter.spent(), self._inherited)
        content = io.BytesIO()
        state = {"origin": asdict(origin), "curve": [point.to_dict() for point in self._curve]}
        torch.save({"format": FORMAT, **state, "learner": self._learner.state()}, content)
        self._host.save(done, content.getbuffer())

    def _ended(self, status: Any, **rest: Any) -> RunResult:
        steps = self._learner.counted.completions if self._learner is not None else 0
        spent = asdict(self._meter.spent())
        return RunResult(status, tuple(self._curve), steps, **spent, notes=tuple(self._notes), **rest)


def _read(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it can execute."""
    try:
        content: dict[str, Any] = torch.load(path, weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path}: damaged checkpoint ({type(error).__name__})") from error
    if content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: checkpoint format {content.get('format')}, expected {FORMAT}")
    return content
