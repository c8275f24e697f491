"""What a teacher is: asked for the task of each episode, and told what came of it.

Knows nothing of autorl: see `sb3/plain.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, ClassVar, NamedTuple

import numpy as np

from autorl.training.curriculum.space import TaskSpace

TEACHER = "(teacher)"
"""What the record has of the teacher beside the parameters of the task; no parameter is called so."""
MOST_SHOWN = 100
"""Numbers that the record has of where a teacher stands."""


class Task(NamedTuple):
    """The task of an episode.

    Attributes:
        vector: its point in the unit cube of the task space.
        mark: what the teacher wants to know it by when it is told the outcome, or None.
        seed: of the episode's reset, below 2**30 as all that training is seeded with; None to go on with the
            environment's own generator.
        limit: steps after which the episode is cut short; None leaves that to the environment.
    """

    vector: tuple[float, ...]
    mark: int | None = None
    seed: int | None = None
    limit: int | None = None


class Outcome(NamedTuple):
    """What came of an episode.

    Attributes:
        value: its undiscounted return; of a group of completions, their mean reward.
        success: 1 if it succeeded, 0 if not, or None if nobody says what a success is; of a group, the share.
        length: its steps; of a group, its completions.
        advantage: of a group, the mean absolute advantage; None of an episode.
    """

    value: float
    success: float | None
    length: int
    advantage: float | None = None


class Teacher(ABC):
    """Chooses tasks. Every implementation passes `tests/conformance/teachers.py`.

    It is asked and told once an episode, which may be short: where there are few numbers they are plain ones, since
    calls of NumPy take longer than what they are called for.

    It draws from its own generator alone, so its tasks depend on its seed and on what it was asked and told. Episodes
    of several environments overlap: what it is told need not be what it was asked for last, and some tasks are never
    told of.

    Attributes:
        kept: the attributes that change with what it is asked and told; plain data, arrays, or lists of plain data.
        shown: those that say where it stands, in a few numbers; the record has them.
    """

    kept: ClassVar[tuple[str, ...]] = ()
    shown: ClassVar[tuple[str, ...]] = ()

    def __init__(self, space: TaskSpace, rng: np.random.Generator) -> None:
        self.space, self.rng = space, rng

    @abstractmethod
    def ask(self, progress: float) -> Task:
        """Return the task of the next episode.

        Args:
            progress: share of the run's environment steps that have been trained, from 0 to 1.
        """

    @abstractmethod
    def tell(self, task: Task, outcome: Outcome) -> None:
        """Learn what came of a task that `ask` returned."""

    def tell_all(self, told: Sequence[tuple[Task, Outcome]]) -> None:
        """Learn what came of the tasks of one batch."""
        for task, outcome in told:
            self.tell(task, outcome)

    def state(self) -> dict[str, Any]:
        """Return what changes, as it is now, as plain data for JSON."""
        return {"rng": self.rng.bit_generator.state, **self._plain(self.kept)}

    def stands(self) -> dict[str, Any]:
        """Return where it stands now, as plain data for JSON; empty if it has nothing that changes, or too much."""
        return {name: value for name, value in self._plain(self.shown).items() if np.size(value) <= MOST_SHOWN}

    def _plain(self, names: Sequence[str]) -> dict[str, Any]:
        kept = {name: getattr(self, name) for name in names}
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else deepcopy(value) for name, value in kept.items()
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the state that `state` returned of a teacher with the same space and parameters."""
        self.rng.bit_generator.state = state["rng"]
        for name in self.kept:
            old, value = getattr(self, name), state[name]
            setattr(self, name, np.array(value, dtype=old.dtype) if isinstance(old, np.ndarray) else deepcopy(value))

    def _uniform(self) -> Task:
        """Draw a task uniformly."""
        return Task(tuple(self.rng.random(self.space.dimensions).tolist()))


class Weights:
    """Weights that are drawn from and change one at a time: both take the logarithm of how many there are.

    They are the leaves of a binary tree of sums.
    """

    def __init__(self) -> None:
        self._leaves, self._sums = 1, [0.0, 0.0]

    @property
    def total(self) -> float:
        """Their sum."""
        return self._sums[1]

    def put(self, number: int, weight: float) -> None:
        """Set the weight of a number, which is 0 until then."""
        while number >= self._leaves:
            self._grow()
        at, sums = number + self._leaves, self._sums
        sums[at] = weight
        while at > 1:
            at //= 2
            sums[at] = sums[2 * at] + sums[2 * at + 1]

    def _grow(self) -> None:
        old = self._sums[self._leaves :]
        self._leaves *= 2
        self._sums = [0.0] * self._leaves + old + [0.0] * len(old)
        for at in range(self._leaves - 1, 0, -1):
            self._sums[at] = self._sums[2 * at] + self._sums[2 * at + 1]

    def draw(self, u: float) -> int:
        """Return the number at a share u, from 0 to 1, of the total, which is above 0."""
        at, sums, left = 1, self._sums, u * self._sums[1]
        while at < self._leaves:
            at *= 2
            if left >= sums[at] and sums[at + 1] > 0:
                left, at = left - sums[at], at + 1
        return at - self._leaves


def success_of(outcome: Outcome) -> float:
    """Return whether an episode succeeded, for teachers that cannot do without.

    Raises:
        ValueError: nobody says what a success is.
    """
    if outcome.success is None:
        raise ValueError(
            "this curriculum needs to know successes: the environment gives no 'is_success' at the end of an episode; "
            "set task.success_return"
        )
    return outcome.success


def drawn(rng: np.random.Generator, weights: np.ndarray) -> int:
    """Draw a number with a probability proportional to its weight; evenly where all weights are 0."""
    up_to = weights.cumsum()  # `Generator.choice` would take several times as long
    total = float(up_to[-1])
    if total <= 0:
        return int(rng.integers(len(weights)))
    return min(int(up_to.searchsorted(rng.random() * total, side="right")), len(weights) - 1)


def clipped(vector: Sequence[float]) -> tuple[float, ...]:
    """Return a vector with its coordinates brought into the unit cube."""
    return tuple(min(max(u, 0.0), 1.0) for u in vector)


def spread_points(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Choose points that lie apart, as k-means++ does (Arthur & Vassilvitskii 2007).

    Args:
        points: Shape (points, axes).
        count: how many.
        rng: what it draws from.

    Returns:
        Shape (count, axes), the first drawn evenly, each other in proportion to its squared distance to those before.
    """
    chosen = [int(rng.integers(len(points)))]
    away = np.full(len(points), np.inf)
    while len(chosen) < count:
        away = np.minimum(away, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(drawn(rng, away))
    return points[chosen]
