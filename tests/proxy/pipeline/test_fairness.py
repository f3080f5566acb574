"""Keys that flood the queue neither keep others out of it nor hold them up for long.

Requests carry the name of their key in a field here, so that no key need be made.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import pytest

from proxy.core import clock
from proxy.core.types import Principal
from tests.parts.faulty import Peer
from tests.parts.http_text import Message, post, whole
from tests.parts.inside import CHAT, COMPLETION, OpenSite, Site
from tests.parts.scripts import BODY, error_of
from tests.parts.until import until

FLOOD, PLACES, WAIT_S = 500, 256, 60
KEY = "x-test-key"


class OneByOne:
    """Serves each request when the test says so; notes whose it was."""

    def __init__(self) -> None:
        self.served: list[str] = []
        self._waiting: deque[asyncio.Event] = deque()

    async def __call__(self, peer: Peer, request: Message) -> None:
        self.served.append(request.header(KEY) or "")
        go = asyncio.Event()
        self._waiting.append(go)
        await peer.wait(go)
        await peer.send(whole(COMPLETION))

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    async def finish_one(self) -> None:
        """End the service of one; the slot goes to the next before this returns."""
        count = len(self.served)
        self._waiting.popleft().set()
        await until(lambda: len(self.served) == count + 1, "the next one's turn")


@pytest.mark.parametrize("agents", [1, 20])
async def test_a_flood_of_agents_does_not_refuse_nor_delay_another_key(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch, agents: int
) -> None:
    server = OneByOne()
    site = await open_site(
        server,
        fast=True,
        provider={"maxConcurrent": 1, "forwardHeaders": [KEY]},
        routing={"queue": {"maxWaitSeconds": WAIT_S, "maxLength": PLACES}},
        priorities={"agent-*": 0, "default": 1},
    )
    take_keys_from_a_field(site)
    flood = [ask_as(site, f"agent-{number % agents}") for number in range(FLOOD)]
    await until(lambda: len(site.records) == FLOOD - PLACES - 1, "the rest is refused")
    assert {(record.status, record.code) for record in site.records} == {
        (429, "queue_full")
    }
    queue = site.runtime.dispatch.queue
    mine = ask_as(site, "mine")
    await until(lambda: len(site.records) == FLOOD - PLACES, "an agent gives way")
    assert len(queue) == PLACES
    assert not mine.done()
    for _ in range(10):
        await server.finish_one()
    assert "mine" not in server.served, "agents go first"
    ahead_s = WAIT_S / 2
    monkeypatch.setattr(queue, "_now", lambda: clock.monotonic() + ahead_s)
    for _ in range(2):
        await server.finish_one()
    assert "mine" in server.served[-2:], "half of its time is over"
    while not mine.done():
        await server.finish_one()
    assert (await mine).status == 200
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)


async def test_the_newest_of_who_holds_most_places_gives_way(
    open_site: OpenSite,
) -> None:
    server = OneByOne()
    site = await open_site(
        server,
        provider={"maxConcurrent": 1},
        routing={"queue": {"maxWaitSeconds": WAIT_S, "maxLength": 4}},
    )
    take_keys_from_a_field(site)
    queue = site.runtime.dispatch.queue
    busy = ask_as(site, "greedy")
    await until(lambda: server.busy, "the slot is taken")
    greedy = []
    for count in range(1, 5):
        greedy.append(ask_as(site, "greedy"))
        await until(lambda: len(queue) == count, "it waits")  # noqa: B023
    modest = ask_as(site, "modest")
    refused = await greedy[-1]
    assert (refused.status, error_of(refused)["code"]) == (429, "queue_full")
    assert int(refused.header("retry-after") or 0) >= 1
    assert not modest.done()
    assert len(queue) == 4
    for task in (busy, modest, *greedy):
        task.cancel()
    await asyncio.gather(busy, modest, *greedy, return_exceptions=True)


def ask_as(site: Site, key: str) -> asyncio.Future[Message]:
    return asyncio.ensure_future(site.ask(post(CHAT, BODY, f"{KEY}: {key}")))


def take_keys_from_a_field(site: Site) -> None:
    """Do what authentication does: say who calls."""
    attempts: Any = site.runtime.pipeline._attempts
    serve = attempts.serve

    async def named(course: Any, request: Any) -> None:
        key = course.call.headers.get(KEY)
        course.principal = Principal(key=key, key_name=key)
        await serve(course, request)

    attempts.serve = named
