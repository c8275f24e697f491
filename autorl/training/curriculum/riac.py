"""Kind `riac`. Knows nothing of autorl: see `sb3/plain.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from autorl.training.curriculum.space import TaskSpace
from autorl.training.curriculum.teacher import Outcome, Task, Teacher, drawn


class Riac(Teacher):
    """Robust intelligent adaptive curiosity (Baranes & Oudeyer 2009, IEEE Trans. Autonomous Mental Development 1(3)).

    The space is a set of boxes. A box's progress is |Σ older half − Σ recent half| / n over its last n ≤ `window`
    returns. One that has had `region` episodes is cut in two, where of `splits` random cuts
    card(left) · card(right) · |progress(left) − progress(right)| is largest. Tasks are drawn uniformly from the
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

    kept = ("boxes",)
    # Of episodes in a box: the share near its worst task, and the deviation from it, in units of the cube.
    mutated, mutation = 0.125, 0.1

    def __init__(
        self, space: TaskSpace, rng: np.random.Generator, region: int, window: int, splits: int, exploration: float
    ) -> None:
        super().__init__(space, rng)
        self.region, self.window, self.splits, self.exploration = region, window, splits, exploration
        self.boxes: list[dict[str, Any]] = [
            {
                "low": [0.0] * space.dimensions,
                "high": [1.0] * space.dimensions,
                "tasks": [],
                "values": [],
                "progress": 0.0,
            }
        ]

    def ask(self, progress: float) -> Task:
        """Draw a task in one of the three modes; see `Teacher.ask`."""
        del progress
        if self.rng.random() < self.exploration:
            return self._uniform()
        box = self.boxes[drawn(self.rng, np.array([box["progress"] for box in self.boxes]))]
        if box["tasks"] and self.rng.random() < self.mutated:
            worst = np.array(box["tasks"][int(np.argmin(box["values"]))])
            near = worst + self.rng.normal(0.0, self.mutation, self.space.dimensions)
            return Task(tuple(np.clip(near, 0.0, 1.0).tolist()))
        return Task(tuple(self.rng.uniform(box["low"], box["high"]).tolist()))

    def tell(self, task: Task, outcome: Outcome) -> None:
        """Remember the return in its box, and cut the box when it is full; see `Teacher.tell`."""
        box = next(box for box in self.boxes if _within(task.vector, box))
        box["tasks"].append(list(task.vector))
        box["values"].append(outcome.value)
        box["progress"] = box_progress(box["values"][-self.window :])
        if len(box["values"]) >= self.region:
            self._split(box)

    def _split(self, box: dict[str, Any]) -> None:
        tasks, values = np.array(box["tasks"]), np.array(box["values"])
        best: tuple[float, int, float] | None = None
        for _ in range(self.splits):
            axis = int(self.rng.integers(self.space.dimensions))
            cut = float(self.rng.uniform(box["low"][axis], box["high"][axis]))
            left = tasks[:, axis] <= cut
            if not 2 <= left.sum() <= len(left) - 2:
                continue
            apart = abs(box_progress(values[left][-self.window :]) - box_progress(values[~left][-self.window :]))
            quality = float(left.sum() * (~left).sum() * apart)
            if best is None or quality > best[0]:
                best = quality, axis, cut
        if best is None:  # all its tasks are one
            box["tasks"], box["values"] = box["tasks"][-self.region // 2 :], box["values"][-self.region // 2 :]
            return
        _, axis, cut = best
        left, parts = tasks[:, axis] <= cut, []
        for inside, end in ((left, "high"), (~left, "low")):
            part = {"low": [*box["low"]], "high": [*box["high"]], "tasks": tasks[inside].tolist()}
            part[end][axis] = cut
            part["values"] = values[inside].tolist()
            parts.append({**part, "progress": box_progress(part["values"][-self.window :])})
        at = self.boxes.index(box)
        self.boxes[at : at + 1] = parts


def _within(vector: tuple[float, ...], box: dict[str, Any]) -> bool:
    return all(low <= u <= high for low, u, high in zip(box["low"], vector, box["high"], strict=True))


def box_progress(values: Any) -> float:
    """Return the absolute learning progress of a sequence of returns, oldest first; 0 for fewer than two."""
    half = len(values) // 2
    if not half:
        return 0.0
    recent = values[-2 * half :]
    return abs(float(np.sum(recent[:half]) - np.sum(recent[half:]))) / (2 * half)
