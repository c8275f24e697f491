"""Look after databases: check that everything is there, bring old tables up to date, copy studies elsewhere."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from alembic import command
from alembic.config import Config
from optuna.exceptions import StorageInternalError
from sqlalchemy import Connection, Engine, create_engine, insert, select, text
from sqlalchemy.exc import DBAPIError

from autorl.errors import StorageError
from autorl.ledger import tables
from autorl.ledger.database import (
    files_folder,
    open_for_reading,
    open_for_writing,
    parse_url,
    refuse_missing,
    revision,
    shown,
)
from autorl.ledger.digest import digest
from autorl.ledger.mirror import NUMBER, optuna_storage
from autorl.ledger.reader import Reader
from autorl.ledger.records import RunRecord, StudyRecord, TrialRecord

_MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True)
class Checked:
    """What a check found in one study.

    Attributes:
        study: its name.
        digest: hash of everything that it found.
        problems: what is wrong, in sentences.
    """

    study: str
    digest: str
    problems: tuple[str, ...]


def check(url: str) -> tuple[list[str], list[Checked]]:
    """Check a database and every study in it; nothing is changed.

    Returns:
        What is wrong with the database, and what was found in each study.
    """
    try:
        problems = _check_database(url)
    except DBAPIError as error:
        return [f"the database cannot be read: {error.orig}"], []
    with Reader(url) as reader:
        return problems, [
            Checked(study.name, digest(reader, study.name), tuple(_check_study(reader, study)))
            for study in reader.studies()
        ]


def _check_database(url: str) -> list[str]:
    if parse_url(url).get_backend_name() != "sqlite":
        return []
    engine = open_for_reading(url)
    try:
        with engine.connect() as connection:
            said = connection.execute(text("PRAGMA integrity_check")).scalars().all()
            broken = connection.execute(text("PRAGMA foreign_key_check")).all()
    finally:
        engine.dispose()
    found = [f"SQLite: {line}" for line in said if line != "ok"]
    return found + [f"SQLite: a row of {row[0]} refers to nothing" for row in broken]


def _check_study(reader: Reader, study: StudyRecord) -> Iterator[str]:
    trials, runs = reader.trials(study.name), reader.runs(study.name)
    if [t.number for t in trials] != list(range(len(trials))):
        yield "the trials are not numbered without gaps"
    by_trial: dict[int, list[RunRecord]] = {}
    for run in runs:
        by_trial.setdefault(run.trial, []).append(run)
    for trial in trials:
        yield from _check_trial(trial, by_trial.get(trial.number, []), study)
    with_curve = {curve.run for t in trials for curve in reader.curves(study.name, [t.number])}
    for run in runs:
        what = f"trial {run.trial}, {run.phase} seed {run.seed}"
        if run.state == "completed" and (run.score is None or run.run not in with_curve):
            yield f"{what} is completed without a score or a curve"
        if run.state == "running" and not study.live:
            yield f"{what} is marked as training, but no engine is; autorl retry --stale {study.name}"
        if run.checkpoint is not None and not study.live:
            folder = files_folder(reader.url, study.spec.execution.folder) / study.name / "checkpoints"
            path = folder / f"{run.trial}-{run.phase}-{run.seed}" / run.checkpoint.file
            if not path.is_file():
                yield f"{what}: its checkpoint {path} is not there; it will start anew"
            elif hashlib.sha256(path.read_bytes()).hexdigest() != run.checkpoint.sha256:
                yield f"{what}: its checkpoint {path} is damaged; it will start anew"


def _check_trial(trial: TrialRecord, runs: Sequence[RunRecord], study: StudyRecord) -> Iterator[str]:
    tuning = [run for run in runs if run.phase == "tuning"]
    if not {run.seed for run in tuning} <= set(study.spec.seeds.tuning):
        yield f"trial {trial.number} has runs on other tuning seeds than the study's"
    unfinished = [run for run in tuning if run.state in ("waiting", "running")]
    if trial.state != "running" and unfinished:
        yield f"trial {trial.number} is {trial.state}, but {len(unfinished)} of its runs are not finished"
    failed = any(run.state == "failed" for run in tuning)
    if trial.state == "completed" and (trial.value is None or failed):
        yield f"trial {trial.number} is completed without a value, or with a failed run"


def upgrade(url: str) -> tuple[str, str, Path | None]:
    """Bring the tables to this version, after a copy of a SQLite database.

    Returns:
        The version before, the version now, and the copy, if there was anything to do.

    Raises:
        StorageError: there is no such database, or it is of a newer version.
    """
    refuse_missing(url)
    # Without the foreign keys that are on otherwise: a table that is rebuilt would take its children with it.
    engine = create_engine(parse_url(url))
    try:
        with _saying(shown(url)):
            return _upgraded(engine, url)
    finally:
        engine.dispose()


@contextmanager
def _saying(what: str) -> Iterator[None]:
    """Turn what a database says against a piece of work into one clear error."""
    try:
        yield
    except DBAPIError as error:
        raise StorageError(f"{what}: {error.orig}") from None
    except sqlite3.Error as error:
        raise StorageError(f"{what}: {error}") from None
    except StorageInternalError as error:
        raise StorageError(f"{what}: {getattr(error.__cause__, 'orig', error)}") from None


def _upgraded(engine: Engine, url: str) -> tuple[str, str, Path | None]:
    with engine.connect() as connection:
        before = revision(connection)
    if before is None:
        raise StorageError(f"{shown(url)}: not a database of autorl")
    if before > tables.REVISION:
        raise StorageError(f"{shown(url)} is of a newer autorl (tables {before}); upgrade autorl")
    if before == tables.REVISION:
        return before, before, None
    copy = _backup(url, before)
    with engine.begin() as connection:
        _migrate(connection, before)
    return before, tables.REVISION, copy


def _backup(url: str, before: str) -> Path | None:
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    assert parsed.database is not None
    target = Path(f"{parsed.database}.{before}")
    with closing(sqlite3.connect(parsed.database)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
    return target


def _migrate(connection: Connection, before: str) -> None:
    if before == "0001":
        command.stamp(alembic_config(connection), before)
    command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: Connection) -> Config:
    """Return what Alembic needs to bring the tables of a database from one version to another."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def copy(source: str, target: str, studies: Sequence[str]) -> list[str]:
    """Copy studies into another database, Optuna's trials included; what is in training there starts anew.

    Args:
        source: database to read.
        target: database to write; created as needed.
        studies: names; none means all.

    Returns:
        The names of the copied studies.

    Raises:
        StorageError: a study does not exist, is in training, or the target has one of its name.
    """
    with Reader(source) as reader:
        chosen = [reader.study(name) for name in studies] if studies else reader.studies()
    live = [study.name for study in chosen if study.live]
    if live:
        raise StorageError(f"study '{live[0]}' is in training; stop it first: autorl stop {live[0]}")
    engine, read = open_for_writing(target), open_for_reading(source)
    try:
        with _saying(shown(target)), engine.connect() as connection:
            there = set(connection.execute(select(tables.study.c.name)).scalars())
        taken = [study.name for study in chosen if study.name in there]
        if taken:
            raise StorageError(f"{shown(target)} holds a study '{taken[0]}' already")
        for study in chosen:
            with _saying(f"study '{study.name}', from {shown(source)} to {shown(target)}"):
                _copy_optuna(source, target, study.name)
                _copy_study(read, engine, study.name)
    finally:
        engine.dispose()
        read.dispose()
    return [study.name for study in chosen]


