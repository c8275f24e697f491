"""Kind `plr`. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

import numpy as np

from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Outcome, Task, Teacher, drawn, proportional


class Plr(Teacher):
    """Prioritized level replay (Jiang et al. 2021, arXiv 2010.03934, section 3).

    Levels are tasks that were drawn uniformly before. One is replayed with P = (1 − ρ) P_S + ρ P_C, where
    P_S ∝ (1 / rank of its score)^(1 / β) and P_C ∝ how many episodes ago it was trained.

    The paper scores a level by the mean magnitude of the advantages of its last episode. A teacher is told returns
    only, so here the score is |return − V|, with V the return that the level had before; a new level's V is that of the
    nearest one remembered. When the memory is full a new level takes the place of the one with the lowest score.

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
        self.values, self.scores = np.zeros(0), np.zeros(0)
        self.trained = np.zeros(0, dtype=np.int64)
        self.told = 0

    def probabilities(self) -> np.ndarray:
        """Return the probability with which each remembered level is replayed (shape: levels)."""
        ranks = np.empty(len(self.scores))
        ranks[np.argsort(-self.scores, kind="stable")] = np.arange(1, len(self.scores) + 1)
        by_score = (1 / ranks) ** (1 / self.temperature)
        stale = (self.told - self.trained).astype(float)
        by_age = proportional(stale)
        mixed: np.ndarray = (1 - self.staleness) * by_score / by_score.sum() + self.staleness * by_age
        return mixed

    def _nearest(self, vector: list[float]) -> float:
        """Return the return of the remembered level that is nearest to a vector."""
        return float(self.values[int(np.argmin(((np.array(self.tasks) - vector) ** 2).sum(axis=1)))])

    def ask(self, progress: float) -> Task:
        """Replay a level or draw a new one; see `Teacher.ask`."""
        del progress
        if self.rng.random() >= self.replay * len(self.tasks) / self.buffer:
            return self._uniform()
        level = drawn(self.rng, self.probabilities())
        return Task(tuple(self.tasks[level]))

    def tell(self, task: Task, outcome: Outcome) -> None:
        """Score the level; see `Teacher.tell`."""
        self.told += 1
        vector = list(task.vector)
        # Not by a mark: another level may have taken its place meanwhile.
        level = self.tasks.index(vector) if vector in self.tasks else None
        if level is None:
            score = abs(outcome.value - self._nearest(vector)) if self.tasks else 0.0
            if len(self.tasks) < self.buffer:
                level = len(self.tasks)
                self.tasks.append(vector)
                self.values, self.scores = np.append(self.values, 0.0), np.append(self.scores, 0.0)
                self.trained = np.append(self.trained, 0)
            elif score > self.scores.min():
                level = int(np.argmin(self.scores))
                self.tasks[level] = vector
            else:
                return
        else:
            score = abs(outcome.value - float(self.values[level]))
        self.values[level], self.scores[level], self.trained[level] = outcome.value, score, self.told
