"""Kind `self_paced`. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

import math

import numpy as np

from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Outcome, Task, Teacher, clipped, success_of


class SelfPaced(Teacher):
    """Self-paced reinforcement learning (Klink et al. 2021, arXiv 2102.13176), with Gaussians of one fixed width.

    The paper moves a distribution of tasks p towards the target's μ as far as performance allows: minimise KL(p ‖ μ)
    under E_p[J] ≥ δ and KL(p ‖ p_old) ≤ ε. Of Gaussians N(m, σ²I) with σ fixed, KL(p ‖ p_old) = |m − m_old|² / 2σ², so
    the minimum under the second constraint is a step of length σ √(2ε) straight to the goal. The first is not a part of
    the minimization here, which would shorten the step, but decides whether there is one: at a mean success of the last
    `window` episodes of `threshold` or more it moves, below it stays. Until the easy tasks are mastered it therefore
    waits, where the authors' code looks for easier ones. What has arrived trains on the target distribution itself.
    Outcomes of tasks that were drawn before the last move say nothing of where it is now.

    Args:
        space: what to choose from.
        rng: its generator.
        threshold: δ.
        window: episodes between two moves.
        spread: σ, in units of the cube.
        divergence: ε, in nats.
    """

    kept = ("mean", "moves", "successes")
    shown = ("mean",)

    def __init__(
        self,
        space: TaskSpace,
        rng: np.random.Generator,
        threshold: float,
        window: int,
        spread: float,
        divergence: float,
    ) -> None:
        super().__init__(space, rng)
        self.threshold, self.window, self.spread, self.divergence = threshold, window, spread, divergence
        self.mean = space.easy.tolist()
        self.moves = 0
        self.successes: list[float] = []
        self._goal: list[float] = space.goal.tolist()

    def ask(self, progress: float) -> Task:
        """Draw a task from the Gaussian; see `Teacher.ask`."""
        del progress
        if self.mean == self._goal:
            return Task(self.space.draw_target(self.rng), self.moves)
        drawn = [mean + self.spread * self.rng.standard_normal() for mean in self.mean]
        return Task(clipped(drawn), self.moves)

    def tell(self, task: Task, outcome: Outcome) -> None:
        """Move to the goal when that is allowed; see `Teacher.tell`."""
        if task.mark != self.moves:
            return
        self.successes.append(success_of(outcome))
        if len(self.successes) < self.window:
            return
        mastered = sum(self.successes) / self.window >= self.threshold
        self.successes = []
        if mastered and self.mean != self._goal:
            self.moves += 1
            far, step = math.dist(self._goal, self.mean), self.spread * math.sqrt(2 * self.divergence)
            share = 1.0 if far <= step else step / far
            way = zip(self._goal, self.mean, strict=True)
            self.mean = self._goal if share == 1.0 else [mean + (goal - mean) * share for goal, mean in way]
