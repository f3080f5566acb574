"""Rows as plain tuples, many at once: the statements that speed has shaped.

SQLAlchemy's own way costs twice the insert. SQLite gets many rows in one statement:
its driver gives up the interpreter's lock for each execution, and a busy event loop
would let it have that back once a turn, a row at a time. asyncpg sends all in one go.
What follows ON CONFLICT reads the same on both engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

import orjson
from sqlalchemy import Column, Table

from proxy.storage.connection import Connection

Values = Sequence[object]

LEAVE_OUT: Final = "DO NOTHING"

# Sizes of SQLite's statements: each is compiled once and kept by the driver. 256 rows
# of 34 columns stay below its 32,766 variables; each execution is a trip to its thread.
_SIZES: Final = (256, 128, 64, 32, 16, 8, 4, 2, 1)

# A list of texts, given as one parameter of JSON.
_GIVEN: Final = {
    "postgresql": "SELECT json_array_elements_text($1::text::json)",
    "sqlite": "SELECT value FROM json_each(?)",
}


async def present(
    connection: Connection, column: Column[Any], values: Sequence[str]
) -> set[str]:
    """Answer which of the values a column holds, in one parameter for all."""
    found = await connection.execute_text(
        f"SELECT {column.name} FROM {column.table.name} "  # noqa: S608 -- names of ours
        f"WHERE {column.name} IN ({_GIVEN[connection.engine]})",
        (orjson.dumps(values).decode(),),
    )
    return set(found.scalars())


async def insert(
    connection: Connection,
    table: Table,
    rows: Sequence[Values],
    conflict: str = LEAVE_OUT,
) -> None:
    """Insert rows, whose values are in the order of the columns.

    `conflict` is what becomes of one whose key is there already. Where it changes
    that, no key may come twice.
    """
    if not rows:
        return
    if connection.engine == "postgresql":
        await connection.execute_text(
            _numbered(table, conflict), [tuple(row) for row in rows]
        )
        return
    at = 0
    for size in _SIZES:
        while len(rows) - at >= size:
            values = tuple(chain.from_iterable(rows[at : at + size]))
            await connection.execute_text(_marked(table, conflict, size), values)
            at += size


async def insert_one(
    connection: Connection, table: Table, row: Values, conflict: str
) -> Any:
    """Insert a row and answer what `conflict` says with RETURNING; None if nothing."""
    postgresql = connection.engine == "postgresql"
    text = _numbered(table, conflict) if postgresql else _marked(table, conflict, 1)
    return (await connection.execute_text(text, tuple(row))).scalar_one_or_none()


@cache
def _marked(table: Table, conflict: str, size: int) -> str:
    row = f"({', '.join('?' * len(table.c))})"
    return _text(table, ", ".join([row] * size), conflict)


@cache
def _numbered(table: Table, conflict: str) -> str:
    marks = (f"${number}" for number in range(1, len(table.c) + 1))
    return _text(table, f"({', '.join(marks)})", conflict)


def _text(table: Table, values: str, conflict: str) -> str:
    names = ", ".join(column.name for column in table.c)
    return (
        f"INSERT INTO {table.name} ({names}) "  # noqa: S608 -- names of ours
        f"VALUES {values} ON CONFLICT {conflict}"
    )
