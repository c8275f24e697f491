"""Rows of the ledger as typed records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autorl.spec.space import Configuration
from autorl.spec.study import StudySpec
from autorl.trial import Checkpoint, FailureClass, Phase, Point, Recipe, Run


@dataclass(frozen=True)
class StudyRecord:
    """A study.

    Attributes:
        state: the phase it is in, or `finished`.
        winner: number of the trial chosen by tuning (and validation) data, once chosen.
        live: whether an engine conducts it.
        paused: why the last engine stopped before the end and waits for a person, or None.
    """

    name: str
    spec: StudySpec
    spec_hash: str
    state: str
    winner: int | None
    versions: Mapping[str, str]
    hardware: Mapping[str, Any]
    created_at: float
    finished_at: float | None
    live: bool
    paused: str | None


@dataclass(frozen=True)
class TrialRecord:
    """A trial.

    Attributes:
        seen: the finished trials that its proposal knew, as a range.
        told: of those, the ones that the proposal before it had not known: number → what the optimizer was told.
        value: the objective over the tuning seeds, None until all have finished or if one failed.
    """

    number: int
    origin: str
    config: Configuration
    recipe: Recipe
    seen: str
    told: Mapping[int, float | None]
    state: str
    value: float | None
    created_at: float
    finished_at: float | None


@dataclass(frozen=True)
class Attempt:
    """An attempt at a run that failed.

    Attributes:
        attempt: its number, from 1.
        error_class: what kind of failure it was.
        error: what it failed with.
        at: when, in seconds since the epoch.
    """

    attempt: int
    error_class: FailureClass
    error: str
    at: float


@dataclass(frozen=True)
class RunRecord:
    """A run.

    Attributes:
        attempts: how often it was started; more than the failed `tries` if it was preempted or its engine stopped.
        tries: the attempts that failed.
        checkpoint: the file from which it can go on.
    """

    trial: int
    phase: Phase
    seed: int
    state: str
    attempts: int
    tries: tuple[Attempt, ...]
    checkpoint: Checkpoint | None
    env_steps: int
    score: float | None
    error_class: FailureClass | None
    error: str | None
    notes: tuple[str, ...]
    wall_seconds: float
    cpu_seconds: float
    started_at: float | None
    finished_at: float | None

    @property
    def run(self) -> Run:
        """Its key."""
        return Run(self.trial, self.phase, self.seed)


@dataclass(frozen=True)
class CurveRecord:
    """The evaluations of a run."""

    run: Run
    points: tuple[Point, ...]


@dataclass(frozen=True)
class EventRecord:
    """Something that happened to a study.

    Attributes:
        at: when, in seconds since the epoch.
        kind: what: `started`, `resumed`, a phase, `run failed`, `paused`, `stopped`, `retried`, …
        detail: the rest, as plain data.
    """

    at: float
    kind: str
    detail: Mapping[str, Any]
