"""Kind `learning_progress`. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

import numpy as np

from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Outcome, Task, Teacher, drawn


class LearningProgress(Teacher):
    """Absolute learning progress over the cells of a grid.

    Cells are drawn as CURIOUS draws its modules (Colas et al. 2019, arXiv 1810.06284). A cell's progress is how far the
    mean return of its last `window` episodes is from that of the `window` before, LP_i = |mean(recent) − mean(before)|,
    and it is drawn with probability p_i = ε / N + (1 − ε) LP_i / Σ LP. A cell of fewer than two episodes counts as much
    as the best, so that each is tried.

    Args:
        space: what to choose from.
        rng: its generator.
        bins: cells along each parameter.
        window: episodes in each of the two means.
        exploration: ε.
    """

    kept = ("values", "known", "progress")

    def __init__(self, space: TaskSpace, rng: np.random.Generator, bins: int, window: int, exploration: float) -> None:
        super().__init__(space, rng)
        self.bins, self.window, self.exploration = bins, window, exploration
        cells = int(np.prod(space.cells(bins)))
        self.values: list[list[float]] = [[] for _ in range(cells)]
        self.known, self.progress = np.zeros(cells, dtype=bool), np.zeros(cells)

    def ask(self, progress: float) -> Task:
        """Draw a cell by its progress, and a task from it uniformly; see `Teacher.ask`."""
        del progress
        if self.rng.random() < self.exploration:
            return self._in(int(self.rng.integers(len(self.values))))
        return self._in(drawn(self.rng, np.where(self.known, self.progress, self.progress.max())))

    def _in(self, cell: int) -> Task:
        return Task(self.space.draw_in(cell, self.bins, self.rng), cell)

    def tell(self, task: Task, outcome: Outcome) -> None:
        """Remember the return in its cell; see `Teacher.tell`."""
        cell = task.mark
        assert cell is not None
        values = self.values[cell] = [*self.values[cell], outcome.value][-2 * self.window :]
        if half := len(values) // 2:
            recent, before = values[-half:], values[-2 * half : -half]
            self.known[cell], self.progress[cell] = True, abs(sum(recent) - sum(before)) / half
