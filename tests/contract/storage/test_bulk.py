from __future__ import annotations

import pytest
from sqlalchemy import select

from proxy.storage.bulk import insert, insert_one, present
from proxy.storage.database import Database
from proxy.storage.tables import attempts, revisions


@pytest.mark.parametrize("count", [0, 1, 3, 255, 256, 1000])
async def test_any_number_of_rows_goes_in_once(database: Database, count: int) -> None:
    rows = [(f"req_{n}", 1, "gpu", None, 200, None) for n in range(count)]
    async with database.writing() as connection:
        await insert(connection, attempts, rows)
        await insert(connection, attempts, rows)
        found = await connection.execute(select(attempts))
        assert sorted(map(tuple, found.all())) == sorted(rows)


async def test_what_is_there_is_known_by_its_values(database: Database) -> None:
    odd = "ö'\"\\ \n"
    async with database.writing() as connection:
        await insert(connection, revisions, [("a", 1), (odd, 2)])
        asked = ["a", "b", odd]
        assert await present(connection, revisions.c.name, asked) == {"a", odd}
        assert await present(connection, revisions.c.name, []) == set()


async def test_a_row_that_is_there_becomes_what_the_conflict_says(
    database: Database,
) -> None:
    grow = (
        "(name) DO UPDATE SET value = revisions.value + excluded.value RETURNING value"
    )
    async with database.writing() as connection:
        for expected in (2**40, 2**41):
            got = await insert_one(connection, revisions, ("a", 2**40), grow)
            assert got == expected
        kept = "(name) DO NOTHING RETURNING value"
        assert await insert_one(connection, revisions, ("a", 1), kept) is None
