"""One run: a model and its environments, trained, evaluated, saved and resumed."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from autorl.errors import CheckpointError
from autorl.training.meter import Meter, Spent
from autorl.training.protocol import Host, Interrupted, Job, out_of_memory
from autorl.training.resumption import Origin
from autorl.training.sb3 import checkpoint, fork
from autorl.training.sb3.latency import latency
from autorl.training.sb3.model import build
from autorl.training.sb3.plain import Evaluations
from autorl.training.signals import measured_keys
from autorl.trial import FailureClass, Point, Recipe, RunResult


class _Paused(Exception):
    """Raised between two rollouts to leave SB3's training loop."""

    def __init__(self, state: dict[str, Any]) -> None:
        super().__init__()
        self.state = state


class Training:
    """The training of one job."""

    def __init__(self, job: Job, host: Host) -> None:
        self.job, self.seed, self.host = job, job.seed, host
        self.curve: list[Point] = []
        self.notes: list[str] = []
        self.model: BaseAlgorithm | None = None
        self._state: dict[str, Any] | None = None
        self._meter, self._inherited = Meter(), 0.0

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
        return self._ended("completed")

    def _train(self) -> None:
        segments = self.job.recipe.lineage(self.job.until)
        for recipe, until in segments[self._load(segments) :]:
            self._train_segment(recipe, until)
            if self._state is None:  # the run is over
                return

    def _train_segment(self, recipe: Recipe, until: int) -> None:
        """Train one recipe until it is to pause, from the state of the run so far."""
        self.model, eval_env, _, seeds = build(recipe, self.seed)
        signals = measured_keys(recipe.cost, recipe.specification)
        evaluations = Evaluations(eval_env, recipe.points, seeds, recipe.deterministic, self._evaluated, signals)
        keeper = _Keeper(self, recipe, until)
        if self._state is not None:
            keeper.resumed = self._take_up(recipe, self._state)
            self._state = None  # which may be large
        evaluations.done = len(self.curve)
        if recipe.algorithm == "ars":
            _anneal_over(self.model, recipe.env_steps)
        try:
            if self.model.num_timesteps < recipe.env_steps:
                remaining = recipe.env_steps - self.model.num_timesteps
                self.model.learn(remaining, [evaluations, keeper], reset_num_timesteps=keeper.resumed is None)
        except _Paused as paused:
            self._state = paused.state
        finally:
            training_env = self.model.get_env()
            eval_env.close()
            if training_env is not None:
                training_env.close()

    def _load(self, segments: Sequence[tuple[Recipe, int]]) -> int:
        """Load the state that the run is to go on from, if there is one; return the segment that goes on from it."""
        path = self.job.resume
        if path is None:
            return 0
        try:
            state = checkpoint.read(path)
            origin = Origin(
                state["recipe"],
                state.get("run", state["recipe"]),
                state["model"]["counters"]["num_timesteps"],
                Spent(state["wall_seconds"], state["cpu_seconds"], state.get("energy_joules")),
                state.get("inherited_seconds", 0.0),
            )
            segment, before, self._inherited = origin.taken_up(path, segments, self.seed)
        except CheckpointError as error:
            self.notes.append(f"started anew: {error}")
            return 0
        self._state = state
        self.curve = [Point.from_dict(point) for point in state["curve"]]
        self._meter.go_on(before)
        return segment

    def _take_up(self, recipe: Recipe, state: dict[str, Any]) -> dict[str, Any]:
        """Set the model to a state; return what of it follows when the first rollout begins."""
        assert self.model is not None
        if state["recipe"] == recipe.fingerprint(self.seed):
            self.notes += checkpoint.restore(self.model, state["model"])
            return {"random": state["random"], "model": checkpoint.within_rollout(state["model"])}
        kept, notes = fork.take_over(self.model, recipe, state["model"], self.seed, self._alive)
        self.notes += notes
        return {"random": state["random"], "model": kept}

    def _alive(self) -> None:
        assert self.model is not None
        if self.host.stopping():
            raise Interrupted  # the state that was to be taken over is still there
        self.host.alive(self.model.num_timesteps)

    def save(self, recipe: Recipe, random_state: dict[str, Any]) -> dict[str, Any]:
        """Hand the run's state to the host, and return it."""
        assert self.model is not None
        content = {
            "recipe": recipe.fingerprint(self.seed),
            "run": self.job.recipe.fingerprint(self.seed),
            "inherited_seconds": self._inherited,
            "model": checkpoint.capture(self.model),
            "random": random_state,
            "curve": [point.to_dict() for point in self.curve],
            **asdict(self._meter.spent()),
        }
        self.host.save(self.model.num_timesteps, checkpoint.pack(content))
        return content

    def _evaluated(self, env_steps: int, metrics: dict[str, float]) -> None:
        wrong = [f"the evaluation's {name} is {value}" for name, value in metrics.items() if not np.isfinite(value)]
        if self._broken():
            wrong.append("parameters of the policy are not finite")
        if wrong:
            raise FloatingPointError(f"after {env_steps} steps {' and '.join(wrong)}")
        assert self.model is not None
        lessons = checkpoint.lessons_of(self.model)
        taught = None if lessons is None else lessons.record()
        spent = self._inherited + self._meter.spent().wall_seconds
        point = Point(env_steps, spent, metrics, curriculum=taught, inference_ms=latency(self.model))
        self.curve.append(point)
        self.host.evaluated(point)

    def _broken(self) -> bool:
        return self.model is not None and any(not bool(torch.isfinite(p).all()) for p in self.model.policy.parameters())

    def _failed(self, error: Exception) -> RunResult:
        diverged = isinstance(error, FloatingPointError) or self._broken()
        text = "".join(traceback.format_exception(error))
        return self._ended("failed", error_class=_kind(error, diverged), error=text)

    def _ended(self, status: Any, **rest: Any) -> RunResult:
        steps = self.model.num_timesteps if self.model is not None else 0
        return RunResult(
            status, tuple(self.curve), steps, **asdict(self._meter.spent()), notes=tuple(self.notes), **rest
        )


