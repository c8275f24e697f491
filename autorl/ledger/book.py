"""The only writer of the ledger, held by the engine that conducts a study.

Every change is one transaction, and every transaction first checks that this engine still holds the study's lease
(its fencing epoch), so that an engine that was replaced cannot write.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from sqlalchemy import Connection, and_, insert, select, update

from autorl.errors import Fenced, LeaseHeld, StorageError
from autorl.ledger import lease, tables
from autorl.ledger.environment import hardware, versions
from autorl.spec.space import Configuration
from autorl.spec.study import StudySpec
from autorl.trial import Phase, Recipe, Run, RunResult

# What may differ when a study goes on: how it is executed, where it is kept, and how long it may run.
_MAY_CHANGE = ("execution", "storage", "budget.trials")


def spec_hash(spec: StudySpec) -> str:
    """Return the SHA-256 of what decides a study's results."""
    return hashlib.sha256(json.dumps(_deciding(spec), sort_keys=True).encode()).hexdigest()


def _deciding(spec: StudySpec) -> dict[str, Any]:
    data = spec.model_dump(mode="json")
    for path in _MAY_CHANGE:
        section, _, key = path.partition(".")
        if key:
            data[section].pop(key)
        else:
            data.pop(section)
    return data


class Book:
    """Creates or takes over a study and writes its trials, runs and results.

    Args:
        spec: the study; its storage is opened and created as needed.
        max_pending: what `optimizer.max_pending` becomes if the study is new and leaves it open. It is fixed then,
            since proposals depend on it.

    Raises:
        LeaseHeld: another live engine conducts the study.
        StorageError: the database holds another study under this name.
    """

    def __init__(self, spec: StudySpec, max_pending: int) -> None:
        self._engine = tables.open_for_writing(spec.storage)
        self._owner = lease.me()
        with self._engine.begin() as connection:
            row = connection.execute(select(tables.study).where(tables.study.c.name == spec.study)).one_or_none()
            now = time.time()
            if row is None:
                if spec.optimizer.max_pending is None:
                    spec = spec.model_copy(
                        update={"optimizer": spec.optimizer.model_copy(update={"max_pending": max_pending})}
                    )
                values = {
                    "name": spec.study,
                    "state": "tuning",
                    "versions": json.dumps(versions()),
                    "hardware": json.dumps(hardware()),
                    "created_at": now,
                    "lease_epoch": 0,
                }
                key = connection.execute(
                    insert(tables.study).values(**values, **_spec_columns(spec))
                ).inserted_primary_key
                assert key is not None
                self._id: int = key[0]
                self.epoch, self.created = 1, True
            else:
                if not lease.may_take(row.lease_owner, row.lease_heartbeat):
                    holder = lease.describe(row.lease_owner)
                    raise LeaseHeld(f"study '{spec.study}' is being conducted by {holder}; wait for it or stop it")
                spec = _going_on(spec, StudySpec.model_validate_json(row.spec))
                self._id, self.epoch, self.created = row.id, row.lease_epoch + 1, False
            self.spec = spec
            taken = {
                "lease_owner": self._owner,
                "lease_epoch": self.epoch,
                "lease_heartbeat": now,
                **_spec_columns(spec),
            }
            connection.execute(update(tables.study).where(tables.study.c.id == self._id).values(taken))
            self._event(connection, "started" if self.created else "resumed", epoch=self.epoch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with self._transaction() as connection:
                connection.execute(update(tables.study).where(tables.study.c.id == self._id).values(lease_owner=None))
        except Fenced:
            pass  # the study is another engine's now; there is no lease to give back
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            epoch = connection.execute(select(tables.study.c.lease_epoch).where(tables.study.c.id == self._id)).scalar()
            if epoch != self.epoch:
                raise Fenced(f"study '{self.spec.study}' was taken over by another engine")
            yield connection

    def _event(self, connection: Connection, kind: str, **detail: Any) -> None:
        connection.execute(
            insert(tables.log).values(study_id=self._id, at=time.time(), kind=kind, detail=json.dumps(detail))
        )

    def beat(self, live_steps: Mapping[Run, int]) -> None:
        """Show a sign of life, and how far the runs in training have got."""
        with self._transaction() as connection:
            connection.execute(
                update(tables.study).where(tables.study.c.id == self._id).values(lease_heartbeat=time.time())
            )
            for run, steps in live_steps.items():
                connection.execute(update(tables.run).where(self._is(connection, run)).values(env_steps=steps))

    def enter(self, state: str, winner: int | None = None) -> None:
        """Enter a phase of the study."""
        finished = time.time() if state == "finished" else None
        with self._transaction() as connection:
            values = {"state": state, "winner": winner, "finished_at": finished}
            connection.execute(update(tables.study).where(tables.study.c.id == self._id).values(values))
            self._event(connection, state, winner=winner)

    def add_trial(
        self, number: int, origin: str, config: Configuration, recipe: Recipe, seen: str, seeds: Sequence[int]
    ) -> None:
        """Record a proposal and its tuning runs, in one transaction."""
        values = {
            "study_id": self._id,
            "number": number,
            "origin": origin,
            "params": json.dumps(dict(config.values)),
            "coordinates": json.dumps(dict(config.coordinates)),
            "recipe": json.dumps(recipe.to_dict()),
            "seen": seen,
            "state": "running",
            "created_at": time.time(),
        }
        with self._transaction() as connection:
            key = connection.execute(insert(tables.trial).values(values)).inserted_primary_key
            assert key is not None
            self._insert_runs(connection, key[0], "tuning", seeds)

    def add_runs(self, trial: int, phase: Phase, seeds: Iterable[int]) -> None:
        """Plan runs of a trial in a later phase; those that are planned already stay as they are."""
        with self._transaction() as connection:
            trial_id = self._trial_id(connection, trial)
            known = set(
                connection.execute(
                    select(tables.run.c.seed).where(tables.run.c.trial_id == trial_id, tables.run.c.phase == phase)
                ).scalars()
            )
            self._insert_runs(connection, trial_id, phase, [seed for seed in seeds if seed not in known])

    def _insert_runs(self, connection: Connection, trial_id: int, phase: Phase, seeds: Sequence[int]) -> None:
        rows = [
            {"trial_id": trial_id, "phase": phase, "seed": seed, "state": "waiting", "notes": "[]"} for seed in seeds
        ]
        if rows:
            connection.execute(insert(tables.run), rows)

    def start_run(self, run: Run) -> None:
        """Record that a run starts, for the first time or again."""
        with self._transaction() as connection:
            changed = {"state": "running", "attempts": tables.run.c.attempts + 1, "started_at": time.time()}
            connection.execute(update(tables.run).where(self._is(connection, run)).values(changed))

    def finish_run(self, run: Run, result: RunResult) -> bool:
        """Record a run's result and curve, once: a finished run is never written again.

        Returns:
            Whether it was recorded now.
        """
        with self._transaction() as connection:
            row = connection.execute(
                select(tables.run.c.id, tables.run.c.state).where(self._is(connection, run))
            ).one_or_none()
            if row is None or row.state in ("completed", "failed"):
                return False
            values = {
                "state": result.status,
                "env_steps": result.env_steps,
                "score": result.score,
                "error_class": result.error_class,
                "error": result.error,
                "notes": json.dumps(result.notes),
                "wall_seconds": result.wall_seconds,
                "cpu_seconds": result.cpu_seconds,
                "finished_at": time.time(),
            }
            connection.execute(update(tables.run).where(tables.run.c.id == row.id).values(values))
            if result.curve:
                points = json.dumps(result.to_dict()["curve"])
                connection.execute(insert(tables.curve).values(run_id=row.id, first_point=0, points=points))
            if result.status == "failed":
                self._event(
                    connection,
                    "run failed",
                    trial=run.trial,
                    phase=run.phase,
                    seed=run.seed,
                    error_class=result.error_class,
                )
            return True

    def finish_trial(self, number: int, value: float | None) -> None:
        """Record a trial's objective over its tuning seeds, or that it has none because a run failed."""
        with self._transaction() as connection:
            values = {
                "state": "completed" if value is not None else "failed",
                "value": value,
                "finished_at": time.time(),
            }
            connection.execute(
                update(tables.trial).where(tables.trial.c.id == self._trial_id(connection, number)).values(values)
            )

    def mark_mirrored(self, number: int) -> None:
        """Record that a trial has been written as an Optuna trial."""
        with self._transaction() as connection:
            connection.execute(
                update(tables.trial).where(tables.trial.c.id == self._trial_id(connection, number)).values(mirrored=1)
            )

    def mirrored(self) -> set[int]:
        """Return the trials that have been written as Optuna trials."""
        with self._engine.connect() as connection:
            query = select(tables.trial.c.number).where(
                tables.trial.c.study_id == self._id, tables.trial.c.mirrored == 1
            )
            return set(connection.execute(query).scalars())

    def _trial_id(self, connection: Connection, number: int) -> int:
        query = select(tables.trial.c.id).where(tables.trial.c.study_id == self._id, tables.trial.c.number == number)
        return int(connection.execute(query).scalar_one())

    def _is(self, connection: Connection, run: Run) -> Any:
        trial_id = self._trial_id(connection, run.trial)
        return and_(tables.run.c.trial_id == trial_id, tables.run.c.phase == run.phase, tables.run.c.seed == run.seed)


def _spec_columns(spec: StudySpec) -> dict[str, str]:
    return {"spec": spec.model_dump_json(), "spec_hash": spec_hash(spec)}


def _going_on(new: StudySpec, old: StudySpec) -> StudySpec:
    """Return the spec with which an existing study goes on.

    Raises:
        StorageError: the file asks for something else than what the database holds.
    """
    if new.optimizer.max_pending is None:
        new = new.model_copy(
            update={"optimizer": new.optimizer.model_copy(update={"max_pending": old.optimizer.max_pending})}
        )
    a, b = _deciding(new), _deciding(old)
    different = sorted(key for key in a if a[key] != b[key])
    if different:
        raise StorageError(
            f"study '{new.study}' exists in {new.storage} with another {', '.join(different)}; "
            f"give this one another name (study=NAME) or another database (storage=sqlite:///other.db)"
        )
    return new
