"""Databases: which URLs are taken, how each kind is opened, and what is an outage that passes."""

from __future__ import annotations

import hashlib
import math
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import QueuePool

from autorl.errors import StorageError
from autorl.ledger import tables

VERSION_TABLE = "autorl_version"
_BUSY_SECONDS = 5
_LONGEST_WAIT_SECONDS = 5.0
_TELL_SECONDS = 30.0
_EXAMPLES = "write sqlite:///file.db or postgresql://user@host/name"
# SQLite: somebody else writes, the disk is full or fails, the file is on a share that is away.
_SQLITE_OUTAGES = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_PROTOCOL")
# PostgreSQL, classes of SQLSTATE: connection, transaction rollback (deadlock), resources (disk full), the server's
# shutdown or its locks.
_POSTGRES_OUTAGES = ("08", "40", "53", "55P03", "57", "58")

T = TypeVar("T")


def parse_url(url: str) -> URL:
    """Parse a database URL.

    Raises:
        StorageError: it is none, or names a database that is not supported.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StorageError(f"'{url}' is no database URL; {_EXAMPLES}") from None
    if set(url) & set("{}\0\n"):
        raise StorageError(f"'{shown(parsed)}': a database URL may not contain {{ }} or control characters")
    kind = parsed.get_backend_name()
    if kind == "postgresql":
        if not parsed.database:
            raise StorageError(f"'{shown(parsed)}' names no database; {_EXAMPLES}")
        return parsed.set(drivername="postgresql+psycopg")
    if kind != "sqlite":
        raise StorageError(f"'{kind}' databases are not supported; {_EXAMPLES}")
    if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:"):
        raise StorageError("an in-memory database would lose the study; use sqlite:///file.db")
    if set(parsed.database) & set("?%") or parsed.query:
        raise StorageError(f"'{parsed.database}': a database file's name may not contain ? or %")
    return parsed


def shown(url: str | URL) -> str:
    """Return a database URL as it may be shown: without its passwords, for which PostgreSQL then looks elsewhere."""
    parsed = make_url(url)
    open_parts = URL.create(
        parsed.drivername, parsed.username, None, parsed.host, parsed.port, parsed.database, parsed.query
    ).difference_update_query(["password", "sslpassword"])
    return url if isinstance(url, str) and open_parts == parsed else open_parts.render_as_string()


def without_passwords(study: Mapping[str, Any]) -> dict[str, Any]:
    """Return a study, as a spec's `model_dump` has it, without the passwords of its databases."""
    optimizer = study["optimizer"]
    if (transfer := optimizer.get("transfer")) and transfer["storage"]:
        optimizer = {**optimizer, "transfer": {**transfer, "storage": shown(transfer["storage"])}}
    return {**study, "storage": shown(study["storage"]), "optimizer": optimizer}


def files_folder(url: str, asked: str | None = None) -> Path:
    """Return the folder for what a database cannot hold: checkpoints, and results on their way.

    Args:
        url: the database.
        asked: the folder that the study asks for, in which each database has one of its own; by default it is beside a
            database file, and for a database server in the user's state folder, so that it does not depend on where a
            command is started.
    """
    parsed = parse_url(url)
    assert parsed.database is not None
    if parsed.get_backend_name() == "sqlite":
        if asked is None:
            path = Path(parsed.database)  # of `runs.v1` and `runs.v2` each has its own
            return path.with_suffix(".files") if path.suffix == ".db" else Path(f"{path}.files")
        parsed = parsed.set(database=str(Path(parsed.database).absolute()))
    place = parsed.set(password=None).render_as_string().encode()
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return (Path(asked) if asked is not None else state / "autorl") / hashlib.sha256(place).hexdigest()[:16]


