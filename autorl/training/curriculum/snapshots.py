"""Kind `snapshots`. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

import numpy as np

from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Outcome, Task, Teacher, spread_points
from autorl.training.curriculum.trajectories import trajectories_of


class Snapshots(Teacher):
    """Kind `snapshots`: early in the run, episodes begin in states of a teacher's trajectories, of every sort alike.

    S3RL (Zhao et al. 2024, Snapshot reinforcement learning, arXiv 2403.00673). Its status classification: the states
    are clustered by k-means, as in the authors' code (github.com/sdpkjc/snapshotrl) by the value that the teacher's
    critic gives them; where the file has no values, by their standardized observations. A cluster is drawn evenly, then
    a state of it evenly. Its student trajectory truncation: an episode that begins in one ends after `truncate` steps.
    From the share `over` of the run on, episodes are the target's.

    Args:
        space: what to choose from; one of its parameters goes `through: trajectory`. What else varies is the target's.
        rng: its generator.
        clusters: k.
        over: share of the run after which only the target is trained.
        truncate: steps of an episode that begins midway, or None.

    Raises:
        ValueError: no parameter goes through a trajectory.
    """

    def __init__(
        self, space: TaskSpace, rng: np.random.Generator, clusters: int, over: float, truncate: int | None
    ) -> None:
        super().__init__(space, rng)
        self.over, self.truncate = over, truncate
        names = [name for name, entry in space.parameters.items() if entry.get("through") == "trajectory"]
        if not names:
            raise ValueError("curriculum snapshots needs a parameter of the task that goes 'through: trajectory'")
        self._axis = list(space.parameters).index(names[0])
        entry = space.parameters[names[0]]
        played, low, high = trajectories_of(entry), entry["min"], entry["max"]
        last = played.numbered(high)
        inside = np.arange(played.numbered(low) or 0, len(played.states) if last is None else last + 1)
        shares = np.clip((inside + 0.5) / len(played.states), low, high)
        self._shares = (shares - low) / (high - low)
        # The same for every run of a study: a run begins in the sorts of states that another begins in.
        known = np.ptp(played.values) > 0
        points = played.values[:, None] if known else played.observations
        of = clustered(points[inside], clusters, np.random.default_rng(0))
        self._clusters = [np.flatnonzero(of == number) for number in range(clusters) if (of == number).any()]

    def ask(self, progress: float) -> Task:
        """Draw a cluster and a state of it, or the target; see `Teacher.ask`."""
        target = self.space.draw_target(self.rng)
        if progress >= self.over:
            return Task(target)
        cluster = self._clusters[int(self.rng.integers(len(self._clusters)))]
        share = float(self._shares[cluster[int(self.rng.integers(len(cluster)))]])
        return Task((*target[: self._axis], share, *target[self._axis + 1 :]), limit=self.truncate)

    def tell(self, task: Task, outcome: Outcome) -> None:
        """Ignore it; see `Teacher.tell`."""


def clustered(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Cluster standardized points by k-means (Lloyd 1982), beginning as k-means++ does.

    Args:
        points: Shape (points, features).
        count: clusters; some may stay empty.
        rng: what it draws from.

    Returns:
        The cluster of each point (shape: points).
    """
    spread = points.std(axis=0)
    scaled = (points - points.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    means = spread_points(scaled, min(count, len(scaled)), rng)
    of = np.full(len(scaled), -1)
    for _ in range(100):
        before, of = of, np.array([((scaled - mean) ** 2).sum(axis=1) for mean in means]).argmin(axis=0)
        if (of == before).all():
            break
        means = np.array([scaled[of == k].mean(axis=0) if (of == k).any() else means[k] for k in range(len(means))])
    return of
