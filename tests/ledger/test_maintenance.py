"""Databases are checked, brought up to date and copied, and nothing in them is lost."""

from __future__ import annotations

import json
from pathlib import Path

import databases
import optuna
import pytest
import states
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from small_study import ignore, load
from sqlalchemy import create_engine

from autorl.engine.conductor import conduct
from autorl.errors import StorageError
from autorl.ledger import tables
from autorl.ledger.book import Book
from autorl.ledger.database import VERSION_TABLE, parse_url
from autorl.ledger.digest import digest
from autorl.ledger.maintenance import check, copy, upgrade
from autorl.ledger.mirror import optuna_storage
from autorl.ledger.reader import Reader
from autorl.ledger.records import Told

# What the first version wrote: a study with a finished and a half-finished trial.
FIRST = (Path(__file__).parent / "first_version.sql").read_text()


@pytest.fixture(params=databases.KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return databases.url(request.param, tmp_path)


@pytest.fixture
def old(url: str) -> str:
    for statement in FIRST.split(";\n"):
        if statement.strip():
            databases.execute(url, statement.replace(":", r"\:"))
    return url


def digests(url: str) -> dict[str, str]:
    with Reader(url) as reader:
        return {study.name: digest(reader, study.name) for study in reader.studies()}


def test_old_tables_are_named_and_upgraded(old: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"older autorl \(tables 0001, .*\); run: autorl storage upgrade"):
        Reader(old)
    before, now, kept = upgrade(old)
    assert (before, now) == ("0001", tables.REVISION)
    assert (kept is not None) == old.startswith("sqlite")
    if kept is not None:
        assert databases.execute(f"sqlite:///{kept}", "SELECT name, lease_epoch FROM autorl_study") == [("old", 3)]
    with Reader(old) as reader:
        trials, runs = reader.trials("old"), reader.runs("old")
        assert [(t.number, t.value, t.env_steps, t.seeds) for t in trials] == [
            (0, 0.5, 128, 1),
            (1, 0.75, 128, 1),
            (2, None, 0, 0),
        ]
        told = [(p.number, p.trial, p.seeds, p.until, p.known, dict(p.told)) for p in reader.proposals("old")]
        assert told == [
            (0, 0, (0,), 128, 0, {}),
            (1, 1, (0,), 128, 0, {}),
            (2, 2, (0,), 128, 2, {0: Told(0.5), 1: Told(0.75)}),
        ]
        assert [(r.trial, r.seed, r.state, r.score, r.tries) for r in runs][-1] == (2, 0, "running", None, ())
        assert len(reader.curves("old", [0, 1])[0].points) == 2
    assert upgrade(old) == (tables.REVISION, tables.REVISION, None)


def test_migrations_lead_to_the_tables_that_the_code_uses(old: str) -> None:
    upgrade(old)
    engine = create_engine(parse_url(old))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()
    scripts = Config()
    scripts.set_main_option("script_location", str(Path(tables.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(scripts).get_current_head() == tables.REVISION


def test_tables_of_a_newer_version_are_refused(url: str, tmp_path: Path) -> None:
    Book(load(tmp_path, f"storage={url}"), 1, print).__exit__()
    databases.execute(url, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    for attempt in (
        lambda: Reader(url),
        lambda: Book(load(tmp_path, f"storage={url}"), 1, print),
        lambda: upgrade(url),
    ):
        with pytest.raises(StorageError, match="newer autorl"):
            attempt()


def test_optunas_own_version_is_left_alone(old: str) -> None:
    optuna_storage(old).engine.dispose()
    before = databases.execute(old, "SELECT version_num FROM alembic_version")
    upgrade(old)
    assert databases.execute(old, "SELECT version_num FROM alembic_version") == before


@pytest.mark.parametrize(
    ("url", "there"),
    [
        pytest.param(here, there, marks=pytest.mark.slow if here == there else ())
        for here in databases.KINDS
        for there in databases.KINDS
    ],
    indirect=["url"],
)
def test_a_copy_is_the_study_and_goes_on(url: str, there: str, tmp_path: Path) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    target = databases.url(there, elsewhere)
    conduct(load(tmp_path, f"storage={url}", "budget.trials=3"), ignore)
    assert copy(url, target, []) == ["small"]
    assert digests(target) == digests(url)
    a, b = (optuna.load_study(study_name="small", storage=optuna_storage(u)) for u in (url, target))
    assert [(t.params, t.values, t.user_attrs) for t in a.trials] == [
        (t.params, t.values, t.user_attrs) for t in b.trials
    ]
    for study in (a, b):
        study._storage._backend.engine.dispose()
    with pytest.raises(StorageError, match="holds a study 'small' already"):
        copy(url, target, ["small"])
    with pytest.raises(StorageError, match="no study 'tiny'"):
        copy(url, target, ["tiny"])
    for storage in (url, target):
        conduct(load(tmp_path, f"storage={storage}", "budget.trials=4"), ignore)
    assert digests(target) == digests(url)
    assert check(target) == check(url)


def test_a_study_in_training_is_not_copied(url: str, tmp_path: Path) -> None:
    with Book(load(tmp_path, f"storage={url}"), 1, print), pytest.raises(StorageError, match="autorl stop small"):
        copy(url, f"sqlite:///{tmp_path}/other.db", [])


@pytest.mark.parametrize("state", ["no_trial", "tuning", "paused", "finished", "all_failed", "test_failed"])
def test_what_the_writer_writes_is_whole(state: str, url: str, tmp_path: Path) -> None:
    states.make(state, tmp_path, f"storage={url}")
    problems, (found,) = check(url)
    assert (problems, found.problems) == ([], ())


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DELETE FROM autorl_curve", "trial 0, tuning seed 0 is completed without a score or a curve"),
        ("UPDATE autorl_run SET state = 'waiting' WHERE id = 1", "trial 0 is completed, but 1 of its runs"),
        ("UPDATE autorl_run SET state = 'running' WHERE id = 1", "autorl retry --stale small"),
        ("UPDATE autorl_trial SET value = NULL WHERE number = 0", "trial 0 is completed without a value"),
        ("UPDATE autorl_trial SET number = 7 WHERE number = 3", "not numbered without gaps"),
        ("UPDATE autorl_run SET seed = 99 WHERE id = 1", "runs on other tuning seeds"),
        (
            """UPDATE autorl_run SET checkpoint = '{"file": "a", "sha256": "b", "env_steps": 1}'
            WHERE state = 'waiting'""",
            "is not there; it will start anew",
        ),
    ],
)
def test_what_is_wrong_is_found(statement: str, says: str, url: str, tmp_path: Path) -> None:
    states.make("tuning", tmp_path, f"storage={url}")
    whole = digests(url)
    databases.execute(url, statement.replace(":", r"\:"))
    _, (found,) = check(url)
    assert any(says in problem for problem in found.problems), found.problems
    if "checkpoint" not in statement:
        assert {"small": found.digest} != whole


def test_what_is_no_database_is_neither_upgraded_nor_copied(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("no database " * 1000)
    for work in (upgrade, lambda url: copy(states.make("finished", tmp_path).storage, url, [])):
        with pytest.raises(StorageError, match="not a database"):
            work(f"sqlite:///{tmp_path}/notes.db")


def test_a_damaged_file_is_found(tmp_path: Path) -> None:
    spec = states.make("finished", tmp_path)
    file = tmp_path / "study.db"
    databases.execute(spec.storage, "PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4096] = b"\xff" * 4096
    file.write_bytes(content)
    problems, _ = check(spec.storage)
    assert problems


def test_a_digest_is_of_results_not_of_times(url: str, tmp_path: Path) -> None:
    states.make("finished", tmp_path, f"storage={url}")
    before = digests(url)
    databases.execute(url, "UPDATE autorl_run SET wall_seconds = 7, attempts = 3, started_at = 0, tries = '[]'")
    databases.execute(url, "UPDATE autorl_trial SET created_at = 0")
    assert digests(url) == before
    (row, *_) = databases.execute(url, "SELECT run_id, points FROM autorl_curve")
    points = json.loads(row[1])
    points[0]["metrics"]["return"] += 2**-40
    databases.execute(
        url, f"UPDATE autorl_curve SET points = '{json.dumps(points)}' WHERE run_id = {row[0]}".replace(":", r"\:")
    )
    assert digests(url) != before
