"""A study as one file: Parquet tables in a zip archive, for other machines, and for those who have no autorl.

The tables are those of the ledger, whole; of the learning curves each evaluation is a row of its own, with its metrics
as columns. `load` fills a database of its own, looks whether it holds the study that was dumped (`digest`), and copies
it from there as `maintenance.copy` does. So an archive is loaded whole, or not at all.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import optuna
from alembic import command
from alembic.script import ScriptDirectory
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Float, MetaData, Select, String, create_engine, insert, select

from autorl.errors import StorageError
from autorl.ledger import tables
from autorl.ledger.database import open_for_reading, parse_url, without_passwords
from autorl.ledger.digest import digest
from autorl.ledger.environment import versions
from autorl.ledger.maintenance import alembic_config, copy
from autorl.ledger.mirror import optuna_storage
from autorl.ledger.reader import Reader
from autorl.writing import replacing

FORMAT = 1
"""Version of what an archive is made of; a newer one is refused."""
_MANIFEST = "manifest.json"
_EVALUATIONS, _MIRROR = "evaluations.parquet", "optuna.json"
_TABLES = {
    "study.parquet": tables.study,
    "trials.parquet": tables.trial,
    "proposals.parquet": tables.proposal,
    "runs.parquet": tables.run,
    "events.parquet": tables.log,
}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same study gives the same file, whenever it is dumped


def dump(url: str, study: str, path: Path, documents: Mapping[str, str]) -> None:
    """Write a study as one file, which is whole or not there.

    Args:
        url: the database that holds it.
        study: its name.
        path: the file.
        documents: further files for those who look into the archive, by name.

    Raises:
        StorageError: there is no such study, it is in training, or the file cannot be written.
    """
    with Reader(url) as reader:
        record = reader.study(study)
        if record.live:
            raise StorageError(f"study '{study}' is in training; stop it first: autorl stop {study}")
        found = digest(reader, study)
    members = {**_rows(url, study), **{name: text.encode() for name, text in documents.items()}}
    manifest = {
        "format": FORMAT,
        "tables": tables.REVISION,
        "study": study,
        "digest": found,
        "written_by": versions(),
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in members.items()},
    }
    members = {_MANIFEST: json.dumps(manifest, indent=2).encode(), **members}
    try:
        with replacing(path) as temporary, zipfile.ZipFile(temporary, "x", zipfile.ZIP_DEFLATED) as file:
            for name, content in members.items():
                file.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    except OSError as error:
        raise StorageError(f"'{path}' cannot be written: {error.strerror}") from None


def load(path: Path, url: str) -> str:
    """Bring the study of an archive into a database, which is created as needed.

    Returns:
        The study's name.

    Raises:
        StorageError: the file is damaged, no archive, or of a newer autorl; or the database has a study of its name.
    """
    manifest, members = _opened(path)
    name = manifest["study"]
    with tempfile.TemporaryDirectory() as folder:
        own = f"sqlite:///{folder}/archive.db"
        try:
            _fill(own, manifest, members)
            with Reader(own) as reader:
                # What a digest is taken of may be another with other tables.
                same = manifest["tables"] != tables.REVISION or digest(reader, name) == manifest["digest"]
        except StorageError:
            raise
        except Exception as error:
            raise _damaged(path, f"{type(error).__name__}: {error}") from error
        if not same:
            raise _damaged(path, "it does not hold what was dumped")
        copy(own, url, [name])
    return str(name)


def _damaged(path: Path, why: str) -> StorageError:
    return StorageError(f"'{path}' is damaged, or no archive of autorl: {why}")


def _opened(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the manifest and the members of an archive, all of them as they were written."""
    try:
        with zipfile.ZipFile(path) as file:
            manifest = json.loads(file.read(_MANIFEST))
            form, revision = manifest["format"], manifest["tables"]
            if form > FORMAT or revision > tables.REVISION:
                raise StorageError(
                    f"'{path}' was written by a newer autorl (format {form}, tables {revision}; these are {FORMAT} and "
                    f"{tables.REVISION}); upgrade autorl"
                )
            members = {name: file.read(name) for name in manifest["sha256"]}
            wrong = [n for n, sha in manifest["sha256"].items() if hashlib.sha256(members[n]).hexdigest() != sha]
    except OSError as error:
        raise StorageError(f"'{path}' cannot be read: {error.strerror or error}") from None
    except (zipfile.BadZipFile, zlib.error, KeyError, TypeError, ValueError, EOFError, NotImplementedError) as error:
        raise _damaged(path, str(error)) from None
    missing = {*_TABLES, _EVALUATIONS, _MIRROR, _MANIFEST} - {*members, _MANIFEST}
    if wrong or missing:
        raise _damaged(path, f"{', '.join(sorted({*wrong, *missing}))} is not what was written")
    return manifest, members


