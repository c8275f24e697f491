"""The only reader of the ledger. It opens the database read-only, so looking at a study cannot harm it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any, Self

from sqlalchemy import Engine, Select, func, select

from autorl.errors import StorageError, did_you_mean
from autorl.ledger import database, lease, tables
from autorl.ledger.database import shown as shown  # for those who only look
from autorl.ledger.records import (
    Attempt,
    CurveRecord,
    EventRecord,
    ProposalRecord,
    RunRecord,
    StudyRecord,
    Told,
    TrialRecord,
)
from autorl.spec.sources import STORAGE
from autorl.spec.space import Configuration
from autorl.spec.study import StudySpec
from autorl.trial import Checkpoint, Phase, Point, Recipe, Run, Standing, Verdict


def default_url(asked: str | None = None) -> str:
    """Return the database that is meant: the one asked for, `$AUTORL_STORAGE`, or the one studies use by default."""
    return asked or os.environ.get(STORAGE) or str(StudySpec.model_fields["storage"].default)


class Reader:
    """Reads studies, trials, runs and curves.

    Args:
        url: the database.

    Raises:
        StorageError: there is no such database, or it holds no studies of autorl.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine: Engine = database.open_for_reading(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def _rows(self, query: Select[Any]) -> Sequence[Any]:
        from sqlalchemy.exc import DatabaseError

        try:
            with self._engine.connect() as connection:
                return connection.execute(query).all()
        except DatabaseError as error:
            raise StorageError(f"{shown(self.url)}: not a database of autorl ({error.orig})") from None

    def studies(self) -> list[StudyRecord]:
        """Return all studies, the newest first."""
        return [_study(row) for row in self._rows(select(tables.study).order_by(tables.study.c.created_at.desc()))]

    def study(self, name: str) -> StudyRecord:
        """Return one study.

        Raises:
            StorageError: the database holds no study of this name.
        """
        rows = self._rows(select(tables.study).where(tables.study.c.name == name))
        if not rows:
            known = [row.name for row in self._rows(select(tables.study.c.name))]
            raise StorageError(f"{shown(self.url)} holds no study '{name}'{did_you_mean(name, known)}")
        return _study(rows[0])

    def trials(self, study: str, numbers: Iterable[int] | None = None) -> list[TrialRecord]:
        """Return the trials of a study by number, all or some."""
        query = _of(study, select(tables.trial)).order_by(tables.trial.c.number)
        if numbers is not None:
            query = query.where(tables.trial.c.number.in_(list(numbers)))
        return [_trial(row) for row in self._rows(query)]

    def proposals(self, study: str) -> list[ProposalRecord]:
        """Return the proposals of a study by number."""
        query = select(tables.proposal).join(tables.study, tables.study.c.id == tables.proposal.c.study_id)
        query = query.where(tables.study.c.name == study).order_by(tables.proposal.c.number)
        return [_proposal(row) for row in self._rows(query)]

    def runs(self, study: str, phase: Phase | None = None, trials: Iterable[int] | None = None) -> list[RunRecord]:
        """Return the runs of a study by trial, phase and seed; of one phase or of some trials where asked."""
        query = _of(study, select(tables.run, tables.trial.c.number), of_run=True)
        if phase is not None:
            query = query.where(tables.run.c.phase == phase)
        if trials is not None:
            query = query.where(tables.trial.c.number.in_(list(trials)))
        return [
            _run(row)
            for row in self._rows(query.order_by(tables.trial.c.number, tables.run.c.phase, tables.run.c.seed))
        ]

    def incumbent(self, study: str, direction: str) -> tuple[int, float] | None:
        """Return the number and value of the best trial by tuning data, or None; chosen by the database.

        The value is the posterior mean where the optimizer has one. The order is that of `autorl.engine.selection`.
        """
        trial = tables.trial.c
        sign = -1 if direction == "maximize" else 1
        order = (
            trial.posterior_mean.is_(None),
            sign * trial.posterior_mean,
            trial.env_steps.desc(),
            trial.seeds.desc(),
            sign * trial.value,
            trial.number,
        )
        worth = func.coalesce(trial.posterior_mean, trial.value).label("worth")
        query = _of(study, select(trial.number, worth)).where(trial.value.is_not(None))
        rows = self._rows(query.order_by(*order).limit(1))
        return (rows[0].number, rows[0].worth) if rows else None

    def curves(self, study: str, trials: Iterable[int], phase: Phase | None = None) -> list[CurveRecord]:
        """Return the learning curves of some trials' runs."""
        query = (
            _of(study, select(tables.curve, tables.trial.c.number, tables.run.c.phase, tables.run.c.seed), of_run=True)
            .join(tables.curve, tables.curve.c.run_id == tables.run.c.id)
            .where(tables.trial.c.number.in_(list(trials)))
            .order_by(tables.trial.c.number, tables.run.c.phase, tables.run.c.seed, tables.curve.c.first_point)
        )
        if phase is not None:
            query = query.where(tables.run.c.phase == phase)
        found: dict[Run, list[Point]] = {}
        for row in self._rows(query):
            found.setdefault(Run(row.number, row.phase, row.seed), []).extend(
                Point.from_dict(p) for p in json.loads(row.points)
            )
        return [CurveRecord(run, tuple(points)) for run, points in found.items()]

    def events(self, study: str, kind: str | None = None) -> list[EventRecord]:
        """Return what has happened to a study, the oldest first; of one kind where asked."""
        query = select(tables.log).join(tables.study, tables.study.c.id == tables.log.c.study_id)
        query = query.where(tables.study.c.name == study).order_by(tables.log.c.id)
        if kind is not None:
            query = query.where(tables.log.c.kind == kind)
        return [EventRecord(row.at, row.kind, json.loads(row.detail)) for row in self._rows(query)]

    def counts(self, study: str) -> dict[tuple[Phase, str], tuple[int, int]]:
        """Return (phase, state) → (runs, environment steps), counted by the database."""
        query = _of(
            study,
            select(tables.run.c.phase, tables.run.c.state, func.count(), func.sum(tables.run.c.env_steps)),
            of_run=True,
        )
        rows = self._rows(query.group_by(tables.run.c.phase, tables.run.c.state))
        return {(row[0], row[1]): (row[2], row[3] or 0) for row in rows}


def _of(study: str, query: Select[Any], of_run: bool = False) -> Select[Any]:
    if of_run:
        query = query.join(tables.trial, tables.trial.c.id == tables.run.c.trial_id)
    return query.join(tables.study, tables.study.c.id == tables.trial.c.study_id).where(tables.study.c.name == study)


def _study(row: Any) -> StudyRecord:
    return StudyRecord(
        name=row.name,
        spec=StudySpec.model_validate_json(row.spec),
        spec_hash=row.spec_hash,
        state=row.state,
        winner=row.winner,
        front=tuple(json.loads(row.front)) if row.front else (),
        versions=json.loads(row.versions),
        hardware=json.loads(row.hardware),
        created_at=row.created_at,
        finished_at=row.finished_at,
        live=not lease.may_take(row.lease_owner, row.lease_heartbeat),
        paused=row.paused,
        tuning_seconds=row.tuning_seconds,
        ended=row.ended,
    )


def _trial(row: Any) -> TrialRecord:
    return TrialRecord(
        number=row.number,
        origin=row.origin,
        config=Configuration(json.loads(row.params), json.loads(row.coordinates)),
        recipe=Recipe.from_dict(json.loads(row.recipe)),
        forked_from=row.forked_from,
        state=row.state,
        value=row.value,
        env_steps=row.env_steps,
        seeds=row.seeds,
        posterior=None
        if row.posterior_mean is None
        else Standing(row.number, row.posterior_mean, row.posterior_low, row.posterior_high),
        created_at=row.created_at,
        finished_at=row.finished_at,
        values=tuple(json.loads(row.values)) if row.values else (),
        verdict=Verdict.from_dict(json.loads(row.verdict)) if row.verdict else None,
    )


def _proposal(row: Any) -> ProposalRecord:
    return ProposalRecord(
        number=row.number,
        trial=row.trial,
        seeds=tuple(json.loads(row.seeds)),
        until=row.until,
        resume_from=row.resume_from,
        known=row.known,
        told={
            int(number): Told(value, *(tuple(entries) for entries in rest))
            for number, (value, *rest) in json.loads(row.told).items()
        },
    )


def _run(row: Any) -> RunRecord:
    return RunRecord(
        trial=row.number,
        phase=row.phase,
        seed=row.seed,
        state=row.state,
        until=row.until,
        attempts=row.attempts,
        tries=tuple(Attempt(**attempt) for attempt in json.loads(row.tries)) if row.tries != "[]" else (),
        checkpoint=Checkpoint(**json.loads(row.checkpoint)) if row.checkpoint else None,
        env_steps=row.env_steps,
        score=row.score,
        scores=tuple(json.loads(row.scores)) if row.scores else () if row.score is None else (row.score,),
        error_class=row.error_class,
        error=row.error,
        notes=tuple(json.loads(row.notes)) if row.notes != "[]" else (),
        wall_seconds=row.wall_seconds,
        cpu_seconds=row.cpu_seconds,
        energy_joules=row.energy_joules,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
