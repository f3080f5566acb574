from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from proxy.api.context import Context
from proxy.api.guard import PRINCIPAL
from proxy.api.metered import metered
from proxy.api.reply import json_reply
from proxy.config.schema_policy import RateLimit, RateLimitsConfig
from proxy.core.errors import CallerFault
from proxy.core.types import Principal, Record
from proxy.limits.rate import RateLimits
from proxy.pipeline.metering import Metering
from proxy.state.memory import MemoryState
from tests.fakes.site import Ask, Handler, context, serving
from tests.parts.http_text import post
from tests.parts.inside import Site
from tests.parts.keys import bearer, guarded_site, issue
from tests.parts.scripts import error_of
from tests.parts.until import until

NOBODY = RateLimitsConfig()
CODE = b'{"code": "result = 1"}'


class House:
    """A metered handler behind a socket, and what was recorded of it."""

    def __init__(self, config: RateLimitsConfig = NOBODY) -> None:
        self.records: list[Record] = []
        self.refused: Counter[str] = Counter()
        self.state = MemoryState()
        limits = RateLimits(config, self.state.rates, self.state.slots)
        self.metering = Metering(limits, self.refused, self.records.append)

    def serve(self, handler: Handler) -> AbstractAsyncContextManager[Ask]:
        known = context(metering=self.metering)
        return serving(known, {"/execute": metered("execute", handler)})


async def fine(request: web.BaseRequest, _: Context) -> web.Response:
    await request.read()
    return json_reply({"result": 1})


async def test_each_request_leaves_a_record() -> None:
    house = House()
    async with house.serve(fine) as ask:
        headers = {"x-request-id": "theirs", "user-agent": "me"}
        assert (await ask("/execute", data=b"12345", headers=headers)).status == 200
    (record,) = house.records
    assert (record.operation, record.status, record.code) == ("execute", 200, None)
    assert (record.bytes_in, record.bytes_out) == (5, len(b'{"result":1}'))
    assert (record.client_request_id, record.user_agent) == ("theirs", "me")
    assert record.path == "/execute"
    assert record.ended_at is not None
    assert record.ended_at >= record.started_at


async def test_what_fails_is_recorded_with_its_code() -> None:
    async def refuses(request: web.BaseRequest, _: Context) -> web.Response:
        raise CallerFault("execution_error", "It raised.")

    async def breaks(request: web.BaseRequest, _: Context) -> web.Response:
        raise RuntimeError("a defect")

    for handler, status, code in (
        (refuses, 400, "execution_error"),
        (breaks, 500, "internal_error"),
    ):
        house = House(RateLimitsConfig(default=RateLimit(concurrent=1)))
        async with house.serve(handler) as ask:
            assert (await ask("/execute", data=b"")).status == status
        (record,) = house.records
        assert (record.status, record.code) == (status, code)
        assert len(house.state.slots) == 0


async def test_who_leaves_is_recorded_and_gives_the_place_back() -> None:
    house = House(RateLimitsConfig(default=RateLimit(concurrent=1)))
    begun = asyncio.Event()

    async def waits(request: web.BaseRequest, _: Context) -> web.Response:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    handler = metered("execute", waits)
    request = make_mocked_request("POST", "/execute")
    request[PRINCIPAL] = Principal(key="k")
    task = asyncio.ensure_future(handler(request, context(metering=house.metering)))
    await begun.wait()
    assert len(house.state.slots) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (record,) = house.records
    assert (record.status, record.code) == (499, "client_closed_request")
    assert len(house.state.slots) == 0


async def test_a_limit_of_requests_holds_and_is_told() -> None:
    house = House(RateLimitsConfig(default=RateLimit(requests="2/day", tokens="1/day")))
    async with house.serve(fine) as ask:
        told = [await ask("/execute", data=b"") for _ in range(3)]
    assert [reply.status for reply in told] == [200, 200, 429]
    left = [reply.headers["x-ratelimit-remaining-requests"] for reply in told]
    assert left == ["1", "0", "0"]
    assert told[2].headers["retry-after"] == "43200"
    assert "x-ratelimit-limit-tokens" not in told[2].headers
    assert [record.status for record in house.records] == [200, 200, 429]
    assert house.records[2].code == "rate_limit_exceeded"
    assert house.refused == {"rate_limit_exceeded": 1}


async def test_without_a_limit_nothing_is_told_of_one() -> None:
    house = House(RateLimitsConfig(default=RateLimit(tokens="1/day")))
    async with house.serve(fine) as ask:
        reply = await ask("/execute", data=b"")
    assert not [name for name in reply.headers if "ratelimit" in name.lower()]


@pytest.fixture
async def guarded() -> AsyncIterator[Site]:
    async with guarded_site(records=True) as site:
        yield site


async def test_a_keys_limit_is_one_for_models_and_code(guarded: Site) -> None:
    issued = await issue(
        guarded, scopes=("execute", "inference"), requests_rate="3/day"
    )
    key = bearer(issued.secret)
    body = b'{"model":"tiny","messages":[]}'
    first = await guarded.ask(post("/v1/chat/completions", body, key))
    replies = [await guarded.ask(post("/execute", CODE, key)) for _ in range(3)]
    # /execute is off here, which is told as ever.
    assert [reply.status for reply in (first, *replies)] == [200, 501, 501, 429]
    assert error_of(replies[2])["code"] == "rate_limit_exceeded"
    assert replies[2].header("x-ratelimit-remaining-requests") == "0"
    assert int(replies[2].header("retry-after") or 0) > 0
    await until(lambda: len(guarded.records) == 4, "the records")
    last = guarded.records[-1]
    assert (last.key, last.operation, last.status) == (issued.row.id, "execute", 429)
    assert last.id == replies[2].header("x-request-id")
    assert guarded.runtime.records is not None
    assert await guarded.runtime.records.ledger.drain()
    kept = await guarded.runtime.records.queries.one(last.id)
    assert (kept["endpoint"], kept["status"]) == ("execute", 429)
