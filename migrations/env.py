"""Where Alembic meets our tables: it uses the connection that it is handed.

`proxy.storage.migrate` runs it; there is no alembic.ini and no command of its own.
"""

from __future__ import annotations

from typing import Any

from alembic import context

from proxy.storage.schema import VERSION_TABLE
from proxy.storage.tables import metadata


def is_ours(_: Any, name: str | None, kind: str, reflected: bool, __: Any) -> bool:
    """Other programs may have tables in the same database."""
    return kind != "table" or not reflected or name in metadata.tables


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    include_object=is_ours,
    transactional_ddl=True,
    # SQLite changes a column by making the table anew.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
