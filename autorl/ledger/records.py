"""Rows of the ledger as typed records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autorl.spec.space import Configuration
from autorl.spec.study import StudySpec
from autorl.trial import Phase, Point, Recipe, Run


@dataclass(frozen=True)
class StudyRecord:
    """A study.

    Attributes:
        state: the phase it is in, or `finished`.
        winner: number of the trial chosen by tuning (and validation) data, once chosen.
        live: whether an engine conducts it.
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


@dataclass(frozen=True)
class TrialRecord:
    """A trial; `value` is the objective over the tuning seeds, None until all have finished or if one failed."""

    number: int
    origin: str
    config: Configuration
    recipe: Recipe
    seen: str
    state: str
    value: float | None
    created_at: float
    finished_at: float | None


@dataclass(frozen=True)
class RunRecord:
    """A run."""

    trial: int
    phase: Phase
    seed: int
    state: str
    attempts: int
    env_steps: int
    score: float | None
    error_class: str | None
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
