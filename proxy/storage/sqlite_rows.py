"""What the ledger stores in SQLite: many rows in one call, on a thread of its own.

Speed has shaped it (bench: CPU per request). The driver takes numbers and texts as they
are and asks around for anything else, a null most of all: a row's nulls are left out of
its statement, and rows with the same ones share it. It gives up the interpreter's lock
for each execution, and a busy event loop would let it have that back once a turn: so
there are many rows in a statement. The counterpart for PostgreSQL is bulk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, Final

import orjson
from sqlalchemy import Table

from proxy.storage import usage
from proxy.storage.tables import attempts, requests, usage_daily

Row = Sequence[Any]

_WIDTH: Final = len(requests.c)
# 64 rows of 34 columns stay below its 32,766 variables.
_SIZES: Final = (64, 8, 1)
_PRESENT: Final = "SELECT id FROM requests WHERE id IN (SELECT value FROM json_each(?))"


def store(connection: sqlite3.Connection, rows: Sequence[Row]) -> int:
    """Insert requests with their attempts, and add them to the day's usage, at once.

    What is there already is left out. Answers how many were new; raises what the
    driver raises, and then nothing has changed.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        if _insert(connection, requests, rows) < len(rows):  # they were here before
            connection.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")
            rows = _new(connection, rows)
            _insert(connection, requests, rows)
        _insert(connection, attempts, list(_attempts(rows)))
        _insert(connection, usage_daily, usage.grouped(rows), usage.ADD)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return len(rows)


def _attempts(rows: Iterable[Row]) -> Iterable[Row]:
    for row in rows:
        for number, attempt in enumerate(row[_WIDTH], 1):
            yield (row[0], number, *attempt)


def _new(connection: sqlite3.Connection, rows: Sequence[Row]) -> list[Row]:
    """Leave out what is stored already, and what comes twice in `rows`."""
    by_id = {row[0]: row for row in rows}
    for (request_id,) in connection.execute(
        _PRESENT, (orjson.dumps(list(by_id)).decode(),)
    ):
        del by_id[request_id]
    return list(by_id.values())


def _insert(
    connection: sqlite3.Connection,
    table: Table,
    rows: Sequence[Row],
    conflict: str = "DO NOTHING",
) -> int:
    """Answer how many rows were inserted or changed."""
    before = connection.total_changes
    groups: dict[tuple[type, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(map(type, row)), []).append(row)
    for types, group in groups.items():
        at = 0
        for size in _SIZES:
            while len(group) - at >= size:
                values, text = _statement(table, types, size, conflict)
                some = map(values, group[at : at + size])
                connection.execute(text, list(chain.from_iterable(some)))
                at += size
    return connection.total_changes - before


@lru_cache(maxsize=128)
def _statement(
    table: Table, types: tuple[type, ...], size: int, conflict: str
) -> tuple[Callable[[Row], tuple[Any, ...]], str]:
    """Answer how to take a row's values that are not null, and the text for them."""
    names = [column.name for column in table.c]
    there = [at for at, _ in enumerate(names) if types[at] is not type(None)]
    marks = f"({', '.join('?' * len(there))})"
    text = (
        f"INSERT INTO {table.name} ({', '.join(names[at] for at in there)}) "  # noqa: S608 -- names of ours
        f"VALUES {', '.join([marks] * size)} ON CONFLICT {conflict}"
    )
    return itemgetter(*there), text
