"""Alembic's environment: `moked.crm.db.migrate` hands in a connection that already holds the lock and a transaction."""

from alembic import context

from moked.crm import tables_whatsapp  # noqa: F401  (its tables belong to the metadata)
from moked.crm.models import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
