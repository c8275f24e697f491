"""Kind `bandit`. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Outcome, Task, Teacher, drawn, proportional


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
            self.q[category] += self.rate * (float(np.mean(gains)) - self.q[category])

    def _compared(self, category: int, value: float) -> float | None:
        """Return the absolute advantage of a return; None of the first, which has nothing to be compared with."""
        self.ends = [min([*self.ends, value]), max([*self.ends, value])]
        if not self.tried[category]:
            self.tried[category], self.values[category] = True, value
            return None
        difference = value - self.values[category]
        self.values[category] += self.rate * difference
        return abs(float(difference) / ((self.ends[1] - self.ends[0]) or 1.0))
