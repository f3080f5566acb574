"""The ledger's rows: one for each request and one for each of its attempts.

Rows come in batches from the spool of `proxy.accounting`, maybe twice: what is there
already is left out, also of the sums by day. They leave by age, a slice at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import delete, func, select, tuple_

from proxy.storage import sqlite_rows, usage
from proxy.storage.bulk import insert, present
from proxy.storage.connection import Connection
from proxy.storage.database import Database
from proxy.storage.filters import Filter
from proxy.storage.tables import attempts, requests

# The order of the values in a row that is inserted; the list of its attempts follows.
COLUMNS: Final = tuple(str(column.name) for column in requests.c)

_WIDTH: Final = len(COLUMNS)
_STREAM: Final = COLUMNS.index("stream")


class AttemptRow(Struct, frozen=True, kw_only=True):
    """One try at one provider."""

    number: int
    provider: str
    upstream_model: str | None
    status: int | None
    code: str | None


class RequestRow(Struct, frozen=True, kw_only=True):
    """One request. Spans and `started_us` (since 1970) are microseconds."""

    id: str
    client_request_id: str | None
    parent_id: str | None
    depth: int
    started_us: int
    tenant: str
    key_id: str | None
    end_user: str | None
    endpoint: str
    dialect: str | None
    model: str | None
    provider: str | None
    upstream_model: str | None
    status: int
    code: str | None
    stream: bool
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    usage_source: str
    cost_usd: float | None
    cost: float | None
    currency: str | None
    duration_us: int
    first_token_us: int | None
    queue_us: int
    overhead_us: int | None
    cache: str | None
    bytes_in: int
    bytes_out: int
    user_agent: str | None
    source: str | None
    attempts: tuple[AttemptRow, ...] = ()


Cursor = tuple[int, str]
"""Where a page ended: `started_us` and id of its last row."""


class Requests:
    """The tables of requests and attempts. Every method raises DatabaseAway."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, rows: Sequence[Sequence[Any]]) -> int:
        """Insert rows (COLUMNS, then a list of attempts) unless they are there.

        An attempt is provider, upstream model, status and code. Answers how many rows
        were new. Raises DataRefused: none was inserted.
        """
        if self._database.engine == "sqlite":
            return await self._database.in_thread(partial(sqlite_rows.store, rows=rows))
        async with self._database.writing() as connection:
            new = await _new(connection, rows)
            await insert(connection, requests, [_typed(row) for row in new])
            await insert(
                connection,
                attempts,
                [
                    (row[0], number, *attempt)
                    for row in new
                    for number, attempt in enumerate(row[_WIDTH], 1)
                ],
            )
            await usage.add(connection, new)
        return len(new)

    async def get(self, request_id: str) -> RequestRow | None:
        async with self._database.reading() as connection:
            found = await connection.execute(
                select(requests).where(requests.c.id == request_id)
            )
            rows = await _with_attempts(connection, found.mappings().all())
        return rows[0] if rows else None

    async def page(
        self, which: Filter, limit: int, after: Cursor | None = None
    ) -> tuple[RequestRow, ...]:
        """Answer the latest first; `after` is the cursor of the page before."""
        at = (requests.c.started_us, requests.c.id)
        statement = select(requests).where(*which.names(requests))
        if which.client_request_id is not None:
            statement = statement.where(
                requests.c.client_request_id == which.client_request_id
            )
        if which.statuses is not None:
            statement = statement.where(requests.c.status.between(*which.statuses))
        if which.since_us is not None:
            statement = statement.where(requests.c.started_us >= which.since_us)
        if which.until_us is not None:
            statement = statement.where(requests.c.started_us < which.until_us)
        if after is not None:
            statement = statement.where(tuple_(*at) < tuple_(*after))
        statement = statement.order_by(*(column.desc() for column in at)).limit(limit)
        async with self._database.reading() as connection:
            found = await connection.execute(statement)
            return await _with_attempts(connection, found.mappings().all())

    async def count(self) -> int:
        async with self._database.reading() as connection:
            found = await connection.scalar(select(func.count()).select_from(requests))
        return found or 0

    async def delete_before(self, started_us: int, limit: int = 500) -> int:
        """Remove at most `limit` that began earlier, attempts too; answers how many."""
        async with self._database.writing() as connection:
            found = await connection.execute(
                select(requests.c.id)
                .where(requests.c.started_us < started_us)
                .order_by(requests.c.started_us)
                .limit(limit)
            )
            old = found.scalars().all()
            await connection.execute(
                delete(attempts).where(attempts.c.request_id.in_(old))
            )
            await connection.execute(delete(requests).where(requests.c.id.in_(old)))
        return len(old)


def _typed(row: Sequence[Any]) -> list[Any]:
    """PostgreSQL's driver takes no number for a truth."""
    values = list(row[:_WIDTH])
    values[_STREAM] = bool(values[_STREAM])
    return values


async def _new(
    connection: Connection, rows: Sequence[Sequence[Any]]
) -> list[Sequence[Any]]:
    """Leave out what is stored already, and what comes twice in `rows`."""
    by_id = {row[0]: row for row in rows}
    for request_id in await present(connection, requests.c.id, list(by_id)):
        del by_id[request_id]
    return list(by_id.values())


async def _with_attempts(
    connection: Connection, found: Sequence[Any]
) -> tuple[RequestRow, ...]:
    tried = await connection.execute(
        select(attempts)
        .where(attempts.c.request_id.in_([row["id"] for row in found]))
        .order_by(attempts.c.request_id, attempts.c.number)
    )
    by_request = {
        request_id: tuple(
            AttemptRow(**{k: v for k, v in row.items() if k != "request_id"})
            for row in group
        )
        for request_id, group in groupby(
            tried.mappings(), key=lambda row: row["request_id"]
        )
    }
    return tuple(
        RequestRow(**row, attempts=by_request.get(row["id"], ())) for row in found
    )
