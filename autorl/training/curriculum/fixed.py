"""Curricula that are not told how it goes. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

import numpy as np

from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Outcome, Task, Teacher


class TargetOnly(Teacher):
    """Kind `none`: every episode is of the target distribution."""

    def ask(self, progress: float) -> Task:
        """Draw from the target; see `Teacher.ask`."""
        del progress
        return Task(self.space.draw_target(self.rng))

    def tell(self, task: Task, outcome: Outcome) -> None:
        """Ignore it; see `Teacher.tell`."""


class Uniform(Teacher):
    """Kind `uniform`: domain randomization (Tobin et al. 2017, arXiv 1703.06907), tasks drawn uniformly."""

    def ask(self, progress: float) -> Task:
        """Draw from the whole space; see `Teacher.ask`."""
        del progress
        return self._uniform()

    def tell(self, task: Task, outcome: Outcome) -> None:
        """Ignore it; see `Teacher.tell`."""


class Linear(Teacher):
    """Kind `linear`: from the easy end to the target at an even pace, in the order of difficulty.

    Curriculum learning as of Bengio et al. 2009 (Curriculum learning, ICML) with the simplest pacing:
    x(t) = easy + min(1, t / over) · (goal − easy) for a share t of the run; then the target distribution itself.

    Args:
        space: what to choose from.
        rng: its generator.
        over: share of the run after which only the target is trained.
    """

    def __init__(self, space: TaskSpace, rng: np.random.Generator, over: float) -> None:
        super().__init__(space, rng)
        self.over = over
        self._way = [(float(easy), float(goal - easy)) for easy, goal in zip(space.easy, space.goal, strict=True)]

    def ask(self, progress: float) -> Task:
        """Return the task of this part of the run; see `Teacher.ask`."""
        if progress >= self.over:
            return Task(self.space.draw_target(self.rng))
        share = progress / self.over
        return Task(tuple(easy + share * far for easy, far in self._way))

    def tell(self, task: Task, outcome: Outcome) -> None:
        """Ignore it; see `Teacher.tell`."""
