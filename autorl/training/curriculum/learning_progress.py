"""Kind `learning_progress`. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Outcome, Task, Teacher, Weights


class LearningProgress(Teacher):
    """Absolute learning progress over the cells of a grid.

    Cells are drawn as CURIOUS draws its modules (Colas et al. 2019, arXiv 1810.06284). A cell's progress is how far the
    mean return of its last `window` episodes is from that of the `window` before, LP_i = |mean(recent) − mean(before)|,
    and it is drawn with probability p_i = ε / N + (1 − ε) LP_i / Σ LP. A cell of fewer than two episodes counts as much
    as the best, so that each is tried. CURIOUS measures success in episodes of its own, without exploration; here every
    training episode counts.

    Args:
        space: what to choose from.
        rng: its generator.
        bins: cells along each parameter.
        window: episodes in each of the two means.
        exploration: ε.
    """

    kept = ("values", "progress")
    shown = ("progress",)

    def __init__(self, space: TaskSpace, rng: np.random.Generator, bins: int, window: int, exploration: float) -> None:
        super().__init__(space, rng)
        self.window, self.exploration = window, exploration
        self._cells = space.cells(bins)
        count = math.prod(self._cells)
        self.values: list[list[float]] = [[] for _ in range(count)]
        self.progress = np.zeros(count)
        self._index()

    def _index(self) -> None:
        """Sort the cells into those whose progress is known and those that are to be tried."""
        self._weights = Weights()
        self._untried = [cell for cell, values in enumerate(self.values) if len(values) < 2]
        for cell, progress in enumerate(self.progress.tolist()):
            self._weights.put(cell, progress)

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state; see `Teacher.restore`."""
        super().restore(state)
        self._index()

    def ask(self, progress: float) -> Task:
        """Draw a cell by its progress, and a task from it uniformly; see `Teacher.ask`."""
        del progress
        known = self._weights.total
        most = float(self.progress.max()) if self._untried else 0.0
        untried = most * len(self._untried)
        if self.rng.random() < self.exploration or known + untried <= 0:
            return self._in(int(self.rng.random() * len(self.values)))
        at = self.rng.random() * (known + untried)
        if at < untried:
            return self._in(self._untried[min(int(at / most), len(self._untried) - 1)])
        return self._in(self._weights.draw((at - untried) / known))

    def _in(self, cell: int) -> Task:
        return Task(self.space.draw_in(cell, self._cells, self.rng), cell)

    def tell(self, task: Task, outcome: Outcome) -> None:
        """Remember the return in its cell; see `Teacher.tell`."""
        cell = task.mark
        assert cell is not None
        values = self.values[cell]
        if len(values) == 1:
            self._untried.remove(cell)
        values.append(outcome.value)
        del values[: -2 * self.window]
        if half := len(values) // 2:
            recent, before = values[-half:], values[-2 * half : -half]
            progress = abs(sum(recent) - sum(before)) / half
            self.progress[cell] = progress
            self._weights.put(cell, progress)
