"""Proposals apart from trials, since a trial may be continued and forked; how far trials and runs are to get."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add table and columns; so far each trial was one proposal, for all its tuning runs in full."""
    op.create_table(
        "autorl_proposal",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study_id", sa.Integer, sa.ForeignKey("autorl_study.id", ondelete="CASCADE"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("trial", sa.Integer, nullable=False),
        sa.Column("seeds", sa.Text, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("resume_from", sa.Integer),
        sa.Column("known", sa.Integer, nullable=False),
        sa.Column("told", sa.Text, nullable=False),
        sa.UniqueConstraint("study_id", "number"),
    )
    with op.batch_alter_table("autorl_study") as study:
        study.add_column(sa.Column("tuning_seconds", sa.Float, nullable=False, server_default="0"))
        study.add_column(sa.Column("ended", sa.Text))
    with op.batch_alter_table("autorl_trial") as trial:
        trial.add_column(sa.Column("forked_from", sa.Integer))
        trial.add_column(sa.Column("env_steps", sa.BigInteger, nullable=False, server_default="0"))
        trial.add_column(sa.Column("seeds", sa.Integer, nullable=False, server_default="0"))
        for name in ("posterior_mean", "posterior_low", "posterior_high"):
            trial.add_column(sa.Column(name, sa.Float))
    with op.batch_alter_table("autorl_run") as run:
        run.add_column(sa.Column("until", sa.BigInteger, nullable=False, server_default="0"))
    _fill(op.get_bind())
    with op.batch_alter_table("autorl_study") as study:
        study.alter_column("tuning_seconds", server_default=None)
    with op.batch_alter_table("autorl_trial") as trial:
        trial.drop_column("seen")
        trial.drop_column("told")
        trial.alter_column("env_steps", server_default=None)
        trial.alter_column("seeds", server_default=None)
    with op.batch_alter_table("autorl_run") as run:
        run.alter_column("until", server_default=None)


def _fill(connection: sa.Connection) -> None:
    trial = _table("trial", "id", "study_id", "number", "recipe", "seen", "told", "value", "env_steps", "seeds")
    run, proposal = (
        _table("run", "trial_id", "phase", "seed", "until"),
        _table("proposal", "study_id", "number", "trial", "seeds", "until", "known", "told"),
    )
    for row in connection.execute(sa.select(trial)).all():
        steps = json.loads(row.recipe)["env_steps"]
        of_trial = (run.c.trial_id == row.id, run.c.phase == "tuning")
        seeds = list(connection.execute(sa.select(run.c.seed).where(*of_trial).order_by(run.c.seed)).scalars())
        told = {number: [value, []] for number, value in json.loads(row.told).items()}
        connection.execute(
            sa.insert(proposal).values(
                study_id=row.study_id,
                number=row.number,
                trial=row.number,
                seeds=json.dumps(seeds),
                until=steps,
                known=int(row.seen.partition(":")[2]),
                told=json.dumps(told),
            )
        )
        connection.execute(sa.update(run).where(run.c.trial_id == row.id).values(until=steps))
        if row.value is not None:
            reached = {"env_steps": steps, "seeds": len(seeds)}
            connection.execute(sa.update(trial).where(trial.c.id == row.id).values(reached))


def _table(name: str, *columns: str) -> sa.TableClause:
    return sa.table(f"autorl_{name}", *(sa.column(column) for column in columns))
