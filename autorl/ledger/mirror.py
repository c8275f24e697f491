"""Each finished trial, written once as an ordinary Optuna trial.

`optuna.load_study` and optuna-dashboard then open the database and see parameters, values and states. Trials are
written in the order of their numbers, so that a trial has the same number in both, and with the units that training
uses. The mirror is for people: nothing is ever read back from it.

Rows are inserted into Optuna's tables in a transaction of the book, under its lease: Optuna's own `add_trial` takes
ten times the processor time, which a study of many short runs would feel.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import optuna
from optuna.distributions import distribution_to_json
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import (
    TrialModel,
    TrialParamModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.trial import TrialState
from sqlalchemy import Connection, func, insert, select
from sqlalchemy.exc import DBAPIError

from autorl.ledger.book import Book
from autorl.ledger.database import parse_url, patiently
from autorl.ledger.records import TrialRecord
from autorl.spec.distributions import readable
from autorl.spec.space import Configuration, SearchSpace

T = TypeVar("T")

NUMBER = "autorl:trial"
"""Attribute of Optuna's trials that are ours: the trial's number."""
_TRIAL, _PARAM = TrialModel.__table__, TrialParamModel.__table__
_VALUE, _ATTRIBUTE = TrialValueModel.__table__, TrialUserAttributeModel.__table__
_SYSTEM = TrialSystemAttributeModel.__table__


class Mirror:
    """Writes the trials of one study. Only the engine that holds the study's book may use it.

    Attributes:
        next: number of the trial to be written next.
    """

    def __init__(self, book: Book) -> None:
        self._space: SearchSpace = book.spec.space
        self._book = book
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study_id = patiently(partial(_optunas, self._open), book.waiting)
        self.next = book.commit(self._count)

    def _open(self) -> int:
        spec = self._book.spec
        storage = optuna_storage(spec.storage)
        try:
            study = optuna.create_study(
                study_name=spec.study,
                storage=storage,
                directions=[o.direction for o in spec.objectives],
                load_if_exists=True,
            )
            return study._study_id
        finally:
            storage.engine.dispose()

    def _count(self, connection: Connection) -> int:
        """Return how many of our trials Optuna has: loading them to count them would take seconds."""
        ours = (
            select(func.count())
            .select_from(_ATTRIBUTE.join(_TRIAL, _TRIAL.c.trial_id == _ATTRIBUTE.c.trial_id))
            .where(_TRIAL.c.study_id == self._study_id, _ATTRIBUTE.c.key == NUMBER)
        )
        return int(connection.execute(ours).scalar_one())

    def write(self, trial: TrialRecord, default: Configuration, scores: Mapping[int, tuple[float, ...]]) -> None:
        """Write a finished trial; its value is what the optimizer believes of it, so Optuna's best is the incumbent.

        With several objectives its values are what was measured. Constraints are Optuna's own, met at 0 or below.

        Args:
            trial: the trial, whose number is `next`.
            default: the study's default configuration.
            scores: seed → what its tuning runs score for each objective and constraint; empty where one failed.
        """
        worth, spec = trial.worth, self._book.spec
        objectives = len(spec.objectives)
        values: list[float] = list(trial.values[:objectives]) if objectives > 1 else [] if worth is None else [worth]
        violations = {
            f"constraints:{constraint.words}": constraint.sign * (mean - constraint.bound)
            for constraint, mean in zip(spec.constraints, trial.values[objectives:], strict=False)
        }
        state = TrialState.COMPLETE if trial.state == "completed" or trial.posterior is not None else TrialState.PRUNED
        if worth is None:
            state = TrialState.FAIL
        params, distributions = readable(self._space, trial.config, default)
        params_rows = [
            {
                "param_name": name,
                "param_value": distributions[name].to_internal_repr(value),
                "distribution_json": distribution_to_json(distributions[name]),
            }
            for name, value in params.items()
        ]
        attributes = {
            NUMBER: trial.number,
            "origin": trial.origin,
            "scores by tuning seed": {
                str(seed): (own if len(own) > 1 else own[0]) if own else None for seed, own in scores.items()
            },
        }

        def insert_once(connection: Connection) -> None:
            last = select(_TRIAL.c.trial_id, _TRIAL.c.number).where(_TRIAL.c.study_id == self._study_id)
            row = connection.execute(last.order_by(_TRIAL.c.trial_id.desc()).limit(1)).one_or_none()
            if row is not None and self._holds(connection, row.trial_id, trial.number):
                return
            key = connection.execute(
                insert(_TRIAL).values(
                    number=0 if row is None else row.number + 1,
                    study_id=self._study_id,
                    state=state,
                    datetime_start=_utc(trial.created_at),
                    datetime_complete=_utc(trial.finished_at or trial.created_at),
                )
            ).inserted_primary_key
            assert key is not None
            here = {"trial_id": key[0]}
            if worth is not None:
                for objective, (value, kind) in enumerate(map(TrialValueModel.value_to_stored_repr, values)):
                    stored = insert(_VALUE).values(**here, objective=objective, value=value, value_type=kind)
                    connection.execute(stored)
            for name, violation in violations.items():
                connection.execute(insert(_SYSTEM).values(**here, key=name, value_json=json.dumps(violation)))
            if params_rows:
                connection.execute(insert(_PARAM), [row | here for row in params_rows])
            kept = [{"key": name, "value_json": json.dumps(value)} | here for name, value in attributes.items()]
            connection.execute(insert(_ATTRIBUTE), kept)

        self._book.commit(insert_once)
        self.next = trial.number + 1

    def _holds(self, connection: Connection, trial_id: int, number: int) -> bool:
        """Say whether a row is our trial: the answer to the commit that wrote it may have been lost."""
        query = select(_ATTRIBUTE.c.value_json).where(_ATTRIBUTE.c.trial_id == trial_id, _ATTRIBUTE.c.key == NUMBER)
        return connection.execute(query).scalar() == str(number)


def _utc(seconds: float) -> datetime.datetime:
    # Optuna's columns hold UTC without saying so.
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(tzinfo=None)


def optuna_storage(url: str) -> RDBStorage:
    """Open Optuna's tables in a database."""
    parsed = parse_url(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    engine_kwargs = {"connect_args": {"timeout": 5}} if sqlite else {"pool_pre_ping": True}
    return RDBStorage(parsed.render_as_string(hide_password=False), engine_kwargs=engine_kwargs)


def forget(book: Book) -> None:
    """Remove a study from Optuna's tables, to be written anew."""

    def remove() -> None:
        storage = optuna_storage(book.spec.storage)
        try:
            if book.spec.study in {study.study_name for study in storage.get_all_studies()}:
                optuna.delete_study(study_name=book.spec.study, storage=storage)
        finally:
            storage.engine.dispose()

    patiently(partial(_optunas, remove), book.waiting)


def _optunas(attempt: Callable[[], T]) -> T:
    """Do something with Optuna's tables; what the database says of it is raised as the database says it."""
    try:
        return attempt()
    except StorageInternalError as error:
        if isinstance(error.__cause__, DBAPIError):
            raise error.__cause__ from None
        raise
