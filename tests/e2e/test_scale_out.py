"""Three gateway processes are one: a provider's slots, a killed process, a lost server,
the records of all in one database.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from proxy.storage.database import Database
from proxy.storage.filters import EVERYTHING
from proxy.storage.requests import RequestRow, Requests
from proxy.storage.usage import Usage
from tests.e2e.conftest import local_provider, only
from tests.parts.faulty import Faulty, Peer
from tests.parts.gateway import Gateway, run_gateway
from tests.parts.http_text import Message
from tests.parts.mixed_load import Load, Mixed, cost_of, usage_of
from tests.parts.mixed_load import model as priced_model
from tests.parts.postgres import postgres
from tests.parts.until import until
from tests.parts.valkey import Valkey, valkey

# It counts in seconds what is free again, and loads all of the machine.
pytestmark = pytest.mark.alone

SLOTS = 6
LASTS_S = 0.02
FREE_WITHIN_S = 10.0
CHAT = "/v1/chat/completions"
HELD = "hold"


class Model:
    """A model server that answers after a moment, or holds who asks it to.

    `active` and `most` count requests that it was serving at the same time.
    """

    def __init__(self) -> None:
        self.url = ""
        self.active = self.most = self.held = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Model]:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post(CHAT, self._chat)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _models(self, _: web.Request) -> web.Response:
        model = {"id": "tiny", "object": "model", "owned_by": "fake"}
        return web.json_response({"object": "list", "data": [model]})

    async def _chat(self, request: web.Request) -> web.Response:
        self.active += 1
        self.most = max(self.most, self.active)
        is_held = HELD in await request.text()
        self.held += is_held
        try:
            await asyncio.sleep(3600 if is_held else LASTS_S)
        finally:
            self.active -= 1
            self.held -= is_held
        message = {"role": "assistant", "content": "fine"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({"object": "chat.completion", "choices": [choice]})


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with valkey() as server:
        yield server


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


@asynccontextmanager
async def gateways(
    count: int, folder: Path, model: Model, url: str
) -> AsyncIterator[list[Gateway]]:
    provider = local_provider("gpu", "openai-compatible", model.url) | {
        "maxConcurrent": SLOTS
    }
    config = only(provider, state={"url": url})
    async with opened(count, folder, config) as running:
        yield running


@asynccontextmanager
async def opened(
    count: int, folder: Path, config: dict[str, Any]
) -> AsyncIterator[list[Gateway]]:
    opened = [Opened(folder / str(number), config) for number in range(count)]
    try:
        yield list(await asyncio.gather(*(one.open() for one in opened)))
    finally:
        await asyncio.gather(*(one.close() for one in opened))


class Opened:
    """A gateway that a test may kill."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        folder.mkdir(exist_ok=True)
        self._gateway = run_gateway(folder, config)
        self._running: Gateway | None = None

    async def open(self) -> Gateway:
        self._running = await asyncio.to_thread(self._gateway.__enter__)
        async with aiohttp.ClientSession() as session:
            await until_ready(session, self._running, "status", "ready")
        return self._running

    async def close(self) -> None:
        if self._running is not None and self._running.process.poll() is None:
            await asyncio.to_thread(self._gateway.__exit__, None, None, None)


async def ask(
    session: aiohttp.ClientSession, gateway: Gateway, words: str = "hello"
) -> int:
    body = {"model": "tiny", "messages": [{"role": "user", "content": words}]}
    async with session.post(gateway.url + CHAT, json=body) as reply:
        await reply.read()
        return reply.status


async def test_slots_hold_over_all_processes_and_a_killed_one_frees_its_own(
    tmp_path: Path, server: Valkey, session: aiohttp.ClientSession
) -> None:
    model = Model()
    async with (
        model.serving(),
        gateways(3, tmp_path, model, server.new_database()) as (killed, *others),
    ):
        # 300 at once, at all three: never more than there are slots.
        everybody = (killed, *others)
        asked = [ask(session, one) for one in everybody for _ in range(100)]
        assert set(await asyncio.gather(*asked)) == {200}
        assert model.most == SLOTS

        # One is killed that holds all but two; the others do with those till then.
        lost = [
            asyncio.create_task(ask(session, killed, HELD)) for _ in range(SLOTS - 2)
        ]
        await until(lambda: model.held == SLOTS - 2, "it holds all but two")
        model.most = 0
        load = [
            asyncio.create_task(ask(session, one)) for one in others for _ in range(30)
        ]
        await asyncio.wait(load, return_when=asyncio.FIRST_COMPLETED)
        os.kill(killed.process.pid, signal.SIGKILL)
        await asyncio.to_thread(killed.process.wait)
        assert {await task for task in load} == {200}
        assert model.most <= SLOTS
        gone = await asyncio.gather(*lost, return_exceptions=True)
        assert all(isinstance(one, aiohttp.ClientError) for one in gone)

        held = [
            asyncio.create_task(ask(session, one, HELD))
            for one in others
            for _ in range(SLOTS)
        ]
        await until(
            lambda: model.held == SLOTS, "all slots are back", timeout_s=FREE_WITHIN_S
        )
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)


