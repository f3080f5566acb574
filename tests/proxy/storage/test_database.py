from __future__ import annotations

import asyncio
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from proxy.auth.api_keys import create_key
from proxy.auth.key_fields import KeyFields
from proxy.storage.database import FILE, Database
from proxy.storage.errors import (
    BadDatabase,
    DatabaseAway,
    DataRefused,
    TooSlow,
    from_driver,
)
from proxy.storage.keys import Keys
from tests.parts.ports import free_port


async def test_without_a_url_it_is_a_file_that_only_its_owner_reads(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "data"
    async with Database(None, folder) as database:
        await database.prepare()
        assert database.engine == "sqlite"
        assert database.name == str(folder / FILE)
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_readers_do_not_wait_for_the_writer(tmp_path: Path) -> None:
    async with Database(None, tmp_path) as database:
        await database.prepare()
        async with database.writing() as writer:
            await writer.execute(text("INSERT INTO revisions VALUES ('x', 1)"))
            async with database.reading() as reader:
                found = await reader.scalar(text("SELECT count(*) FROM revisions"))
                assert found == 0
        async with database.reading() as reader:
            assert await reader.scalar(text("SELECT count(*) FROM revisions")) == 1


async def test_what_is_committed_is_on_the_disk(tmp_path: Path) -> None:
    async with Database(None, tmp_path) as database, database.writing() as connection:
        pragmas = [
            await connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous")
        ]
    assert pragmas == ["wal", 2]


async def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    async with Database(None, tmp_path) as database:

        async def fail() -> None:
            async with database.writing() as connection:
                await connection.execute(text("INSERT INTO revisions VALUES ('x', 1)"))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        async with database.reading() as connection:
            assert await connection.scalar(text("SELECT count(*) FROM revisions")) == 0


async def test_one_that_is_locked_is_away_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.storage.database._LOCK_WAIT_S", 0.1)
    async with Database(None, tmp_path) as database:
        keys = Keys(database)
        await database.prepare()
        other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseAway, match="locked"):
            await keys.touch({"key_a": 1.0})
        # who only reads goes on meanwhile
        assert await keys.all() == ()
        other.execute("ROLLBACK")
        other.close()
        await keys.touch({"key_a": 1.0})


async def test_a_server_that_is_not_there_is_away() -> None:
    url = f"postgresql://someone:secret@127.0.0.1:{free_port()}/nowhere"
    async with Database(url) as database:
        with pytest.raises(DatabaseAway) as failed:
            await Keys(database).all()
    assert "secret" not in str(failed.value)
    assert "secret" not in database.name


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://host/db", "mysql"),
        ("sqlite://", "file"),
        ("sqlite:///:memory:", "file"),
        ("what:secret@is this", "not a URL"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, message: str) -> None:
    with pytest.raises(BadDatabase, match=message) as refused:
        Database(url)
    assert "secret" not in str(refused.value)


def test_urls_are_read_as_other_programs_write_them() -> None:
    for scheme in ("postgres", "postgresql", "postgresql+asyncpg"):
        database = Database(f"{scheme}://u:p@host/db?sslmode=require")
        assert database.engine == "postgresql"
        assert database.name == "postgresql+asyncpg://u:***@host/db?ssl=require"


async def test_a_driver_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("asyncpg")

    monkeypatch.setattr("proxy.storage.database.create_engine", missing)
    with pytest.raises(BadDatabase, match="asyncpg"):
        await Database("postgresql://host/db").__aenter__()


def test_errors_are_about_the_data_or_about_the_database() -> None:
    assert isinstance(from_driver(OverflowError("too large")), DataRefused)
    assert isinstance(from_driver(ConnectionRefusedError("no")), DatabaseAway)
    assert isinstance(from_driver(TimeoutError()), DatabaseAway)
    assert str(from_driver(TimeoutError())) == "TimeoutError"


async def test_a_new_file_that_another_sets_up_at_this_moment_is_waited_for(
    tmp_path: Path,
) -> None:
    async with Database(data_dir=tmp_path) as database:
        other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        # What the driver refuses at once, whatever time it may wait.
        other.execute("BEGIN IMMEDIATE")
        asyncio.get_running_loop().call_later(0.1, other.rollback)
        assert await Keys(database).all() == ()
        other.close()


ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT count(*) FROM n"
)


class Work:
    """What holds the connection on its thread until it may go on."""

    def __init__(self) -> None:
        self.began, self.may_end = threading.Event(), threading.Event()
        self.ended = False

    def __call__(self, connection: sqlite3.Connection) -> None:
        self.began.set()
        assert self.may_end.wait(30)
        connection.execute("SELECT 1")
        self.ended = True


async def begun(database: Database, work: Work) -> asyncio.Future[None]:
    working = asyncio.ensure_future(database.in_thread(work))
    await asyncio.to_thread(work.began.wait, 30)
    return working


async def test_nobody_has_the_connection_while_a_thread_has_it(tmp_path: Path) -> None:
    async with Database(None, tmp_path) as database:
        work = Work()
        working = await begun(database, work)
        after = asyncio.ensure_future(database.in_thread(lambda _: work.ended))
        working.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not working.done()
        work.may_end.set()
        assert await after is True
        assert working.cancelled()


async def test_who_is_cancelled_interrupts_what_has_no_end(tmp_path: Path) -> None:
    async with Database(None, tmp_path) as database:
        began = threading.Event()

        def endless(connection: sqlite3.Connection) -> None:
            connection.set_progress_handler(began.set, 1000)
            connection.execute(ENDLESS)

        working = asyncio.ensure_future(database.in_thread(endless))
        await asyncio.to_thread(began.wait, 30)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(10):
                await working


async def test_a_thread_that_does_not_end_keeps_its_connection_and_no_one_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.storage.database._STOP_S", 0.01)
    async with Database(None, tmp_path) as database:
        work = Work()
        working = await begun(database, work)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        found = await database.in_thread(lambda it: it.execute("SELECT 7").fetchone())
        assert found == (7,), "another connection"
    work.may_end.set()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert work.ended, "nobody closed its connection"


async def test_it_is_closed_after_what_is_being_stored(tmp_path: Path) -> None:
    async with Database(None, tmp_path) as database:
        began = threading.Event()

        def endless(connection: sqlite3.Connection) -> None:
            connection.set_progress_handler(began.set, 1000)
            connection.execute(ENDLESS)

        working = asyncio.ensure_future(database.in_thread(endless))
        await asyncio.to_thread(began.wait, 30)
        async with asyncio.timeout(10):
            await database.__aexit__()
        with pytest.raises(TooSlow):
            await working
        assert database._plain is None


async def test_two_in_one_process_keep_their_log_when_another_process_leaves(
    tmp_path: Path,
) -> None:
    look = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
        "print(*c.execute('SELECT count(*) FROM keys').fetchone()); c.close()"
    )

    def seen_elsewhere() -> int:
        command = [sys.executable, "-c", look, str(tmp_path / FILE)]
        return int(subprocess.check_output(command))

    async with Database(data_dir=tmp_path) as first, Database(data_dir=tmp_path) as it:
        await Keys(first).all()
        await it.prepare()
        log = (tmp_path / f"{FILE}-wal").stat().st_ino
        assert seen_elsewhere() == 0
        assert (tmp_path / f"{FILE}-wal").stat().st_ino == log
        await create_key(Keys(first), KeyFields(name="one"), now=1.0)
        assert seen_elsewhere() == 1
