"""Bodies of requests and replies, by the id of the request whose record they go with."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import delete, select

from proxy.storage.bulk import insert
from proxy.storage.database import Database
from proxy.storage.tables import bodies


class BodyRow(Struct, frozen=True, kw_only=True):
    """What was asked and answered, as far as it is kept; `_bytes` is all there was.

    `kept_at` is seconds since 1970.
    """

    request_id: str
    kept_at: float
    request: bytes
    request_bytes: int
    reply: bytes
    reply_bytes: int


class Bodies:
    """The table of bodies. Every method raises DatabaseAway."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put_all(self, rows: Sequence[BodyRow]) -> None:
        """Keep them, but for those that are there. Raises DataRefused: none is kept."""
        names = [column.name for column in bodies.c]
        values = [[getattr(row, name) for name in names] for row in rows]
        async with self._database.writing() as connection:
            await insert(connection, bodies, values)

    async def get(self, request_id: str) -> BodyRow | None:
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(bodies).where(bodies.c.request_id == request_id)
            )
            row = found.mappings().one_or_none()
        return None if row is None else BodyRow(**row)

    async def delete_before(self, kept_at: float, limit: int = 500) -> int:
        """Remove at most `limit` of those kept earlier; answers how many."""
        old = (
            select(bodies.c.request_id)
            .where(bodies.c.kept_at < kept_at)
            .order_by(bodies.c.kept_at)
            .limit(limit)
        )
        async with self._database.writing() as connection:
            gone = await connection.execute(
                delete(bodies).where(bodies.c.request_id.in_(old))
            )
            return gone.rowcount
