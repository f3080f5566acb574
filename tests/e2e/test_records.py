"""Records of a real gateway under load: none is lost, none is twice, all sums are right."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from proxy.storage.database import Database
from proxy.storage.filters import EVERYTHING
from proxy.storage.requests import Requests
from tests.parts.faulty import Faulty
from tests.parts.gateway import Gateway, Start, serving
from tests.parts.missing import missing_part
from tests.parts.mixed_load import Load, Mixed, cost_of, kind_of, model, usage_of
from tests.parts.postgres import postgres
from tests.parts.until import until


def config(first: Faulty, second: Faulty, **sections: Any) -> dict[str, Any]:
    def provider(name: str, upstream: Faulty, priority: int) -> dict[str, Any]:
        return {
            "id": name, "kind": "vllm", "endpoint": upstream.url, "priority": priority,
            "maxConcurrent": None,
        }  # fmt: skip

    return {
        "discovery": {"enabled": False},
        "routing": {"retry": {"backoffSeconds": 0.01, "budgetRatio": 1.0}},
        "providers": [provider("first", first, 1), provider("second", second, 2)],
        "models": [model("first", "second")],
        **sections,
    }


@asynccontextmanager
async def upstreams() -> AsyncIterator[tuple[Mixed, Faulty, Faulty]]:
    mixed = Mixed()
    async with Faulty(mixed.first) as first, Faulty(mixed.second) as second:
        yield mixed, first, second


def rows_in(folder: Path, text: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(folder / "local-ai.db")) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(text)]


def stored(folder: Path) -> dict[str, dict[str, Any]]:
    """All requests by the caller's id; fails where one is there twice."""
    rows = rows_in(folder, "SELECT * FROM requests")
    found = {row["client_request_id"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def database_of(gateway: Gateway) -> dict[str, Any]:
    try:
        with urlopen(f"{gateway.url}/readyz", timeout=5) as answer:
            return json.load(answer)["database"]  # type: ignore[no-any-return]
    except OSError as error:
        return json.load(error)["database"]  # type: ignore[arg-type,no-any-return]


@pytest.mark.parametrize(
    "count",
    [500, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(300)])],
)
async def test_each_request_is_one_row_and_all_sums_are_right(
    tmp_path: Path, count: int
) -> None:
    async with upstreams() as (mixed, first, second):
        async with serving(tmp_path, config(first, second)) as gateway:
            load = Load(gateway.url)
            await load.run(range(count))
            assert len(load.finished) + len(load.left) == count
        asked = mixed.asked
    rows = stored(tmp_path / "data")
    assert rows.keys() == {load.name(number) for number in range(count)}
    prompts = completions = 0
    cost = 0.0
    for number in range(count):
        row, kind = rows[load.name(number)], kind_of(number)
        if number in load.left:
            assert (row["status"], row["usage_source"]) == (499, "estimate")
        else:
            assert row["status"] == load.finished[number], row
        if row["usage_source"] == "estimate":
            assert row["completion_tokens"] <= mixed.events[number] + 1
        if kind in ("whole", "stream", "failover"):
            assert (row["status"], row["usage_source"]) == (200, "upstream"), row
            assert (row["prompt_tokens"], row["completion_tokens"]) == usage_of(number)
            prompts, completions = (
                prompts + usage_of(number)[0],
                completions + usage_of(number)[1],
            )
            cost += cost_of(*usage_of(number))
    (sums,) = rows_in(
        tmp_path / "data",
        "SELECT sum(prompt_tokens) p, sum(completion_tokens) c, sum(cost_usd) usd "
        "FROM requests WHERE usage_source = 'upstream'",
    )
    assert (sums["p"], sums["c"]) == (prompts, completions)
    assert abs(sums["usd"] - cost) < 1e-6
    (days,) = rows_in(
        tmp_path / "data", "SELECT sum(requests) n, sum(cost_usd) usd FROM usage_daily"
    )
    (all_usd,) = rows_in(tmp_path / "data", "SELECT sum(cost_usd) usd FROM requests")
    assert days["n"] == count
    assert abs(days["usd"] - all_usd["usd"]) < 1e-6
    (tried,) = rows_in(tmp_path / "data", "SELECT count(*) n FROM attempts")
    assert tried["n"] == asked


