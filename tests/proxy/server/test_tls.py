"""Both doors behind TLS: calls know it, and callers who leave are noticed."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from proxy.core.call import Call
from proxy.pipeline.spine import Pipeline
from tests.parts.caller import Caller
from tests.parts.certificates import Authority, authority
from tests.parts.http_text import post
from tests.parts.inside import CHAT, COMPLETION, OpenSite, Site
from tests.parts.scripts import BODY, then_wait
from tests.parts.until import until

__all__ = ["authority"]

ASK = post(CHAT, BODY)


@pytest.fixture(params=["fast door", "ordinary door"])
async def site(
    request: pytest.FixtureRequest, open_site: OpenSite, authority: Authority
) -> Site:
    issued = authority.issue("127.0.0.1")
    tls = {"certFile": str(issued.cert), "keyFile": str(issued.key)}
    return await open_site(fast=request.param == "fast door", server={"tls": tls})


async def caller_of(site: Site, authority: Authority) -> Caller:
    context = ssl.create_default_context(cafile=authority.file)
    port = int(site.url.rpartition(":")[2])
    return Caller(*await asyncio.open_connection("127.0.0.1", port, ssl=context))


async def test_a_call_knows_that_it_came_by_tls(
    site: Site, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    secure: list[bool] = []
    begin = Pipeline._begin

    def noted(pipeline: Pipeline, call: Call, *rest: object) -> object:
        secure.append(call.secure)
        return begin(pipeline, call, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Pipeline, "_begin", noted)
    caller = await caller_of(site, authority)
    caller.send(ASK)
    assert (await caller.reply()).body == COMPLETION
    assert secure == [True]
    caller.leave()


async def test_who_leaves_unread_is_noticed(site: Site, authority: Authority) -> None:
    site.upstream.script = then_wait(b"")
    caller = await caller_of(site, authority)
    caller.send(ASK)
    peer = await site.busy_peer()
    caller.send(ASK * 400)
    [handler] = site.runner.server.connections  # type: ignore[union-attr]
    await until(
        lambda: handler.transport and not handler.transport.is_reading(),
        "a caller who is not read",
    )
    caller.leave()
    async with asyncio.timeout(1):
        await peer.gone.wait()
    assert (await site.record()).status == 499
