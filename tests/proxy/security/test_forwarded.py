"""Whose request it is that a reverse proxy sends, and who is believed about that."""

from __future__ import annotations

import pytest

from tests.parts.http_text import Message, post
from tests.parts.inside import CHAT, TOKEN, OpenSite, Site
from tests.parts.scripts import BODY, ask
from tests.parts.until import until

TRUSTED = {"trustedProxies": ["127.0.0.0/8"]}
FIRST, SECOND = "198.51.100.1", "198.51.100.2"


def asked_by(client: str) -> bytes:
    return post(CHAT, BODY, f"x-forwarded-for: 1.2.3.4, {client}")


async def peers(site: Site, *requests: bytes) -> list[str]:
    """Send requests on one connection; answers who had asked, as recorded."""
    caller = await site.caller()
    for request in requests:
        caller.send(request)
        assert (await caller.reply()).status == 200
    await until(lambda: len(site.records) == len(requests), "all records")
    return [record.peer for record in site.records]


@pytest.mark.parametrize("fast", [True, False])
async def test_a_trusted_proxy_tells_who_asks(open_site: OpenSite, fast: bool) -> None:
    site = await open_site(fast=fast, server=TRUSTED)
    requests = [asked_by(FIRST), asked_by(SECOND), asked_by(FIRST), post(CHAT, BODY)]
    assert await peers(site, *requests) == [FIRST, SECOND, FIRST, "127.0.0.1"]


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("trusted", [[], ["10.0.0.0/8"]])
async def test_nobody_else_is_believed(
    open_site: OpenSite, fast: bool, trusted: list[str]
) -> None:
    site = await open_site(fast=fast, server={"trustedProxies": trusted})
    assert await peers(site, asked_by(FIRST)) == ["127.0.0.1"]


@pytest.mark.parametrize("fast", [True, False])
async def test_limits_by_address_are_the_callers_own(
    open_site: OpenSite, fast: bool
) -> None:
    limits = {"byIp": {"requests": "1/hour"}}
    site = await open_site(fast=fast, server=TRUSTED, rateLimits=limits)
    asked = [asked_by(FIRST), asked_by(SECOND), asked_by(FIRST)]
    caller = await site.caller()
    replies: list[Message] = []
    for request in asked:
        caller.send(request)
        replies.append(await caller.reply())
    assert [reply.status for reply in replies] == [200, 200, 429]


@pytest.mark.parametrize("client", ["127.0.0.1", "::1", ""])
async def test_nobody_becomes_the_owner_by_what_a_proxy_says(
    open_site: OpenSite, client: str
) -> None:
    site = await open_site(server=TRUSTED)
    fields = (f"x-forwarded-for: {client}", f"authorization: Bearer {TOKEN}")
    reply = await site.ask(ask("GET", "/admin/providers", *fields))
    assert reply.status == 403
    reply = await site.ask(ask("DELETE", "/providers/box/api/delete", *fields))
    assert reply.status == 403
