"""What does each kind of curriculum reach on FrozenLake by start distance, and what does its teacher cost?

    taskset -c 0 python benchmarks/curricula.py [--size 20] [--steps 30720] [--seeds 3] [--only none uniform ...]

Every kind at its defaults trains PPO for the same environment steps with the same seeds, one run after the other. What
a teacher costs is told in two ways. Under `clock` is the processor time between being asked or told and its answer,
with the bookkeeping, over that of the whole run. Under `side` each run is trained again with the tasks that its teacher
had chosen read from a list, which gives the same curve, and the two processor times are compared: `--pairs` times, in
turn, and the least of each counts, since whatever else the machine does only adds. For none, whose tasks are always
the same, the other side is the environment without a task space: what wrappers and bookkeeping cost.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import Any

import gymnasium as gym
import numpy as np

from autorl.spec.curriculum import KINDS, OF_LANGUAGE, resolved
from autorl.training.curriculum.kinds import make_lessons
from autorl.training.curriculum.lessons import Lessons
from autorl.training.curriculum.teacher import Outcome, Task, Teacher
from autorl.training.protocol import Job
from autorl.training.sb3 import Sb3Backend, model
from autorl.trial import Point, Recipe, RunResult

LAKE = "autorl.training.curriculum.frozen_lake:autorl/FrozenLakeStart-v0"
SETTINGS = {
    "n_envs": 8,
    "n_steps": 128,
    "batch_size": 256,
    "n_epochs": 6,
    "gamma": 0.98,
    "learning_rate": 1e-3,
    "ent_coef": 0.01,
}


class Nobody:
    """A host that keeps nothing and never interrupts."""

    def evaluated(self, point: Point) -> None:
        """See `Host.evaluated`."""

    def alive(self, env_steps: int) -> None:
        """See `Host.alive`."""

    def save(self, env_steps: int, content: memoryview) -> None:
        """See `Host.save`."""

    def stopping(self) -> bool:
        """See `Host.stopping`."""
        return False


class Stopwatch:
    """Processor seconds and calls of what it wraps, without what it takes to ask for the time."""

    def __init__(self) -> None:
        self.seconds, self.calls = 0.0, 0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, timed."""

        @wraps(function)
        def timed(*args: Any) -> Any:
            begun = time.process_time()
            try:
                return function(*args)
            finally:
                ended = time.process_time()
                self.seconds += ended - begun - (time.process_time() - ended)
                self.calls += 1

        return timed


class Listed(Teacher):
    """Asks for tasks that another teacher has chosen."""

    def __init__(self, tasks: list[Task]) -> None:
        self._next = iter(tasks)

    def ask(self, progress: float) -> Task:
        """See `Teacher.ask`."""
        return next(self._next)

    def tell(self, task: Task, outcome: Outcome) -> None:
        """See `Teacher.tell`."""


@contextmanager
def taught_by(change: Callable[[Lessons], None]) -> Iterator[None]:
    """Change the lessons of runs that are made meanwhile."""

    def changed(*args: Any) -> Lessons:
        lessons = make_lessons(*args)
        change(lessons)
        return lessons

    model.make_lessons = changed
    try:
        yield
    finally:
        model.make_lessons = make_lessons


def recording(tasks: list[Task]) -> Callable[[Lessons], None]:
    """Return what lets the tasks of lessons be written down."""

    def change(lessons: Lessons) -> None:
        ask = lessons.teacher.ask

        def asked(progress: float) -> Task:
            tasks.append(ask(progress))
            return tasks[-1]

        lessons.teacher.ask = asked  # type: ignore[method-assign]

    return change


def from_list(tasks: list[Task]) -> Callable[[Lessons], None]:
    """Return what lets lessons be of tasks that were written down."""

    def change(lessons: Lessons) -> None:
        lessons.teacher = Listed(tasks)

    return change


def timed(watch: Stopwatch) -> Callable[[Lessons], None]:
    """Return what times lessons."""

    def change(lessons: Lessons) -> None:
        for name in ("begin", "end", "record"):
            setattr(lessons, name, watch.around(getattr(lessons, name)))

    return change


def unchanged(lessons: Lessons) -> None:
    """Change nothing."""


def trained(asked: Recipe, seed: int, change: Callable[[Lessons], None]) -> RunResult:
    """Train a run whose lessons are changed."""
    with taught_by(change):
        (result,) = Sb3Backend().train([Job(asked, seed, asked.env_steps, None, 1e9)], [Nobody()])
    assert result.status == "completed", result.error
    return result


def recipe(kind: str, size: int, distance: int, steps: int) -> Recipe:
    """Return PPO on a lake of that size with a kind of curriculum at its defaults."""
    varying = {"distance": {"min": 1, "max": distance, "through": "set_task"}}
    return Recipe(
        "sb3",
        "ppo",
        SETTINGS,
        {"net_arch": [64]},
        LAKE,
        {"size": size},
        (),
        steps,
        6,
        20,
        False,
        task_space={"parameters": varying, "target": {"distance": distance}, "success_return": None},
        curriculum=resolved({"kind": kind}),
    )


def main() -> None:
    """Train every kind and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=20)
    parser.add_argument("--steps", type=int, default=30_720)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=3, help="0 for the clock alone")
    # Snapshots need trajectories.
    of_environments = [kind for kind in KINDS if kind not in (*OF_LANGUAGE, "snapshots")]
    parser.add_argument("--only", nargs="+", choices=of_environments, default=of_environments)
    asked = parser.parse_args()
    lake: Any = gym.make(LAKE, size=asked.size).unwrapped
    distance = lake.distance_of_start
    Sb3Backend().warm()
    print(f"size {asked.size}, start {distance} moves from the goal, {asked.steps:,} environment steps")
    print(f"{'kind':18}{'success by seed':>24}{'mean':>7}{'episodes':>10}{'us each':>9}{'clock':>8}{'side':>8}")
    for kind in asked.only:
        taught = recipe(kind, asked.size, distance, asked.steps)
        watch, scores, seconds, beside = Stopwatch(), [], 0.0, np.zeros((0, 2))
        for seed in range(asked.seeds):
            result = trained(taught, seed, timed(watch))
            scores.append(result.curve[-1].metrics["return"])
            seconds += result.cpu_seconds
            if asked.pairs:
                beside = np.vstack([beside, side_by_side(taught, seed, asked.pairs)])
        told, episodes = "  ".join(f"{score:.2f}" for score in scores), watch.calls / 2
        own, other = beside.sum(axis=0) if asked.pairs else (1.0, float("nan"))
        print(
            f"{kind:18}{told:>24}{np.mean(scores):7.2f}{episodes / asked.seeds:10.0f}"
            f"{watch.seconds / episodes * 1e6:9.0f}{watch.seconds / seconds:8.2%}{own / other - 1:8.2%}",
            flush=True,
        )


def side_by_side(taught: Recipe, seed: int, pairs: int) -> tuple[float, float]:
    """Return the least processor seconds of a run with its teacher, and of the same run without."""
    tasks: list[Task] = []
    expected = [point.metrics for point in trained(taught, seed, recording(tasks)).curve]
    plain = taught.curriculum is not None and taught.curriculum["kind"] == "none"
    other = replace(taught, task_space=None, curriculum=None) if plain else taught
    seconds = []
    for _ in range(pairs):
        runs = trained(taught, seed, unchanged), trained(other, seed, from_list(tasks))
        assert all([point.metrics for point in run.curve] == expected for run in runs)
        seconds.append([run.cpu_seconds for run in runs])
    own, without = np.min(seconds, axis=0)
    return float(own), float(without)


if __name__ == "__main__":
    main()
