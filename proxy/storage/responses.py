"""Responses objects as they are kept: who made one, for whom, and what was in it.

An id belongs to the tenant that had it first; to every other it does not exist.
`input` and `output` are JSON, as they came; None where only the maker is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from sqlalchemy import delete, select

from proxy.storage.bulk import insert, insert_one
from proxy.storage.database import Database
from proxy.storage.tables import responses

_REPLACE: Final = (
    "(id) DO UPDATE SET "
    + ", ".join(f"{c.name} = excluded.{c.name}" for c in responses.c if c.name != "id")
    + " WHERE responses.tenant = excluded.tenant"
)


class ResponseRow(Struct, frozen=True, kw_only=True):
    """One response. `created_at` is seconds since 1970."""

    id: str
    tenant: str
    provider: str
    created_at: float
    model: str | None = None
    previous_id: str | None = None
    input: bytes | None = None
    output: bytes | None = None


class Responses:
    """The table of responses. Every method raises DatabaseAway."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, row: ResponseRow) -> bool:
        """Keep it, in place of what the same tenant kept under this id.

        False: the id is another tenant's, and nothing was changed.
        """
        values = [getattr(row, column.name) for column in responses.c]
        async with self._database.writing() as connection:
            returning = f"{_REPLACE} RETURNING id"
            kept = await insert_one(connection, responses, values, returning)
        return kept is not None

    async def put_all(self, rows: Sequence[ResponseRow]) -> None:
        """Keep many, each as `put` does; which ids are another tenant's is not told."""
        names = [column.name for column in responses.c]
        values = [[getattr(row, name) for name in names] for row in rows]
        async with self._database.writing() as connection:
            await insert(connection, responses, values, _REPLACE)

    async def get(self, response_id: str, tenant: str) -> ResponseRow | None:
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(responses).where(
                    responses.c.id == response_id, responses.c.tenant == tenant
                )
            )
            row = found.mappings().one_or_none()
        return None if row is None else ResponseRow(**row)

    async def delete(self, response_id: str, tenant: str) -> bool:
        """False: there was none of this tenant's."""
        async with self._database.writing() as connection:
            gone = await connection.execute(
                delete(responses).where(
                    responses.c.id == response_id, responses.c.tenant == tenant
                )
            )
            return gone.rowcount > 0

    async def delete_before(self, created_at: float, limit: int = 500) -> int:
        """Remove at most `limit` of those made earlier; answers how many."""
        old = (
            select(responses.c.id)
            .where(responses.c.created_at < created_at)
            .order_by(responses.c.created_at)
            .limit(limit)
        )
        async with self._database.writing() as connection:
            gone = await connection.execute(
                delete(responses).where(responses.c.id.in_(old))
            )
            return gone.rowcount
