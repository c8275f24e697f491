"""What a teacher is: asked for the task of each episode, and told what came of it.

Knows nothing of autorl: see `sb3/plain.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from autorl.training.curriculum.space import TaskSpace


@dataclass(frozen=True)
class Task:
    """The task of an episode.

    Attributes:
        vector: its point in the unit cube of the task space.
        mark: what the teacher wants to know it by when it is told the outcome, or None.
    """

    vector: tuple[float, ...]
    mark: int | None = None


@dataclass(frozen=True)
class Outcome:
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

    It draws from its own generator alone, so its tasks depend on its seed and on what it was asked and told. Episodes
    of several environments overlap: what it is told need not be what it was asked for last, and some tasks are never
    told of.

    Attributes:
        kept: the attributes that change with what it is asked and told; plain data, arrays, or lists of plain data.
    """

    kept: ClassVar[tuple[str, ...]] = ()

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
        """Return what changes as plain data for JSON."""
        kept = {name: getattr(self, name) for name in self.kept}
        plain = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in kept.items()}
        return {"rng": self.rng.bit_generator.state, **plain}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the state that `state` returned of a teacher with the same space and parameters."""
        self.rng.bit_generator.state = state["rng"]
        for name in self.kept:
            old, value = getattr(self, name), state[name]
            setattr(self, name, np.array(value, dtype=old.dtype) if isinstance(old, np.ndarray) else value)

    def _uniform(self) -> Task:
        """Draw a task uniformly."""
        return Task(tuple(self.rng.random(self.space.dimensions).tolist()))


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


def proportional(weights: np.ndarray) -> np.ndarray:
    """Return probabilities proportional to weights; equal ones where all weights are 0."""
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(weights), 1 / len(weights))