async def test_no_request_is_lost_when_the_server_is(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    model = Model()
    with valkey() as server:
        async with (
            model.serving(),
            gateways(2, tmp_path, model, server.url) as both,
        ):

            async def callers(gateway: Gateway, until_done: asyncio.Event) -> set[int]:
                seen = set()
                while not until_done.is_set():
                    seen.add(await ask(session, gateway))
                return seen

            done = asyncio.Event()
            load = [
                asyncio.create_task(callers(one, done))
                for one in both
                for _ in range(5)
            ]
            server.stop()
            for one in both:
                await until_ready(session, one, "shared_state", "away")
            server.start()
            for one in both:
                await until_ready(session, one, "shared_state", "ok")
            done.set()
            assert set().union(*await asyncio.gather(*load)) == {200}
            # What one held beyond its share when it was lost, it kept.
            assert model.most < SLOTS + SLOTS // 2 + 1
            counts = [one.counts("local_ai_state_alone_total") for one in both]
            assert sum(sum(count.values()) for count in counts) > 0


async def until_ready(
    session: aiohttp.ClientSession, gateway: Gateway, name: str, value: str
) -> None:
    """Wait until /readyz says so."""
    for _ in range(500):
        async with session.get(f"{gateway.url}/readyz") as reply:
            if (await reply.json())[name] == value:
                return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{name} is not {value}")


class Counted(Mixed):
    """Upstreams that count the requests which they serve at the same time, each."""

    def __init__(self) -> None:
        super().__init__()
        self.active = [0, 0]
        self.most = [0, 0]

    async def first(self, peer: Peer, request: Message) -> None:
        with self._counted(0):
            await super().first(peer, request)

    async def second(self, peer: Peer, request: Message) -> None:
        with self._counted(1):
            await super().second(peer, request)

    @contextmanager
    def _counted(self, at: int) -> Iterator[None]:
        self.active[at] += 1
        self.most[at] = max(self.most[at], self.active[at])
        try:
            yield
        finally:
            self.active[at] -= 1


# Those of which both sides know how they ended, and when their slot was free.
KINDS = ("whole", "stream", "whole", "failover", "stream", "unknown")
EACH = 300


async def test_the_records_of_all_processes_are_in_one_database_and_add_up(
    tmp_path: Path, server: Valkey
) -> None:
    mixed = Counted()
    with postgres() as database:
        url = await asyncio.to_thread(database.new_database)
        async with Faulty(mixed.first) as first, Faulty(mixed.second) as second:
            config = shared_config(first, second, server.new_database(), url)
            async with opened(3, tmp_path, config) as (killed, *others):
                lost, loads = await one_is_killed_under_load(killed, others)
                async with opened_again(tmp_path / "0", config) as again:
                    running = (again, *others)
                    await until(lambda: not any(map(waiting, running)), "all is stored")
        async with Database(url) as opened_database:
            rows = await Requests(opened_database).page(EVERYTHING, limit=10_000)
            (total,) = await Usage(opened_database).sums(by=())
    assert max(mixed.most) <= SLOTS
    by_name = {row.client_request_id: row for row in rows}
    assert len(by_name) == len(rows), "none is there twice"
    # Of the killed one nobody knows whether a reply that was not read had ended.
    for load in loads:
        assert {load.name(number) for number in range(EACH)} == load.names
        assert load.names == {name for name in by_name if is_of(load, name)}
    assert lost.finished
    assert lost.names <= by_name.keys()
    for load in (lost, *loads):
        assert_adds_up(load, by_name)
    assert total.requests == len(rows)
    assert total.completion_tokens == sum(row.completion_tokens or 0 for row in rows)
    assert total.cost_usd == pytest.approx(sum(row.cost_usd or 0.0 for row in rows))


def shared_config(
    first: Faulty, second: Faulty, state: str, database: str
) -> dict[str, Any]:
    def provider(name: str, upstream: Faulty, priority: int) -> dict[str, Any]:
        return {
            "id": name, "kind": "vllm", "endpoint": upstream.url, "priority": priority,
            "maxConcurrent": SLOTS,
        }  # fmt: skip

    return only(
        provider("first", first, 1),
        provider("second", second, 2),
        models=[priced_model("first", "second")],
        routing={"retry": {"backoffSeconds": 0.01, "budgetRatio": 1.0}},
        state={"url": state},
        database={"url": database},
    )


async def one_is_killed_under_load(
    killed: Gateway, others: list[Gateway]
) -> tuple[Load, list[Load]]:
    """Answer what callers of the killed one have seen, and those of the others."""
    lost = Load(killed.url, "killed", KINDS)
    loads = [Load(one.url, f"other{n}", KINDS) for n, one in enumerate(others)]
    under_way = asyncio.ensure_future(lost.run_until(asyncio.Event(), callers=8))
    running = [
        asyncio.ensure_future(load.run(range(EACH), callers=8)) for load in loads
    ]
    await until(lambda: len(lost.finished) > EACH // 3, "some have ended")
    os.kill(killed.process.pid, signal.SIGKILL)
    await asyncio.to_thread(killed.process.wait)
    await under_way
    await asyncio.gather(*running)
    return lost, loads


@asynccontextmanager
async def opened_again(folder: Path, config: dict[str, Any]) -> AsyncIterator[Gateway]:
    one = Opened(folder, config)
    try:
        yield await one.open()
    finally:
        await one.close()


def waiting(gateway: Gateway) -> float:
    return sum(gateway.counts("local_ai_ledger_waiting_rows").values())


def is_of(load: Load, name: str | None) -> bool:
    return name is not None and name.startswith(f"{load.prefix}-")


def assert_adds_up(load: Load, rows: Mapping[str | None, RequestRow]) -> None:
    """Each row says what its reply said, and so do all of them together."""
    usd = spent = 0.0
    for number, status in load.finished.items():
        row, kind = rows[load.name(number)], KINDS[number % len(KINDS)]
        assert row.status == status, row
        if kind == "unknown":
            assert (status, row.cost_usd) == (404, None)
            continue
        assert (status, row.usage_source) == (200, "upstream"), row
        assert (row.prompt_tokens, row.completion_tokens) == usage_of(number)
        usd, spent = usd + cost_of(*usage_of(number)), spent + (row.cost_usd or 0.0)
    assert spent == pytest.approx(usd)
