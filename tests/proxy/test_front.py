"""The front follows the configuration in force; open connections keep their limits."""

from __future__ import annotations

import pytest

from tests.parts.http_text import post
from tests.parts.inside import CHAT, COMPLETION, OpenSite, Site, open_site
from tests.parts.scripts import BODY, ask, error_of

__all__ = ["open_site"]


async def reload(site: Site, **server: object) -> None:
    site.rewrite(site.content | {"server": site.content["server"] | server})
    outcome = await site.runtime.reload("a test")
    assert outcome.ok, outcome


@pytest.mark.parametrize("fast", [True, False])
async def test_who_may_call_follows_a_reload(open_site: OpenSite, fast: bool) -> None:
    site = await open_site(fast=fast)
    asked = post(CHAT, BODY).replace(b"host: 127.0.0.1", b"host: gw.example")
    caller = await site.caller()
    caller.send(asked)
    assert (await caller.reply()).status == 403
    await reload(site, allowedHosts=["gw.example"])
    caller.send(asked + ask("GET", "/v1/models", "host: gw.example"))
    assert (await caller.reply()).body == COMPLETION
    assert (await caller.reply()).status == 200
    await reload(site, allowedHosts=[])
    caller.send(asked)
    assert (await caller.reply()).status == 403


@pytest.mark.parametrize("fast", [True, False])
async def test_new_connections_heed_the_new_size_of_bodies(
    open_site: OpenSite, fast: bool
) -> None:
    site = await open_site(fast=fast)
    await reload(site, maxBodyBytes=10)
    refused = await site.ask(post(CHAT, BODY))
    assert error_of(refused)["code"] == "body_too_large"
    await reload(site, maxBodyBytes=1000)
    assert (await site.ask(post(CHAT, BODY))).body == COMPLETION


async def test_the_fast_door_opens_and_shuts_for_new_connections(
    open_site: OpenSite,
) -> None:
    site = await open_site(fast=False)
    before = await site.caller()
    before.send(post(CHAT, BODY))
    await before.reply()
    await reload(site, fastPath=True)
    for caller in (before, await site.caller()):
        caller.send(post(CHAT, BODY))
        assert (await caller.reply()).body == COMPLETION
    scraped = (await site.ask(ask("GET", "/metrics"))).body.decode()
    assert 'local_ai_fast_path_total{reason="hot",taken="true"} 1.0' in scraped


async def test_handlers_see_the_configuration_of_now(open_site: OpenSite) -> None:
    site = await open_site()
    site.rewrite(site.content | {"models": [{"id": "other", "providerId": "box"}]})
    assert (await site.runtime.reload("a test")).ok
    listed = (await site.ask(ask("GET", "/v1/models"))).body
    assert b'"other"' in listed
    assert b'"tiny"' not in listed


async def test_connections_close_after_their_reply_once_it_stops(
    open_site: OpenSite,
) -> None:
    site = await open_site()
    site.front.closing = True
    reply = await site.ask(post(CHAT, BODY))
    assert reply.header("connection") == "close"
