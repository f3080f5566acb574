from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.accounting.queries import Queries
from proxy.core.errors import CallerFault, GatewayFault
from proxy.storage.database import Database
from proxy.storage.errors import DatabaseAway, TooSlow
from proxy.storage.requests import Requests
from proxy.storage.usage import Usage
from tests.parts.ledger_rows import DAY_US, NOON_US, row, rows

NOON_S = NOON_US / 1_000_000


@pytest.fixture
async def queries(tmp_path: Path) -> AsyncIterator[Queries]:
    async with Database(data_dir=tmp_path) as database:
        requests = Requests(database)
        await requests.insert(
            [
                row("old", started_us=NOON_US - DAY_US, model="llama", tenant="b"),
                row("failed", status=502, code="upstream_error", provider="cloud"),
                row("theirs", client_request_id="client-1", key_id="key_b"),
            ]
        )
        yield Queries(requests, Usage(database), wall=lambda: NOON_S + 60)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, {"old", "failed", "theirs"}),
        ({"tenant": "b"}, {"old"}),
        ({"model": "llama"}, {"old"}),
        ({"provider": "cloud"}, {"failed"}),
        ({"key": "key_b"}, {"theirs"}),
        ({"client_request_id": "client-1"}, {"theirs"}),
        ({"status": "502"}, {"failed"}),
        ({"status": "5xx"}, {"failed"}),
        ({"status": "error"}, {"failed"}),
        ({"status": "ok"}, {"old", "theirs"}),
        ({"since": "1h"}, {"failed", "theirs"}),
        ({"until": "1h"}, {"old"}),
        ({"since": f"{NOON_S - 1}"}, {"failed", "theirs"}),
        ({"since": "2026-09-21T11:59:59"}, {"failed", "theirs"}),
        ({"since": "2026-09-21T14:00:00+02:00"}, {"failed", "theirs"}),
    ],
)
async def test_filters_choose(
    queries: Queries, asked: dict[str, str], found: set[str]
) -> None:
    shown = await queries.page(asked)
    assert {row["id"] for row in shown["requests"]} == found
    assert {row.id async for row in queries.each(asked)} == found


async def test_all_pages_are_read(tmp_path: Path) -> None:
    async with Database(data_dir=tmp_path) as database:
        requests = Requests(database)
        await requests.insert(rows(1201))
        every = Queries(requests, Usage(database)).each({})
        assert len({row.id async for row in every}) == 1201


async def test_a_request_is_shown_in_plain_values(queries: Queries) -> None:
    shown = await queries.one("client-1")
    assert shown["time"] == "2026-09-21T12:00:00.000000Z"
    assert (shown["duration_ms"], shown["first_token_ms"]) == (1000.0, 2.0)
    assert shown["attempts"] == [
        {"provider": "gpu", "upstream_model": "Qwen/Qwen", "status": 200, "code": None}
    ]
    with pytest.raises(CallerFault, match="No request"):
        await queries.one("nobody")


async def test_usage_is_grouped_as_asked(queries: Queries) -> None:
    by_model = await queries.usage({"by": "model"})
    assert [(r["model"], r["requests"]) for r in by_model["usage"]] == [
        ("llama", 1),
        ("qwen", 2),
    ]
    assert by_model["total"]["requests"] == 3
    days = (await queries.daily({"by": "tenant", "since": "1h"}))["usage"]
    assert [(d["day"], d["tenant"], d["requests"]) for d in days] == [
        ("2026-09-21", "default", 2)
    ]
    assert (await queries.usage({"tenant": "nobody"}))["usage"] == []


async def test_a_database_that_is_away_is_told(tmp_path: Path) -> None:
    class Away(Requests):
        async def page(self, *_: object) -> tuple[()]:
            raise DatabaseAway("locked")

    async with Database(data_dir=tmp_path) as database:
        with pytest.raises(GatewayFault) as told:
            await Queries(Away(database), Usage(database)).page({})
        assert told.value.code == "database_unavailable"


async def told_of(queries: Queries) -> GatewayFault:
    with pytest.raises(GatewayFault) as told:
        await queries.page({})
    assert told.value.code == "database_unavailable"
    return told.value


async def test_a_question_that_is_too_heavy_is_told_so(tmp_path: Path) -> None:
    class Heavy(Requests):
        async def page(self, *_: object) -> tuple[()]:
            raise TooSlow("it was stopped, as it took too long")

    async with Database(data_dir=tmp_path) as database:
        told = await told_of(Queries(Heavy(database), Usage(database)))
    assert "ask for less" in told.message


async def test_one_question_is_asked_at_a_time_and_others_wait_for_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(Requests):
        asked = 0
        may_answer = asyncio.Event()

        async def page(self, *_: object) -> tuple[()]:
            self.asked += 1
            await self.may_answer.wait()
            return ()

    async with Database(data_dir=tmp_path) as database:
        slow = Slow(database)
        queries = Queries(slow, Usage(database))
        first, second = (asyncio.ensure_future(queries.page({})) for _ in range(2))
        await asyncio.sleep(0)
        monkeypatch.setattr("proxy.accounting.queries._TURN_S", 0.01)
        assert "busy" in (await told_of(queries)).message
        assert slow.asked == 1
        slow.may_answer.set()
        await asyncio.gather(first, second)
    assert slow.asked == 2


async def test_more_groups_than_may_be_shown_are_refused(
    queries: Queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.accounting.queries._AT_ONCE", 1)
    monkeypatch.setattr("proxy.storage.usage._AT_ONCE", 1)
    monkeypatch.setattr("proxy.accounting.queries._MOST_GROUPS", 3)
    by = {"by": "model,provider,tenant,key"}
    assert len((await queries.usage(by))["usage"]) == 3
    monkeypatch.setattr("proxy.accounting.queries._MOST_GROUPS", 2)
    with pytest.raises(CallerFault, match="more than 2 groups") as refused:
        await queries.usage(by)
    assert refused.value.param == "by"
