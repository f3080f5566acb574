"""What the owner sees of providers and does to them, through a whole gateway."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Callable, Mapping
from typing import cast

import pytest
import uvloop

from providers.base import FoundModel
from proxy.api.admin_providers import _shown
from proxy.api.context import Context
from proxy.routing.breaker import THRESHOLD
from proxy.routing.registry import Finding, Status
from proxy.state.base import Where
from tests.parts.http_text import post
from tests.parts.inside import CHAT, COMPLETION, OpenSite, Site, open_site, run_site
from tests.parts.owner import steer, told
from tests.parts.scripts import BODY, error_of, then_wait
from tests.parts.until import until

__all__ = ["open_site"]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with run_site() as opened:
        yield opened


async def test_providers_are_shown_with_all_that_is_known(site: Site) -> None:
    [box] = site.runtime.registry.providers
    models = (FoundModel("tiny", warm=True, context_window=4096),)
    site.runtime.registry.report(
        box, Finding(Status.ONLINE, models=models, slots=3, latency_s=0.0123)
    )
    [shown] = (await told(site, "GET", "/providers"))["providers"]
    assert (shown["id"], shown["status"], shown["latency_ms"]) == (
        "box",
        "online",
        12.3,
    )
    assert shown["slots"] == {"active": 0, "max": 3}
    assert shown["models"] == [{"id": "tiny", "loaded": True, "context_window": 4096}]
    assert shown["endpoint"] == site.upstream.url


async def test_what_other_workers_serve_is_added(site: Site) -> None:
    [box] = site.runtime.registry.providers
    others = [{"box": [2, 1, 0.5]}, {"box": [1, 3, 7.5], "other": [9, 9, 9.0]}, {}]
    shown = _shown(box, cast("Context", site.runtime), others)
    assert shown["slots"] == {"active": 3, "max": box.slots}
    assert shown["queue"] == {"length": 4, "oldest_seconds": 7.5}


async def test_who_waits_for_it_is_shown(open_site: OpenSite) -> None:
    site = await open_site(
        then_wait(b""),
        provider={"maxConcurrent": 1},
        routing={"queue": {"maxWaitSeconds": 30}},
    )
    [shown] = (await told(site, "GET", "/providers"))["providers"]
    assert shown["queue"] == {"length": 0, "oldest_seconds": 0.0}
    callers = [await site.caller() for _ in range(3)]
    for caller in callers:
        caller.send(post(CHAT, BODY))
    await until(lambda: len(site.runtime.dispatch.queue) == 2, "two wait")
    [shown] = (await told(site, "GET", "/providers"))["providers"]
    assert shown["slots"] == {"active": 1, "max": 1}
    assert shown["queue"]["length"] == 2


async def test_what_is_left_alone_is_shown(site: Site) -> None:
    dispatch = site.runtime.dispatch
    [shown] = (await told(site, "GET", "/providers"))["providers"]
    assert shown["breaker"] == {"state": "closed", "seconds": None, "models": []}
    assert shown["cooldowns"] == []
    tiny, other = Where("box", "tiny"), Where("box", "other")
    for where in (tiny, Where("box")):
        for _ in range(THRESHOLD):
            dispatch.breaker.failed(where)
    site.runtime.state.cooldowns.end(tiny)
    shown = await told(site, "POST", "/providers/box/drain")
    assert shown["breaker"]["state"] == "open"
    assert 0 < shown["breaker"]["seconds"] <= 5
    assert shown["breaker"]["models"] == [
        {"id": "tiny", "state": "half_open", "seconds": None}
    ]
    dispatch.breaker.close(tiny)
    site.runtime.state.cooldowns.start(other, 60)  # a model that nobody can name
    site.runtime.state.cooldowns.start(tiny, 60)
    shown = await told(site, "POST", "/providers/box/drain")
    [resting] = shown["cooldowns"]
    assert resting["model"] == "tiny"
    assert 50 < resting["seconds"] <= 60


@pytest.mark.parametrize(
    ("verb", "status"), [("drain", "draining"), ("disable", "disabled")]
)
async def test_one_that_is_held_gets_nothing_until_it_is_enabled(
    site: Site, verb: str, status: str
) -> None:
    assert (await told(site, "POST", f"/providers/box/{verb}"))["status"] == status
    refused = await site.ask(post(CHAT, BODY))
    assert error_of(refused)["code"] == "all_providers_unavailable"
    assert site.upstream.requests == []
    await told(site, "POST", "/providers/box/enable")
    assert (await site.ask(post(CHAT, BODY))).body == COMPLETION


async def test_what_runs_at_a_drained_one_goes_on(open_site: OpenSite) -> None:
    site = await open_site(then_wait(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{"))
    caller = await site.caller()
    caller.send(post(CHAT, BODY))
    peer = await site.busy_peer()
    shown = await told(site, "POST", "/providers/box/drain")
    assert (shown["status"], shown["slots"]["active"]) == ("draining", 1)
    await peer.send(b"}")
    assert (await caller.reply()).body == b"{}"
    [shown] = (await told(site, "GET", "/providers"))["providers"]
    assert (shown["status"], shown["slots"]["active"]) == ("draining", 0)


async def test_a_drain_outlives_a_reload_that_does_not_speak_of_it(site: Site) -> None:
    await told(site, "POST", "/providers/box/drain")
    provider = site.content["providers"][0]
    site.rewrite(site.content | {"providers": [provider | {"priority": 5}]})
    await told(site, "POST", "/reload")
    [shown] = (await told(site, "GET", "/providers"))["providers"]
    assert (shown["priority"], shown["status"]) == (5, "draining")
    for enabled in (False, True):
        site.rewrite(site.content | {"providers": [provider | {"enabled": enabled}]})
        await told(site, "POST", "/reload")
    [shown] = (await told(site, "GET", "/providers"))["providers"]
    assert shown["status"] != "draining"


async def test_a_probe_tells_what_it_saw(site: Site) -> None:
    shown = await told(site, "POST", "/providers/box/probe")
    assert shown["status"] == "online"
    assert shown["latency_ms"] is not None


@pytest.mark.parametrize("verb", ["enable", "disable", "drain", "probe"])
async def test_one_that_is_not_there_is_said(site: Site, verb: str) -> None:
    reply = await steer(site, "POST", f"/providers/nobody/{verb}")
    assert (reply.status, error_of(reply)["code"]) == (404, "provider_not_found")