def _rows(url: str, study: str) -> dict[str, bytes]:
    """Return the rows of a study in Parquet, and its trials of Optuna's."""
    engine = open_for_reading(url)
    try:
        with engine.connect() as connection:
            key = connection.execute(select(tables.study.c.id).where(tables.study.c.name == study)).scalar_one()
            trials = select(tables.trial.c.id).where(tables.trial.c.study_id == key)
            runs = select(tables.run.c.id).where(tables.run.c.trial_id.in_(trials))
            queries = {
                "study.parquet": select(tables.study).where(tables.study.c.id == key),
                "trials.parquet": select(tables.trial).where(tables.trial.c.study_id == key),
                "proposals.parquet": select(tables.proposal).where(tables.proposal.c.study_id == key),
                "runs.parquet": select(tables.run).where(tables.run.c.id.in_(runs)),
                "events.parquet": select(tables.log).where(tables.log.c.study_id == key),
            }
            found = {name: _all(connection, query.order_by("id")) for name, query in queries.items()}
            curves = _all(connection, select(tables.curve).where(tables.curve.c.run_id.in_(runs)))
    finally:
        engine.dispose()
    for row in found["study.parquet"]:
        row |= {
            "lease_owner": None,
            "lease_heartbeat": None,
            "stop_asked": None,
            "spec": json.dumps(without_passwords(json.loads(row["spec"]))),
        }
    written = {name: _parquet(rows, _kinds(_TABLES[name])) for name, rows in found.items()}
    numbers = {row["id"]: row["number"] for row in found["trials.parquet"]}
    written[_EVALUATIONS] = _evaluations(curves, {row["id"]: row for row in found["runs.parquet"]}, numbers)
    written[_MIRROR] = json.dumps(_mirror(url, study)).encode()
    return written


def _all(connection: Connection, query: Select[Any]) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(query).all()]


def _kinds(table: Any) -> dict[str, str]:
    """Return column → the type of its values."""
    kinds = {}
    for column in table.columns:
        kinds[column.name] = "string" if isinstance(column.type, String) else "int64"
        if isinstance(column.type, Float):
            kinds[column.name] = "float64"
    return kinds


def _evaluations(
    curves: Sequence[Mapping[str, Any]], runs: Mapping[int, Mapping[str, Any]], numbers: Mapping[int, int]
) -> bytes:
    """Return the learning curves: a row for each evaluation, `point` as the ledger has it.

    Metrics that a program of the user's has named like another column are in `point` alone.
    """
    whole = dict.fromkeys(("run_id", "first_point", "place", "trial"), "int64")
    kinds = {**whole, "phase": "string", "seed": "int64", "env_steps": "int64", "wall_seconds": "float64"}
    kinds["point"] = "string"
    rows: list[dict[str, Any]] = []
    metrics: dict[str, str] = {}
    for curve in sorted(curves, key=lambda row: (row["run_id"], row["first_point"])):
        run = runs[curve["run_id"]]
        about = {"trial": numbers[run["trial_id"]], "phase": run["phase"], "seed": run["seed"]}
        for place, point in enumerate(json.loads(curve["points"])):
            measured = {name: value for name, value in point["metrics"].items() if name not in kinds}
            metrics |= dict.fromkeys(measured, "float64")
            at = {"run_id": curve["run_id"], "first_point": curve["first_point"], "place": place}
            steps = {"env_steps": point["env_steps"], "wall_seconds": point["wall_seconds"]}
            rows.append({**at, **about, **steps, **measured, "point": json.dumps(point)})
    return _parquet(rows, {**metrics, **kinds})


