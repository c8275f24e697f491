"""Kind `alp_gmm`. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

import warnings

import numpy as np

from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Outcome, Task, Teacher, drawn


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
        max_components: most Gaussians.
        exploration: the paper's p_rnd.
    """

    kept = ("tasks", "values", "progress", "told", "means", "covariances")
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
        self.tasks = np.zeros((0, space.dimensions))
        self.values, self.progress = np.zeros(0), np.zeros(0)
        self.told = 0
        self.means: list[list[float]] = []
        self.covariances: list[list[list[float]]] = []

    def ask(self, progress: float) -> Task:
        """Draw a task from a Gaussian of the mixture, or uniformly; see `Teacher.ask`."""
        del progress
        if not self.means or self.rng.random() < self.exploration:
            return self._uniform()
        means, dimensions = np.array(self.means), self.space.dimensions
        chosen = drawn(self.rng, np.maximum(means[:, -1], 0.0))
        covariance = np.array(self.covariances[chosen])[:dimensions, :dimensions]
        vector = self.rng.multivariate_normal(means[chosen, :dimensions], covariance)
        return Task(tuple(np.clip(vector, 0.0, 1.0).tolist()))

    def tell(self, task: Task, outcome: Outcome) -> None:
        """Compare with the nearest earlier task, and fit now and then; see `Teacher.tell`."""
        vector, alp = np.array(task.vector), 0.0
        if len(self.values):
            nearest = int(np.argmin(((self.tasks - vector) ** 2).sum(axis=1)))
            alp = abs(outcome.value - float(self.values[nearest]))
        keep = self.remembered - 1
        self.tasks = np.vstack([self.tasks[-keep:], vector])
        self.values = np.append(self.values[-keep:], outcome.value)
        self.progress = np.append(self.progress[-keep:], alp)
        self.told += 1
        if self.told % self.fit_every == 0:
            self._fit()

    def _fit(self) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        scale = float(np.ptp(self.values)) or 1.0
        points = np.column_stack([self.tasks, self.progress / scale])[-self.window :]
        seed = int(self.rng.integers(2**31))
        most = min(self.max_components, len(points) - 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            # Neither all of k-means to begin with nor the last digit: fits are what this teacher costs.
            mixtures = [
                GaussianMixture(count, init_params="k-means++", tol=1e-2, random_state=seed).fit(points)
                for count in range(2, most + 1)
            ]
        best = min(mixtures, key=lambda mixture: mixture.aic(points))
        self.means, self.covariances = best.means_.tolist(), best.covariances_.tolist()
