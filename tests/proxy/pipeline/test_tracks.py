"""Where no track is laid: each request is looked at anew."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from proxy.routing.registry import Status
from tests.parts.faulty import Faulty, Peer
from tests.parts.http_text import Message, post
from tests.parts.inside import CHAT, OpenSite
from tests.parts.scripts import BODY, answers
from tests.proxy.pipeline.test_express import GOOD, trips

PAGE = {"cors": {"allowedOrigins": ["http://page.example"]}}


async def begun_of_two(
    open_site: OpenSite, *fields: str, **options: Any
) -> list[object]:
    site = await open_site(answers(GOOD), fast=True, **options)
    begun = trips(site)
    for _ in range(2):
        assert (await site.ask(post(CHAT, BODY, *fields))).status == 200
    return begun


async def test_a_track_is_laid_by_the_first_request(open_site: OpenSite) -> None:
    begun = await begun_of_two(open_site)
    assert [one is not None for one in begun] == [False, True]


async def test_none_where_a_page_may_ask(open_site: OpenSite) -> None:
    origin = "origin: http://page.example"
    assert await begun_of_two(open_site, origin, server=PAGE) == [None, None]


async def test_none_between_equal_providers(open_site: OpenSite) -> None:
    async with Faulty(answers(GOOD)) as twin:
        other = {"id": "twin", "kind": "vllm", "endpoint": twin.url}
        model = {"id": "tiny", "providers": [{"id": "box"}, {"id": "twin"}]}
        begun = await begun_of_two(open_site, others=[other], models=[model])
        assert begun == [None, None]


async def test_none_where_keys_take_turns(open_site: OpenSite) -> None:
    keys = {"authSecrets": ["one", "two"]}
    assert await begun_of_two(open_site, provider=keys) == [None, None]


async def test_none_where_another_dialect_is_spoken(open_site: OpenSite) -> None:
    site = await open_site(
        answers(GOOD), fast=True, provider={"kind": "anthropic", "authSecret": "key"}
    )
    begun = trips(site)
    for _ in range(2):
        await site.ask(post(CHAT, BODY))
    assert begun == [None, None]


async def test_none_past_a_change_of_providers(open_site: OpenSite) -> None:
    go_on = asyncio.Event()

    async def late(peer: Peer, request: Message) -> None:
        await peer.wait(go_on)
        await peer.send(GOOD)

    site = await open_site(late, fast=True)
    caller = await site.caller()
    caller.send(post(CHAT, BODY))
    await site.busy_peer()
    site.runtime.registry.hold(site.runtime.registry.providers[0], Status.DISABLED)
    go_on.set()
    assert (await caller.reply()).status == 200
    begun = trips(site)
    assert (await site.ask(post(CHAT, BODY))).status == 503
    assert begun == [None]


async def test_none_to_what_one_request_needed(open_site: OpenSite) -> None:
    models = [
        {"id": "tiny", "providerId": "box", "isDefault": True,
         "capabilities": {"vision": False}},
        {"id": "seeing", "providerId": "box", "capabilities": {"vision": True}},
    ]  # fmt: skip
    site = await open_site(answers(GOOD), fast=True, models=models)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    for content in ([picture], "hello", "hello"):
        messages = [{"role": "user", "content": content}]
        body = json.dumps({"model": "auto", "messages": messages}).encode()
        assert (await site.ask(post(CHAT, body))).status == 200
    asked = [json.loads(message.body)["model"] for message in site.upstream.requests]
    assert asked == ["seeing", "tiny", "tiny"]