def open_for_writing(url: str) -> Engine:
    """Open the database, create the tables if it has none, and make transactions take the write lock at their start.

    A SQLite transaction that reads before it writes would otherwise fail with "database is locked" as soon as another
    writer comes between. PostgreSQL's lock the row of the study.

    Raises:
        StorageError: the database cannot be opened, or holds tables of another version.
    """
    engine = _sqlite(url) if parse_url(url).get_backend_name() == "sqlite" else _postgres(url)
    try:
        with engine.begin() as connection:
            if parse_url(url).get_backend_name() == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('autorl'))"))  # one creates the tables
            found = revision(connection)
            if found is None:
                tables.metadata.create_all(connection)
                connection.execute(text(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
                stamp = text(f"INSERT INTO {VERSION_TABLE} VALUES (:revision)")  # noqa: S608 - a constant
                connection.execute(stamp, {"revision": tables.REVISION})
            else:
                check_revision(found, url)
    except DBAPIError as error:
        engine.dispose()
        raise StorageError(f"{shown(url)}: {_said(error)}") from None
    except StorageError:
        engine.dispose()
        raise
    return engine


def open_for_reading(url: str) -> Engine:
    """Open an existing database so that nothing can be written.

    Raises:
        StorageError: there is no such database, it has no tables of autorl, or those of another version.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        assert parsed.database is not None
        refuse_missing(url)
        read_only = f"file:{quote(str(Path(parsed.database).resolve()))}?mode=ro"

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(read_only, uri=True, timeout=60, check_same_thread=False)

        # Within a URL of SQLAlchemy's the folder's name would be decoded once more.
        engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool)
    else:
        engine = _postgres(url, "-c default_transaction_read_only=on")
    try:
        with engine.connect() as connection:
            found = revision(connection)
    except DBAPIError as error:
        engine.dispose()
        raise StorageError(f"{shown(url)}: not a database of autorl that can be read ({_said(error)})") from None
    try:
        if found is None:
            raise StorageError(f"{shown(url)}: not a database of autorl")
        check_revision(found, url)
    except StorageError:
        engine.dispose()
        raise
    return engine


def refuse_missing(url: str) -> None:
    """Refuse a database file that is not there.

    Raises:
        StorageError: with what to do.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(str(parsed.database)).is_file():
        raise StorageError(f"{url}: no database there yet; `autorl run` creates it, or name another with --storage")


def revision(connection: Connection) -> str | None:
    """Return the version of autorl's tables in a database, or None if it has none."""
    existing = inspect(connection)
    if existing.has_table(VERSION_TABLE):
        found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a constant
        return str(found)
    return "0001" if existing.has_table(tables.study.name) else None  # the first version had no such table


def check_revision(found: str, url: str) -> None:
    """Refuse tables of another version.

    Raises:
        StorageError: with what to do.
    """
    if found < tables.REVISION:
        raise StorageError(
            f"{shown(url)} was written by an older autorl (tables {found}, these are {tables.REVISION}); "
            f"run: autorl storage upgrade --storage {shown(url)}"
        )
    if found > tables.REVISION:
        raise StorageError(
            f"{shown(url)} was written by a newer autorl (tables {found}, these are {tables.REVISION}); upgrade autorl"
        )


def patiently(attempt: Callable[[], T], waiting: Callable[[str], None], seconds: float = math.inf) -> T:
    """Do something with a database, again and again while it is out: locked, full, restarting or unreachable.

    Args:
        attempt: one whole transaction; since a connection may break while it commits, it must do nothing the second
            time.
        waiting: called with what is wrong when the wait begins, and every half minute.
        seconds: how long to try.

    Raises:
        StorageError: the database refuses for a reason that waiting does not change, or for too long.
    """
    delay, told, deadline = 0.1, -math.inf, time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except DBAPIError as error:
            reason = _said(error)
            if not _passes(error) or time.monotonic() > deadline:
                raise StorageError(f"the database refuses: {reason}") from error
        if time.monotonic() - told > _TELL_SECONDS:
            waiting(f"the database does not answer ({reason}); trying again")
            told = time.monotonic()
        time.sleep(delay)
        delay = min(2 * delay, _LONGEST_WAIT_SECONDS)


def _passes(error: DBAPIError) -> bool:
    """Say whether an error is an outage, which passes, rather than a refusal."""
    name = getattr(error.orig, "sqlite_errorname", None)
    if name is not None:
        return str(name).startswith(_SQLITE_OUTAGES)
    state = getattr(error.orig, "sqlstate", None)
    return str(state).startswith(_POSTGRES_OUTAGES) if state else error.connection_invalidated or _unconnected(error)


def _unconnected(error: DBAPIError) -> bool:
    # psycopg gives no SQLSTATE when there is no server to give one.
    return type(error.orig).__module__.startswith("psycopg") and type(error.orig).__name__ in (
        "OperationalError",
        "InterfaceError",
        "ConnectionTimeout",
    )


def _said(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__


def _sqlite(url: str) -> Engine:
    parsed = parse_url(url)
    assert parsed.database is not None
    folder = Path(parsed.database).parent
    if not folder.is_dir():
        raise StorageError(f"{url}: the folder '{folder}' does not exist")
    engine = create_engine(parsed, connect_args={"timeout": _BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _prepare(connection, _record):  # type: ignore[no-untyped-def]
        connection.isolation_level = None  # SQLAlchemy's `begin` below, not the driver, starts transactions
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _immediate(connection):  # type: ignore[no-untyped-def]
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _postgres(url: str, options: str = "") -> Engine:
    arguments = {
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "tcp_user_timeout": 15_000,
        "options": f"-c lock_timeout=10000 {options}",
    }
    try:
        return create_engine(parse_url(url), pool_pre_ping=True, connect_args=arguments)
    except ImportError:
        raise StorageError("PostgreSQL needs psycopg; run: pip install 'autorl[postgres]'") from None
