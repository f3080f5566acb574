"""Many rows at once, as plain tuples: the statements that speed has shaped.

SQLAlchemy's own way costs twice the insert. SQLite gets many rows in one statement:
its driver gives up the interpreter's lock for each execution, and a busy event loop
would let it have that back once a turn, a row at a time. asyncpg sends all in one go.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

import orjson
from sqlalchemy import Column, Table
from sqlalchemy.ext.asyncio import AsyncConnection

Values = Sequence[object]

# Sizes of SQLite's statements: each is compiled once and kept by the driver. 256 rows
# of 34 columns stay below its 32,766 variables; each execution is a trip to its thread.
_SIZES: Final = (256, 128, 64, 32, 16, 8, 4, 2, 1)


# A list of texts, given as one parameter of JSON.
_GIVEN: Final = {
    "postgresql": "SELECT json_array_elements_text($1::text::json)",
    "sqlite": "SELECT value FROM json_each(?)",
}


async def present(
    connection: AsyncConnection, column: Column[Any], values: Sequence[str]
) -> set[str]:
    """Answer which of the values a column holds, in one parameter for all."""
    given, parameter = _GIVEN[connection.dialect.name], orjson.dumps(values).decode()
    found = await connection.exec_driver_sql(
        f"SELECT {column.name} FROM {column.table.name} "  # noqa: S608 -- names of ours
        f"WHERE {column.name} IN ({given})",
        (parameter,),
    )
    return set(found.scalars())


async def insert_new(
    connection: AsyncConnection, table: Table, rows: Sequence[Values]
) -> None:
    """Insert rows (in the order of the columns), leaving out those that are there."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        await connection.exec_driver_sql(
            _statement(table), [tuple(row) for row in rows]
        )
        return
    at = 0
    for size in _SIZES:
        while len(rows) - at >= size:
            values = tuple(chain.from_iterable(rows[at : at + size]))
            await connection.exec_driver_sql(_statement(table, size), values)
            at += size


@cache
def _statement(table: Table, size: int | None = None) -> str:
    """For SQLite with `size` rows in it; None: for PostgreSQL, executed for each row."""
    names = [column.name for column in table.c]
    if size is None:
        marks = [f"${number}" for number in range(1, len(names) + 1)]
        size = 1
    else:
        marks = ["?"] * len(names)
    row = f"({', '.join(marks)})"
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) "  # noqa: S608 -- names of ours
        f"VALUES {', '.join([row] * size)} ON CONFLICT DO NOTHING"
    )
