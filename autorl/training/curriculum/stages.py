"""Kind `stages`. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

import numpy as np

from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Outcome, Task, Teacher, success_of


class Stages(Teacher):
    """A sequence of tasks of rising difficulty, each until it is mastered, or for its share of the run.

    Task sequencing as surveyed by Narvekar et al. 2020 (arXiv 2003.04960). Stage k of n is the task
    easy + k / (n − 1) · (goal − easy); the last one is the target distribution itself. A stage ends when the mean
    success of its last `window` episodes is at least `threshold`, or, where steps decide, when k + 1 of n − 1 equal
    parts of the share `over` of the run are over.

    Args:
        space: what to choose from.
        rng: its generator.
        stages: how many, n.
        advance: `success` or `steps`.
        threshold: success rate that ends a stage.
        window: episodes that the rate is taken over.
        over: share of the run that all stages but the last take.
    """

    kept = ("stage", "successes")
    shown = ("stage",)

    def __init__(
        self,
        space: TaskSpace,
        rng: np.random.Generator,
        stages: int,
        advance: str,
        threshold: float,
        window: int,
        over: float,
    ) -> None:
        super().__init__(space, rng)
        self.stages, self.advance, self.threshold, self.window, self.over = stages, advance, threshold, window, over
        points = [space.easy + k / (stages - 1) * (space.goal - space.easy) for k in range(stages)]
        self._points = [tuple(point.tolist()) for point in points]
        self.stage = 0
        self.successes: list[float] = []

    def ask(self, progress: float) -> Task:
        """Return the task of the stage; see `Teacher.ask`."""
        last = self.stages - 1
        if self.advance == "steps":
            self.stage = min(int(progress / self.over * last), last)
        if self.stage == last:
            return Task(self.space.draw_target(self.rng), last)
        return Task(self._points[self.stage], self.stage)

    def tell(self, task: Task, outcome: Outcome) -> None:
        """Go on to the next stage when this one is mastered; see `Teacher.tell`."""
        if self.advance == "steps" or task.mark != self.stage or self.stage == self.stages - 1:
            return
        self.successes = [*self.successes, success_of(outcome)][-self.window :]
        if len(self.successes) == self.window and sum(self.successes) / self.window >= self.threshold:
            self.stage, self.successes = self.stage + 1, []
