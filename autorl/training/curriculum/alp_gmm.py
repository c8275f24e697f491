"""Kind `alp_gmm`. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate
from operator import mul
from typing import Any

import numpy as np

from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Outcome, Task, Teacher, clipped, spread_points


class AlpGmm(Teacher):
    """Absolute learning progress by Gaussian mixtures (Portelas et al. 2019, arXiv 1910.07224, algorithm 1).

    The progress of an episode is alp = |r − r_old|, with r_old the return of the nearest task trained before. Every
    `fit_every` episodes mixtures of 2 to `max_components` Gaussians are fitted to the last `window` points (task, alp),
    and the one with the lowest AIC is kept. A task is drawn uniformly with probability `exploration`, else from a
    Gaussian chosen in proportion to its mean alp. Progress is divided by the range of the returns, since a mixture
    depends on the scales of its axes.

    Args:
        space: what to choose from.
        rng: its generator.
        fit_every: episodes between two fits, the paper's N.
        window: episodes that a mixture is fitted to; the paper's are the last N.
        max_components: most Gaussians; the authors' code tries up to 10.
        exploration: the paper's p_rnd.
    """

    kept = ("told", "means", "factors")
    # The nearest earlier task is looked for among so many: learning has changed what is older.
    remembered = 5_000

    def __init__(
        self,
        space: TaskSpace,
        rng: np.random.Generator,
        fit_every: int,
        window: int,
        max_components: int,
        exploration: float,
    ) -> None:
        super().__init__(space, rng)
        self.fit_every, self.window = fit_every, window
        self.max_components, self.exploration = max_components, exploration
        # The newest takes the place of the oldest.
        self.tasks = np.zeros((space.dimensions, self.remembered))
        self.values, self.progress = np.zeros(self.remembered), np.zeros(self.remembered)
        self.told = 0
        self.means: list[list[float]] = []
        self.factors: list[list[list[float]]] = []
        self._index()

    def _index(self) -> None:
        """Add up the mean progress of the Gaussians."""
        self._up_to = list(accumulate(max(mean[-1], 0.0) for mean in self.means))

    def state(self) -> dict[str, Any]:
        """Return what changes; see `Teacher.state`."""
        used = min(self.told, self.remembered)
        points = {name: getattr(self, name)[..., :used].tolist() for name in ("tasks", "values", "progress")}
        return {**super().state(), **points}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state; see `Teacher.restore`."""
        super().restore(state)
        for name in ("tasks", "values", "progress"):
            getattr(self, name)[..., : min(self.told, self.remembered)] = state[name]
        self._index()

    def ask(self, progress: float) -> Task:
        """Draw a task from a Gaussian of the mixture, or uniformly; see `Teacher.ask`."""
        del progress
        if not self.means or self.rng.random() < self.exploration:
            return self._uniform()
        if self._up_to[-1] > 0:
            at = bisect_right(self._up_to, self.rng.random() * self._up_to[-1])
        else:
            at = int(self.rng.random() * len(self.means))
        chosen = min(at, len(self.means) - 1)
        noise = [self.rng.standard_normal() for _ in range(self.space.dimensions)]
        moved = [sum(map(mul, row, noise)) for row in self.factors[chosen]]
        return Task(clipped([mean + move for mean, move in zip(self.means[chosen], moved, strict=False)]))

    def tell(self, task: Task, outcome: Outcome) -> None:
        """Compare with the nearest earlier task, and fit now and then; see `Teacher.tell`."""
        at, used = self.told % self.remembered, min(self.told, self.remembered)
        alp = abs(outcome.value - float(self.values[self._nearest(task.vector, used)])) if used else 0.0
        for axis, u in enumerate(task.vector):
            self.tasks[axis, at] = u
        self.values[at], self.progress[at] = outcome.value, alp
        self.told += 1
        if self.told % self.fit_every == 0:
            self._fit()

    def _nearest(self, vector: tuple[float, ...], used: int) -> int:
        """Return the place of the task that is nearest to a vector, of the first so many."""
        away = self.tasks[0, :used] - vector[0]
        away *= away
        for axis in range(1, len(vector)):
            along = self.tasks[axis, :used] - vector[axis]
            away += along * along
        return int(away.argmin())

    def _fit(self) -> None:
        used = min(self.told, self.remembered)
        scale = float(np.ptp(self.values[:used])) or 1.0
        last = np.arange(self.told - min(self.window, used), self.told) % self.remembered
        points = np.column_stack([self.tasks[:, last].T, self.progress[last] / scale])
        seeds = spread_points(points, min(self.max_components, len(points) - 1), self.rng)
        mixtures = [fitted(points, seeds[:count]) for count in range(2, len(seeds) + 1)]
        means, covariances, _ = min(mixtures, key=lambda mixture: mixture[2])
        d = self.space.dimensions
        self.means = means.tolist()
        self.factors = np.linalg.cholesky(covariances[:, :d, :d]).tolist()
        self._index()


# scikit-learn would take a second or two to be imported into each run, and as long for a fit as this for ten.


def fitted(points: np.ndarray, means: np.ndarray, tolerance: float = 1e-2) -> tuple[np.ndarray, np.ndarray, float]:
    """Fit a mixture of Gaussians by expectation and maximization (Bishop 2006, section 9.2.2).

    Args:
        points: Shape (points, axes).
        means: to begin from, shape (Gaussians, axes).
        tolerance: change of the mean log-likelihood below which it ends.

    Returns:
        Means, shape (Gaussians, axes); covariances, shape (Gaussians, axes, axes); and Akaike's information criterion.
    """
    (n, d), k = points.shape, len(means)
    nearest = ((points - means[:, None]) ** 2).sum(axis=2).argmin(axis=0)
    share = (nearest == np.arange(k)[:, None]).astype(float)
    before, likelihood = -math.inf, -math.inf
    for _ in range(100):
        size = share.sum(axis=1) + 1e-15
        means = share @ points / size[:, None]
        away = points - means[:, None]
        covariances = (share[:, :, None] * away).transpose(0, 2, 1) @ away / size[:, None, None]
        covariances[:, range(d), range(d)] += 1e-6
        factors = np.linalg.cholesky(covariances)
        scaled = away @ np.linalg.inv(factors).transpose(0, 2, 1)
        height = np.log(size / n) - np.log(factors[:, range(d), range(d)]).sum(axis=1)
        logs = height[:, None] - 0.5 * ((scaled * scaled).sum(axis=2) + d * math.log(2 * math.pi))
        top = logs.max(axis=0)
        share = np.exp(logs - top)
        total = share.sum(axis=0)
        share /= total
        likelihood = float((top + np.log(total)).mean())
        if abs(likelihood - before) < tolerance:
            break
        before = likelihood
    free = k * d + k * d * (d + 1) // 2 + k - 1
    return means, covariances, 2 * free - 2 * n * likelihood
