"""Comments while nothing comes, and what is told once they have begun."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.parts.faulty import Peer
from tests.parts.http_text import (
    LAST_CHUNK,
    Message,
    chunk,
    data_of,
    event_stream_head,
    events,
    head,
    post,
    whole,
)
from tests.parts.inside import (
    CHAT,
    COMPLETION,
    OpenSite,
    Site,
)
from tests.parts.scripts import (
    BODY,
    DONE,
    EVENT,
    REFUSAL,
    STREAM,
    stream,
)

MEGABYTE = 1 << 20

COMMENT = b": keep-alive\n\n"


async def waiting_for(site: Site, released: asyncio.Event, then: bytes) -> Any:
    """A caller whose stream's upstream says nothing until it is released."""

    async def play(peer: Peer, request: Message) -> None:
        await peer.wait(released)
        await peer.send(then)

    site.upstream.script = play
    caller = await site.caller()
    caller.send(post(CHAT, STREAM))
    await site.busy_peer()
    return caller


async def test_a_stream_that_waits_is_committed_and_kept_alive(site: Site) -> None:
    released = asyncio.Event()
    caller = await waiting_for(site, released, stream(EVENT, DONE))
    site.later(14)
    site.later(2)
    await caller.until(COMMENT)
    site.later(15)
    released.set()
    reply = await caller.reply()
    assert reply.status == 200
    assert reply.body == COMMENT * 2 + EVENT + DONE
    assert reply.header("content-type") == "text/event-stream"
    assert reply.header("cache-control") == "no-cache, no-transform"
    assert reply.header("x-accel-buffering") == "no"
    assert reply.header("x-request-id")
    assert (await site.record()).code is None


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (whole(REFUSAL, status=400), "context_length"),
        (whole(b"no", status=401), "upstream_auth_failed"),
        (whole(b"no", status=429), "upstream_rate_limited"),
        (whole(b"no", status=500), "upstream_error"),
        (whole(COMPLETION), "upstream_error"),
        (whole(b'{"a":1}\n', kind="application/x-ndjson"), "upstream_error"),
        (head(302, "location: /x", "content-length: 0"), "upstream_error"),
        (b"nonsense\r\n\r\n", "upstream_error"),
    ],
)
async def test_what_is_refused_after_that_comes_in_band(
    site: Site, answer: bytes, code: str
) -> None:
    released = asyncio.Event()
    caller = await waiting_for(site, released, answer)
    site.later(16)
    await caller.until(COMMENT)
    released.set()
    reply = await caller.reply()
    assert reply.status == 200
    assert reply.complete
    comment, last, done = events(reply.body)
    assert (comment, done) == (COMMENT, DONE)
    document: Any = data_of(last)
    assert document["error"]["code"] == code
    record = await site.record()
    assert record.status == 200
    assert record.code is not None


async def test_a_timeout_after_that_comes_in_band_too(site: Site) -> None:
    caller = await waiting_for(site, asyncio.Event(), b"")
    site.later(16)
    await caller.until(COMMENT)
    site.later(600)
    reply = await caller.reply()
    *_, last, done = events(reply.body)
    document: Any = data_of(last)
    assert document["error"]["code"] == "upstream_timeout"
    assert done == DONE


async def test_before_the_headers_it_can_be_turned_off(open_site: OpenSite) -> None:
    site = await open_site(stream={"keepAliveBeforeHeaders": False})
    released = asyncio.Event()
    caller = await waiting_for(site, released, whole(b"no", status=500))
    site.later(100)
    released.set()
    assert (await caller.reply()).status == 502


async def test_a_reply_that_is_no_stream_gets_no_comments(site: Site) -> None:
    released = asyncio.Event()
    body = b'{"x":"' + b"y" * (9 * MEGABYTE) + b'"}'

    async def play(peer: Peer, request: Message) -> None:
        await peer.send(whole(body)[:-2])
        await peer.wait(released)
        await peer.send(whole(body)[-2:])

    site.upstream.script = play
    caller = await site.caller()
    caller.send(post(CHAT, STREAM))
    await caller.until(b"yyyy")
    site.later(16)
    released.set()
    assert (await caller.reply()).body == body


async def test_who_asked_for_no_stream_gets_no_comments(site: Site) -> None:
    released = asyncio.Event()

    async def play(peer: Peer, request: Message) -> None:
        await peer.wait(released)
        await peer.send(whole(COMPLETION))

    site.upstream.script = play
    caller = await site.caller()
    caller.send(post(CHAT, BODY))
    await site.busy_peer()
    site.later(100)
    released.set()
    assert (await caller.reply()).body == COMPLETION


async def test_between_events_comments_go_out_too(site: Site) -> None:
    released = asyncio.Event()

    async def play(peer: Peer, request: Message) -> None:
        await peer.send(event_stream_head() + chunk(EVENT + EVENT[:10]))
        await peer.wait(released)
        await peer.send(chunk(EVENT[10:] + DONE) + LAST_CHUNK)

    site.upstream.script = play
    caller = await site.caller()
    caller.send(post(CHAT, STREAM))
    await caller.until(EVENT)
    site.later(16)
    await caller.until(COMMENT)
    released.set()
    assert (await caller.reply()).body == EVENT + COMMENT + EVENT + DONE


@pytest.mark.parametrize("is_served", [True, False])
async def test_who_waits_for_a_slot_is_kept_alive_too(
    open_site: OpenSite, is_served: bool
) -> None:
    released = asyncio.Event()
    site = await open_site(
        provider={"maxConcurrent": 1},
        stream={"keepAliveSeconds": 0.3},
        routing={"queue": {"maxWaitSeconds": 30 if is_served else 1}},
        fast=True,
    )
    await waiting_for(site, released, stream(EVENT, DONE))
    caller = await site.caller()
    caller.send(post(CHAT, STREAM))
    await caller.until(COMMENT)
    assert len(site.runtime.dispatch.queue) == 1
    if is_served:
        released.set()
        reply = await caller.reply()
        assert reply.body.replace(COMMENT, b"") == EVENT + DONE
        return
    reply = await caller.reply()
    [error, last] = events(reply.body.replace(COMMENT, b""))
    told: Any = data_of(error)
    assert (reply.status, last) == (200, DONE)
    assert told["error"]["code"] == "provider_capacity_exceeded"


async def test_comments_go_on_between_attempts(open_site: OpenSite) -> None:
    """The first answers with an error once comments have begun; the next streams."""
    released = asyncio.Event()

    async def fails_late(peer: Peer, request: Message) -> None:
        if len(site.upstream.requests) == 1:
            await peer.wait(released)
            await peer.send(whole(b"{}", status=503))
        else:
            await peer.send(stream(EVENT, DONE))

    site = await open_site(
        fails_late,
        stream={"keepAliveSeconds": 0.3},
        routing={"retry": {"backoffSeconds": 2}, "queue": {"maxWaitSeconds": 30}},
        fast=True,
    )
    caller = await site.caller()
    caller.send(post(CHAT, STREAM))
    before = (await caller.until(COMMENT)).count(COMMENT)
    released.set()
    reply = await caller.reply()
    assert reply.body.replace(COMMENT, b"") == EVENT + DONE
    assert reply.body.count(COMMENT) > before
