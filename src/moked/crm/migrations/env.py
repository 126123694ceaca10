"""Alembic's environment: `moked.crm.db.migrate` hands in a connection that already holds the lock and a transaction."""

import importlib
import pkgutil

from alembic import context

from moked import crm
from moked.crm.models import Base

for module in pkgutil.iter_modules(crm.__path__):  # tables are the metadata's once their module is imported
    if module.name.startswith("tables_"):
        importlib.import_module(f"moked.crm.{module.name}")

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
