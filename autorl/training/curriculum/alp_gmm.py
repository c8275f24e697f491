"""Kind `alp_gmm`. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
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
    shown = ("means",)
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
        mixtures = fitted(points, [seeds[:count] for count in range(2, len(seeds) + 1)])
        means, covariances, _ = min(mixtures, key=lambda mixture: mixture[2])
        d = self.space.dimensions
        self.means = means.tolist()
        self.factors = np.linalg.cholesky(covariances[:, :d, :d]).tolist()
        self._index()


# scikit-learn would take a second or two to be imported into each run, and as long for a fit as this for ten.


def fitted(
    points: np.ndarray, starts: Sequence[np.ndarray], tolerance: float = 1e-2
) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Fit mixtures of Gaussians by expectation and maximization (Bishop 2006, section 9.2.2).

    Of a point its 1, its coordinates and their products are all that counts: the logarithm of a Gaussian is linear in
    them, and their means are its moments. So a step is two products of matrices, and one of all the mixtures.

    Args:
        points: Shape (points, axes).
        starts: means to begin from, of each mixture, shape (Gaussians, axes).
        tolerance: change of the mean log-likelihood below which a mixture is done.

    Returns:
        Of each mixture its means, shape (Gaussians, axes); covariances, shape (Gaussians, axes, axes); and Akaike's
        information criterion.
    """
    n, d = points.shape
    sizes = np.array([len(start) for start in starts])
    mixture, first = np.repeat(np.arange(len(sizes)), sizes), np.cumsum(sizes) - sizes
    centre = points.mean(axis=0)  # variances are differences of squares, and lose least around it
    points, means = points - centre, np.vstack(starts) - centre
    features = np.column_stack([np.ones(n), points, (points[:, :, None] * points[:, None]).reshape(n, d * d)])
    transposed = np.ascontiguousarray(features.T)
    # At first each point is of the nearest mean, or of those that are as near.
    away = 0.5 * (means * means).sum(axis=1)[:, None] - means @ transposed[1 : d + 1]
    share = (away == np.minimum.reduceat(away, first)[mixture]).astype(float)
    share /= np.add.reduceat(share, first)[mixture]
    before = np.full(len(sizes), -math.inf)
    found: list[tuple[np.ndarray, np.ndarray, float] | None] = [None] * len(sizes)
    for step in range(100):
        moments = share @ features
        size = moments[:, 0] + 1e-15
        moments /= size[:, None]
        means = moments[:, 1 : d + 1]
        covariances = moments[:, d + 1 :].reshape(-1, d, d) - means[:, :, None] * means[:, None]
        covariances[:, range(d), range(d)] += 1e-6
        precisions = np.linalg.inv(covariances)
        linear = (precisions @ means[:, :, None])[:, :, 0]
        spread = np.linalg.slogdet(covariances)[1] + d * math.log(2 * math.pi)
        height = np.log(size / n) - 0.5 * (spread + (means * linear).sum(axis=1))
        logs = np.column_stack([height, linear, -0.5 * precisions.reshape(-1, d * d)]) @ transposed
        top = np.maximum.reduceat(logs, first)
        share = np.exp(logs - top[mixture])
        total = np.add.reduceat(share, first)
        share /= total[mixture]
        likelihood = (top + np.log(total)).mean(axis=1)
        for number in np.flatnonzero((np.abs(likelihood - before) < tolerance) | (step == 99)):
            if found[number] is None:
                of, k = mixture == number, int(sizes[number])
                free = k * d + k * d * (d + 1) // 2 + k - 1
                aic = 2 * free - 2 * n * float(likelihood[number])
                found[number] = means[of] + centre, covariances[of], aic
        if None not in found:
            break
        before = likelihood
    return [one for one in found if one is not None]
