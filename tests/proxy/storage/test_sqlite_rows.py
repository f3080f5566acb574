from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.storage.database import Database
from proxy.storage.sqlite_rows import store
from tests.parts.ledger_rows import row, rows


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[sqlite3.Connection]:
    async with Database(data_dir=tmp_path) as database:
        await database.prepare()
        opened = sqlite3.connect(str(database.name), isolation_level=None)
        yield opened
        opened.close()


def asked(connection: sqlite3.Connection, text: str) -> Any:
    return connection.execute(text).fetchone()


@pytest.mark.parametrize("count", [1, 7, 8, 63, 64, 65, 300])
async def test_rows_of_all_shapes_are_stored_as_they_are(
    connection: sqlite3.Connection, count: int
) -> None:
    codes = [None, "rate_limited", "upstream_error"]
    some = [
        row(f"req_{n:04}", code=codes[n % 3], cost_usd=None if n % 2 else 0.5)
        for n in range(count)
    ]
    assert store(connection, some) == count
    found = connection.execute("SELECT * FROM requests ORDER BY id").fetchall()
    assert found == [tuple(one[:-1]) for one in some]
    assert asked(connection, "SELECT count(*) FROM attempts") == (count,)


async def test_what_comes_again_is_left_out_of_the_sums_too(
    connection: sqlite3.Connection,
) -> None:
    assert store(connection, rows(100)) == 100
    again = [*rows(150), *rows(3)]
    assert store(connection, again) == 50
    assert asked(connection, "SELECT count(*) FROM requests") == (150,)
    sums = "SELECT sum(requests), sum(prompt_tokens) FROM usage_daily"
    assert asked(connection, sums) == (150, 15_000)


async def test_a_row_that_is_refused_takes_the_others_with_it(
    connection: sqlite3.Connection,
) -> None:
    for bad in ({"tenant": None}, {"bytes_in": 2**70}, {"model": ["no", "text"]}):
        with pytest.raises((sqlite3.Error, OverflowError)):
            store(connection, [*rows(70), row("req_bad", **bad)])
    assert asked(connection, "SELECT count(*) FROM requests") == (0,)
    assert asked(connection, "SELECT count(*) FROM usage_daily") == (0,)
    assert store(connection, rows(1)) == 1
