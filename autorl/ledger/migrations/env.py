"""What Alembic runs: the migrations, on the connection that `autorl.ledger.upgrade` gives it."""

from alembic import context

from autorl.ledger import tables
from autorl.ledger.database import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