def _parquet(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, str]) -> bytes:
    pyarrow, parquet = _pyarrow()
    schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in kinds.items()])
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=schema), buffer, compression="zstd")
    return buffer.getvalue()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise StorageError("archives are of Parquet; run: pip install 'autorl[archive]'") from None
    return pyarrow, parquet


def _read(content: bytes) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = _pyarrow()[1].read_table(io.BytesIO(content)).to_pylist()
    return rows


def _fill(url: str, manifest: Mapping[str, Any], members: Mapping[str, bytes]) -> None:
    """Make a database of what an archive holds: with the tables of its version, then brought up to date."""
    engine = create_engine(parse_url(url))
    try:
        with engine.begin() as connection:
            config = alembic_config(connection)
            known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
            if manifest["tables"] not in known:
                raise ValueError(f"no tables of version {manifest['tables']}")
            command.upgrade(config, manifest["tables"])
            made = MetaData()
            made.reflect(connection)
            for name, table in _TABLES.items():
                rows = _read(members[name])
                if name == "study.parquet" and [row["name"] for row in rows] != [manifest["study"]]:
                    raise ValueError("it holds another study than it says")
                if rows:
                    connection.execute(insert(made.tables[table.name]), rows)
            chunks = groupby(_read(members[_EVALUATIONS]), key=lambda row: (row["run_id"], row["first_point"]))
            curves = [
                {"run_id": run, "first_point": first, "points": f"[{', '.join(row['point'] for row in points)}]"}
                for (run, first), points in chunks
            ]
            if curves:
                connection.execute(insert(made.tables[tables.curve.name]), curves)
            command.upgrade(config, "head")
    finally:
        engine.dispose()
    _restore_mirror(url, manifest["study"], json.loads(members[_MIRROR]))


def _mirror(url: str, name: str) -> dict[str, Any] | None:
    """Return Optuna's study of the same name as plain data, or None if it has none yet."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna_storage(url)
    try:
        if name not in optuna.get_all_study_names(storage):
            return None
        study = optuna.load_study(study_name=name, storage=storage)
        return {
            "directions": [direction.name for direction in study.directions],
            "user_attrs": study.user_attrs,
            "trials": [_trial(trial) for trial in study.get_trials(deepcopy=False)],
        }
    finally:
        storage.engine.dispose()


def _trial(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.name,
        "values": trial.values,
        "started": trial.datetime_start and trial.datetime_start.isoformat(),
        "completed": trial.datetime_complete and trial.datetime_complete.isoformat(),
        "params": trial.params,
        "distributions": {name: distribution_to_json(kind) for name, kind in trial.distributions.items()},
        "user_attrs": trial.user_attrs,
        "system_attrs": trial.system_attrs,
        "intermediate_values": list(trial.intermediate_values.items()),
    }


def _restore_mirror(url: str, name: str, data: Mapping[str, Any] | None) -> None:
    if data is None:
        return
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = optuna_storage(url)
    try:
        directions = [StudyDirection[direction] for direction in data["directions"]]
        study = optuna.create_study(study_name=name, storage=storage, directions=directions)
        for key, value in data["user_attrs"].items():
            study.set_user_attr(key, value)
        for trial in data["trials"]:
            study.add_trial(
                FrozenTrial(
                    number=trial["number"],
                    trial_id=-1,
                    state=TrialState[trial["state"]],
                    value=None,
                    values=trial["values"],
                    datetime_start=trial["started"] and datetime.fromisoformat(trial["started"]),
                    datetime_complete=trial["completed"] and datetime.fromisoformat(trial["completed"]),
                    params=trial["params"],
                    distributions={n: json_to_distribution(text) for n, text in trial["distributions"].items()},
                    user_attrs=trial["user_attrs"],
                    system_attrs=trial["system_attrs"],
                    intermediate_values={int(step): value for step, value in trial["intermediate_values"]},
                )
            )
    finally:
        storage.engine.dispose()
