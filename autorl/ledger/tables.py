"""The ledger's tables and how its database is opened.

autorl's tables carry the prefix `autorl_`, so that Optuna's (`studies`, `trials`, …) can live in the same database and
be upgraded by Optuna's own tools. JSON is stored as text: floats survive the round trip to the bit.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import (
    URL,
    Column,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.exc import ArgumentError

from autorl.errors import StorageError

metadata = MetaData()

study = Table(
    "autorl_study",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("spec", Text, nullable=False),  # the resolved StudySpec, JSON
    Column("spec_hash", String(64), nullable=False),
    Column("state", String(20), nullable=False),  # tuning | validation | test | finished
    Column("winner", Integer),  # trial number, once chosen
    Column("versions", Text, nullable=False),
    Column("hardware", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float),
    Column("lease_epoch", Integer, nullable=False, default=0),
    Column("lease_owner", Text),
    Column("lease_heartbeat", Float),
)

trial = Table(
    "autorl_trial",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("autorl_study.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("origin", String(20), nullable=False),  # default | optimizer
    Column("params", Text, nullable=False),  # values, as training uses them
    Column("coordinates", Text, nullable=False),  # search coordinates, as the optimizer proposed them
    Column("recipe", Text, nullable=False),
    Column("seen", Text, nullable=False),  # finished trials the proposal knew, as ranges
    Column("state", String(20), nullable=False),  # running | completed | failed
    Column("value", Float),
    Column("mirrored", Integer, nullable=False, default=0),  # written as an Optuna trial
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float),
    UniqueConstraint("study_id", "number"),
)

run = Table(
    "autorl_run",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trial_id", ForeignKey("autorl_trial.id", ondelete="CASCADE"), nullable=False),
    Column("phase", String(20), nullable=False),
    Column("seed", Integer, nullable=False),
    Column("state", String(20), nullable=False),  # waiting | running | completed | failed
    Column("attempts", Integer, nullable=False, default=0),
    Column("env_steps", Integer, nullable=False, default=0),
    Column("score", Float),
    Column("error_class", String(20)),
    Column("error", Text),
    Column("notes", Text, nullable=False, default="[]"),
    Column("wall_seconds", Float, nullable=False, default=0.0),
    Column("cpu_seconds", Float, nullable=False, default=0.0),
    Column("started_at", Float),
    Column("finished_at", Float),
    UniqueConstraint("trial_id", "phase", "seed"),
)

curve = Table(
    "autorl_curve",
    metadata,
    Column("run_id", ForeignKey("autorl_run.id", ondelete="CASCADE"), primary_key=True),
    Column("first_point", Integer, primary_key=True),
    Column("points", Text, nullable=False),  # JSON list of points
)

log = Table(
    "autorl_event",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("autorl_study.id", ondelete="CASCADE"), nullable=False),
    Column("at", Float, nullable=False),
    Column("kind", String(30), nullable=False),
    Column("detail", Text, nullable=False),
    Index("autorl_event_by_study", "study_id", "id"),
)


def parse_url(url: str) -> URL:
    """Parse a database URL.

    Raises:
        StorageError: it is none, or names a database that is not supported.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StorageError(
            f"'{url}' is no database URL; write sqlite:///file.db or postgresql+psycopg://user@host/name"
        ) from None
    if parsed.get_backend_name() != "sqlite":
        raise StorageError(f"'{parsed.get_backend_name()}' databases are not supported yet; use sqlite:///file.db")
    if not parsed.database or parsed.database == ":memory:":
        raise StorageError("an in-memory database would lose the study; use sqlite:///file.db")
    if set(parsed.database) & set("{}?%"):
        raise StorageError(f"'{parsed.database}': a database file's name may not contain {{ }} ? %")
    return parsed


def files_folder(url: str) -> Path:
    """Return the folder for what a database cannot hold (checkpoints, results on their way), beside the database."""
    database = parse_url(url).database
    assert database is not None
    return Path(database).with_suffix(".files")


def open_for_writing(url: str) -> Engine:
    """Open the database, create what is missing, and make every transaction take SQLite's write lock at its start.

    A transaction that reads before it writes would otherwise fail with "database is locked" as soon as another writer
    comes between.

    Raises:
        StorageError: the database cannot be opened.
    """
    parsed = parse_url(url)
    assert parsed.database is not None
    folder = Path(parsed.database).parent
    if not folder.is_dir():
        raise StorageError(f"{url}: the folder '{folder}' does not exist")
    engine = create_engine(parsed, connect_args={"timeout": 60})

    @event.listens_for(engine, "connect")
    def _prepare(connection, _record):  # type: ignore[no-untyped-def]
        connection.isolation_level = None  # SQLAlchemy's `begin` below, not the driver, starts transactions
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _immediate(connection):  # type: ignore[no-untyped-def]
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    metadata.create_all(engine)
    return engine


def open_for_reading(url: str) -> Engine:
    """Open an existing database read-only.

    Raises:
        StorageError: there is no such database.
    """
    parsed = parse_url(url)
    assert parsed.database is not None
    path = Path(parsed.database)
    if not path.is_file():
        raise StorageError(f"{url}: no database there yet; `autorl run` creates it, or name another with --storage")
    return create_engine(f"sqlite:///file:{path.resolve()}?mode=ro&uri=true", connect_args={"timeout": 60})