class _Keeper(BaseCallback):
    """Saves, pauses and resumes between rollouts, where SB3's state is whole."""

    def __init__(self, training: Training, recipe: Recipe, until: int) -> None:
        super().__init__()
        self.training, self.recipe, self.until = training, recipe, until
        self.resumed: dict[str, Any] | None = None
        self._saved = time.monotonic()
        self._after_rollout: dict[str, Any] | None = None
        # ARS draws its candidates before it first calls back, so its generators are those after the last rollout.
        self._early = recipe.algorithm == "ars"

    def _on_training_start(self) -> None:
        if self.resumed is not None and self._early:
            checkpoint.restore_random_state(self.model, self.resumed["random"])
            self.resumed = None

    def _on_rollout_start(self) -> None:
        if self.resumed is not None:
            checkpoint.restore_random_state(self.model, self.resumed["random"])
            checkpoint.restore_within_rollout(self.model, self.resumed["model"])
            self.resumed = None
        done = self.num_timesteps >= self.until
        stopping = self.training.host.stopping()
        due = time.monotonic() - self._saved > self.training.job.checkpoint_seconds
        if not (done or due or stopping):
            return
        state = self._after_rollout if self._early else checkpoint.random_state(self.model)
        if state is None:
            return
        saved = self.training.save(self.recipe, state)
        self._saved = time.monotonic()
        if stopping:
            raise Interrupted
        if done:
            raise _Paused(saved)

    def _on_rollout_end(self) -> None:
        if self._early:
            self._after_rollout = checkpoint.random_state(self.model)

    def _on_step(self) -> bool:
        self.training.host.alive(self.num_timesteps)
        return True


def _kind(error: Exception, diverged: bool) -> FailureClass:
    if out_of_memory(error):
        return "out_of_memory"
    return "diverged" if diverged else "exception"


def _anneal_over(model: BaseAlgorithm, env_steps: int) -> None:
    """Make schedules run over the whole run: ARS would start them anew over the steps that remain."""
    update = model._update_current_progress_remaining
    instance: Any = model
    instance._update_current_progress_remaining = lambda done, _total: update(done, env_steps)
