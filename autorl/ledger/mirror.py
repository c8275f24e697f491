"""Each finished trial, written once as an ordinary Optuna trial.

`optuna.load_study` and optuna-dashboard then open the database and see parameters, values and states. Trials are
written in the order of their numbers, so that a trial has the same number in both, and with the units that training
uses. The mirror is for people: nothing is ever read back from it.
"""

from __future__ import annotations

import datetime
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from autorl.ledger.book import Book
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
        self._book = book
        self._space: SearchSpace = book.spec.space
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        storage = RDBStorage(book.spec.storage, engine_kwargs={"connect_args": {"timeout": 60}})
        direction = book.spec.objective.direction
        self._study = optuna.create_study(
            study_name=book.spec.study, storage=storage, direction=direction, load_if_exists=True
        )
        # A kill may fall between Optuna's transaction and ours: what Optuna has is what counts.
        done = {t.user_attrs[_NUMBER] for t in self._study.get_trials(deepcopy=False) if _NUMBER in t.user_attrs}
        for number in done - book.mirrored():
            book.mark_mirrored(number)
        self.next = len(done)

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
        self._study.add_trial(frozen)
        self._book.mark_mirrored(trial.number)
        self.next += 1


def _attributes(trial: TrialRecord, scores: dict[int, float | None]) -> dict[str, Any]:
    return {
        _NUMBER: trial.number,
        "origin": trial.origin,
        "scores by tuning seed": {str(seed): score for seed, score in scores.items()},
    }