def _copy_optuna(source: str, target: str, name: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    a, b = optuna_storage(source), optuna_storage(target)
    try:
        if name in {known.study_name for known in b.get_all_studies()}:
            there = optuna.load_study(study_name=name, storage=b).get_trials(deepcopy=False)
            if not all(NUMBER in trial.user_attrs for trial in there):
                raise StorageError(f"{shown(target)} holds a study '{name}' of Optuna's own; choose another database")
            optuna.delete_study(study_name=name, storage=b)  # left by a copy that was interrupted
        if name in {known.study_name for known in a.get_all_studies()}:
            optuna.copy_study(from_study_name=name, from_storage=a, to_storage=b)
    finally:
        a.engine.dispose()
        b.engine.dispose()


def _copy_study(source: Engine, target: Engine, name: str) -> None:
    """Copy the rows of a study in one transaction, under new keys."""
    with source.connect() as read, target.begin() as write:
        study = _row(read.execute(select(tables.study).where(tables.study.c.name == name)).one())
        old = study.pop("id")
        key = write.execute(insert(tables.study).values(study | {"lease_owner": None})).inserted_primary_key
        assert key is not None
        proposals = read.execute(select(tables.proposal).where(tables.proposal.c.study_id == old)).all()
        copied = [{k: v for k, v in _row(p).items() if k != "id"} | {"study_id": key[0]} for p in proposals]
        if copied:
            write.execute(insert(tables.proposal), copied)
        for trial in read.execute(select(tables.trial).where(tables.trial.c.study_id == old)).all():
            _copy_trial(read, write, _row(trial), key[0])
        events = read.execute(select(tables.log).where(tables.log.c.study_id == old).order_by(tables.log.c.id)).all()
        rows = [{k: v for k, v in _row(event).items() if k != "id"} | {"study_id": key[0]} for event in events]
        if rows:
            write.execute(insert(tables.log), rows)


def _copy_trial(read: Connection, write: Connection, trial: dict[str, Any], study_id: int) -> None:
    old = trial.pop("id")
    trial_key = write.execute(insert(tables.trial).values(trial | {"study_id": study_id})).inserted_primary_key
    assert trial_key is not None
    for found in read.execute(select(tables.run).where(tables.run.c.trial_id == old).order_by(tables.run.c.id)).all():
        run = _row(found)
        old_run = run.pop("id")
        if run["state"] == "running":
            run["state"] = "waiting"
        run |= {"trial_id": trial_key[0], "checkpoint": None}  # files stay where they are
        run_key = write.execute(insert(tables.run).values(run)).inserted_primary_key
        assert run_key is not None
        curves = read.execute(select(tables.curve).where(tables.curve.c.run_id == old_run)).all()
        if curves:
            write.execute(insert(tables.curve), [_row(curve) | {"run_id": run_key[0]} for curve in curves])


def _row(row: Any) -> dict[str, Any]:
    return dict(row._mapping)
