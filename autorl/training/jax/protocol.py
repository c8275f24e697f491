"""What an engine is: it trains a batch of runs of one shape, step by step together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Streams:
    """Where a run's randomness comes from; see `training.tasks.random_streams`.

    Attributes:
        network: seed of the networks, and of what is drawn in training.
        environment: seed of the training environments.
        evaluations: seed of each evaluation.
    """

    network: int
    environment: int
    evaluations: Sequence[int]


class Engine(Protocol):
    """Trains a batch of runs.

    A run's last experience is learned from when the batch goes on, or is closed: between two calls, what is evaluated
    is the policy that made the experience.

    Attributes:
        errors: what has ended runs, such as an exception of an environment; those runs go on no further.
        notes: what could not be restored exactly, in a sentence for each run where that is so.
    """

    errors: dict[int, Exception]
    notes: dict[int, str]

    @property
    def unit(self) -> int:
        """Environment steps that each run goes on at a time."""
        ...

    @property
    def env_steps(self) -> int:
        """Environment steps of each run so far."""
        ...

    def advance(self, times: int) -> None:
        """Go on by so many units."""
        ...

    def close(self) -> None:
        """Learn from the last experience: training is over."""
        ...

    def evaluate(self, point: int) -> list[dict[str, float]]:
        """Evaluate each run with the seeds of an evaluation; metric → value."""
        ...

    def finite(self) -> list[bool]:
        """Say of each run whether what it has learned is finite."""
        ...

    def save(self, run: int) -> dict[str, Any]:
        """Return the state of a run as plain data and arrays, from which a batch can be made that goes on with it."""
        ...

    def record(self, run: int) -> dict[str, Any] | None:
        """Return what a run trained since this was last asked (`Lessons.record`), or None if its task does not vary."""
        ...
