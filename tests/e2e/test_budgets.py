"""Budgets under load, and processes that are killed: what is spent stays spent, what was
set aside comes back.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from proxy.auth.api_keys import create_key
from proxy.auth.key_fields import KeyFields
from proxy.core import clock
from proxy.storage.database import Database
from proxy.storage.keys import Keys
from proxy.storage.usage import Usage
from tests.e2e.conftest import local_provider, only
from tests.parts.gateway import Gateway, Start
from tests.parts.until import until
from tests.parts.valkey import valkey

# They load all of the machine.
pytestmark = pytest.mark.alone

CHAT = "/v1/chat/completions"
TOKENS = 10
COST_USD = 0.01
CALLERS = 16
AFFORDABLE = 400
BUDGET_USD = AFFORDABLE * COST_USD
LOOK_S = 0.01
# What a process that is killed had set aside lasts for six of its heartbeats.
BACK_WITHIN_S = 12.0


class Model:
    """A model server whose every answer costs as much as is set aside for it.

    `paid` counts them, and `enough` is set at so many; who says `hold` is held.
    """

    def __init__(self, enough_at: int = 0) -> None:
        self.url = ""
        self.enough_at, self.enough = enough_at, asyncio.Event()
        self.paid = self.held = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Model]:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post(CHAT, self._chat)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "tiny"}]})

    async def _chat(self, request: web.Request) -> web.Response:
        if "hold" in await request.text():
            self.held += 1
            try:
                await asyncio.sleep(3600)
            finally:
                self.held -= 1
        self.paid += 1
        if self.paid == self.enough_at:
            self.enough.set()
        message = {"role": "assistant", "content": "fine"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": TOKENS}
        return web.json_response(
            {"object": "chat.completion", "choices": [choice], "usage": usage}
        )


def config(model: Model, **sections: Any) -> dict[str, Any]:
    provider = local_provider("gpu", "openai-compatible", model.url) | {
        "maxConcurrent": None
    }
    per_million = COST_USD / TOKENS * 1e6
    priced = {
        "id": "tiny",
        "providers": [{"id": "gpu", "upstreamModel": "tiny"}],
        "pricing": {"inputPer1M": 0, "outputPer1M": per_million},
    }
    auth = {"auth": {"enabled": True}}
    return only(provider, models=[priced], **auth, **sections)


async def key_with_budget(url: str | None, data: Path, usd: float) -> str:
    async with Database(url, data) as database:
        wanted = KeyFields(name="small", daily_usd=usd)
        issued = await create_key(Keys(database), wanted, now=clock.wall())
    return issued.secret


@asynccontextmanager
async def session_of(secret: str) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"authorization": f"Bearer {secret}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        yield session


async def ask(
    session: aiohttp.ClientSession, gateway: Gateway, words: str = "hello"
) -> int:
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": words}],
        "max_tokens": TOKENS,
    }
    async with session.post(gateway.url + CHAT, json=body) as reply:
        await reply.read()
        return reply.status


async def spend(session: aiohttp.ClientSession, gateway: Gateway) -> Counter[int]:
    """Ask with many callers till the budget is used up, or the gateway is gone."""
    seen: Counter[int] = Counter()

    async def caller() -> None:
        while not seen[402]:
            try:
                seen[await ask(session, gateway)] += 1
            except aiohttp.ClientError:
                return

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return seen


async def kill(gateway: Gateway) -> None:
    os.kill(gateway.process.pid, signal.SIGKILL)
    await asyncio.to_thread(gateway.process.wait)
    gateway.process.returncode = 0  # it was meant to end so


@pytest.mark.parametrize("paid_before", [50, 250])
async def test_a_budget_outlives_a_gateway_that_is_killed_under_load(
    gateway: Start, tmp_path: Path, paid_before: int
) -> None:
    data = tmp_path / "data"
    secret = await key_with_budget(None, data, BUDGET_USD)
    variables = {"PROXY_DATA_DIR": str(data)}
    model = Model(paid_before)
    async with model.serving(), session_of(secret) as session:
        first = await gateway(config(model), variables=variables)
        spending = asyncio.ensure_future(spend(session, first))
        await model.enough.wait()
        await kill(first)
        seen = await spending
        assert set(seen) == {200}
        unseen = model.paid - seen[200]
        assert 0 <= unseen <= CALLERS
        second = await gateway(config(model), variables=variables)
        after = await spend(session, second)
        assert set(after) == {200, 402}
        # Nobody knows of those that were under way, and of nothing else.
        assert AFFORDABLE <= model.paid <= AFFORDABLE + unseen
        await second.stopped()
    async with Database(None, data) as database:
        (sums,) = await Usage(database).sums(by=())
    told_usd = (seen[200] + after[200]) * COST_USD
    assert told_usd - 1e-6 <= sums.cost_usd <= told_usd + unseen * COST_USD + 1e-6


async def test_what_a_killed_process_had_set_aside_comes_back_to_the_others(
    gateway: Start, tmp_path: Path
) -> None:
    affordable = 10
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    secret = await key_with_budget(url, tmp_path, affordable * COST_USD)
    model = Model()
    with valkey() as server:
        sections = {"state": {"url": server.url}, "database": {"url": url}}
        async with model.serving(), session_of(secret) as session:
            killed, other = await asyncio.gather(
                *(gateway(config(model, **sections)) for _ in range(2))
            )
            lost = [
                asyncio.create_task(ask(session, killed, "hold"))
                for _ in range(affordable)
            ]
            await until(lambda: model.held == affordable, "all of it is set aside")
            assert await ask(session, other) == 402
            await kill(killed)
            gone = await asyncio.gather(*lost, return_exceptions=True)
            assert all(isinstance(one, aiohttp.ClientError) for one in gone)
            async with asyncio.timeout(BACK_WITHIN_S):
                while await ask(session, other) == 402:  # noqa: ASYNC110 -- a process
                    await asyncio.sleep(LOOK_S)
            seen = await spend(session, other)
            assert seen[200] + 1 == model.paid == affordable
            await other.stopped()


@pytest.mark.slow
async def test_a_budget_of_several_is_overshot_by_what_a_killed_one_had_under_way(
    gateway: Start, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    secret = await key_with_budget(url, tmp_path, BUDGET_USD)
    model = Model(AFFORDABLE // 4)
    with valkey() as server:
        sections = {"state": {"url": server.url}, "database": {"url": url}}
        async with model.serving(), session_of(secret) as session:
            killed, other = await asyncio.gather(
                *(gateway(config(model, **sections)) for _ in range(2))
            )
            load = [asyncio.create_task(spend(session, one)) for one in (killed, other)]
            await model.enough.wait()
            await kill(killed)
            await asyncio.gather(*load)
            assert model.paid <= AFFORDABLE
            await asyncio.sleep(BACK_WITHIN_S)
            await spend(session, other)
            assert AFFORDABLE <= model.paid <= AFFORDABLE + CALLERS
            await other.stopped()
