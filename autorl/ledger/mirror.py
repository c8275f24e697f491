"""Each finished trial, written once as an ordinary Optuna trial.

`optuna.load_study` and optuna-dashboard then open the database and see parameters, values and states. Trials are
written in the order of their numbers, so that a trial has the same number in both, and with the units that training
uses. The mirror is for people: nothing is ever read back from it.
"""

from __future__ import annotations

import datetime
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialModel, TrialUserAttributeModel
from optuna.trial import TrialState, create_trial
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from autorl.ledger.book import Book
from autorl.ledger.database import parse_url, patiently
from autorl.ledger.records import TrialRecord
from autorl.spec.distributions import readable
from autorl.spec.space import Configuration, SearchSpace

_NUMBER = "autorl:trial"


class Mirror:
    """Writes the trials of one study. Only the engine that holds the study's book may use it.

    Attributes:
        next: number of the trial to be written next.
    """

    def __init__(self, book: Book) -> None:
        self._space: SearchSpace = book.spec.space
        self._book = book
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study: optuna.Study = patiently(self._open, book.waiting)
        self.next = patiently(self._count, book.waiting)

    def _open(self) -> optuna.Study:
        spec = self._book.spec
        self._storage = optuna_storage(spec.storage)
        return optuna.create_study(
            study_name=spec.study,
            storage=self._storage,
            direction=spec.objective.direction,
            load_if_exists=True,
        )

    def _count(self) -> int:
        """Return how many of our trials Optuna has: loading them to count them would take seconds."""
        ours = (
            select(func.count())
            .select_from(TrialUserAttributeModel)
            .join(TrialModel, TrialModel.trial_id == TrialUserAttributeModel.trial_id)
            .where(TrialModel.study_id == self._study._study_id, TrialUserAttributeModel.key == _NUMBER)
        )
        with self._storage.engine.connect() as connection:
            return int(connection.execute(ours).scalar_one())

    def close(self) -> None:
        """Let go of the database."""
        self._storage.engine.dispose()

    def write(self, trial: TrialRecord, default: Configuration, scores: dict[int, float | None]) -> None:
        """Write a finished trial.

        Args:
            trial: the trial, whose number is `next`.
            default: the study's default configuration.
            scores: seed → score of its tuning runs.
        """
        params, distributions = readable(self._space, trial.config, default)
        frozen = create_trial(
            state=TrialState.COMPLETE if trial.value is not None else TrialState.FAIL,
            value=trial.value,
            params=params,
            distributions=distributions,
            user_attrs=_attributes(trial, scores),
        )
        frozen.datetime_start = datetime.datetime.fromtimestamp(trial.created_at)
        if trial.finished_at is not None:
            frozen.datetime_complete = datetime.datetime.fromtimestamp(trial.finished_at)
        patiently(lambda: self._add(frozen, trial.number), self._book.waiting)
        self.next = trial.number + 1

    def _add(self, frozen: optuna.trial.FrozenTrial, number: int) -> None:
        try:
            self._study.add_trial(frozen)
        except (StorageInternalError, DBAPIError) as error:
            # The transaction may have been taken although its answer was lost.
            if self._count() == number:
                cause = error if isinstance(error, DBAPIError) else error.__cause__
                raise cause or error from None


def optuna_storage(url: str) -> RDBStorage:
    """Open Optuna's tables in a database."""
    parsed = parse_url(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    engine_kwargs = {"connect_args": {"timeout": 5}} if sqlite else {"pool_pre_ping": True}
    return RDBStorage(parsed.render_as_string(hide_password=False), engine_kwargs=engine_kwargs)


def forget(book: Book) -> None:
    """Remove a study from Optuna's tables, to be written anew."""
    storage = optuna_storage(book.spec.storage)
    try:
        if book.spec.study in {study.study_name for study in storage.get_all_studies()}:
            optuna.delete_study(study_name=book.spec.study, storage=storage)
    finally:
        storage.engine.dispose()


def _attributes(trial: TrialRecord, scores: dict[int, float | None]) -> dict[str, Any]:
    return {
        _NUMBER: trial.number,
        "origin": trial.origin,
        "scores by tuning seed": {str(seed): score for seed, score in scores.items()},
    }
