"""What an executor is: it is given orders, and says what became of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from autorl.trial import Checkpoint, Point, Recipe, Run

Cause = Literal["returned", "preempted", "exception", "out_of_memory", "crash", "hang"]


@dataclass(frozen=True)
class Order:
    """A run to be trained.

    Attributes:
        run: its key.
        attempt: how often it has been started, this time included.
        recipe: what to train.
        until: environment steps to reach.
        folder: where its checkpoints lie.
        resume: the checkpoint in `folder` to go on from, or None to start anew.
        checkpoint_seconds: wall time between checkpoints.
        result: file in which the worker leaves the result, so that it outlives the worker and the engine.
    """

    run: Run
    attempt: int
    recipe: Recipe
    until: int
    folder: Path
    resume: Checkpoint | None
    checkpoint_seconds: float
    result: Path


@dataclass(frozen=True)
class Progressed:
    """A run was evaluated."""

    run: Run
    point: Point


@dataclass(frozen=True)
class Alive:
    """A run moves on."""

    run: Run
    env_steps: int


@dataclass(frozen=True)
class Saved:
    """A run left a checkpoint in its folder. It may be loaded once the ledger knows it."""

    run: Run
    checkpoint: Checkpoint


@dataclass(frozen=True)
class Stalled:
    """A run waits for something that a person may have to do, such as making room on a disk."""

    run: Run
    reason: str


@dataclass(frozen=True)
class Ended:
    """A run's worker is gone; if it finished, the result is in the order's file.

    Attributes:
        cause: how the worker ended, which counts if there is no result.
        detail: the same in words.
    """

    run: Run
    cause: Cause
    detail: str = ""


Event = Progressed | Alive | Saved | Stalled | Ended


class Executor(Protocol):
    """Runs orders. Found by entry point (`autorl.executors`), made with the study.

    Every implementation passes `tests/conformance/executors.py`.
    """

    @property
    def free(self) -> int:
        """How many more orders can start now."""
        ...

    def submit(self, *orders: Order) -> None:
        """Start a run, or several that their backend trains in one call; they take the place of one."""
        ...

    def poll(self, seconds: float) -> Iterable[Event]:
        """Wait up to so long for something to happen, and return what has."""
        ...

    def drain(self) -> None:
        """Ask all runs to save their state and end as preempted; those that cannot train on."""
        ...

    def close(self) -> None:
        """Stop all runs; what they have not left in a result file or checkpoint is gone."""
        ...
