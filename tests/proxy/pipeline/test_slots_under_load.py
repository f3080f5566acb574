"""Slots hold, and come free, whatever callers do and however often it reloads."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from tests.faults.steps import settle
from tests.parts.faulty import Peer
from tests.parts.http_text import LAST_CHUNK, Message, chunk, event_stream_head, post
from tests.parts.http_text import whole as whole_reply
from tests.parts.inside import CHAT, COMPLETION, OpenSite, Site
from tests.parts.scripts import DONE, EVENT
from tests.parts.until import until

REQUESTS, RELOADS, SLOTS = 200, 20, 4
MODEL_SLOTS = 2


class Guarded:
    """A model server that counts whom it serves at once, by model."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.most = 0
        self.most_of_model: dict[str, int] = {}
        self._serving: list[tuple[Peer, str]] = []

    async def __call__(self, peer: Peer, request: Message) -> None:
        wish = json.loads(request.body)
        await settle(peer)  # what was closed before this request is seen to be
        self._serving = [one for one in self._serving if one[0].gone_at is None]
        self._serving.append((peer, wish["model"]))
        self._count(wish["model"])
        await self._serve(peer, wish)

    def _count(self, model: str) -> None:
        self.most = max(self.most, len(self._serving))
        of_model = sum(name == model for _, name in self._serving)
        self.most_of_model[model] = max(self.most_of_model.get(model, 0), of_model)

    async def _serve(self, peer: Peer, wish: dict[str, Any]) -> None:
        dice = self._dice
        if not wish.get("stream"):
            reply = whole_reply(COMPLETION)
            half = dice.randrange(len(reply))
            await peer.send(reply[:half])
            await asyncio.sleep(dice.random() * 0.01)
            self._leaves(peer)
            await peer.send(reply[half:])
            return
        await peer.send(event_stream_head())
        for _ in range(dice.randrange(6)):
            await peer.send(chunk(EVENT))
            await asyncio.sleep(dice.random() * 0.005)
        self._leaves(peer)
        await peer.send(chunk(DONE) + LAST_CHUNK)

    def _leaves(self, peer: Peer) -> None:
        """Its slot comes free with the last byte, which follows."""
        self._serving = [one for one in self._serving if one[0] is not peer]


@pytest.mark.parametrize("fast", [True, False])
async def test_no_more_than_max_concurrent_with_aborts_and_reloads(
    open_site: OpenSite, fast: bool
) -> None:
    dice = random.Random(200)
    server = Guarded(dice)
    site = await open_site(
        server,
        fast=fast,
        provider={"maxConcurrent": SLOTS},
        routing={"queue": {"maxWaitSeconds": 30, "maxLength": REQUESTS}},
        models=[
            {"id": "tiny", "providerId": "box", "maxConcurrent": MODEL_SLOTS},
            {"id": "other", "providerId": "box"},
        ],
    )
    callers = [
        asyncio.ensure_future(_call(site, random.Random(number)))
        for number in range(REQUESTS)
    ]
    await until(lambda: len(site.runtime.dispatch.queue) > SLOTS, "a queue")
    reloads = 0
    while reloads < RELOADS:
        await _reloaded(site, reloads)
        reloads += 1
        served = len(site.records)
        await until(
            lambda: len(site.records) >= min(served + 3, REQUESTS),  # noqa: B023
            "more served",
        )
    replies = await asyncio.gather(*callers)
    await until(lambda: len(site.records) == REQUESTS, "all recorded")
    stayed = [reply for reply in replies if reply is not None]
    assert {reply.status for reply in stayed} == {200}
    assert REQUESTS // 4 < len(stayed) < REQUESTS
    assert all(reply.complete for reply in stayed)
    assert server.most == SLOTS
    assert server.most_of_model["tiny"] == MODEL_SLOTS
    # A reload looks at the provider too: its question may be under way.
    await until(lambda: busy_connections(site) == 0, "no connection in use")
    assert_nothing_is_held(site)


async def _call(site: Site, dice: random.Random) -> Message | None:
    """Ask; every other one goes away at some moment, perhaps while it waits."""
    stream = dice.random() < 0.5
    body = {"model": dice.choice(("tiny", "other")), "messages": [], "stream": stream}
    caller = await site.caller()
    caller.send(post(CHAT, json.dumps(body).encode()))
    if dice.random() < 0.5:
        return await caller.reply()
    await asyncio.sleep(dice.choice((0, 0.01, 0.05, 0.2, 0.4)) * dice.random())
    caller.leave()
    return None


async def _reloaded(site: Site, number: int) -> None:
    """Reload to another priority, every other time beside a file that is broken."""
    provider = site.content["providers"][0] | {"priority": 1 + number}
    site.rewrite(site.content | {"providers": [provider]})
    if number % 2:
        site.rewrite("providers: {")
    outcome = await site.runtime.reload("test")
    assert outcome.ok is (number % 2 == 0)


def busy_connections(site: Site) -> int:
    return sum(n for _, state, n in site.runtime._connections() if state == "busy")


def assert_nothing_is_held(site: Site) -> None:
    """Every gauge there is stands at zero."""
    runtime = site.runtime
    assert runtime.active == 0
    assert len(runtime.dispatch.queue) == 0
    assert runtime.dispatch.queue.presence("box").length == 0
    for provider in runtime.registry.providers:
        assert provider.active == 0
        assert runtime.state.slots.held(provider.id) == 0
        assert runtime.state.slots.held(f"{provider.id}\ntiny") == 0
    assert len(runtime.state.slots) == 0
    assert runtime.dispatch.queue not in runtime.ticker._members
