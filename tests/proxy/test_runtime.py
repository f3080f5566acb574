"""The parts of a gateway: made, opened, fed to each other, closed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from providers.base import FoundModel
from proxy.config import Config
from proxy.config.schema import ServerConfig, ServerTls
from proxy.core.errors import GatewayFault
from proxy.routing.registry import Finding, Status
from proxy.runtime import Runtime, describe
from tests.parts.certificates import Authority, authority
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
from tests.parts.listening import answering, listening
from tests.parts.ports import HOST
from tests.parts.scripts import BODY, answers, ask, then_wait
from tests.parts.until import until

__all__ = ["authority", "open_site"]

MODELS = whole(b'{"object":"list","data":[{"id":"tiny","object":"model"}]}')


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


# -- reload -----------------------------------------------------------------------


async def test_what_lives_outlives_a_reload(open_site: OpenSite) -> None:
    site = await open_site()
    runtime = site.runtime
    await site.ask(post(CHAT, BODY))
    [box] = runtime.registry.providers
    runtime.registry.hold(box, Status.DRAINING)
    parts = (runtime.client, runtime.metrics, runtime.owners, runtime.access)
    connections = len(site.upstream.peers)
    site.rewrite(site.content | {"stream": {"keepAliveSeconds": 3}})
    assert (await runtime.reload("a test")).ok
    assert runtime.config.stream.keep_alive_seconds == 3
    assert runtime.registry.providers == (box,)
    assert box.held is Status.DRAINING
    assert (runtime.client, runtime.metrics, runtime.owners, runtime.access) == parts
    runtime.registry.hold(box, None)
    await site.ask(post(CHAT, BODY))
    assert len(site.upstream.peers) == connections
    assert len(site.records) == 2


async def test_a_call_ends_on_the_configuration_it_began_with(
    open_site: OpenSite,
) -> None:
    site = await open_site(then_wait(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{"))
    runtime, former = site.runtime, site.runtime.pipeline
    caller = await site.caller()
    caller.send(post(CHAT, BODY))
    peer = await site.busy_peer()
    site.rewrite(site.content | {"providers": [], "models": []})
    for _ in range(3):
        assert (await runtime.reload("a test")).ok
    assert runtime.pipeline is not former
    assert (runtime.pipeline.active, runtime.active) == (0, 1)
    assert not await runtime.idle_within(0)
    await peer.send(b"}")
    assert (await caller.reply()).body == b"{}"
    assert await runtime.idle_within(5)
    assert (await site.ask(post(CHAT, BODY))).status == 404


async def test_calls_of_every_generation_are_interrupted(open_site: OpenSite) -> None:
    site = await open_site(then_wait(b""))
    callers = [await site.caller() for _ in range(2)]
    for number, caller in enumerate(callers):
        caller.send(post(CHAT, BODY))
        await until(lambda: len(site.upstream.busy_peers) > number, "it")  # noqa: B023
        assert (await site.runtime.reload("a test")).ok
    fault = GatewayFault("shutting_down", "Stopping.")
    site.runtime.interrupt_all(fault)
    for caller in callers:
        assert (await caller.reply()).status == 503
    assert site.runtime.active == 0


async def test_former_generations_are_let_go(open_site: OpenSite) -> None:
    site = await open_site()
    for _ in range(5):
        await site.runtime.reload("a test")
    assert len(site.runtime._former) == 1


async def test_who_drains_takes_no_calls_after_a_reload_either(
    open_site: OpenSite,
) -> None:
    site = await open_site()
    site.runtime.stop_accepting()
    assert (await site.runtime.reload("a test")).ok
    assert site.runtime.draining
    assert (await site.ask(post(CHAT, BODY))).status == 503


async def test_a_provider_that_has_moved_is_looked_at_at_once(
    open_site: OpenSite, upstream: Faulty
) -> None:
    site = await open_site()
    [box] = site.runtime.registry.providers
    site.runtime.registry.report(box, Finding(Status.OFFLINE, "gone"))
    moved = site.content["providers"][0] | {"endpoint": upstream.url}
    site.rewrite(site.content | {"providers": [moved]})
    assert (await site.runtime.reload("a test")).ok
    await until(lambda: box.status is Status.ONLINE, "a look at the new address")
    assert (await site.ask(post(CHAT, BODY))).body == COMPLETION
    assert [sent.target for sent in upstream.requests][-1] == CHAT


@pytest.mark.parametrize("text", ["{", "server: {prot: 1}", "", None])
async def test_what_cannot_be_used_changes_nothing(
    open_site: OpenSite, caplog: pytest.LogCaptureFixture, text: str | None
) -> None:
    site = await open_site()
    runtime = site.runtime
    before = (runtime.loaded, runtime.pipeline, runtime.catalog())
    if text is not None:
        site.rewrite(text)
    elif runtime.loaded.file is not None:
        runtime.loaded.file.unlink()
    outcome = await runtime.reload("a test")
    assert not outcome.ok
    assert runtime.last_reload is outcome
    assert (runtime.loaded, runtime.pipeline, runtime.catalog()) == before
    assert "nothing has changed" in caplog.text
    assert all(str(problem) in caplog.text for problem in outcome.problems)


async def test_what_fails_while_it_is_built_changes_nothing(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await open_site()
    runtime = site.runtime
    before = (runtime.loaded, runtime.pipeline, runtime.registry.providers[0].config)

    def fails(_: object) -> None:
        raise ValueError("no such address")

    monkeypatch.setattr("proxy.relay.origins.origin_of", fails)
    site.rewrite(site.content | {"stream": {"keepAliveSeconds": 3}})
    [problem] = (await runtime.reload("a test")).problems
    assert "no such address" in problem.message
    now = (runtime.loaded, runtime.pipeline, runtime.registry.providers[0].config)
    assert now == before


async def test_only_new_warnings_are_told_again(open_site: OpenSite) -> None:
    first = {"server": {"maxBodyBytes": 1}}
    site = await open_site(**first)
    assert site.runtime.loaded.warnings
    assert (await site.runtime.reload("a test")).warnings == ()
    unheeded = {"requestLog": {"bodies": True, "retainDays": 0}}
    site.rewrite(site.content | {"logging": unheeded})
    assert (await site.runtime.reload("a test")).warnings != ()


async def test_reloads_come_one_after_the_other(open_site: OpenSite) -> None:
    site = await open_site()
    outcomes = await asyncio.gather(*(site.runtime.reload(str(n)) for n in range(5)))
    assert [outcome.trigger for outcome in outcomes] == ["0", "1", "2", "3", "4"]
    assert site.runtime.last_reload is outcomes[-1]


async def test_a_changed_form_of_the_log_is_heeded(open_site: OpenSite) -> None:
    site = await open_site()
    before = site.runtime._now.log
    site.rewrite(site.content | {"logging": {"format": "json"}})
    assert (await site.runtime.reload("a test")).ok
    assert site.runtime._now.log is not before


async def test_a_reload_takes_certificates_that_were_renewed(
    open_site: OpenSite, authority: Authority, tmp_path: Path
) -> None:
    site, trusted = await open_site(), tmp_path / "trusted.pem"
    theirs = Authority(tmp_path)  # who signs from now on
    trusted.write_bytes(authority.file.read_bytes())
    async with listening(answering(MODELS, []), tls=theirs.server(HOST)) as port:
        box = {"endpoint": f"https://{HOST}:{port}", "tls": {"caFile": str(trusted)}}
        box = site.content["providers"][0] | box
        site.rewrite(site.content | {"providers": [box]})
        assert (await site.runtime.reload("a test")).ok
        [provider] = site.runtime.registry.providers
        await until(lambda: provider.status is Status.OFFLINE, "a look at it")
        trusted.write_bytes(theirs.file.read_bytes())
        assert (await site.runtime.reload("a test")).ok
        await site.runtime.discovery.health.check(provider)
        assert provider.status is Status.ONLINE


async def test_certificates_that_are_none_change_nothing(
    open_site: OpenSite, tmp_path: Path
) -> None:
    site, trusted = await open_site(), tmp_path / "trusted.pem"
    trusted.write_text("-----BEGIN CERTIFICATE-----\nhalf of one")
    box = {"endpoint": "https://box.lan", "tls": {"caFile": str(trusted)}}
    box = site.content["providers"][0] | box
    site.rewrite(site.content | {"providers": [box]})
    outcome = await site.runtime.reload("a test")
    [problem] = outcome.problems
    assert "'box'" in str(problem) and str(tmp_path) not in str(problem)
    assert (await site.ask(post(CHAT, BODY))).body == COMPLETION


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
