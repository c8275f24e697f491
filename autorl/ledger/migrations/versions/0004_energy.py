"""What a run took of energy, where the machine tells."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; of the runs so far nobody knows."""
    with op.batch_alter_table("autorl_run") as run:
        run.add_column(sa.Column("energy_joules", sa.Float))
