"""Kind `learning_progress`. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

import numpy as np

from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Outcome, Task, Teacher, proportional


class LearningProgress(Teacher):
    """Absolute learning progress over the cells of a grid, as CURIOUS draws modules (Colas et al. 2019, arXiv 1810.06284).

    A cell's progress is how far the mean return of its last `window` episodes is from that of the `window` before:
    LP_i = |mean(recent) − mean(before)|, and a cell is drawn with p_i = ε / N + (1 − ε) LP_i / Σ LP.
    A cell of fewer than two episodes counts as the best of all, so that each is tried.

    Args:
        space: what to choose from.
        rng: its generator.
        bins: cells along each parameter.
        window: episodes in each of the two means.
        exploration: ε.
    """

    kept = ("values",)

    def __init__(
        self, space: TaskSpace, rng: np.random.Generator, bins: int, window: int, exploration: float
    ) -> None:
        super().__init__(space, rng)
        self.bins, self.window, self.exploration = bins, window, exploration
        self.shape = space.cells(bins)
        self.values: list[list[float]] = [[] for _ in range(int(np.prod(self.shape)))]

    def progress(self) -> np.ndarray:
        """Return the learning progress of each cell (shape: cells), in units of the return."""
        known = {}
        for cell, values in enumerate(self.values):
            if half := len(values) // 2:
                known[cell] = abs(float(np.mean(values[-half:])) - float(np.mean(values[-2 * half : -half])))
        best = max(known.values(), default=0.0)
        return np.array([known.get(cell, best) for cell in range(len(self.values))])

    def probabilities(self) -> np.ndarray:
        """Return the probability of each cell (shape: cells)."""
        even = 1 / len(self.values)
        return self.exploration * even + (1 - self.exploration) * proportional(self.progress())

    def ask(self, progress: float) -> Task:
        """Draw a cell by its progress, and a task from it uniformly; see `Teacher.ask`."""
        del progress
        cell = int(self.rng.choice(len(self.values), p=self.probabilities()))
        return Task(tuple(self.space.draw_in(cell, self.bins, self.rng).tolist()), cell)

    def tell(self, task: Task, outcome: Outcome) -> None:
        """Remember the return in its cell; see `Teacher.tell`."""
        assert task.mark is not None
        self.values[task.mark] = [*self.values[task.mark], outcome.value][-2 * self.window :]
