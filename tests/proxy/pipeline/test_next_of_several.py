"""After a failure whoever can serve first is asked, and nobody waits in vain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from proxy.routing.status import Status
from tests.parts.faulty import Faulty, Peer, Script
from tests.parts.http_text import Message, post, whole
from tests.parts.inside import CHAT, COMPLETION, OpenSite, Site
from tests.parts.scripts import BODY, answers, error_of
from tests.parts.until import until

GOOD = whole(COMPLETION)
DOWN = whole(b"{}", status=503)


class Stuck:
    """Holds what it is asked until the test lets go of it."""

    def __init__(self) -> None:
        self.released = asyncio.Event()

    async def __call__(self, peer: Peer, request: Message) -> None:
        await peer.wait(self.released)
        await peer.send(GOOD)


@pytest.fixture
async def full() -> AsyncIterator[Faulty]:
    async with Faulty(Stuck()) as upstream:
        yield upstream


@pytest.fixture
async def idle() -> AsyncIterator[Faulty]:
    async with Faulty(answers(GOOD)) as upstream:
        yield upstream


async def site_of_two(
    open_site: OpenSite, full: Faulty, idle: Faulty, **tiny: Any
) -> Site:
    """As `site_of_three`, but `idle` serves the model by another name alone."""
    served_by = [{"id": name} for name in ("box", "full")]
    return await site_of_three(
        open_site, answers(DOWN), full, idle.url, providers=served_by, **tiny
    )


async def site_of_three(
    open_site: OpenSite, first: Script, full: Faulty, idle: str, **tiny: Any
) -> Site:
    """`box` is `first`, `full` has its only slot taken, then comes `idle`."""
    slot = {"kind": "vllm", "maxConcurrent": 1}
    listed = [{"id": name} for name in ("box", "full", "idle")]
    site = await open_site(
        first,
        provider={"priority": 1},
        others=[
            {"id": "full", "endpoint": full.url, "priority": 2} | slot,
            {"id": "idle", "endpoint": idle, "priority": 3} | slot,
        ],
        models=[
            {"id": "tiny", "providers": listed} | tiny,
            {"id": "other", "providerId": "full", "upstreamModel": "tiny"},
        ],
        routing={"queue": {"maxWaitSeconds": 30}, "retry": {"budgetRatio": 0}},
        fast=True,
    )
    busy = await site.caller()
    busy.send(post(CHAT, b'{"model":"other","messages":[]}'))
    await until(lambda: full.busy_peers, "the slot to be taken")
    return site


async def test_one_with_room_is_asked_before_one_that_is_full(
    open_site: OpenSite, full: Faulty, idle: Faulty
) -> None:
    site = await site_of_three(open_site, answers(DOWN), full, idle.url)
    reply = await site.ask(post(CHAT, BODY))
    assert (reply.status, reply.header("x-proxy-provider")) == (200, "idle")
    assert reply.header("x-proxy-attempts") == "2"
    assert reply.header("x-proxy-queue-ms") is None


async def test_who_waits_for_the_next_goes_on_when_that_one_is_drained(
    open_site: OpenSite, full: Faulty, idle: Faulty
) -> None:
    script = Stuck()
    idle.script = script
    site = await site_of_three(open_site, answers(DOWN), full, idle.url)
    third = await site.caller()
    third.send(post(CHAT, b'{"model":"idle/tiny","messages":[]}'))
    await until(lambda: idle.busy_peers, "no room anywhere")
    waiting = asyncio.ensure_future(site.ask(post(CHAT, BODY)))
    await until(lambda: len(site.runtime.dispatch.queue) == 1, "it waits")
    hold(site, "full", Status.DRAINING)
    script.released.set()
    reply = await waiting
    assert (reply.status, reply.header("x-proxy-provider")) == (200, "idle")


async def test_when_that_was_the_last_a_fallback_is_asked(
    open_site: OpenSite, full: Faulty, idle: Faulty
) -> None:
    site = await site_of_two(open_site, full, idle, fallbacks=["idle/tiny"])
    waiting = asyncio.ensure_future(site.ask(post(CHAT, BODY)))
    await until(lambda: len(site.runtime.dispatch.queue) == 1, "it waits")
    hold(site, "full", Status.DRAINING)
    reply = await waiting
    assert (reply.status, reply.header("x-proxy-provider")) == (200, "idle")


async def test_without_one_the_caller_is_told_of_the_failure(
    open_site: OpenSite, full: Faulty, idle: Faulty
) -> None:
    site = await site_of_two(open_site, full, idle)
    waiting = asyncio.ensure_future(site.ask(post(CHAT, BODY)))
    await until(lambda: len(site.runtime.dispatch.queue) == 1, "it waits")
    hold(site, "full", Status.DRAINING)
    reply = await waiting
    assert (reply.status, error_of(reply)["code"]) == (502, "upstream_error")
    assert len(site.runtime.dispatch.queue) == 0


async def test_one_that_has_come_up_since_is_asked_too(
    open_site: OpenSite, idle: Faulty
) -> None:
    """A reply takes minutes; who was down when it began may be there when it breaks."""
    listed = [{"id": name} for name in ("box", "idle")]
    site = await open_site(
        Stuck(),
        others=[{"id": "idle", "kind": "vllm", "endpoint": idle.url}],
        models=[{"id": "tiny", "providers": listed}],
        fast=True,
    )
    hold(site, "idle", Status.DISABLED)
    waiting = asyncio.ensure_future(site.ask(post(CHAT, BODY)))
    await site.busy_peer()
    hold(site, "idle", None)
    site.upstream.die()
    reply = await waiting
    assert (reply.status, reply.header("x-proxy-provider")) == (200, "idle")
    assert reply.header("x-proxy-attempts") == "2"


def hold(site: Site, name: str, held: Status | None) -> None:
    registry = site.runtime.registry
    provider = registry.get(name)
    assert provider is not None
    registry.hold(provider, held)
