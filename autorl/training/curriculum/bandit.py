"""Kind `bandit`. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Outcome, Task, Teacher, Weights

MOST = 200.0
"""Power of e by which a weight may be above 1, or all of them below it, before they are weighed anew."""


class Bandit(Teacher):
    """A non-stationary bandit over categories, paid in absolute advantages (Chen et al. 2025, SEC, arXiv 2505.14970).

    Categories are the cells of a grid. The value of one is learned by TD(0), Q(c) ← (1 − α) Q(c) + α r(c), and it is
    drawn from a Boltzmann distribution, p(c) ∝ exp(Q(c) / τ). The reward r(c) is the mean of |A| over a batch's
    completions of the category, so that a category is learned once a batch, from all of its groups. An episode has no
    group: there r = |A| of each with A = (R − V(c)) / range, the return R less the running mean V of the category,
    which learns at the same rate, over the range of all returns so far.

    Args:
        space: what to choose from.
        rng: its generator.
        bins: categories along each parameter.
        rate: α.
        temperature: τ.
    """

    kept = ("q", "values", "tried", "ends", "best")
    shown = ("q",)

    def __init__(self, space: TaskSpace, rng: np.random.Generator, bins: int, rate: float, temperature: float) -> None:
        super().__init__(space, rng)
        self.rate, self.temperature = rate, temperature
        self._cells = space.cells(bins)
        count = math.prod(self._cells)
        self.q, self.values = [0.0] * count, [0.0] * count
        self.tried = [False] * count
        self.ends: list[float] = []
        self.best = 0.0
        self._weigh()

    def _weigh(self) -> None:
        """Weigh the categories, with 1 where the value is `best`: the highest when they were last weighed anew."""
        self._weights = Weights()
        for category in range(len(self.q)):
            self._put(category)

    def _put(self, category: int) -> float:
        power = (self.q[category] - self.best) / self.temperature
        self._weights.put(category, math.exp(min(power, MOST)))
        return power

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state; see `Teacher.restore`."""
        super().restore(state)
        self._weigh()

    def ask(self, progress: float) -> Task:
        """Draw a category by its value, and a task from it uniformly; see `Teacher.ask`."""
        del progress
        category = self._weights.draw(self.rng.random())
        return Task(self.space.draw_in(category, self._cells, self.rng), category)

    def tell(self, task: Task, outcome: Outcome) -> None:
        """Learn the value of the category; see `Teacher.tell`."""
        self.tell_all([(task, outcome)])

    def tell_all(self, told: Sequence[tuple[Task, Outcome]]) -> None:
        """Learn the values of the categories of a batch; see `Teacher.tell_all`."""
        paid: dict[int, list[float]] = {}
        for task, outcome in told:
            assert task.mark is not None
            gain = self._compared(task.mark, outcome.value) if outcome.advantage is None else outcome.advantage
            if gain is not None:
                paid.setdefault(task.mark, []).append(gain)
        for category, gains in paid.items():
            self.q[category] += self.rate * (sum(gains) / len(gains) - self.q[category])
            if self._put(category) > MOST or self._weights.total < math.exp(-MOST):
                self.best = max(self.q)
                self._weigh()

    def _compared(self, category: int, value: float) -> float | None:
        """Return the absolute advantage of a return; None of the first, which has nothing to be compared with."""
        self.ends = [min([*self.ends, value]), max([*self.ends, value])]
        if not self.tried[category]:
            self.tried[category], self.values[category] = True, value
            return None
        difference = value - self.values[category]
        self.values[category] += self.rate * difference
        return abs(difference / ((self.ends[1] - self.ends[0]) or 1.0))
