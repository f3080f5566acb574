"""The parts of a gateway: made, opened, fed to each other, closed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from providers.base import FoundModel
from proxy.config import Config
from proxy.config.schema import ServerConfig, ServerTls
from proxy.routing.registry import Finding, Status
from proxy.runtime import Origins, Runtime, describe, origin_of
from tests.fakes.kinds import provider
from tests.parts.faulty import Faulty
from tests.parts.http_text import post, whole
from tests.parts.inside import (
    CHAT,
    COMPLETION,
    OpenSite,
    open_site,
    read_settings,
    settings,
)
from tests.parts.scripts import BODY, answers, ask, then_wait

__all__ = ["open_site"]


@pytest.fixture
async def upstream() -> Any:
    async with Faulty(answers(whole(COMPLETION))) as upstream:
        yield upstream


async def test_nothing_is_left_when_it_has_closed(upstream: Faulty) -> None:
    async with Runtime(read_settings(settings(upstream.url))) as runtime:
        await runtime.look_around()
        [box] = runtime.registry.providers
        assert box.status is Status.ONLINE
        origin = runtime.origins(box.config)
        connection = await runtime.client.connect(origin, 5)
        assert runtime.client.counts(origin)[0] == 1
    assert connection.transport is None or connection.transport.is_closing()
    assert len(runtime.ticker) == 0
    assert len(runtime.tasks) == 0
    assert runtime.client.counts(origin)[1] == 0


async def test_what_is_found_changes_the_catalogue(upstream: Faulty) -> None:
    async with Runtime(read_settings(settings(upstream.url, models=[]))) as runtime:
        before = runtime.catalog()
        assert [model.id for model in before.models] == []
        await runtime.look_around()
        assert [model.id for model in runtime.catalog().models] == ["tiny"]
        assert before.models == ()
        [box] = runtime.registry.providers
        found = Finding(Status.ONLINE, models=(FoundModel("other"),))
        runtime.registry.report(box, found)
        assert [model.id for model in runtime.catalog().models] == ["other"]


async def test_it_goes_on_looking(upstream: Faulty) -> None:
    async with Runtime(read_settings(settings(upstream.url))) as runtime:
        before = len(runtime.ticker)
        await runtime.look_around()
        assert len(runtime.ticker) == before + 1


async def test_what_fails_in_the_background_is_told(
    upstream: Faulty, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulted:
        def tick(self, now: float) -> None:
            raise RuntimeError("a ticking defect")

    async def work() -> None:
        raise RuntimeError("a working defect")

    async with Runtime(read_settings(settings(upstream.url))) as runtime:
        await asyncio.wait({runtime.tasks.start(work(), "work")})
        runtime.ticker.add(Faulted())
        runtime.ticker._fire()
        await asyncio.sleep(0)
    assert "a working defect" in caplog.text
    assert "a ticking defect" in caplog.text


async def test_gauges_tell_of_now(open_site: OpenSite) -> None:
    site = await open_site(then_wait(b""))
    await site.runtime.look_around()
    caller = await site.caller()
    caller.send(post(CHAT, BODY))
    await site.busy_peer()
    scraped = (await site.ask(ask("GET", "/metrics"))).body.decode()
    assert "local_ai_active_requests 1.0" in scraped
    assert 'local_ai_provider_active_requests{provider="box"} 1.0' in scraped
    assert 'local_ai_provider_health{provider="box"} 1.0' in scraped
    assert 'local_ai_upstream_connections{provider="box",state="busy"} 1.0' in scraped
    caller.leave()
    await site.record()
    scraped = (await site.ask(ask("GET", "/metrics"))).body.decode()
    assert "local_ai_active_requests 0.0" in scraped
    assert 'local_ai_provider_active_requests{provider="box"} 0.0' in scraped
    assert 'local_ai_upstream_connections{provider="box",state="busy"} 0.0' in scraped


async def test_no_two_gateways_have_the_same_name(upstream: Faulty) -> None:
    loaded = read_settings(settings(upstream.url))
    async with Runtime(loaded) as one, Runtime(loaded) as other:
        assert one.pipeline._via != other.pipeline._via


def test_origins_are_remembered_until_the_provider_changes() -> None:
    config = provider("box").config
    origins = Origins()
    known = origins(config)
    assert (known.host, known.port) == ("box.lan", 8000)
    assert origins(config) is known
    moved = replace(config, endpoint="http://elsewhere.lan:1")
    assert origins(moved).host == "elsewhere.lan"
    assert origins(config).host == "box.lan"


def test_an_origin_has_the_providers_options() -> None:
    config = provider(
        "box", endpoint="https://box.lan", proxy="http://out.lan:3128"
    ).config
    origin = origin_of(config)
    assert (origin.scheme, origin.port, origin.proxy) == (
        "https",
        443,
        "http://out.lan:3128",
    )
    assert origin.tls.verify


@pytest.mark.parametrize(
    ("server", "address"),
    [
        ({}, "http://127.0.0.1:3500"),
        ({"host": "0.0.0.0", "port": 80}, "http://127.0.0.1:80"),
        ({"host": "::"}, "http://127.0.0.1:3500"),
        ({"host": "::1"}, "http://[::1]:3500"),
        ({"host": "gw.lan"}, "http://gw.lan:3500"),
        ({"port": 0}, "http://127.0.0.1:4711"),
        ({"tls": ServerTls(cert_file="c", key_file="k")}, "https://127.0.0.1:3500"),
    ],
)
def test_the_address_for_callers(server: dict[str, Any], address: str) -> None:
    config = Config(server=ServerConfig(**server))
    assert describe(config, 4711 if server.get("port") == 0 else None) == address
