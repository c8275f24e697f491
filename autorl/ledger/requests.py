"""What others ask of the engine that conducts a study, through the database: the only thing that they write."""

from __future__ import annotations

import time

from sqlalchemy import select, update

from autorl.errors import StorageError
from autorl.ledger import lease, tables
from autorl.ledger.database import open_for_writing, patiently, refuse_missing

_SECONDS = 60.0


def ask_to_stop(url: str, study: str) -> str:
    """Ask the engine of a study to save what is in training and stop.

    Returns:
        Who conducts it.

    Raises:
        StorageError: nobody does.
    """
    refuse_missing(url)
    engine = open_for_writing(url)

    def attempt() -> str:
        with engine.begin() as connection:
            row = connection.execute(select(tables.study).where(tables.study.c.name == study)).one_or_none()
            if row is None or lease.may_take(row.lease_owner, row.lease_heartbeat):
                raise StorageError(f"no engine conducts study '{study}'")
            connection.execute(update(tables.study).where(tables.study.c.id == row.id).values(stop_asked=time.time()))
            return lease.describe(row.lease_owner)

    try:
        return patiently(attempt, lambda _reason: None, _SECONDS)
    finally:
        engine.dispose()
