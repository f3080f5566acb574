"""A stream of a kind that has been served before: begun as a trip, it ends as any."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proxy.core.errors import GatewayFault
from proxy.pipeline.carry import Ride
from proxy.pipeline.express import Trip
from proxy.relay.keepalive import COMMENT, KeepAlive
from tests.parts.faulty import Peer, Script
from tests.parts.http_text import (
    LAST_CHUNK,
    Message,
    chunk,
    event_stream_head,
    head,
    post,
)
from tests.parts.inside import CHAT, OpenSite
from tests.parts.scripts import DONE, EVENT, STREAM, USAGE, answers, stream, then_wait
from tests.parts.until import until
from tests.proxy.pipeline.test_express import never, said, story, trips


async def test_a_stream_goes_the_way_of_streams(open_site: OpenSite) -> None:
    flow = stream(EVENT, USAGE, DONE)
    site = await open_site(answers(flow), fast=True)
    first = await site.ask(post(CHAT, STREAM))
    begun = trips(site)
    second = await site.ask(post(CHAT, STREAM))
    assert begun[0] is not None
    assert said(second) == said(first)
    await until(lambda: len(site.records) == 2, "both records")
    assert story(site.records[1]) == story(site.records[0])


async def test_a_stream_is_ready_before_its_model_answers(open_site: OpenSite) -> None:
    site = await open_site(answers(stream(EVENT, USAGE, DONE)), fast=True)
    await site.ask(post(CHAT, STREAM))
    site.upstream.script, begun = never, trips(site)
    caller = await site.caller()
    caller.send(post(CHAT, STREAM))
    peer = await site.busy_peer()
    [trip] = begun
    assert isinstance(trip, Trip)
    assert trip.is_over
    assert site.runtime.active == 1
    caller.leave()
    await until(peer.gone.is_set, "the end of the upstream's connection")
    assert site.runtime.active == site.runtime.registry.providers[0].active == 0


async def asked_twice(open_site: OpenSite, script: Script, **options: Any) -> Any:
    """A caller whose stream is the second of its kind, and is served by `script`."""
    site = await open_site(answers(stream(EVENT, USAGE, DONE)), fast=True, **options)
    await site.ask(post(CHAT, STREAM))
    await until(lambda: len(site.records) == 1, "the first record")
    site.upstream.script, begun = script, trips(site)
    caller = await site.caller()
    caller.send(post(CHAT, STREAM))
    await site.busy_peer()
    [trip] = begun
    return site, caller, trip


async def test_a_stream_that_waits_is_kept_alive(open_site: OpenSite) -> None:
    go_on = asyncio.Event()

    async def late(peer: Peer, request: Message) -> None:
        await peer.wait(go_on)
        await peer.send(stream(EVENT, USAGE, DONE))

    site, caller, _ = await asked_twice(open_site, late)
    site.later(14)
    site.later(2)
    await caller.until(COMMENT)
    site.later(15)
    go_on.set()
    reply = await caller.reply()
    assert reply.body == COMMENT * 2 + EVENT + DONE
    await until(lambda: len(site.records) == 2, "both records")
    assert site.records[1].code is None
    members = site.runtime.ticker._members
    assert not any(isinstance(one, KeepAlive) for one in members)


async def test_what_passes_while_it_streams_is_no_silence(open_site: OpenSite) -> None:
    go_on = asyncio.Event()

    async def slowly(peer: Peer, request: Message) -> None:
        await peer.send(event_stream_head() + chunk(EVENT))
        await peer.wait(go_on)
        await peer.send(chunk(USAGE + DONE) + LAST_CHUNK)

    site, caller, trip = await asked_twice(open_site, slowly)
    await caller.until(EVENT)
    assert b"messages" not in trip.sent + trip.members.body
    site.later(14)
    site.later(14)
    await caller.until(COMMENT)
    go_on.set()
    assert (await caller.reply()).body == EVENT + COMMENT + DONE


async def test_no_comment_follows_a_reply_that_is_no_stream(
    open_site: OpenSite,
) -> None:
    beginning = head(200, "content-type: application/json", "content-length: 9") + b"{"
    site, caller, _ = await asked_twice(open_site, then_wait(beginning))
    [course] = site.runtime.pipeline._courses
    await until(lambda: course.record.attempts[0].status, "the reply's head")
    site.later(16)
    site.later(16)
    caller.leave()
    await until(lambda: len(site.records) == 2, "both records")
    assert site.records[1].status == 499
    assert site.records[1].bytes_out == 0


async def test_a_stream_is_ended_in_band_by_the_gateway(open_site: OpenSite) -> None:
    begins = then_wait(event_stream_head() + chunk(EVENT))
    site, caller, _ = await asked_twice(open_site, begins)
    await caller.until(EVENT)
    site.runtime.interrupt_all(
        GatewayFault("shutting_down", "The gateway is stopping.")
    )
    reply = await caller.reply()
    assert b"shutting_down" in reply.body
    assert reply.body.endswith(DONE)
    assert site.runtime.active == site.runtime.registry.providers[0].active == 0


async def test_a_stream_whose_end_cannot_be_noted_frees_all(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Ride) -> None:
        raise RuntimeError("a defect")

    go_on = asyncio.Event()

    async def late(peer: Peer, request: Message) -> None:
        await peer.wait(go_on)
        await peer.send(stream(EVENT, USAGE, DONE))

    site, caller, _ = await asked_twice(open_site, late)
    monkeypatch.setattr(Ride, "note", fail)
    go_on.set()
    await caller.until(DONE)
    await until(lambda: len(site.records) == 2, "both records")
    assert site.records[1].code == "internal_error"
    assert site.runtime.active == site.runtime.registry.providers[0].active == 0
