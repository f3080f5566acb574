"""What reads for too long is stopped, and holds up neither loop, writer nor server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from proxy.storage.database import Database
from proxy.storage.errors import TooSlow
from proxy.storage.keys import Keys

ENDLESS = text(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT count(*) FROM n"
)


@pytest.fixture
async def hasty(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    """A database whose statements may take a moment only."""
    async with Database(url) as database:
        await database.prepare()
    monkeypatch.setattr("proxy.storage.database._STATEMENT_S", 0.3)
    async with Database(url) as database:
        yield database


async def ask(database: Database) -> None:
    async with database.reading() as connection:
        await connection.scalar(ENDLESS)


async def test_a_query_without_an_end_is_stopped(hasty: Database) -> None:
    asking = asyncio.ensure_future(ask(hasty))
    # Meanwhile others write and read.
    keys = Keys(hasty)
    await keys.touch({"key_a": 1.0})
    assert await keys.all() == ()
    with pytest.raises(TooSlow, match="too long"):
        async with asyncio.timeout(10):
            await asking


async def test_whoever_comes_next_has_a_connection(hasty: Database) -> None:
    async with asyncio.timeout(20):
        for _ in range(5):  # more often than there are connections
            with pytest.raises(TooSlow):
                await ask(hasty)
        assert await Keys(hasty).all() == ()


async def test_it_is_stopped_at_the_database_too(
    hasty: Database, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if hasty.engine != "postgresql":
        pytest.skip("there is no database but the process's own threads")
    with pytest.raises(TooSlow):
        await ask(hasty)
    monkeypatch.undo()
    running = text(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' "
        "AND datname = current_database() AND pid <> pg_backend_pid()"
    )
    async with Database(url) as another, asyncio.timeout(10):
        while True:
            async with another.reading() as connection:
                if not await connection.scalar(running):
                    return
            await asyncio.sleep(0.01)
