"""What does each kind of curriculum reach on FrozenLake by start distance, and what does its teacher cost?

    python benchmarks/curricula.py [--size 20] [--steps 30720] [--seeds 3] [--only none uniform ...]

Every kind at its defaults trains PPO for the same environment steps with the same seeds, one run after the other. What
a teacher costs is the processor time between being asked or told and its answer, over that of the whole run; without
the import of scikit-learn, which alp_gmm takes once a process.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

import gymnasium as gym
import numpy as np

from autorl.spec.curriculum import KINDS, OF_LANGUAGE, resolved
from autorl.training.curriculum.lessons import Lessons
from autorl.training.protocol import Job
from autorl.training.sb3 import Sb3Backend
from autorl.trial import Point, Recipe

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
    """Processor seconds and calls of what it wraps."""

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
                self.seconds += time.process_time() - begun
                self.calls += 1

        return timed


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
    of_environments = [kind for kind in KINDS if kind not in OF_LANGUAGE]
    parser.add_argument("--only", nargs="+", choices=of_environments, default=of_environments)
    asked = parser.parse_args()
    lake: Any = gym.make(LAKE, size=asked.size).unwrapped
    distance = lake.distance_of_start
    backend = Sb3Backend()
    backend.warm()
    import_module("sklearn.mixture")
    print(f"size {asked.size}, start {distance} moves from the goal, {asked.steps:,} environment steps")
    print(f"{'kind':18}{'success by seed':>24}{'mean':>7}{'episodes':>10}{'us each':>9}{'teacher':>9}")
    begin, end = Lessons.begin, Lessons.end
    for kind in asked.only:
        watch = Stopwatch()
        Lessons.begin, Lessons.end = watch.around(begin), watch.around(end)  # type: ignore[method-assign]
        scores, seconds = [], 0.0
        for seed in range(asked.seeds):
            job = Job(recipe(kind, asked.size, distance, asked.steps), seed, asked.steps, None, 1e9, "return")
            (result,) = backend.train([job], [Nobody()])
            assert result.score is not None, result.error
            scores.append(result.score)
            seconds += result.cpu_seconds
        told, episodes = "  ".join(f"{score:.2f}" for score in scores), watch.calls / 2
        each = watch.seconds / episodes * 1e6
        print(
            f"{kind:18}{told:>24}{np.mean(scores):7.2f}{episodes / asked.seeds:10.0f}{each:9.0f}"
            f"{watch.seconds / seconds:9.2%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
