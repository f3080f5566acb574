"""What a record tells of time: spent here, waited for others, between events."""

from __future__ import annotations

import asyncio

from proxy.core import clock
from tests.parts.faulty import Peer
from tests.parts.http_text import (
    LAST_CHUNK,
    Message,
    chunk,
    event_stream_head,
    post,
    whole,
)
from tests.parts.inside import CHAT, COMPLETION, OpenSite, Site
from tests.parts.scripts import BODY, DONE, EVENT, STREAM, answers, stream


async def test_a_head_that_comes_long_before_its_stream_is_no_overhead(
    site: Site,
) -> None:
    head_at = first_at = 0.0

    async def late(peer: Peer, request: Message) -> None:
        nonlocal head_at, first_at
        await peer.send(event_stream_head())
        head_at = clock.monotonic()
        await asyncio.sleep(0.05)
        first_at = clock.monotonic()
        await peer.send(chunk(EVENT) + chunk(DONE) + LAST_CHUNK)

    site.upstream.script = late
    assert (await site.ask(post(CHAT, STREAM))).status == 200
    record = await site.record()
    assert record.overhead_s is not None
    assert record.first_byte_at is not None
    whole_s = record.first_byte_at - record.started_at
    assert 0.0 <= record.overhead_s <= whole_s - (first_at - head_at)


async def test_events_of_a_stream_are_counted(site: Site) -> None:
    site.upstream.script = answers(stream(EVENT, EVENT + EVENT, DONE))
    assert (await site.ask(post(CHAT, STREAM))).status == 200
    assert (await site.record()).events == 4


async def test_whole_replies_have_an_overhead_however_usual(site: Site) -> None:
    caller = await site.caller()
    for _ in range(3):
        caller.send(post(CHAT, BODY))
        assert (await caller.reply()).status == 200
    for record in site.records:
        assert record.overhead_s is not None
        assert record.first_byte_at is not None
        there_s = record.first_byte_at - record.started_at
        assert 0.0 <= record.overhead_s <= there_s - record.upstream_wait_s + 1e-6


async def test_what_was_never_sent_has_none(site: Site) -> None:
    assert (await site.ask(post(CHAT, b"{"))).status == 400
    record = await site.record()
    assert (record.overhead_s, record.events) == (None, 0)


async def test_attempts_that_failed_are_no_overhead(open_site: OpenSite) -> None:
    replies = answers(whole(b"", status=502), whole(COMPLETION))
    site = await open_site(replies, routing={"retry": {"backoffSeconds": 0.05}})
    assert (await site.ask(post(CHAT, BODY))).status == 200
    record = await site.record()
    assert len(record.attempts) == 2
    assert record.overhead_s is not None
    assert record.ended_at is not None
    total_s = record.ended_at - record.started_at
    assert record.overhead_s + record.upstream_wait_s <= total_s + 1e-6
