"""Who is not let in is told how to ask: `www-authenticate`, by every door."""

from __future__ import annotations

import pytest

from tests.parts.http_text import post, whole
from tests.parts.inside import CHAT, OpenSite
from tests.parts.keys import bearer, guarded_site
from tests.parts.scripts import BODY, answers, ask

PLAIN = 'Bearer realm="local-ai"'
REFUSED = f'{PLAIN}, error="invalid_token"'


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/providers/box/odd"])
async def test_without_a_key_a_call_is_told_how_to_ask(path: str, fast: bool) -> None:
    async with guarded_site(fast=fast) as site:
        reply = await site.ask(post(path, BODY))
        assert (reply.status, reply.header("www-authenticate")) == (401, PLAIN)
        reply = await site.ask(post(path, BODY, bearer("lai_" + 32 * "0")))
        assert (reply.status, reply.header("www-authenticate")) == (401, REFUSED)


async def test_pages_and_the_owners_routes_tell_it_too(open_site: OpenSite) -> None:
    async with guarded_site() as site:
        reply = await site.ask(ask("GET", "/v1/models"))
        assert (reply.status, reply.header("www-authenticate")) == (401, PLAIN)
    site = await open_site()
    reply = await site.ask(ask("GET", "/admin/providers", bearer("wrong")))
    assert (reply.status, reply.header("www-authenticate")) == (401, REFUSED)


async def test_a_provider_that_refuses_our_key_asks_nothing_of_the_caller(
    open_site: OpenSite,
) -> None:
    site = await open_site(answers(whole(b"{}", status=401)))
    reply = await site.ask(post(CHAT, BODY))
    assert (reply.status, reply.header("www-authenticate")) == (502, None)
