"""Usage by day: sums that grow as requests are stored, and stay when those are gone.

`add` runs in the transaction that inserts the requests, over those that were new, so a
batch that is replayed counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import ColumnElement, cast, func, select

from proxy.core import clock
from proxy.storage.bulk import insert
from proxy.storage.connection import Connection
from proxy.storage.database import Database
from proxy.storage.filters import EVERYTHING, Filter, day_of
from proxy.storage.tables import requests, usage_daily

# Rows between two turns of the event loop: two milliseconds or so.
_AT_ONCE: Final = 500
_DAY_US: Final = 86_400_000_000
_DIMENSIONS: Final = ("day", "tenant", "key_id", "model", "provider")
_SUMS: Final = tuple(
    column.name for column in usage_daily.c if column.name not in _DIMENSIONS
)

# A row of sums that is there already grows.
ADD: Final = f"({', '.join(_DIMENSIONS)}) DO UPDATE SET " + ", ".join(
    f"{name} = usage_daily.{name} + excluded.{name}" for name in _SUMS
)

_PLACES: Final = [column.name for column in requests.c]
_STARTED: Final = _PLACES.index("started_us")
_TENANT: Final = _PLACES.index("tenant")
_KEY: Final = _PLACES.index("key_id")
_MODEL: Final = _PLACES.index("model")
_PROVIDER: Final = _PLACES.index("provider")
_STATUS: Final = _PLACES.index("status")
_SOURCE: Final = _PLACES.index("usage_source")
_COST: Final = _PLACES.index("cost_usd")
_DURATION: Final = _PLACES.index("duration_us")
# The five kinds of tokens stand side by side, here as there.
_TOKENS: Final = slice(
    _PLACES.index("prompt_tokens"), _PLACES.index("reasoning_tokens") + 1
)


class UsageRow(Struct, frozen=True, kw_only=True):
    """Sums of one group; names by which nobody asked to group are empty.

    `estimated` and `unpriced` count the requests whose tokens are an estimate, or
    whose cost is not known and so not in `cost_usd`.
    """

    day: str = ""
    tenant: str = ""
    key_id: str = ""
    model: str = ""
    provider: str = ""
    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: int = 0
    unpriced: int = 0
    cost_usd: float = 0.0
    duration_us: int = 0


class Usage:
    """The table of usage by day. Every method raises DatabaseAway."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sums(
        self,
        which: Filter = EVERYTHING,
        by: Sequence[str] = ("day",),
        limit: int | None = None,
    ) -> tuple[UsageRow, ...]:
        """Add up by any of day, tenant, key_id, model, provider; in that order.

        Answers at most `limit` groups, unless it is None.
        """
        groups = [usage_daily.c[name] for name in _DIMENSIONS if name in by]
        statement = (
            select(*groups, *(_sum(name) for name in _SUMS))
            .where(*which.names(usage_daily), *_days(which))
            .group_by(*groups)
            .order_by(*groups)
            .limit(limit)
        )
        rows: list[UsageRow] = []
        async with self._database.reading() as connection:
            found = (await connection.execute(statement)).mappings()
            while some := found.fetchmany(_AT_ONCE):
                rows += [UsageRow(**row) for row in some if row["requests"]]
                await clock.sleep(0)
        return tuple(rows)

    async def spent_by_day(
        self, kind: str, name: str, since_day: str
    ) -> Mapping[str, float]:
        """Answer what a "tenant" or a "key", by its id, spent in USD on each day."""
        column = usage_daily.c["key_id" if kind == "key" else "tenant"]
        statement = (
            select(usage_daily.c.day, _sum("cost_usd"))
            .where(column == name, usage_daily.c.day >= since_day)
            .group_by(usage_daily.c.day)
        )
        async with self._database.reading() as connection:
            found = await connection.execute(statement)
            rows = [dict(row) for row in found.mappings()]
        return {row["day"]: row["cost_usd"] for row in rows if row["cost_usd"]}


async def add(connection: Connection, rows: Iterable[Sequence[Any]]) -> None:
    """Add requests, as tuples in the order of their columns, to the sums."""
    await insert(connection, usage_daily, grouped(rows), ADD)


def grouped(rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Rows of the table for some requests. Written out for speed: each request."""
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for row in rows:
        provider, cost, source = row[_PROVIDER], row[_COST], row[_SOURCE]
        # What reached no provider may name any model, and callers make up many.
        model = None if provider is None else row[_MODEL]
        names = (row[_STARTED] // _DAY_US, row[_TENANT], row[_KEY], model, provider)
        sums = groups.get(names)
        if sums is None:
            sums = groups[names] = [0] * len(_SUMS)
        sums[0] += 1
        sums[1] += row[_STATUS] >= 400
        for place, tokens in enumerate(row[_TOKENS], 2):
            if tokens is not None:
                sums[place] += tokens
        sums[7] += source == "estimate"
        if cost is not None:
            sums[9] += cost
        elif source != "none":
            sums[8] += 1
        sums[10] += row[_DURATION]
    # One order for all processes, or two could lock each other out.
    return sorted(
        (day_of(names[0] * _DAY_US), *(name or "" for name in names[1:]), *sums)
        for names, sums in groups.items()
    )


def _sum(name: str) -> ColumnElement[Any]:
    # PostgreSQL answers a sum of whole numbers as a decimal.
    column = usage_daily.c[name]
    return cast(func.coalesce(func.sum(column), 0), column.type).label(name)


def _days(which: Filter) -> Iterator[ColumnElement[bool]]:
    if which.since_us is not None:
        yield usage_daily.c.day >= day_of(which.since_us)
    if which.until_us is not None:
        yield usage_daily.c.day <= day_of(which.until_us - 1)
