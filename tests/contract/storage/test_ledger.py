"""The ledger against real databases: killed, locked, stopped and started again."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.accounting.ledger import Ledger
from proxy.accounting.ledger_line import HEADER
from proxy.accounting.spool import Spool
from proxy.core.tasks import Tasks
from proxy.core.types import Attempt
from proxy.storage.database import Database
from proxy.storage.filters import EVERYTHING
from proxy.storage.requests import Cursor, Requests
from proxy.storage.usage import Usage
from tests.architecture.source import ROOT
from tests.parts.postgres import postgres
from tests.parts.records import record_of

PAGE = 10_000
CHILD = ROOT / "tests" / "parts" / "ledger_child.py"


def a_ledger(database: Database, folder: Path, tasks: Tasks | None = None) -> Ledger:
    return Ledger(Spool(folder, HEADER), Requests(database), tasks)


def append(ledger: Ledger, first: int, last: int) -> None:
    for number in range(first, last):
        ledger.append(
            record_of(
                id=f"req_{number:06}",
                operation="chat",
                started_at=1.0,
                status=200,
                provider="gpu",
                prompt_tokens=10,
                usage_source="upstream",
                attempts=[Attempt("gpu", None, 200, None)],
            )
        )


@contextmanager
def child(
    url: str, spool: Path, prefix: str, *how: str
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, str(CHILD), url, str(spool), prefix, *how],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def finished_before_death(
    process: subprocess.Popen[bytes], count: int | None
) -> set[str]:
    """Kill it when so many requests have ended (None: it kills itself); name all."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if len(lines) == count:
            process.kill()
    process.wait()  # its files are closed one after the other, and then their locks
    return {line.decode().rstrip("\n") for line in lines if line.endswith(b"\n")}


async def stored(database: Database) -> list[str]:
    ids: list[str] = []
    after: Cursor | None = None
    # A page asks for the attempts of all that are on it, by their ids.
    while kept := await Requests(database).page(EVERYTHING, PAGE, after):
        assert all(len(request.attempts) == 1 for request in kept)
        ids += (request.id for request in kept)
        after = kept[-1].started_us, kept[-1].id
    return ids


@pytest.mark.parametrize("count", [1, 700, 5000])
async def test_a_kill_loses_no_finished_request_and_counts_none_twice(
    url: str, tmp_path: Path, count: int
) -> None:
    spool = tmp_path / "spool"
    with child(url, spool, "a") as process:
        finished = await asyncio.to_thread(finished_before_death, process, count)
    assert len(finished) >= count
    async with Database(url) as database:
        async with a_ledger(database, spool) as ledger:
            assert await ledger.drain()
            assert ledger.lag.rows == 0
        ids = await stored(database)
        assert finished <= set(ids)
        assert len(ids) == len(set(ids))
        (day,) = await Usage(database).sums(by=())
        assert (day.requests, day.prompt_tokens) == (len(ids), 10 * len(ids))
    assert not any(spool.iterdir())


async def test_death_between_commit_and_forgetting_counts_nothing_twice(
    url: str, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    with child(url, spool, "a", "die-after-commit") as process:
        finished = await asyncio.to_thread(finished_before_death, process, None)
    async with Database(url) as database:
        before = await stored(database)
        assert before
        async with a_ledger(database, spool) as ledger:
            # what is stored is in the spool too
            assert ledger.lag.rows >= len(before)
            assert await ledger.drain()
        ids = await stored(database)
        assert finished <= set(ids)
        (day,) = await Usage(database).sums(by=())
        assert day.requests == len(ids) == len(set(ids))


async def test_a_living_process_takes_over_what_a_dead_one_left(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.accounting.ledger._ADOPT_S", 0.0)
    async with Database(url) as database, a_ledger(database, tmp_path) as ledger:
        with child(url, tmp_path, "a") as process:
            append(ledger, 0, 5)
            assert await ledger.drain()
            finished = await asyncio.to_thread(finished_before_death, process, 300)
        assert await ledger.drain()
        ids = await stored(database)
        assert finished | {f"req_{n:06}" for n in range(5)} <= set(ids)
        assert len(ids) == len(set(ids))


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110 -- nobody tells; the lag is asked
            await asyncio.sleep(0.01)


async def test_a_locked_database_costs_time_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.storage.database._LOCK_WAIT_S", 0.05)
    monkeypatch.setattr("proxy.accounting.ledger._PASS_S", 0.01)
    path = tmp_path / "test.db"
    async with (
        Database(f"sqlite:///{path}") as database,
        Tasks(lambda _: None) as tasks,
    ):
        await database.prepare()
        other = sqlite3.connect(path, isolation_level=None)
        async with a_ledger(database, tmp_path / "spool", tasks) as ledger:
            other.execute("BEGIN EXCLUSIVE")
            for part in range(10):
                append(ledger, part * 100, part * 100 + 100)
                await asyncio.sleep(0)
            await until(lambda: ledger.lag.problem is not None)
            assert ledger.lag.rows == 1000
            assert "locked" in str(ledger.lag.problem)
            other.execute("ROLLBACK")
            await until(lambda: not ledger.lag.rows)
            assert ledger.lag.problem is None
        other.close()
        assert len(set(await _ids(database))) == 1000


async def test_a_server_that_is_stopped_and_started_costs_time_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.accounting.ledger._PASS_S", 0.01)
    with postgres() as server:
        async with (
            Database(server.new_database()) as database,
            Tasks(lambda _: None) as tasks,
            a_ledger(database, tmp_path / "spool", tasks) as ledger,
        ):
            append(ledger, 0, 100)
            await until(lambda: not ledger.lag.rows)
            await asyncio.to_thread(server.stop)
            append(ledger, 100, 1100)
            await until(lambda: ledger.lag.problem is not None)
            assert ledger.lag.rows == 1000
            await asyncio.to_thread(server.start)
            await until(lambda: not ledger.lag.rows)
            assert len(set(await _ids(database))) == 1100


async def _ids(database: Database) -> list[str]:
    kept = await Requests(database).page(EVERYTHING, limit=10_000)
    return [request.id for request in kept]
