"""Several objectives, and constraints."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns; studies so far have one objective and no constraint."""
    with op.batch_alter_table("autorl_study") as study:
        study.add_column(sa.Column("front", sa.Text))
    with op.batch_alter_table("autorl_trial") as trial:
        trial.add_column(sa.Column("values", sa.Text))
        trial.add_column(sa.Column("verdict", sa.Text))
    with op.batch_alter_table("autorl_run") as run:
        run.add_column(sa.Column("scores", sa.Text))
