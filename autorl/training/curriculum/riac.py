"""Kind `riac`. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Outcome, Task, Teacher, Weights


class Riac(Teacher):
    """Robust intelligent adaptive curiosity (Baranes & Oudeyer 2009, IEEE Trans. Autonomous Mental Development 1(3)).

    The space is a set of boxes. A box's progress is |Σ older half − Σ recent half| / n over its last n ≤ `window`
    returns. One that has had `region` episodes is cut in two, where of `splits` random cuts
    card(left) · card(right) · |progress(left) − progress(right)| is largest; as in the authors' code, no part may have
    less than a twentieth of `region` or be narrower than a fifteenth of the space. Boxes that have been cut are not
    drawn from any more, which that code calls sampling in leaves only. Tasks are drawn uniformly from the
    whole space (`exploration`), or from a box in proportion to its progress: uniformly (70 of 80), or near its worst
    task (10 of 80): its three modes, in the proportions of TeachMyAgent (Romac et al. 2021, arXiv 2103.09815).

    Args:
        space: what to choose from.
        rng: its generator.
        region: episodes of a box that is cut.
        window: episodes that progress is over.
        splits: cuts tried.
        exploration: share of episodes drawn from the whole space.
    """

    kept = ("boxes", "cuts")
    # Of episodes in a box: the share near its worst task, and the deviation from it, in units of the cube.
    mutated, mutation = 0.125, 0.1
    narrowest = 1 / 15

    def __init__(
        self, space: TaskSpace, rng: np.random.Generator, region: int, window: int, splits: int, exploration: float
    ) -> None:
        super().__init__(space, rng)
        self.region, self.window, self.splits, self.exploration = region, window, splits, exploration
        whole = {"low": [0.0] * space.dimensions, "high": [1.0] * space.dimensions, "tasks": [], "values": []}
        self.boxes: list[dict[str, Any]] = [{**whole, "progress": 0.0}]
        # Axis, place, and what lies below and above: another cut, or ~number of a box.
        self.cuts: list[list[Any]] = []
        self._index()

    def _index(self) -> None:
        self._weights = Weights()
        for number, box in enumerate(self.boxes):
            self._weights.put(number, box["progress"])

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a state; see `Teacher.restore`."""
        super().restore(state)
        self._index()

    def ask(self, progress: float) -> Task:
        """Draw a task in one of the three modes; see `Teacher.ask`."""
        del progress
        if self.rng.random() < self.exploration:
            return self._uniform()
        if self._weights.total > 0:
            box = self.boxes[self._weights.draw(self.rng.random())]
        else:
            box = self.boxes[int(self.rng.random() * len(self.boxes))]
        if box["tasks"] and self.rng.random() < self.mutated:
            worst = box["tasks"][box["values"].index(min(box["values"]))]
            moved = (u + self.mutation * self.rng.standard_normal() for u in worst)
            inside = zip(box["low"], moved, box["high"], strict=True)
            return Task(tuple(min(max(low, u), high) for low, u, high in inside))
        random = self.rng.random(self.space.dimensions).tolist()
        return Task(tuple(map(_between, box["low"], box["high"], random)))

    def tell(self, task: Task, outcome: Outcome) -> None:
        """Remember the return in its box, and cut the box when it is full; see `Teacher.tell`."""
        number, above = self._find(task.vector)
        box = self.boxes[number]
        box["tasks"].append(list(task.vector))
        box["values"].append(outcome.value)
        if len(box["values"]) >= self.region:
            self._split(number, above)
        else:
            self._weigh(number)

    def _find(self, vector: tuple[float, ...]) -> tuple[int, tuple[int, int] | None]:
        """Return the number of the box that a task is in, and the cut that it lies at, with its side."""
        at, above = (0 if self.cuts else ~0), None
        while at >= 0:
            cut = self.cuts[at]
            above = at, 3 if vector[cut[0]] > cut[1] else 2
            at = cut[above[1]]
        return ~at, above

    def _weigh(self, number: int) -> None:
        box = self.boxes[number]
        box["progress"] = box_progress(box["values"][-self.window :])
        self._weights.put(number, box["progress"])

    def _split(self, number: int, above: tuple[int, int] | None) -> None:
        box = self.boxes[number]
        tasks, values = np.array(box["tasks"]), np.array(box["values"])
        axes = self.rng.integers(self.space.dimensions, size=self.splits)
        low, high = np.array([box["low"], box["high"]])[:, axes]
        places = low + self.rng.random(self.splits) * (high - low)
        below = places[:, None] >= tasks[:, axes].T
        count = below.sum(axis=1)
        progress = subset_progress(np.concatenate([below, ~below]), values, self.window)
        apart = np.abs(progress[: self.splits] - progress[self.splits :])
        fewest = np.minimum(count, len(values) - count)
        wide = np.minimum(places - low, high - places) >= self.narrowest
        cut = wide & (fewest >= max(2, self.region // 20))
        quality = np.where(cut, count * (len(values) - count) * apart, -1.0)
        best = int(quality.argmax())
        if quality[best] < 0:  # its tasks are as good as one
            box["tasks"], box["values"] = box["tasks"][-self.region // 2 :], box["values"][-self.region // 2 :]
            self._weigh(number)
            return
        axis, place = int(axes[best]), float(places[best])
        parts = []
        for inside, end in ((below[best], "high"), (~below[best], "low")):
            part = {"low": [*box["low"]], "high": [*box["high"]]}
            part[end][axis] = place
            parts.append({**part, "tasks": tasks[inside].tolist(), "values": values[inside].tolist()})
        if above is not None:
            self.cuts[above[0]][above[1]] = len(self.cuts)
        self.cuts.append([axis, place, ~number, ~len(self.boxes)])
        self.boxes[number], last = parts
        self.boxes.append(last)
        for changed in (number, len(self.boxes) - 1):
            self._weigh(changed)


def _between(low: float, high: float, share: float) -> float:
    return low + share * (high - low)


def box_progress(values: Sequence[float]) -> float:
    """Return the absolute learning progress of a sequence of returns, oldest first; 0 for fewer than two."""
    half = len(values) // 2
    if not half:
        return 0.0
    return abs(sum(values[-2 * half : -half]) - sum(values[-half:])) / (2 * half)


def subset_progress(inside: np.ndarray, values: np.ndarray, window: int) -> np.ndarray:
    """Return `box_progress` of the last returns of several subsets (shape: subsets).

    Args:
        inside: which of the returns are in each (shape: subsets, returns).
        values: returns, oldest first.
        window: how many of the last of a subset count.
    """
    rank = inside[:, ::-1].cumsum(axis=1)[:, ::-1]  # 1 is the last of a subset
    half = np.minimum(rank[:, :1], window) // 2
    sign = np.where(rank > half, 1.0, -1.0) * (inside & (rank <= 2 * half))
    progress: np.ndarray = np.abs(sign @ values) / np.maximum(2 * half[:, 0], 1)
    return progress
