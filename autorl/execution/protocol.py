"""What an executor is: it is given orders, and says what became of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from autorl.trial import Point, Recipe, Run


@dataclass(frozen=True)
class Order:
    """A run to be trained.

    Attributes:
        run: its key.
        recipe: what to train.
        until: environment steps to reach.
        metric: metric of the score.
        checkpoint: file for its state while it trains.
        checkpoint_seconds: wall time between checkpoints.
        result: file in which the worker leaves the result, so that it outlives the worker and the engine.
    """

    run: Run
    recipe: Recipe
    until: int
    metric: str
    checkpoint: Path
    checkpoint_seconds: float
    result: Path


@dataclass(frozen=True)
class Progressed:
    """A run was evaluated."""

    run: Run
    point: Point


@dataclass(frozen=True)
class Ended:
    """A run's worker is gone; if it finished, the result is in the order's file.

    Attributes:
        reason: how the worker ended, for the case that there is no result.
    """

    run: Run
    reason: str


Event = Progressed | Ended


class Executor(Protocol):
    """Runs orders. Found by entry point (`autorl.executors`), made with the number of workers and the backend's name.

    Every implementation passes `tests/conformance/executors.py`.
    """

    @property
    def free(self) -> int:
        """How many more orders can start now."""
        ...

    def submit(self, order: Order) -> None:
        """Start a run."""
        ...

    def poll(self, seconds: float) -> Iterable[Event]:
        """Wait up to so long for something to happen, and return what has."""
        ...

    def close(self) -> None:
        """Stop all runs; what they have not left in a result file or checkpoint is gone."""
        ...
