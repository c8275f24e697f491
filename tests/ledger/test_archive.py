"""A study that is dumped and loaded elsewhere is the same study."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import databases
import optuna
import pandas as pd
import pytest
import states
from quickly import some
from small_study import ignore, load
from sqlalchemy import select

from autorl.engine.conductor import conduct
from autorl.errors import StorageError
from autorl.ledger import archive, tables
from autorl.ledger.book import Book
from autorl.ledger.continuation import going_on
from autorl.ledger.database import open_for_reading
from autorl.ledger.digest import digest
from autorl.ledger.maintenance import check
from autorl.ledger.mirror import optuna_storage
from autorl.ledger.reader import Reader
from autorl.report.findings import gather
from autorl.report.reproduce import resolved
from autorl.spec.study import StudySpec


@pytest.fixture(params=databases.KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return databases.url(request.param, tmp_path)


def digested(url: str) -> str:
    with Reader(url) as reader:
        return digest(reader, "small")


def rows(url: str) -> list[list[dict[str, Any]]]:
    """Return everything that a database holds, without keys and leases."""
    engine = open_for_reading(url)
    keys = {"id", "study_id", "trial_id", "run_id", "lease_owner", "lease_heartbeat", "stop_asked", "spec"}
    with engine.connect() as connection:
        found = [
            [{k: v for k, v in row._mapping.items() if k not in keys} for row in connection.execute(select(table))]
            for table in tables.metadata.sorted_tables
        ]
    engine.dispose()
    return [sorted(table, key=repr) for table in found]


def changed(path: Path, name: str, content: bytes, *, sealed: bool = True) -> Path:
    """Return an archive with another content of a member, its hash made right or not."""
    other = path.with_name(f"changed-{len(list(path.parent.iterdir()))}.zip")
    with zipfile.ZipFile(path) as file:
        members = {member: file.read(member) for member in file.namelist()}
    members[name] = content
    if sealed and name != "manifest.json":
        manifest = json.loads(members["manifest.json"])
        manifest["sha256"][name] = archive.hashlib.sha256(content).hexdigest()
        members["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(other, "w") as file:
        for member, data in members.items():
            file.writestr(member, data)
    return other


@pytest.mark.parametrize("state", ["finished", "paused", "no_trial"])
def test_nothing_is_lost(state: str, url: str, tmp_path: Path) -> None:
    states.make(state, tmp_path, f"storage={url}")
    (elsewhere := tmp_path / "elsewhere").mkdir()
    target, file = f"sqlite:///{elsewhere}/other.db", tmp_path / "small.zip"
    archive.dump(url, "small", file, {})
    assert archive.load(file, target) == "small"
    assert digested(target) == digested(url)
    assert rows(target) == rows(url)
    again = tmp_path / "again.zip"
    archive.dump(target, "small", again, {})
    archive.dump(target, "small", tmp_path / "twice.zip", {})
    assert again.read_bytes() == (tmp_path / "twice.zip").read_bytes()


@pytest.mark.parametrize("url", some(databases.KINDS, "sqlite"), indirect=True)
def test_a_real_study_goes_on_where_it_is_loaded(url: str, tmp_path: Path) -> None:
    conduct(load(tmp_path, f"storage={url}", "budget.trials=3"), ignore)
    (elsewhere := tmp_path / "elsewhere").mkdir()
    target, file = f"sqlite:///{elsewhere}/other.db", tmp_path / "small.zip"
    archive.dump(url, "small", file, {"README.md": "about"})
    archive.load(file, target)
    assert check(target) == check(url)
    loaded = [optuna.load_study(study_name="small", storage=optuna_storage(where)) for where in (url, target)]
    known = [
        [(t.params, t.distributions, t.values, t.user_attrs, t.datetime_start, t.state) for t in study.trials]
        for study in loaded
    ]
    assert known[0]
    assert known[0] == known[1]
    for study in loaded:
        study._storage._backend.engine.dispose()  # type: ignore[attr-defined]
    for storage in (url, target):
        conduct(load(tmp_path, f"storage={storage}", "budget.trials=4"), ignore)
    assert digested(target) == digested(url)


def test_the_tables_are_read_without_autorl(tmp_path: Path) -> None:
    spec = states.make("finished", tmp_path)
    file = tmp_path / "small.zip"
    archive.dump(spec.storage, "small", file, {"checklist.md": "filled in"})
    with zipfile.ZipFile(file) as members:
        assert members.read("checklist.md") == b"filled in"
        curves = pd.read_parquet(io.BytesIO(members.read("evaluations.parquet")))
        trials = pd.read_parquet(io.BytesIO(members.read("trials.parquet")))
    of_one = curves[(curves.trial == 1) & (curves.phase == "test")]
    assert list(of_one[of_one.env_steps == 128]["return"]) == [0.5, 0.55, 0.75]
    assert json.loads(trials.params[1])["gamma"] == 0.99


def test_a_password_stays_at_home(tmp_path: Path) -> None:
    spec = states.make("one_trial", tmp_path)
    transfer = {"study": "earlier", "storage": "postgresql://me:secret@other/db", "top": 1}
    data = spec.model_dump(mode="json")
    data |= {"storage": "postgresql://me:secret@host/db", "optimizer": {**data["optimizer"], "transfer": transfer}}
    with_secret = json.dumps(data)
    databases.execute(spec.storage, f"UPDATE autorl_study SET spec = '{with_secret}'".replace(":", r"\:"))
    file = tmp_path / "small.zip"
    archive.dump(spec.storage, "small", file, {})
    target = f"sqlite:///{tmp_path}/other.db"
    archive.load(file, target)
    with Reader(target) as reader:
        kept = reader.study("small").spec
        found = gather(reader, "small")
    assert kept.storage == "postgresql://me@host/db"
    assert "secret" not in kept.model_dump_json()
    # With the password in its file the study goes on, and leaves none behind either.
    assert going_on(StudySpec.model_validate(data), kept).optimizer.transfer is not None
    own = replace(found, study=replace(found.study, spec=StudySpec.model_validate(data)))
    assert "secret" not in json.dumps(resolved(own))


def test_what_cannot_be_loaded_changes_nothing(tmp_path: Path) -> None:
    spec = states.make("finished", tmp_path)
    file, target = tmp_path / "small.zip", f"sqlite:///{tmp_path}/other.db"
    archive.dump(spec.storage, "small", file, {})
    whole = file.read_bytes()
    with zipfile.ZipFile(file) as members:
        manifest = json.loads(members.read("manifest.json"))
        trials = members.read("trials.parquet")

    def altered(**more: Any) -> Path:
        return changed(file, "manifest.json", json.dumps({**manifest, **more}).encode())

    cut = tmp_path / "cut.zip"
    for broken, says in (
        (b"", "is damaged, or no archive of autorl"),
        (whole[: len(whole) // 2], "is damaged, or no archive of autorl"),
        (whole[:1000] + b"\xff" * 50 + whole[1050:], "is damaged, or no archive of autorl"),
    ):
        cut.write_bytes(broken)
        with pytest.raises(StorageError, match=says):
            archive.load(cut, target)
    for other, says in (
        (altered(format=archive.FORMAT + 1), "newer autorl .format 2"),
        (altered(tables="9999"), "newer autorl .* tables 9999; .*upgrade autorl"),
        (altered(study="large"), "it holds another study than it says"),
        (altered(digest="0"), "it does not hold what was dumped"),
        (
            changed(file, "trials.parquet", trials[:-9] + b"x" * 9, sealed=False),
            "trials.parquet is not what was written",
        ),
        (changed(file, "trials.parquet", b"PAR1"), "is damaged"),
        (tmp_path / "none.zip", "cannot be read: No such file"),
    ):
        with pytest.raises(StorageError, match=says):
            archive.load(other, target)
    assert not (tmp_path / "other.db").exists()
    assert archive.load(file, target) == "small"
    before = rows(target)
    with pytest.raises(StorageError, match="holds a study 'small' already"):
        archive.load(file, target)
    assert rows(target) == before


def test_a_study_of_optunas_own_is_left_alone(tmp_path: Path) -> None:
    conduct(load(tmp_path, "budget.trials=2"), ignore)
    file, target = tmp_path / "small.zip", f"sqlite:///{tmp_path}/other.db"
    archive.dump(f"sqlite:///{tmp_path}/study.db", "small", file, {})
    theirs = optuna.create_study(study_name="small", storage=target)
    theirs.optimize(lambda trial: trial.suggest_float("x", 0, 1), 1)
    with pytest.raises(StorageError, match="holds a study 'small' of Optuna's own"):
        archive.load(file, target)
    assert len(theirs.get_trials()) == 1
    theirs._storage._backend.engine.dispose()  # type: ignore[attr-defined]
    with Reader(target) as reader:
        assert reader.studies() == []


def test_a_study_in_training_is_not_dumped(tmp_path: Path) -> None:
    spec, file = load(tmp_path), tmp_path / "small.zip"
    with Book(spec, 1, print), pytest.raises(StorageError, match="autorl stop small"):
        archive.dump(spec.storage, "small", file, {})
    with pytest.raises(StorageError, match="cannot be written"):
        archive.dump(spec.storage, "small", tmp_path / "no" / "small.zip", {})
    for folder in (Path(), Path("/"), tmp_path):
        with pytest.raises(StorageError, match="is a folder; name a file in it"):
            archive.dump(spec.storage, "small", folder, {})
    assert not list(tmp_path.glob("*.zip*"))


def test_an_archive_of_older_tables_is_brought_up_to_date(tmp_path: Path) -> None:
    spec = states.make("finished", tmp_path)
    file, target = tmp_path / "small.zip", f"sqlite:///{tmp_path}/other.db"
    archive.dump(spec.storage, "small", file, {})
    later = {"study.parquet": ["front"], "trials.parquet": ["values", "verdict"], "runs.parquet": ["scores"]}
    for name, columns in later.items():
        with zipfile.ZipFile(file) as members:
            frame = pd.read_parquet(io.BytesIO(members.read(name)), dtype_backend="pyarrow").drop(columns=columns)
        buffer = io.BytesIO()
        frame.to_parquet(buffer)
        file = changed(file, name, buffer.getvalue()).rename(tmp_path / f"without-{name}.zip")
    with zipfile.ZipFile(file) as members:
        manifest = json.loads(members.read("manifest.json"))
    old = changed(file, "manifest.json", json.dumps({**manifest, "tables": "0004"}).encode())
    archive.load(old, target)
    assert digested(target) == digested(spec.storage)
