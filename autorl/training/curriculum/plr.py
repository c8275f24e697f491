"""Kind `plr`. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import Any

import numpy as np

from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Outcome, Task, Teacher, drawn


class Plr(Teacher):
    """Prioritized level replay (Jiang et al. 2021, arXiv 2010.03934, section 3).

    Levels are tasks that were drawn uniformly before. One is replayed with P = (1 − ρ) P_S + ρ P_C, where
    P_S ∝ (1 / rank of its score)^(1 / β) and P_C ∝ how many episodes ago it was trained.

    The paper scores a level by the mean magnitude of the advantages of its last episode. A teacher is told returns
    only, so here the score is |return − V|, with V the return that the level had before; a new level's V is that of the
    nearest one remembered. Such scores are often equal, 0 of all that is mastered or out of reach: of equal ones that
    comes first that was trained longest ago. When the memory is full a new level takes the place of the last.

    Args:
        space: what to choose from.
        rng: its generator.
        buffer: levels remembered.
        replay: probability of replaying one, once as many are remembered; before, in proportion to how many are.
        temperature: β.
        staleness: ρ.
    """

    kept = ("tasks", "values", "scores", "trained", "told")

    def __init__(
        self,
        space: TaskSpace,
        rng: np.random.Generator,
        buffer: int,
        replay: float,
        temperature: float,
        staleness: float,
    ) -> None:
        super().__init__(space, rng)
        self.buffer, self.replay, self.temperature, self.staleness = buffer, replay, temperature, staleness
        self.tasks: list[list[float]] = []
        self.values: list[float] = []
        self.scores: list[float] = []
        self.trained: list[int] = []
        self.told = 0
        self._index()

    def _index(self) -> None:
        """Make what finds a level by its task, its place and its rank."""
        self._levels = {tuple(task): level for level, task in enumerate(self.tasks)}
        self._points = np.zeros((self.space.dimensions, self.buffer))
        for level, task in enumerate(self.tasks):
            self._points[:, level] = task
        self._order = sorted(self._key(level) for level in range(len(self.scores)))
        self._by_rank = [0.0]
        for _ in self.tasks:
            self._one_more()

    def _key(self, level: int) -> tuple[float, int, int]:
        """Return by what a level is ranked."""
        return -self.scores[level], self.trained[level], level

    def _one_more(self) -> None:
        """Add up the weights of one more rank."""
        self._by_rank.append(self._by_rank[-1] + len(self._by_rank) ** (-1 / self.temperature))

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state; see `Teacher.restore`."""
        super().restore(state)
        self._index()

    def ask(self, progress: float) -> Task:
        """Replay a level or draw a new one; see `Teacher.ask`."""
        del progress
        if self.rng.random() >= self.replay * len(self.tasks) / self.buffer:
            return self._uniform()
        if self.rng.random() < self.staleness:
            level = drawn(self.rng, self.told - np.array(self.trained))
        else:
            rank = bisect_right(self._by_rank, self.rng.random() * self._by_rank[-1])
            level = self._order[min(rank, len(self._order)) - 1][-1]
        return Task(tuple(self.tasks[level]))

    def tell(self, task: Task, outcome: Outcome) -> None:
        """Score the level; see `Teacher.tell`."""
        self.told += 1
        # Not by a mark: another level may have taken its place meanwhile.
        level = self._levels.get(task.vector)
        if level is not None:
            score = abs(outcome.value - self.values[level])
            del self._order[bisect_left(self._order, self._key(level))]
        else:
            score = abs(outcome.value - self._nearest(task.vector)) if self.tasks else 0.0
            if len(self.tasks) == self.buffer and score <= -self._order[-1][0]:
                return
            level = self._place(list(task.vector))
        self.values[level], self.scores[level], self.trained[level] = outcome.value, score, self.told
        insort(self._order, self._key(level))

    def _nearest(self, vector: tuple[float, ...]) -> float:
        """Return the return of the remembered level that is nearest to a vector."""
        away = self._points[:, : len(self.tasks)] - np.array(vector)[:, None]
        return self.values[int((away * away).sum(axis=0).argmin())]

    def _place(self, task: list[float]) -> int:
        """Remember a new level, in the place of the last by rank if there is no other."""
        if len(self.tasks) < self.buffer:
            level = len(self.tasks)
            self.tasks.append(task)
            for numbers in (self.values, self.scores):
                numbers.append(0.0)
            self.trained.append(0)
            self._one_more()
        else:
            level = self._order.pop()[-1]
            del self._levels[tuple(self.tasks[level])]
            self.tasks[level] = task
        self._levels[tuple(task)] = level
        self._points[:, level] = task
        return level
