"""Requests sent ahead, by either door: each waits for the one before it."""

from __future__ import annotations

import asyncio

from tests.parts.faulty import Peer
from tests.parts.http_text import (
    LAST_CHUNK,
    Message,
    chunk,
    event_stream_head,
    post,
    whole,
)
from tests.parts.inside import CHAT, COMPLETION, Site
from tests.parts.scripts import BODY, DONE, EVENT, STREAM, error_of

ASK = post(CHAT, BODY)


async def test_what_follows_a_body_is_a_request_of_its_own_and_refused(
    site: Site,
) -> None:
    go_on = asyncio.Event()

    async def late(peer: Peer, request: Message) -> None:
        await go_on.wait()
        await peer.send(whole(COMPLETION))

    site.upstream.script = late
    caller = await site.caller()
    caller.send(ASK)
    await site.busy_peer()
    # In a segment of its own: aiohttp drops what it has read together with garbage.
    caller.send(b"and more than was declared\r\n\r\n" + ASK)
    await site.settle()
    go_on.set()
    assert (await caller.reply()).body == COMPLETION
    reply = await caller.last()
    assert (reply.status, error_of(reply)["code"]) == (400, "invalid_field")
    assert len(site.upstream.requests) == 1


async def test_what_was_sent_ahead_waits_for_a_slow_first(site: Site) -> None:
    go_on = asyncio.Event()

    async def slow_first(peer: Peer, request: Message) -> None:
        if request is site.upstream.requests[0]:
            await peer.send(event_stream_head() + chunk(EVENT))
            await go_on.wait()
            await peer.send(chunk(DONE) + LAST_CHUNK)
        else:
            await peer.send(whole(COMPLETION))

    site.upstream.script = slow_first
    caller = await site.caller()
    caller.send(post(CHAT, STREAM) + ASK * 2)
    await caller.until(EVENT)
    await site.settle()
    assert len(site.upstream.requests) == 1
    go_on.set()
    assert (await caller.reply()).body.endswith(DONE)
    assert [(await caller.reply()).body for _ in range(2)] == [COMPLETION] * 2
