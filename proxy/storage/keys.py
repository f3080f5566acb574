"""Keys as they are kept: read whole into memory by `auth`, changed by the owner.

A change is seen by other processes through one number: `revision` grows with each, in
the order of their commits, so asking for what came since misses nothing. When a key
was last used is written without one, in batches: nobody has to hear of it. Rows are
never removed, as the ledger names them; a key that is revoked stays so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import orjson
from sqlalchemy import RowMapping, bindparam, insert, or_, select, update

from proxy.core.keys import KeyRow
from proxy.storage.bulk import insert_one
from proxy.storage.connection import Connection
from proxy.storage.database import Database
from proxy.storage.tables import keys, revisions

_NAME: Final = "keys"
_REVISION: Final = "SELECT value FROM revisions WHERE name = ?"
_COUNT_ON: Final = "(name) DO UPDATE SET value = revisions.value + 1 RETURNING value"
_LISTS: Final = ("scopes", "models")


class Keys:
    """The table of keys. Every method raises DatabaseAway."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, row: KeyRow) -> KeyRow:
        """Answer it with its revision; raises DataRefused if id or hash exist."""
        async with self._database.writing() as connection:
            row = replace(row, revision=await _next_revision(connection))
            await connection.execute(insert(keys), _columns(row))
        return row

    async def replace(self, row: KeyRow) -> KeyRow | None:
        """Write a key that was read before; None if it has changed since, or is new.

        When it was last used stays as it is.
        """
        async with self._database.writing() as connection:
            values = _columns(replace(row, revision=await _next_revision(connection)))
            del values["last_used_at"]
            changed = await connection.execute(
                update(keys)
                .where(keys.c.id == row.id, keys.c.revision == row.revision)
                .values(values)
                .returning(*keys.c)
            )
            found = changed.mappings().one_or_none()
        return None if found is None else _row(found)

    async def get(self, key_id: str) -> KeyRow | None:
        async with self._database.reading() as connection:
            found = await connection.execute(select(keys).where(keys.c.id == key_id))
            one = found.mappings().one_or_none()
        return None if one is None else _row(one)

    async def all(self) -> tuple[KeyRow, ...]:
        """Answer every key, the oldest first."""
        return await self.changed_since(0)

    async def changed_since(self, revision: int) -> tuple[KeyRow, ...]:
        """Answer what was added or changed after `revision`, in the order of creation."""
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(keys)
                .where(keys.c.revision > revision)
                .order_by(keys.c.created_at, keys.c.id)
            )
            return tuple(_row(row) for row in found.mappings())

    async def revision(self) -> int:
        """Answer the number of the last change; cheap enough to be asked each second."""
        if self._database.engine == "sqlite":  # one hop to a thread instead of eight
            return await self._database.in_thread(_revision)
        async with self._database.reading() as connection:
            value = await connection.scalar(
                select(revisions.c.value).where(revisions.c.name == _NAME)
            )
        return value or 0

    async def touch(self, used: Mapping[str, float]) -> None:
        """Note when keys were last used, by id; earlier moments are left out."""
        if not used:
            return
        at = bindparam("at", type_=keys.c.last_used_at.type)
        statement = (
            update(keys)
            .where(
                keys.c.id == bindparam("key_id"),
                or_(keys.c.last_used_at.is_(None), keys.c.last_used_at < at),
            )
            .values(last_used_at=at)
        )
        async with self._database.writing() as connection:
            await connection.execute(
                statement,
                # In one order everywhere: two processes could lock each other out.
                [{"key_id": id_, "at": used[id_]} for id_ in sorted(used)],
            )


async def _next_revision(connection: Connection) -> int:
    """Count a change; the row's lock, held to the commit, puts changes in order."""
    value: int = await insert_one(connection, revisions, (_NAME, 1), _COUNT_ON)
    return value


def _columns(row: KeyRow) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in (column.name for column in keys.c)}
    for name in (*_LISTS, "metadata"):
        value = values[name]
        values[name] = orjson.dumps(
            list(value) if name in _LISTS else dict(value)
        ).decode()
    return values


def _row(found: RowMapping) -> KeyRow:
    values: dict[str, Any] = {str(name): value for name, value in found.items()}
    for name in _LISTS:
        values[name] = tuple(orjson.loads(values[name]))
    values["metadata"] = MappingProxyType(orjson.loads(values["metadata"]))
    return KeyRow(**values)


def _revision(connection: sqlite3.Connection) -> int:
    found = connection.execute(_REVISION, (_NAME,)).fetchone()
    return found[0] if found else 0
