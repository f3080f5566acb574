"""Pass-through takes slots for inference alone, in the same queue as everybody."""

from __future__ import annotations

import asyncio

import pytest

from proxy.routing.status import Sign, Status
from tests.parts.faulty import Peer
from tests.parts.http_text import Message, post, whole
from tests.parts.inside import CHAT, COMPLETION, OpenSite, Site
from tests.parts.scripts import BODY, answers, ask, error_of
from tests.parts.until import until

THROUGH = f"/providers/box{CHAT}"
EAGER = {"queue": {"maxWaitSeconds": 30}}


class WhenTold:
    """Serves nobody before it is told."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, peer: Peer, request: Message) -> None:
        await peer.wait(self.go)
        await peer.send(whole(COMPLETION))


async def busy_site(open_site: OpenSite, server: WhenTold, routing: object) -> Site:
    """Open a site whose only slot is taken by a call of a model."""
    site = await open_site(server, provider={"maxConcurrent": 1}, routing=routing)
    caller = await site.caller()
    caller.send(post(CHAT, BODY))
    await site.busy_peer()
    return site


async def test_inference_waits_for_its_slot(open_site: OpenSite) -> None:
    server = WhenTold()
    site = await busy_site(open_site, server, EAGER)
    reply = asyncio.ensure_future(site.ask(post(THROUGH, BODY)))
    await until(lambda: len(site.runtime.dispatch.queue) == 1, "it waits")
    assert len(site.upstream.requests) == 1
    server.go.set()
    assert (await reply).body == COMPLETION
    assert [p.active for p in site.runtime.registry.providers] == [0]


async def test_what_is_no_inference_does_not_wait(open_site: OpenSite) -> None:
    site = await busy_site(open_site, WhenTold(), EAGER)
    reply = await site.ask(ask("GET", "/providers/box/v1/models"))
    assert reply.status == 200
    assert [p.active for p in site.runtime.registry.providers] == [1]


async def test_one_that_waits_too_long_is_told_so(open_site: OpenSite) -> None:
    site = await busy_site(open_site, WhenTold(), {"queue": {"maxWaitSeconds": 0.3}})
    reply = await site.ask(post(THROUGH, BODY))
    assert (reply.status, error_of(reply)["code"]) == (
        503,
        "provider_capacity_exceeded",
    )


@pytest.mark.parametrize("waits", [True, False])
async def test_who_leaves_gives_his_slot_or_place_back(
    open_site: OpenSite, waits: bool
) -> None:
    server = WhenTold()
    site = await open_site(server, provider={"maxConcurrent": 1}, routing=EAGER)
    callers = [await site.caller() for _ in range(2 if waits else 1)]
    for caller in callers:
        caller.send(post(THROUGH, BODY))
        await site.busy_peer()
    queue = site.runtime.dispatch.queue
    await until(lambda: len(queue) == len(callers) - 1, "they are there")
    callers[-1].leave()
    await until(lambda: len(site.records) == 1, "its record", timeout_s=1.0)
    assert site.records[0].status == 499
    assert len(queue) == 0
    held = 1 if waits else 0
    assert [p.active for p in site.runtime.registry.providers] == [held]


@pytest.mark.parametrize("path", [THROUGH, "/providers/box/v1/models", "/v1/brand-new"])
async def test_a_server_that_is_gone_is_out_of_use_for_models_too(
    open_site: OpenSite, path: str
) -> None:
    site = await open_site()
    site.upstream.die()
    assert (await site.ask(post(path, BODY))).status == 502
    assert site.runtime.registry.providers[0].status is Status.OFFLINE
    reply = await site.ask(post(CHAT, BODY))
    assert (reply.status, error_of(reply)["code"]) == (503, "all_providers_unavailable")


async def test_a_reply_shows_that_it_is_back(open_site: OpenSite) -> None:
    site = await open_site()
    provider = site.runtime.registry.providers[0]
    site.runtime.discovery.health.failed(provider, Sign.GONE, "it was")
    assert (await site.ask(ask("GET", "/providers/box/odd"))).status == 200
    assert provider.status is Status.ONLINE


async def test_a_path_that_is_not_there_tells_nothing(open_site: OpenSite) -> None:
    site = await open_site(answers(whole(b"{}", status=404)))
    for _ in range(10):
        assert (await site.ask(post(THROUGH, BODY))).status == 404
    assert site.runtime.registry.providers[0].last_error is None
    assert site.runtime.dispatch.breaker.quiet