async def test_a_killed_gateway_loses_no_finished_request(
    gateway: Start, tmp_path: Path
) -> None:
    data = {"PROXY_DATA_DIR": str(tmp_path / "data")}
    async with upstreams() as (_, first, second):
        running = await gateway(config(first, second), variables=data)
        load = Load(running.url, kinds=("whole", "stream"))
        task = asyncio.ensure_future(load.run_until(asyncio.Event()))
        await until(lambda: len(load.finished) > 300, "some requests")
        running.process.kill()
        await asyncio.wait_for(task, 20)
        await asyncio.to_thread(running.process.wait)
        running.process.returncode = 0  # it was meant to end so
        after = await gateway(config(first, second), variables=data)
        await until(lambda: not waiting(after), "the adopted records")
    finished = {load.name(number) for number in load.finished}
    assert finished <= stored(tmp_path / "data").keys()


LONG = pytest.param(60, marks=[pytest.mark.slow, pytest.mark.timeout(300)])


@pytest.mark.parametrize("seconds", [0.5, LONG])
async def test_a_locked_database_costs_no_request_and_no_row(
    tmp_path: Path, seconds: float
) -> None:
    path = tmp_path / "data" / "local-ai.db"
    async with loaded(tmp_path) as (gateway, load):
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            await until(lambda: is_away(gateway), "it is noticed")
            await asyncio.sleep(seconds)
            other.execute("ROLLBACK")
    assert stored(tmp_path / "data").keys() == load.names


@pytest.mark.parametrize("seconds", [0.5, LONG])
async def test_a_server_that_is_stopped_costs_no_request_and_no_row(
    tmp_path: Path, seconds: float
) -> None:
    with postgres() as server:
        url = server.new_database()
        async with loaded(tmp_path, database={"url": url}) as (gateway, load):
            await asyncio.to_thread(server.stop)
            await until(lambda: is_away(gateway), "it is noticed")
            await asyncio.sleep(seconds)
            await asyncio.to_thread(server.start)
        async with Database(url) as database:
            kept = await Requests(database).page(EVERYTHING, limit=1_000_000)
    assert len(kept) == len(load.names)
    assert {row.client_request_id for row in kept} == load.names


@pytest.mark.parametrize("seconds", [0.5, LONG])
async def test_a_full_disk_costs_no_request_and_is_told(
    small_disk: Path, tmp_path: Path, seconds: float
) -> None:
    ballast = small_disk / "ballast"
    data = {"PROXY_DATA_DIR": str(small_disk)}
    async with loaded(tmp_path, variables=data) as (gateway, load):
        fill(ballast)
        await until(lambda: "cannot be written" in gateway.stderr, "it is told")
        await asyncio.sleep(seconds)
        ballast.unlink()
    assert stored(small_disk).keys() == load.names


@asynccontextmanager
async def loaded(
    folder: Path, variables: dict[str, str] | None = None, **sections: Any
) -> AsyncIterator[tuple[Gateway, Load]]:
    """A gateway under load, which goes on until the block has ended and no longer.

    No request may fail, and all records are in the database then.
    """
    async with (
        upstreams() as (_, first, second),
        serving(
            folder, config(first, second, **sections), variables=variables
        ) as gateway,
    ):
        load, stop = Load(gateway.url, kinds=("whole", "stream")), asyncio.Event()
        task = asyncio.ensure_future(load.run_until(stop, callers=4, pause_s=0.02))
        await until(lambda: len(load.finished) > 10, "some requests")
        yield gateway, load
        stop.set()
        began = await task
        assert len(load.finished) == began
        assert set(load.finished.values()) == {200}
        await until(lambda: not waiting(gateway), "it catches up", timeout_s=30)
        lost = gateway.counts("local_ai_ledger_lost_rows_total")
        assert set(lost.values()) == {0.0}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for 16 megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        missing_part("the right to mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(file: Path) -> None:
    """Write until there is no room for another page."""
    with suppress(OSError), file.open("wb", buffering=0) as out:
        while out.write(b"x" * 4096) == 4096:
            pass


def is_away(gateway: Gateway) -> bool:
    return bool(database_of(gateway)["status"] == "away")


def waiting(gateway: Gateway) -> int:
    return int(database_of(gateway)["waiting_records"])
