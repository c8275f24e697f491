"""Kind `failures`. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from autorl.training.curriculum.fixed import TargetOnly
from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Outcome, Task, success_of


class Failures(TargetOnly):
    """Kind `failures`: episodes of the target, and those that failed again until they succeed.

    An episode is begun again by its task and the seed of its reset, so that it is the very map, start or push that the
    agent could not cope with. To return to starts that experience says matter is of Tavakoli et al. 2018
    (Prioritizing starting states for reinforcement learning, arXiv 1811.11298); that failures matter, and that one
    success is enough, is this teacher's reading of it. When the memory is full, the oldest failure is forgotten.

    Args:
        space: what to choose from.
        rng: its generator.
        replay: probability of beginning a failed episode again, where there is one.
        buffer: failures remembered.
    """

    kept = ("failed",)

    def __init__(self, space: TaskSpace, rng: np.random.Generator, replay: float, buffer: int) -> None:
        super().__init__(space, rng)
        self.replay, self.buffer = replay, buffer
        # Plain lists, oldest first, each a vector and a seed.
        self.failed: list[list[Any]] = []

    def ask(self, progress: float) -> Task:
        """Begin a failed episode again, or a new one of the target; see `Teacher.ask`."""
        if self.failed and self.rng.random() < self.replay:
            vector, seed = self.failed[int(self.rng.integers(len(self.failed)))]
            return Task(tuple(vector), seed=seed)
        return super().ask(progress)._replace(seed=int(self.rng.integers(2**30)))

    def tell(self, task: Task, outcome: Outcome) -> None:
        """Remember a failure, forget it when it is mended; see `Teacher.tell`."""
        episode = [list(task.vector), task.seed]
        known = episode in self.failed
        if success_of(outcome) < 1.0:
            if not known:
                self.failed = [*self.failed, episode][-self.buffer :]
        elif known:
            self.failed = [each for each in self.failed if each != episode]
