"""Rows of the ledger as typed records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autorl.spec.space import Configuration
from autorl.spec.study import StudySpec
from autorl.trial import Checkpoint, FailureClass, Phase, Point, Recipe, Run, Standing, Verdict


@dataclass(frozen=True)
class StudyRecord:
    """A study.

    Attributes:
        state: the phase it is in, or `finished`.
        winner: number of the trial chosen by tuning (and validation) data, once chosen; with several objectives the
            knee of the front.
        front: with several objectives, the trials that trade them off by the same data, once chosen.
        live: whether an engine conducts it.
        paused: why the last engine stopped before the end and waits for a person, or None.
        tuning_seconds: wall time that engines have spent on tuning.
        ended: why tuning ended, once it has.
    """

    name: str
    spec: StudySpec
    spec_hash: str
    state: str
    winner: int | None
    front: tuple[int, ...]
    versions: Mapping[str, str]
    hardware: Mapping[str, Any]
    created_at: float
    finished_at: float | None
    live: bool
    paused: str | None
    tuning_seconds: float
    ended: str | None


@dataclass(frozen=True)
class TrialRecord:
    """A trial.

    Attributes:
        origin: `default`, `enqueued`, `transferred` or `optimizer`.
        forked_from: number of the trial whose checkpoints its runs started from.
        state: `running`; `paused`: trained as far as was asked for; `pruned`: paused, and tuning is over; `completed`:
            every run that was asked for is trained in full; `failed`: one of them failed.
        value: the objective over the tuning seeds that were trained furthest; None until they have been, or if one
            failed. Of several objectives the first.
        values: all objectives, then the means that constraints bound, over the same seeds; empty where `value` is None,
            or all there is.
        env_steps: how far those were trained.
        seeds: how many they are.
        posterior: what the optimizer believes of the trial, if it has a belief.
        verdict: what the seeds of all trials say of it, with constraints or several objectives.
    """

    number: int
    origin: str
    config: Configuration
    recipe: Recipe
    created_at: float
    forked_from: int | None = None
    state: str = "running"
    value: float | None = None
    env_steps: int = 0
    seeds: int = 0
    posterior: Standing | None = None
    finished_at: float | None = None
    values: tuple[float, ...] = ()
    verdict: Verdict | None = None

    @property
    def worth(self) -> float | None:
        """What it is worth by tuning data: by the optimizer's belief where there is one, else its value."""
        return self.value if self.posterior is None else self.posterior.mean


@dataclass(frozen=True)
class Told:
    """What an optimizer was told of a proposal, besides the curves that the ledger holds.

    Attributes:
        value: the objective over its seeds; see `TrialResult.value`.
        failed: its seeds whose run had failed: of those no curve was told.
    """

    value: float | None
    failed: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    violations: tuple[float, ...] = ()


@dataclass(frozen=True)
class ProposalRecord:
    """A proposal.

    Attributes:
        number: its number; proposals are numbered in the order in which they were made.
        trial: number of the trial that it starts or continues.
        seeds: tuning seeds to train on.
        until: environment steps to reach.
        resume_from: trial whose checkpoints the runs start from.
        known: proposals below this number had been told when it was made.
        told: of those, the ones that the proposal before it had not known.
    """

    number: int
    trial: int
    seeds: tuple[int, ...]
    until: int
    resume_from: int | None
    known: int
    told: Mapping[int, Told]


@dataclass(frozen=True)
class TrialProgress:
    """How a trial stands after one of its runs has got where it was to get; see `TrialRecord`."""

    state: str
    value: float | None
    env_steps: int
    seeds: int
    values: tuple[float, ...] = ()


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
        state: `waiting`, `running`, `paused` (trained to `until`, which is not a full run), `completed` or `failed`.
        until: environment steps that it is to reach for now.
        attempts: how often it was started; more than the failed `tries` if it was preempted or its engine stopped.
        tries: the attempts that failed.
        checkpoint: the file from which it can go on.
        score: what it is worth for the objective; of several, for the first.
        scores: what it is worth for each objective, then for each constraint; empty where `score` is None.
    """

    trial: int
    phase: Phase
    seed: int
    state: str
    until: int
    attempts: int
    tries: tuple[Attempt, ...]
    checkpoint: Checkpoint | None
    env_steps: int
    score: float | None
    scores: tuple[float, ...]
    error_class: FailureClass | None
    error: str | None
    notes: tuple[str, ...]
    wall_seconds: float
    cpu_seconds: float
    energy_joules: float | None
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
