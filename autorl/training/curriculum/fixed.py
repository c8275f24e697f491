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
        share = self.pace(progress / self.over)
        return Task(tuple(easy + share * far for easy, far in self._way))

    def pace(self, part: float) -> float:
        """Return how much of the way to the target is gone when a part of `over`, from 0 to 1, is over."""
        return part

    def tell(self, task: Task, outcome: Outcome) -> None:
        """Ignore it; see `Teacher.tell`."""


class Degrade(Linear):
    """Kind `degrade`: from the easy end to the target, slowly at first and ever faster.

    The pace is that at which ZeroSearch lets what a model finds become worse (Sun et al. 2025, arXiv 2505.04588): of m
    steps, step i has p_i = p_s + (b^(i/m) − 1) / (b − 1) · (p_e − p_s). Here p_s is the easy end and p_e the goal,
    whatever varies, and i/m the part of the share `over` of the run that is over; the paper's is the whole run.

    Args:
        space: what to choose from.
        rng: its generator.
        base: b.
        over: share of the run after which only the target is trained.
    """

    def __init__(self, space: TaskSpace, rng: np.random.Generator, base: float, over: float) -> None:
        super().__init__(space, rng, over)
        self.base = base

    def pace(self, part: float) -> float:
        """Return (b^part − 1) / (b − 1)."""
        return float((self.base**part - 1) / (self.base - 1))


class LengthStages(TargetOnly):
    """Kind `length_stages`: problems of the target, whose completions may be longer from stage to stage.

    Stage-wise context scaling (FastCuRL, Song et al. 2025, arXiv 2503.17287). Of n stages, stage k allows a share
    first + (1 − first) k / (n − 1) of the full length, and lasts 1 / (n − 1) of the share `over` of the run. FastCuRL
    also begins with short prompts; here problems are the target's from the start.

    Args:
        space: what to choose from.
        rng: its generator.
        stages: n.
        first: share of the full length that the first stage allows.
        over: share of the run that all stages but the last take.
    """

    def __init__(self, space: TaskSpace, rng: np.random.Generator, stages: int, first: float, over: float) -> None:
        super().__init__(space, rng)
        self.stages, self.first, self.over = stages, first, over

    def room(self, progress: float) -> float:
        """Return the share of the full length that a completion may have; see `Teacher.ask` for the argument."""
        last = self.stages - 1
        stage = min(int(progress / self.over * last), last)
        return self.first + (1 - self.first) * stage / last
