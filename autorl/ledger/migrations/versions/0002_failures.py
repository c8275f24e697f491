"""Failed attempts, checkpoints with their hash, what each proposal was told, pauses and requests to stop."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns, and work out what each recorded proposal had been told."""
    with op.batch_alter_table("autorl_study") as study:
        study.add_column(sa.Column("paused", sa.Text))
        study.add_column(sa.Column("stop_asked", sa.Float))
    with op.batch_alter_table("autorl_trial") as trial:
        trial.add_column(sa.Column("told", sa.Text, nullable=False, server_default="{}"))
        trial.drop_column("mirrored")
    with op.batch_alter_table("autorl_run") as run:
        run.add_column(sa.Column("tries", sa.Text, nullable=False, server_default="[]"))
        run.add_column(sa.Column("checkpoint", sa.Text))
        run.alter_column("seed", type_=sa.BigInteger, existing_nullable=False)
        run.alter_column("env_steps", type_=sa.BigInteger, existing_nullable=False)
    _fill_told(op.get_bind())
    with op.batch_alter_table("autorl_trial") as trial:
        trial.alter_column("told", server_default=None)
    with op.batch_alter_table("autorl_run") as run:
        run.alter_column("tries", server_default=None)


def _fill_told(connection: sa.Connection) -> None:
    """Give each trial the values of those that it saw and the trial before it had not: `seen` is `0:n`."""
    trial = sa.table("autorl_trial", *(sa.column(c) for c in ("id", "study_id", "number", "seen", "value", "told")))
    rows = connection.execute(sa.select(trial).order_by(trial.c.study_id, trial.c.number)).all()
    values = {(row.study_id, row.number): row.value for row in rows}
    through: dict[int, int] = {}
    for row in rows:
        first, end = through.get(row.study_id, 0), int(row.seen.partition(":")[2])
        through[row.study_id] = max(first, end)
        told = {number: values[row.study_id, number] for number in range(first, end)}
        if told:
            connection.execute(sa.update(trial).where(trial.c.id == row.id).values(told=json.dumps(told)))
