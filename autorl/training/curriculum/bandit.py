"""Kind `bandit`. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

import numpy as np

from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Outcome, Task, Teacher, drawn, proportional


class Bandit(Teacher):
    """A non-stationary bandit over categories, paid in absolute advantages (Chen et al. 2025, SEC, arXiv 2505.14970).

    Categories are the cells of a grid. The value of one is learned by TD(0), Q(c) ← (1 − α) Q(c) + α r(c), from the
    absolute advantage r = |A| of its episodes, and it is drawn from a Boltzmann distribution, p(c) ∝ exp(Q(c) / τ).
    The paper's advantages are of a group of answers to one problem. Here A = (R − V(c)) / range: the return R less the
    running mean V of the category, which learns at the same rate, over the range of all returns so far.

    Args:
        space: what to choose from.
        rng: its generator.
        bins: categories along each parameter.
        rate: α.
        temperature: τ.
    """

    kept = ("q", "values", "tried", "ends")

    def __init__(self, space: TaskSpace, rng: np.random.Generator, bins: int, rate: float, temperature: float) -> None:
        super().__init__(space, rng)
        self.bins, self.rate, self.temperature = bins, rate, temperature
        count = int(np.prod(space.cells(bins)))
        self.q, self.values = np.zeros(count), np.zeros(count)
        self.tried = np.zeros(count, dtype=bool)
        self.ends: list[float] = []

    def probabilities(self) -> np.ndarray:
        """Return the probability of each category (shape: categories)."""
        return proportional(np.exp((self.q - self.q.max()) / self.temperature))

    def ask(self, progress: float) -> Task:
        """Draw a category by its value, and a task from it uniformly; see `Teacher.ask`."""
        del progress
        category = drawn(self.rng, self.probabilities())
        return Task(self.space.draw_in(category, self.bins, self.rng), category)

    def tell(self, task: Task, outcome: Outcome) -> None:
        """Learn the value of the category; see `Teacher.tell`."""
        category, value = task.mark, outcome.value
        assert category is not None
        self.ends = [min([*self.ends, value]), max([*self.ends, value])]
        if not self.tried[category]:  # nothing to compare with yet
            self.tried[category], self.values[category] = True, value
            return
        advantage = (value - self.values[category]) / ((self.ends[1] - self.ends[0]) or 1.0)
        self.q[category] += self.rate * (abs(advantage) - self.q[category])
        self.values[category] += self.rate * (value - self.values[category])
