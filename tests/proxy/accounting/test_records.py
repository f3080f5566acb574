from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from proxy.accounting.records import NoRecords, Records
from proxy.config import Config
from proxy.config.schema_policy import DatabaseConfig
from proxy.core.tasks import Tasks
from proxy.storage.schema import VERSION_TABLE
from tests.parts.records import record_of


def records(folder: Path, tasks: Tasks, url: str | None = None) -> Records:
    config = Config(data_dir=folder, database=DatabaseConfig(url=url))
    return Records(config, tasks, lambda: config)


def a_record(number: int = 1) -> Any:
    return record_of(id=f"req_{number}", operation="chat", started_at=1.0)


async def test_what_is_appended_can_be_asked_for(tmp_path: Path) -> None:
    async with Tasks(lambda _: None) as tasks, records(tmp_path, tasks) as it:
        it.ledger.append(a_record())
        assert await it.ledger.drain()
        assert (await it.queries.one("req_1"))["endpoint"] == "chat"


async def test_a_later_schema_is_refused(tmp_path: Path) -> None:
    async with Tasks(lambda _: None) as tasks, records(tmp_path, tasks):
        pass
    with sqlite3.connect(tmp_path / "local-ai.db") as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    connection.close()
    faults: list[BaseException] = []
    async with Tasks(faults.append) as tasks:
        with pytest.raises(NoRecords, match="9999"):
            await records(tmp_path, tasks).__aenter__()
    assert faults == [], "it is told in one line"


async def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    async with Tasks(lambda _: None) as tasks:
        with pytest.raises(NoRecords, match="mysql"):
            records(tmp_path, tasks, "mysql://there")


async def test_a_database_that_is_away_is_waited_for(tmp_path: Path) -> None:
    away = "postgresql://127.0.0.1:1/none"
    async with Tasks(lambda _: None) as tasks:
        async with records(tmp_path, tasks, away) as it:
            it.ledger.append(a_record())
            assert not await it.ledger.drain()
            assert (it.lag().rows, it.lag().problem is None) == (1, False)
        async with records(tmp_path, tasks) as it:
            assert await it.ledger.drain()
            assert (await it.queries.one("req_1"))["id"] == "req_1"


async def test_a_folder_that_cannot_be_written_keeps_nobody_from_serving(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("no folder")
    async with (
        Tasks(lambda _: None) as tasks,
        records(tmp_path / "file", tasks) as it,
    ):
        it.ledger.append(a_record())
        assert it.lag().rows == 1
        assert it.lag().held_bytes
        assert not await it.ledger.drain()
        assert it.lag().problem is not None
