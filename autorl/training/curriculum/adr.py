"""Kind `adr`. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

import numpy as np

from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Outcome, Task, Teacher, success_of


class Adr(Teacher):
    """Automatic domain randomization (OpenAI 2019, arXiv 1910.07113, section 5.2 and algorithm 1).

    Each parameter has a range [φ_L, φ_H], at first the easy task alone. With probability `boundary` one end of one
    parameter is set to its bound, the others are drawn uniformly from their ranges. When `buffer` episodes at a bound
    are told, the bound moves out by `step` if their mean success is at least `high`, back if it is at most `low`, and
    the buffer is emptied. They train the agent as all others do; the paper's only measure it.

    Args:
        space: what to choose from.
        rng: its generator.
        boundary: probability of an episode at a bound.
        buffer: episodes at a bound before it may move.
        low: the paper's t_L.
        high: the paper's t_H.
        step: the paper's Δ, in units of the cube.
    """

    kept = ("bounds", "successes")
    shown = ("bounds",)

    def __init__(
        self,
        space: TaskSpace,
        rng: np.random.Generator,
        boundary: float,
        buffer: int,
        low: float,
        high: float,
        step: float,
    ) -> None:
        super().__init__(space, rng)
        self.boundary, self.buffer, self.low, self.high, self.step = boundary, buffer, low, high, step
        self.start = space.easy
        self.bounds = np.stack([self.start, self.start])
        self.successes: list[list[float]] = [[] for _ in range(2 * space.dimensions)]
        # A bound that cannot move has nothing to be measured for.
        self._movable = [m for m in range(2 * space.dimensions) if self.start[m // 2] != (0.0, 1.0)[m % 2]]

    def ask(self, progress: float) -> Task:
        """Draw a task from the ranges, perhaps at a bound; see `Teacher.ask`."""
        del progress
        low, high = self.bounds.tolist()
        vector = [least + self.rng.random() * (most - least) for least, most in zip(low, high, strict=True)]
        if self.rng.random() >= self.boundary:
            return Task(tuple(vector))
        mark = self._movable[int(self.rng.random() * len(self._movable))]
        vector[mark // 2] = (low, high)[mark % 2][mark // 2]
        return Task(tuple(vector), mark)

    def tell(self, task: Task, outcome: Outcome) -> None:
        """Move a bound when enough is known of it; see `Teacher.tell`."""
        if task.mark is None:
            return
        axis, end = divmod(task.mark, 2)
        if task.vector[axis] != self.bounds[end, axis]:  # the bound has moved since
            return
        successes = self.successes[task.mark]
        successes.append(success_of(outcome))
        if len(successes) < self.buffer:
            return
        mean = sum(successes) / len(successes)
        successes.clear()
        outward = self.step if end else -self.step
        moved = self.bounds[end, axis] + (outward if mean >= self.high else -outward if mean <= self.low else 0.0)
        # No further than the cube, and back no further than where it began.
        inner, outer = sorted((float(self.start[axis]), (0.0, 1.0)[end]))
        self.bounds[end, axis] = min(max(moved, inner), outer)
