"""Which version the tables have, and how they come to the one this code expects.

A database that is empty gets the tables as they are (tests/contract/storage shows that
this is what the migrations make); one that is behind is migrated. Alembic costs 10 MiB
and a tenth of a second: it is imported only then.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, MetaData, Table, Text, inspect, select, text
from sqlalchemy import Connection as Blocking

from proxy.storage.connection import Connection
from proxy.storage.errors import NewerSchema
from proxy.storage.tables import metadata

# In their order; migrations/versions holds one file each.
REVISIONS: Final = ("0001", "0002")
EXPECTED: Final = REVISIONS[-1]

# Not Alembic's usual name: a database may be shared with a program that uses that.
VERSION_TABLE: Final = "local_ai_version"

# Any number, the same for all processes.
_LOCK: Final = 0x6C6F_6361_6C61_6900

_version: Final = Table(
    VERSION_TABLE, MetaData(), Column("version_num", Text, primary_key=True)
)


async def lock(connection: Connection) -> None:
    """Wait until no other process migrates; held until the transaction ends.

    SQLite's transactions that write exclude each other already.
    """
    if connection.engine == "postgresql":
        await connection.execute(
            text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK}
        )


async def current(connection: Connection) -> str | None:
    """Answer the version of the tables; None where there are none."""
    if not await connection.run(_has_version):
        return None
    version: str | None = await connection.scalar(select(_version.c.version_num))
    return version


async def bring_up_to_date(connection: Connection) -> None:
    """Raises NewerSchema where a later version of the program has been here."""
    version = await current(connection)
    if version == EXPECTED:
        return
    refuse_newer(version)
    if version is None:
        await connection.run(_make_all)
        return
    from proxy.storage import migrate

    await connection.run(migrate.upgrade)


def refuse_newer(version: str | None) -> None:
    if version is not None and version not in REVISIONS:
        raise NewerSchema(
            f"The database is at version {version}, this program knows {EXPECTED} and "
            "older: start the version that was used last, or restore a backup"
        )


def _has_version(connection: Blocking) -> bool:
    return inspect(connection).has_table(VERSION_TABLE)


def _make_all(connection: Blocking) -> None:
    metadata.create_all(connection, checkfirst=False)
    _version.metadata.create_all(connection, checkfirst=True)
    connection.execute(_version.insert(), {"version_num": EXPECTED})
